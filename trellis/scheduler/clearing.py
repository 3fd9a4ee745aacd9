"""Idle nodes that stand in the way of a request: which would have to go for it to fit.

Nodes kept ready are the least of all claims: without this a full shelf of one label would starve
every other.
"""

import bisect
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from trellis.model.quota import instances
from trellis.model.request import NodeRequest
from trellis.scheduler.answers import Clearing
from trellis.scheduler.decisions import Retire
from trellis.scheduler.placement import Judged, offers_of
from trellis.scheduler.room import Room
from trellis.scheduler.snapshot import ProviderView, Snapshot
from trellis.spi.provider import Offer

_UNKNOWN: Final = Clearing((), enough=False)


def make_room(
    request: NodeRequest, providers: Judged, snapshot: Snapshot, room: Room
) -> Iterator[Retire]:
    """Delete idle nodes in the way of a request, where that is enough for it to fit."""
    labels = request.ask.labels
    if room.claims.tenant_short(request.ask.tenant, instances(len(labels))):
        return  # more room would not help it
    if surplus := room.claims.surplus(labels):
        yield from _make_label_room(request, surplus, providers, snapshot, room)
        return
    wanted = room.wanted(labels)
    for provider, out in providers:
        if out or provider.paused or provider.barred or room.has_no_turn(provider):
            continue
        known, about = room.answers(provider).clearings, (provider.name, wanted)
        if (clearing := known.get(about, _UNKNOWN)) is _UNKNOWN:
            clearing = known[about] = _clearing(labels, provider, room)
        if clearing is None:
            continue  # more room would not help it
        room.contended.add(provider.quota)
        if not clearing.enough:
            continue
        for node in clearing.gone:
            room.use(node)
            room.free(provider, node)
            yield Retire(node=node, reason=f"makes room for request {request.id}")
        return


def _clearing(labels: tuple[str, ...], provider: ProviderView, room: Room) -> Clearing | None:
    """What has to go from a provider for these labels; None where no idle node is in the way."""
    offered = offers_of(provider, labels, room)
    if isinstance(offered, str) or not isinstance(room.choose_pools(provider, labels, None), str):
        return None
    if room.withheld(provider, labels) is not None:
        return None
    return _least_gone(offered.offers, provider, room)


def _least_gone(offers: Sequence[Offer], provider: ProviderView, room: Room) -> Clearing:
    """The fewest of the longest idle nodes that have to go; none if all are not enough.

    What is being deleted already will do, if it is enough.
    """
    idle = room.longest_idle(provider)
    if not room.fits_without(provider, offers, idle):
        return Clearing((), enough=False)
    least = bisect.bisect_left(
        range(len(idle)), True, key=lambda n: room.fits_without(provider, offers, idle[:n])
    )
    return Clearing(tuple(idle[:least]), enough=True)


def _make_label_room(
    request: NodeRequest,
    surplus: Mapping[str, int],
    providers: Judged,
    snapshot: Snapshot,
    room: Room,
) -> Iterator[Retire]:
    """Delete idle nodes of a label of which there may be no more, where they cannot serve.

    They stand elsewhere, or in another zone than the rest of the request has to be in.
    """
    if not _waits_for_labels_alone(request.ask.labels, providers, room):
        return  # more room would not help it, and the shelf would be filled and emptied for ever
    room.contended_labels.update(surplus)
    for label, count in sorted(surplus.items()):
        idle = [
            node
            for (_, of_label), nodes in snapshot.idle.items()
            if of_label == label
            for node in nodes.values()
            if node.id not in room.taken
        ]
        going = snapshot.label_freeing.get(label, 0)
        for node in sorted(idle, key=lambda n: (n.ready_at or 0.0, n.id))[: max(0, count - going)]:
            room.use(node)
            yield Retire(node=node, reason=f"makes room for request {request.id}")


def _waits_for_labels_alone(labels: tuple[str, ...], providers: Judged, room: Room) -> bool:
    """Whether some provider could launch for a request if its labels' limits let it."""
    for provider, out in providers:
        if out or provider.paused or provider.barred or room.has_no_turn(provider):
            continue
        if provider.launches_left is not None and provider.launches_left < len(labels):
            continue
        offered = offers_of(provider, labels, room)
        if isinstance(offered, str) or room.withheld(provider, labels) is not None:
            continue
        gone = [node for node in room.longest_idle(provider) if node.label in labels]
        if room.fits_without(provider, offered.offers, gone):
            return True
    return False
