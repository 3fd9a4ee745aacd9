"""One pass of the scheduler: finish what is placed, place what waits, keep some ready.

The order is the policy: placed requests keep what they have, waiting ones are served by
priority and age, idle nodes come last. Goals in `design.md` §1 settle a dispute.
"""

import heapq
from collections.abc import Iterator, Sequence

from trellis.model.node import Node, NodeState
from trellis.model.request import Declined, NodeRequest
from trellis.scheduler.decisions import (
    Decision,
    Fail,
    Fulfil,
    GiveUp,
    Launch,
    Place,
    Plan,
    Recheck,
    Refill,
    Retire,
    RunShort,
)
from trellis.scheduler.placement import best_place, offers_of, out_of_question
from trellis.scheduler.ready import keep_ready
from trellis.scheduler.room import Room
from trellis.scheduler.snapshot import (
    PendingView,
    ProviderView,
    QueueShape,
    Snapshot,
    queue_key,
)

DOUBT_PATIENCE_S = 15.0
"""After so long an unanswered create is worked around: its slot is filled anew."""
SHORT_PATIENCE_S = 120.0
"""So long a placed request waits for room for a replacement before it goes elsewhere."""
REFUSALS = 3
"""So many launches refused for quota or capacity in one place, then elsewhere (design §5b 7)."""
ELSEWHERE_S = 60.0
"""So long a place is out of the question after it ran short of room or capacity."""


def plan(snapshot: Snapshot) -> Plan:
    """Decide what to do now. Pure: the same snapshot gives the same plan."""
    room = Room(snapshot)
    decisions: list[Decision] = list(_drain(snapshot, room))
    for pending in snapshot.pending:
        decisions.extend(_finish(pending, snapshot, room))
    waits = _serve_queues(snapshot, room, decisions)
    decisions.extend(keep_ready(snapshot, room))
    decisions.extend(Retire(node=node, reason="its request is gone") for node in snapshot.orphans)
    return Plan(decisions=tuple(decisions), waits=waits)


def _drain(snapshot: Snapshot, room: Room) -> Iterator[Decision]:
    """Let go of what is idle on providers that are being emptied."""
    for (owner, _), nodes in sorted(snapshot.idle.items()):
        provider = snapshot.providers.get(owner)
        for node in nodes.values() if provider is not None and provider.draining else ():
            room.taken.add(node.id)
            yield Retire(node=node, reason=f"{owner} is being drained")


# ------------------------------------------------------------------ requests with a place


def _finish(pending: PendingView, snapshot: Snapshot, room: Room) -> Iterator[Decision]:
    """Move a placed request on: hand out, fill empty slots, or give the place up."""
    request, now = pending.request, snapshot.now
    place = request.placement
    if place is None:
        return
    filled = {s: n for s, n in pending.nodes.items() if not _doubtful(n, now)}
    doubtful = tuple(n for s, n in sorted(pending.nodes.items()) if s not in filled)
    empty = [slot for slot in range(len(request.ask.labels)) if slot not in filled]
    provider = snapshot.providers.get(place.provider)
    # Without a provider nobody could look after its nodes, nor see whether they still answer.
    if not empty and provider is not None:
        yield from _hand_out(request, filled, snapshot)
        return

    good = tuple(pending.nodes[s] for s in sorted(pending.nodes))

    def give_up(reason: str, until: float | None) -> GiveUp:
        declined = Declined(provider=place.provider, reason=reason, at=now, until=until)
        return GiveUp(request=request, declined=declined, free=good, reason=reason)

    if provider is None:
        yield give_up("the provider is no longer configured", None)
    elif place.failures >= provider.launch_retries:
        yield give_up(f"{place.failures} launches failed there", None)
    elif place.refusals >= REFUSALS:
        yield give_up(
            f"{place.refusals} launches were refused or in doubt there", now + ELSEWHERE_S
        )
    elif provider.closed or provider.barred:
        yield give_up(provider.closed or provider.barred, now + ELSEWHERE_S)
    else:
        labels = [request.ask.labels[slot] for slot in empty]
        chosen = room.choose_pools(provider, labels, place.az, now)
        if not isinstance(chosen, str):
            room.take(provider, place.az, chosen)
            before = {
                **pending.ended,
                **{s: pending.nodes[s].id for s in empty if s in pending.nodes},
            }
            yield Refill(
                request=request,
                launch=tuple(
                    Launch(
                        provider=provider.name,
                        offer=offer,
                        az=place.az,
                        slot=slot,
                        replaces=before.get(slot),
                        reason=f"again for request {request.id}",
                    )
                    for slot, offer in zip(empty, chosen, strict=True)
                ),
                free=doubtful,
                reason="fills empty slots",
            )
        elif place.short_since is None:
            yield RunShort(request=request, free=doubtful, reason=chosen)
        elif now - place.short_since > SHORT_PATIENCE_S:
            yield give_up(chosen, now + ELSEWHERE_S)


def _hand_out(
    request: NodeRequest, nodes: dict[int, Node], snapshot: Snapshot
) -> Iterator[Decision]:
    in_order = tuple(nodes[slot] for slot in range(len(request.ask.labels)))
    if any(node.state is not NodeState.READY for node in in_order):
        return
    stale = [
        node
        for node in in_order
        if node.login.host_key_checking
        and node.login.connection_type == "ssh"
        and snapshot.now - (node.checked_at or 0.0) > snapshot.recheck_after_s
    ]
    if stale:
        for node in stale:
            yield Recheck(node=node, reason="ready for long: does it still answer?")
    else:
        yield Fulfil(request=request, nodes=in_order, reason="all nodes are ready")


def _doubtful(node: Node, now: float) -> bool:
    server = node.server
    return (
        node.state is NodeState.BUILDING
        and server is not None
        and server.in_doubt
        and now - server.sent_at > DOUBT_PATIENCE_S
    )


# ------------------------------------------------------------------------ waiting requests


def _serve_queues(
    snapshot: Snapshot, room: Room, decisions: list[Decision]
) -> dict[QueueShape, dict[str, str]]:
    """Place waiting requests, the most urgent first; a queue whose first one waits, waits.

    Requests of one shape can go to the same places, so one refusal speaks for its queue and a
    pass costs the number of queues and of decisions, not the length of the backlog.
    """
    waits: dict[QueueShape, dict[str, str]] = {}
    heads = [
        (queue_key(queue[0]), 0, shape) for shape, queue in snapshot.queues.items() if len(queue)
    ]
    heapq.heapify(heads)
    reserved: set[str] = set()
    while heads:
        _, index, shape = heapq.heappop(heads)
        queue = snapshot.queues[shape]
        request = queue[index]
        hopeless = _hopeless(request, snapshot, room)
        if hopeless:
            decisions.append(Fail(request=request, reason=hopeless))
        else:
            found = best_place(request, snapshot, room)
            if isinstance(found, dict):
                waits[shape] = found
                decisions.extend(_make_room(request, snapshot, room))
                _reserve_if_starving(request, snapshot, room, reserved)
                continue
            _take(found.place, snapshot, room)
            decisions.append(found.place)
        if index + 1 < len(queue):
            heapq.heappush(heads, (queue_key(queue[index + 1]), index + 1, shape))
    return waits


def _take(place: Place, snapshot: Snapshot, room: Room) -> None:
    room.taken.update(node.id for _, node in place.take)
    provider = snapshot.providers[place.provider]
    room.take(provider, place.az, [launch.offer for launch in place.launch])


def _hopeless(request: NodeRequest, snapshot: Snapshot, room: Room) -> str:
    """Why no provider will ever serve this request; "" while one may.

    A provider that is closed for now, or declined for a while, may yet.
    """
    reasons = []
    for name in sorted(snapshot.providers):
        provider = snapshot.providers[name]
        if request.ask.provider not in (None, name) or provider.dropped:
            continue
        final = [d for d in request.declined if d.provider == name and d.until is None]
        if final:
            reasons.append(f"{name}: {final[-1].reason}")
            continue
        offers = offers_of(provider, request.ask.labels)
        if isinstance(offers, str):
            # A closed provider may not know yet what it offers, and what the cloud lacks now
            # may come: an image, a flavor, a network.
            if provider.closed or _may_come(provider, request.ask.labels):
                return ""
            reasons.append(f"{name}: {offers}")
        elif too_much := room.could_ever(provider, request.ask.labels):
            reasons.append(f"{name}: {too_much}")
        else:
            return ""
    if not reasons:
        return "no provider is configured for it"
    return "; ".join(reasons)


def _may_come(provider: ProviderView, labels: Sequence[str]) -> bool:
    return all(
        any(label in pool.offers or label in pool.missing for pool in provider.pools)
        for label in labels
    )


def _reserve_if_starving(
    request: NodeRequest, snapshot: Snapshot, room: Room, reserved: set[str]
) -> None:
    """Keep room for a request that has waited too long, on one provider (P9).

    What comes after it in the order of service fills around it; one reservation a provider.
    """
    if snapshot.now - request.created_at < snapshot.starve_after_s:
        return
    for name in sorted(snapshot.providers):
        provider = snapshot.providers[name]
        if name in reserved or provider.barred:
            continue
        if out_of_question(request, provider, snapshot.now):
            continue
        offers = offers_of(provider, request.ask.labels)
        if not isinstance(offers, str) and not room.could_ever(provider, request.ask.labels):
            # Always the same one, or what is kept today on one is given away on it tomorrow.
            reserved.add(name)
            room.reserve(provider, offers)
            return


def _make_room(request: NodeRequest, snapshot: Snapshot, room: Room) -> Iterator[Decision]:
    """Delete idle nodes in the way of a request, where that is enough for it to fit.

    Nodes kept ready are the least of all claims: without this a full shelf of one label
    would starve every other.
    """
    for name in sorted(snapshot.providers):
        provider = snapshot.providers[name]
        no_launch = provider.paused or provider.barred
        if no_launch or out_of_question(request, provider, snapshot.now):
            continue
        offers = offers_of(provider, request.ask.labels)
        if isinstance(offers, str) or not isinstance(
            room.choose_pools(provider, request.ask.labels, None, snapshot.now), str
        ):
            continue
        room.contended.add(provider.quota)
        idle = _idle_of(provider, snapshot, room)
        gone: list[Node] = []
        # What is being deleted already will do, if it is enough.
        while not room.fits_without(provider, offers, gone) and len(gone) < len(idle):
            gone.append(idle[len(gone)])
        if not room.fits_without(provider, offers, gone):
            continue
        for node in gone:
            room.taken.add(node.id)
            room.free(provider, node)
            yield Retire(node=node, reason=f"makes room for request {request.id}")
        return


def _idle_of(provider: ProviderView, snapshot: Snapshot, room: Room) -> list[Node]:
    """Idle nodes that draw on the provider's quota, the longest idle first."""
    sharing = {p.name for p in snapshot.providers.values() if p.quota == provider.quota}
    idle = [
        node
        for (owner, _), nodes in snapshot.idle.items()
        if owner in sharing
        for node in nodes.values()
        if node.id not in room.taken
    ]
    return sorted(idle, key=lambda n: (n.ready_at or 0.0, n.id))
