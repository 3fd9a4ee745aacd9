"""Keep some nodes of each label ready, and let go of those nobody needs."""

from collections.abc import Iterator

from trellis.model.node import Node
from trellis.scheduler.decisions import Decision, Launch, Retire, Warm
from trellis.scheduler.room import Room
from trellis.scheduler.snapshot import ProviderView, Snapshot
from trellis.spi.provider import Offer

SURPLUS_AGE_S = 60.0
"""So long a ready node that nobody waits for is kept beyond ``min-ready``."""


def keep_ready(snapshot: Snapshot, room: Room) -> Iterator[Decision]:
    """Launch what is missing to ``min-ready``, and delete what has long been too much."""
    shelf: dict[str, list[Node]] = {}
    for (owner, label), nodes in sorted(snapshot.idle.items()):
        provider = snapshot.providers.get(owner)
        # What a provider that cannot be used has ready is no use to anybody.
        if provider is not None and not provider.closed:
            shelf.setdefault(label, []).extend(n for n in nodes.values() if n.id not in room.taken)
    for label in sorted({*snapshot.min_ready, *shelf}):
        wanted = snapshot.min_ready.get(label, 0)
        there = sorted(shelf.get(label, ()), key=lambda n: (n.ready_at or 0.0, n.id))
        for _ in range(wanted - len(there) - snapshot.warming.get(label, 0)):
            launch = _warm(label, snapshot, room)
            if launch is None:
                break
            yield Warm(launch=launch)
        for node in there[: max(0, len(there) - wanted)]:
            if snapshot.now - (node.ready_at or 0.0) > SURPLUS_AGE_S:
                yield Retire(node=node, reason=f"more than {wanted} ready and nobody waits")
        oldest = snapshot.max_ready_age_s.get(label, 0.0)
        for node in there[max(0, len(there) - wanted) :]:
            if oldest and snapshot.now - (node.ready_at or 0.0) > oldest:
                yield Retire(node=node, reason="it reached max-ready-age")


def _warm(label: str, snapshot: Snapshot, room: Room) -> Launch | None:
    """A launch for the shelf, on the provider with the most room, or None."""
    open_ones = [
        p for p in snapshot.providers.values() if not p.closed and p.quota not in room.contended
    ]
    for provider in sorted(open_ones, key=lambda p: (room.fullness(p), p.name)):
        for az in _zones(provider, label, room):
            chosen = room.choose_pools(provider, [label], az, snapshot.now)
            if not isinstance(chosen, str):
                room.take(provider, az, chosen)
                return Launch(
                    provider=provider.name,
                    offer=chosen[0],
                    az=az,
                    slot=None,
                    replaces=None,
                    reason="to keep some ready",
                )
    return None


def _zones(provider: ProviderView, label: str, room: Room) -> list[str | None]:
    offers: list[Offer] = [p.offers[label] for p in provider.pools if label in p.offers]
    zones = sorted(
        {zone for offer in offers for zone in offer.zones},
        key=lambda z: (room.zone_nodes(provider, z), z),
    )
    return [*zones] or [None]
