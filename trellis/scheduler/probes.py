"""Launch what is wanted to try images: last of all, and only with room that nobody waits for."""

from collections.abc import Iterator

import attrs

from trellis.scheduler.decisions import Launch, Warm
from trellis.scheduler.room import Room
from trellis.scheduler.snapshot import Probe, ProviderView, Snapshot
from trellis.spi.provider import Offer


def send_probes(snapshot: Snapshot, room: Room) -> Iterator[Warm]:
    """Launch the probes for which there is room.

    Its node is kept and given away like any other that is idle, and so soon deleted again.
    """
    for probe in snapshot.probes:
        provider = snapshot.providers.get(probe.provider)
        if provider is None or provider.closed or provider.quota in room.contended:
            continue
        found = _place_of(probe, provider, room)
        if found is None:
            continue
        az, offer = found
        room.take(provider, az, [offer])
        launch = Launch(
            provider=provider.name,
            offer=offer,
            az=az,
            slot=None,
            replaces=None,
            reason=probe.reason,
            upload=probe.upload,
        )
        yield Warm(launch=launch)


def _place_of(probe: Probe, provider: ProviderView, room: Room) -> tuple[str | None, Offer] | None:
    for offer in probe.offers:
        if offer.label in room.contended_labels:
            continue
        view = _with_offer(provider, offer)
        zones = sorted(offer.zones, key=lambda zone: (room.zone_nodes(provider, zone), zone))
        for az in (*zones,) or (None,):
            if not isinstance(room.choose_pools(view, [offer.label], az, shelf=True), str):
                return az, offer
    return None


def _with_offer(provider: ProviderView, offer: Offer) -> ProviderView:
    """The provider with one pool and one offer: its label may be missing there for others."""
    pools = [
        attrs.evolve(pool, offers={offer.label: offer})
        for pool in provider.pools
        if pool.name == offer.pool
    ]
    return attrs.evolve(provider, pools=pools)
