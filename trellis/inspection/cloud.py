"""A cloud as its plugin sees it: what is looked at, in which order, and what ends it early."""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

from trellis.errors import ConfigError, TrellisError
from trellis.http.transport import TransportFactory
from trellis.inspection import account, offer
from trellis.inspection.findings import Finding, Verdict, failure, worst
from trellis.inspection.opening import Opened, opened, provider_config, read_cloud, read_only
from trellis.inspection.remedies import failed
from trellis.openstack.clouds import CloudConfig
from trellis.spi.registry import ProviderFactory, ProviderRegistry, Registration

PATIENCE_S: Final = 30
"""So long one call may take. A launch waits longer; somebody who watches would not."""

Look = Callable[[Opened], Awaitable[list[Finding]]]

_LOOKS: Final[tuple[tuple[str, Look], ...]] = (
    ("catalog", account.catalog),
    ("versions", account.versions),
    ("limits", account.limits),
    ("flavors", offer.flavors),
    ("images", offer.images),
    ("networks", offer.networks),
    ("zones", offer.zones),
    ("servers", offer.servers),
)


async def look(
    registration: Registration[ProviderFactory],
    registry: ProviderRegistry,
    *,
    cloud: str,
    region: str | None,
    transports: TransportFactory,
    random: Random,
    wall: Callable[[], float],
) -> list[Finding]:
    """Look at a cloud through a type of provider, one thing after the other.

    Nothing is sent but logins and questions. What cannot be asked is a finding; only what leaves
    nothing to ask ends it early: an entry with a fault, a login that fails.

    Args:
        cloud: its entry in ``clouds.yaml``.
        region: None for the entry's first.
        random: for the spread of retries.
        wall: UTC seconds since the epoch.
    """
    try:
        entry = read_cloud(cloud, region, registry, registration.type)
        config = provider_config(registry, registration.type, cloud, region, patience_s=PATIENCE_S)
    except ConfigError as error:
        remedy = "Correct it where it is said; nothing was sent to the cloud"
        return [failure("entry", "; ".join(error.faults), remedy)]
    findings = [account.entry(entry, asked=region)]
    try:
        async with opened(
            registration,
            entry,
            config,
            read_only(transports),
            deployment="check",
            random=random,
            wall=wall,
        ) as there:
            findings += await _all(there, entry)
    except* TrellisError as group:
        findings.append(failed("plugin", _first(group), entry))
    return findings


async def _all(there: Opened, entry: CloudConfig) -> list[Finding]:
    found = await _asked("auth", account.auth, there, entry)
    if worst(found) is Verdict.FAIL:
        return found
    for what, one in _LOOKS:
        found += await _asked(what, one, there, entry)
    return found


async def _asked(what: str, one: Look, there: Opened, entry: CloudConfig) -> list[Finding]:
    try:
        return await one(there)
    except TrellisError as error:
        return [failed(what, error, entry)]


def _first(group: BaseExceptionGroup[TrellisError]) -> TrellisError:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found
