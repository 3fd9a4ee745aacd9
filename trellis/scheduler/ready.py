"""Keep some nodes of each label ready, and let go of those nobody needs."""

import zlib
from collections.abc import Iterator

import attrs

from trellis.model.node import Node
from trellis.scheduler.decisions import Decision, Launch, Retire, Warm
from trellis.scheduler.preference import Key, Preference, priority_of
from trellis.scheduler.room import Room
from trellis.scheduler.snapshot import ProviderView, Snapshot
from trellis.spi.provider import Offer

SURPLUS_AGE_S = 60.0
"""So long a ready node that nobody waits for is kept beyond ``min-ready``."""
JITTER = 0.1
"""Share of ``max-ready-age`` by which nodes may go earlier, so that a shelf filled at once is
not emptied at once."""


def keep_ready(snapshot: Snapshot, room: Room, preference: Preference) -> Iterator[Decision]:
    """Launch what is missing to ``min-ready``, and delete what is too much or worn out.

    What is worn out, by age or by a changed configuration, is replaced first: it serves until
    a fresh one is ready, unless there is no room for both.
    """
    shelf: dict[str, list[Node]] = {}
    for (owner, label), nodes in sorted(snapshot.idle.items()):
        provider = snapshot.providers.get(owner)
        # What a provider that cannot be used has ready is no use to anybody.
        if provider is None or provider.closed:
            continue
        free = [node for node in nodes.values() if node.id not in room.taken]
        if _is_configured(provider, label):
            shelf.setdefault(label, []).extend(free)
        else:
            # Nor is this, ever: nobody is given it, and it must not count as kept ready.
            for node in free:
                yield Retire(node=node, reason=f"{owner} offers {label} no longer")
    for label in sorted({*snapshot.min_ready, *shelf}):
        yield from _keep_label(label, shelf.get(label, []), snapshot, room, preference)


def _keep_label(
    label: str, idle: list[Node], snapshot: Snapshot, room: Room, preference: Preference
) -> Iterator[Decision]:
    wanted = snapshot.min_ready.get(label, 0)
    there = sorted(idle, key=lambda n: (n.ready_at or 0.0, n.id))
    worn = {node.id: why for node in there if (why := _worn(node, snapshot))}
    fresh = [node for node in there if node.id not in worn]
    warming = snapshot.warming.get(label, 0)
    for _ in range(wanted - len(fresh) - warming):
        launch = _warm(label, snapshot, room, preference)
        if launch is None:
            room.unserved = True
            break
        warming += 1
        yield Warm(launch=launch)
    for node in fresh[: max(0, len(fresh) - wanted)]:
        if snapshot.now - (node.ready_at or 0.0) > SURPLUS_AGE_S:
            yield Retire(node=node, reason=f"more than {wanted} ready and nobody waits")
    old = [node for node in there if node.id in worn]
    go = old[: max(0, len(old) + len(fresh) - wanted)]
    if not go and not warming:
        go = [node for node in old if _in_the_way(node, snapshot, room)][:1]
    for node in go:
        yield Retire(node=node, reason=worn[node.id])


def _is_configured(provider: ProviderView, label: str) -> bool:
    return any(label in pool.offers or label in pool.missing for pool in provider.pools)


def _in_the_way(node: Node, snapshot: Snapshot, room: Room) -> bool:
    """Whether a worn node has the very room that its replacement needs.

    Nothing else may hold the replacement back: what serves is not given up for an image that
    does not boot, or for a provider that is paused.
    """
    provider = snapshot.providers[node.provider]
    pool = next((p for p in provider.pools if p.name == node.pool), None)
    offer = pool.offers.get(node.label) if pool is not None else None
    if pool is None or offer is None or provider.quota in room.contended:
        return False
    if provider.paused or provider.barred or room.has_no_turn(provider):
        return False
    if room.withheld(attrs.evolve(provider, pools=[pool]), [node.label]) is not None:
        return False
    if room.claims.surplus([node.label]):
        return not snapshot.label_freeing.get(node.label)
    fits_now = room.fits_without(provider, [offer], [])
    room.unserved = room.unserved or not fits_now
    return not fits_now and room.fits_without(provider, [offer], [node])


def _worn(node: Node, snapshot: Snapshot) -> str:
    """Why an idle node should be replaced; "" if it need not be."""
    oldest = snapshot.max_ready_age_s.get(node.label, 0.0)
    if oldest and snapshot.now - (node.ready_at or 0.0) > oldest * (1.0 - _jitter(node)):
        return "it reached max-ready-age"
    return "its label is configured otherwise now" if snapshot.outdated(node) else ""


def _jitter(node: Node) -> float:
    # From its id, so that a node's age ends at one moment, however often it is asked for.
    return JITTER * (zlib.crc32(node.id.encode()) % 1000) / 1000


def _warm(label: str, snapshot: Snapshot, room: Room, preference: Preference) -> Launch | None:
    """A launch for the shelf, where a request would best be launched, or None."""
    if label in room.contended_labels:
        return None
    open_ones = [
        p for p in snapshot.providers.values() if not p.closed and p.quota not in room.contended
    ]
    wanted = room.wanted((label,))
    best: tuple[Key, ProviderView, str | None, Offer] | None = None
    for provider in open_ones:
        known, about = room.answers(provider).shelf, (provider.name, wanted)
        if about in known:
            found = known[about]
        else:
            found = known[about] = _zone_with_room(provider, label, room)
        if found is None:
            continue
        key = preference.shelf_key(provider, found[1])
        if best is None or key < best[0]:
            best = key, provider, *found
    if best is None:
        return None
    _, provider, az, offer = best
    room.take(provider, az, [offer])
    return Launch(
        provider=provider.name,
        offer=offer,
        az=az,
        slot=None,
        replaces=None,
        reason="to keep some ready",
    )


def _zone_with_room(
    provider: ProviderView, label: str, room: Room
) -> tuple[str | None, Offer] | None:
    lowest = min((p.priority for p in provider.pools if label in p.offers), default=0)
    best: tuple[int, str | None, Offer] | None = None
    for az in _zones(provider, label, room):
        chosen = room.choose_pools(provider, [label], az, shelf=True)
        if isinstance(chosen, str):
            continue
        priority = priority_of(provider, chosen)
        if priority == lowest:
            return az, chosen[0]
        if best is None or priority < best[0]:
            best = priority, az, chosen[0]
    return best and best[1:]


def _zones(provider: ProviderView, label: str, room: Room) -> list[str | None]:
    offers: list[Offer] = [p.offers[label] for p in provider.pools if label in p.offers]
    zones = sorted(
        {zone for offer in offers for zone in offer.zones},
        key=lambda z: (room.zone_nodes(provider, z), z),
    )
    return [*zones] or [None]
