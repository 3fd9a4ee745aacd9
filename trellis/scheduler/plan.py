"""One pass of the scheduler: finish what is placed, place what waits, keep some ready.

The order is the policy: placed requests keep what they have, waiting ones are served by
priority and age, idle nodes come last. Goals in `design.md` §1 settle a dispute.
"""

import heapq
from collections.abc import Iterator, Sequence

from trellis.model.node import Node, NodeState
from trellis.model.quota import instances
from trellis.model.request import Declined, NodeRequest
from trellis.scheduler.answers import Fit
from trellis.scheduler.clearing import make_room
from trellis.scheduler.decisions import (
    Decision,
    Fail,
    Fulfil,
    GiveUp,
    Launch,
    Plan,
    Recheck,
    Refill,
    Retire,
    RunShort,
)
from trellis.scheduler.memory import Memory
from trellis.scheduler.placement import (
    Choice,
    Judged,
    best_place,
    judged,
    offers_of,
    place_of,
    size_of,
)
from trellis.scheduler.preference import Preference
from trellis.scheduler.probes import send_probes
from trellis.scheduler.ready import keep_ready
from trellis.scheduler.room import Room
from trellis.scheduler.snapshot import (
    PendingView,
    ProviderView,
    QueueShape,
    Snapshot,
)

DOUBT_PATIENCE_S = 15.0
"""After so long an unanswered create is worked around: its slot is filled anew."""
SHORT_PATIENCE_S = 120.0
"""So long a placed request waits for room for a replacement before it goes elsewhere."""
REFUSALS = 3
"""So many launches refused for quota or capacity in one place, then elsewhere (design §5b 7)."""
ELSEWHERE_S = 60.0
"""So long a place is out of the question after it ran short of room or capacity."""


def plan(snapshot: Snapshot, memory: Memory | None = None) -> Plan:
    """Decide what to do now. Pure: the same snapshot gives the same plan.

    Args:
        memory: what was found out by passes before, which makes this one cheaper and nothing
            else; it is added to.
    """
    room = Room(snapshot, Memory() if memory is None else memory)
    decisions: list[Decision] = list(_drain(snapshot, room))
    for pending in snapshot.pending:
        decisions.extend(_finish(pending, snapshot, room))
    preference = Preference(snapshot, room)
    waits = _serve_queues(snapshot, room, preference, decisions)
    decisions.extend(keep_ready(snapshot, room, preference))
    decisions.extend(send_probes(snapshot, room))
    decisions.extend(Retire(node=node, reason="its request is gone") for node in snapshot.orphans)
    return Plan(decisions=tuple(decisions), waits=waits, unserved=room.unserved or len(waits) > 0)


def _drain(snapshot: Snapshot, room: Room) -> Iterator[Decision]:
    """Let go of what is idle on providers that are being emptied."""
    for (owner, _), nodes in sorted(snapshot.idle.items()):
        provider = snapshot.providers.get(owner)
        for node in nodes.values() if provider is not None and provider.draining else ():
            room.use(node)
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
        many = f"{place.refusals} launches were refused, in doubt or taken back there"
        yield give_up(many, now + ELSEWHERE_S)
    elif provider.closed or provider.barred:
        yield give_up(provider.closed or provider.barred, now + ELSEWHERE_S)
    else:
        labels = [request.ask.labels[slot] for slot in empty]
        chosen = room.choose_pools(provider, labels, place.az)
        if not isinstance(chosen, str):
            own = room.claims.tenant_short(request.ask.tenant, size_of((), chosen))
            chosen = own or chosen
        if not isinstance(chosen, str):
            room.take(provider, place.az, chosen)
            room.claims.take(request.ask.tenant, size_of((), chosen))
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
            return
        room.unserved = True
        held = room.withheld(provider, labels, place.az)
        hopeless = held is not None and held.left_s > SHORT_PATIENCE_S
        # With nothing there yet, nothing is lost by going elsewhere at once.
        slow = room.has_no_turn(provider) and not pending.nodes
        if hopeless or slow:
            yield give_up(chosen, now + ELSEWHERE_S)
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
    snapshot: Snapshot, room: Room, preference: Preference, decisions: list[Decision]
) -> dict[QueueShape, dict[str, str]]:
    """Place waiting requests, the most urgent first; a queue whose first one waits, waits.

    Requests of one shape can go to the same places, so one refusal speaks for its queue and a
    pass costs the number of queues and of decisions, not the length of the backlog.
    """
    waits: dict[QueueShape, dict[str, str]] = {}
    order = room.claims.order
    heads = [(order(queue[0]), 0, shape) for shape, queue in snapshot.queues.items() if len(queue)]
    heapq.heapify(heads)
    reserved: set[str] = set()
    refused: dict[tuple[object, ...], dict[str, str]] = {}
    while heads:
        place, index, shape = heapq.heappop(heads)
        queue = snapshot.queues[shape]
        request = queue[index]
        if (now := order(request)) > place:
            # Its tenant has been given something since it took its place in the order.
            heapq.heappush(heads, (now, index, shape))
            continue
        hopeless = _hopeless(request, room)
        if hopeless:
            decisions.append(Fail(request=request, reason=hopeless))
        else:
            # Room only becomes less: what was refused one tenant is refused all without limits.
            alike = None if room.claims.is_limited(request.ask.tenant) else shape[:-1]
            known = refused.get(alike) if alike is not None else None
            found: Choice | dict[str, str] = known or {}
            if not found:
                providers = judged(request, snapshot, room)
                found = best_place(request, providers, snapshot, room, preference)
                if isinstance(found, dict):
                    decisions.extend(make_room(request, providers, snapshot, room))
                    if alike is not None:
                        refused[alike] = found
            if isinstance(found, dict):
                waits[shape] = found
                if snapshot.now - request.created_at >= snapshot.starve_after_s:
                    _keep_room(request, judged(request, snapshot, room), room, reserved)
                continue
            decisions.append(place_of(request, found, preference))
            _take(request, found.fit, snapshot, room)
        if index + 1 < len(queue):
            heapq.heappush(heads, (order(queue[index + 1]), index + 1, shape))
    return waits


def _take(request: NodeRequest, found: Fit, snapshot: Snapshot, room: Room) -> None:
    for _, node in found.take:
        room.use(node)
    room.take(snapshot.providers[found.provider], found.az, found.offers)
    room.claims.take(request.ask.tenant, found.size)


def _hopeless(request: NodeRequest, room: Room) -> str:
    """Why no provider will ever serve this request; "" while one may.

    A provider that is closed for now, or declined for a while, may yet.
    """
    labels, tenant = request.ask.labels, request.ask.tenant
    own = room.claims.tenant_never(tenant, instances(len(labels)))
    if own := own or room.claims.labels_never(labels):
        return own
    reasons = []
    for provider in room.providers:
        name = provider.name
        if request.ask.provider not in (None, name) or provider.dropped:
            continue
        final = [d for d in request.declined if d.provider == name and d.until is None]
        if final:
            reasons.append(f"{name}: {final[-1].reason}")
            continue
        offered = offers_of(provider, labels, room)
        if isinstance(offered, str):
            # A closed provider may not know yet what it offers, and what the cloud lacks now
            # may come: an image, a flavor, a network.
            if provider.closed or _may_come(provider, labels):
                return ""
            reasons.append(f"{name}: {offered}")
        elif too_much := room.could_ever(provider, labels, tenant):
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


def _keep_room(request: NodeRequest, providers: Judged, room: Room, reserved: set[str]) -> None:
    """Keep room for a request that has waited too long, on one provider (P9).

    What comes after it in the order of service fills around it; one reservation a provider.
    """
    labels, claims = request.ask.labels, room.claims
    size = instances(len(labels))
    short = claims.tenant_short(request.ask.tenant, size) or claims.labels_short(labels)
    claims.take(request.ask.tenant, size)
    claims.take_labels(labels)
    if short:
        return  # room that is kept for whom its own limits hold back serves nobody
    for provider, out in providers:
        if out or provider.name in reserved or provider.barred:
            continue
        if room.withheld(provider, labels) is not None:
            continue  # room that is kept while a breaker is open serves nobody
        offered = offers_of(provider, labels, room)
        if not isinstance(offered, str) and not room.could_ever(provider, labels):
            # Always the same one, or what is kept today on one is given away on it tomorrow.
            reserved.add(provider.name)
            room.reserve(provider, labels, offered.offers)
            return
