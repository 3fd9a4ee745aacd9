"""Whether the vendor has finished with a server that is ACTIVE (quirks.md part 1 §7)."""

from collections.abc import Mapping, Sequence

from trellis.openstack.quirks import ReadyWait
from trellis.spi.provider import InstanceState


def after_active(
    metadata: Mapping[str, str], waits: Sequence[ReadyWait]
) -> tuple[InstanceState, str]:
    """The state of a server that nova shows as ACTIVE, and why it is in ERROR if it is.

    Args:
        metadata: the server's.
        waits: what its vendor does, in the order in which it is done.
    """
    for wait in waits:
        value = metadata.get(wait.key)
        if value is None and not wait.awaited:
            continue
        if value in wait.failed:
            return InstanceState.ERROR, f"the vendor's work on it failed: {wait.key} is {value}"
        if value not in wait.done:
            return InstanceState.BUILDING, ""
    return InstanceState.ACTIVE, ""
