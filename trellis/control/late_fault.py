"""The fault of a server in ERROR, which tells whose it is, and may show late."""

from typing import Final

import trio

from trellis.control.health import ProviderHealth
from trellis.errors import CloudError
from trellis.spi.provider import Instance, InstanceState, Provider

FAULT_LOOKS_S: Final = (0.0, 3.0, 7.0)
"""Pauses before each look at a server in ERROR that does not show its fault."""


async def with_fault(row: Instance, provider: Provider, health: ProviderHealth) -> Instance:
    """Look again at a server in ERROR, until it shows its fault or has been looked at enough."""
    for pause_s in FAULT_LOOKS_S:
        await trio.sleep(pause_s)
        try:
            row = await provider.get(row.external_id)
        except CloudError as error:
            health.failed(error)
            continue
        if row.state is not InstanceState.ERROR or row.fault is not None:
            break
    return row
