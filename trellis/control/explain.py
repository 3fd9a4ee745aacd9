"""Why a request waits or a node is as it is, in words and as data (P8)."""

import bisect
from collections.abc import Mapping

from trellis.control.fleet import Fleet
from trellis.model.asked import for_whom
from trellis.model.node import Node, NodeState
from trellis.model.records import Event
from trellis.model.request import Declined, NodeRequest, RequestState
from trellis.model.status import Explanation
from trellis.scheduler.snapshot import QueueShape, queue_key, queue_shape

MOST_NAMED = 5


def explain_request(
    request: NodeRequest,
    fleet: Fleet,
    waits: Mapping[QueueShape, Mapping[str, str]],
    history: tuple[Event, ...],
) -> Explanation:
    """Say what a request waits for.

    Args:
        waits: why the first request of each queue waits, by provider.
        history: its events, oldest first.
    """
    declined = request.declined
    match request.state:
        case RequestState.REQUESTED:
            reasons = waits.get(queue_shape(request), {})
            declined = (
                *declined,
                *(
                    Declined(provider=name, reason=reason, at=request.state_at)
                    for name, reason in reasons.items()
                    if name not in {d.provider for d in declined}
                ),
            )
            waits_for, words = "a provider with room", waiting_words(request, fleet, reasons)
        case RequestState.PENDING:
            waits_for, words = pending_words(request, fleet)
        case RequestState.FAILED:
            waits_for, words = "", f"It failed: {request.reason}."
        case RequestState.FULFILLED:
            waits_for, words = _fulfilled_words(request, fleet)
        case RequestState.CANCELLED:
            waits_for, words = "", "It was cancelled."
        case RequestState.CLOSED:
            waits_for, words = "", "Its lease has ended."
    return Explanation(
        subject=f"request {request.id}",
        state=request.state.value,
        since=request.state_at,
        words=words,
        waits_for=waits_for,
        declined=declined,
        history=history,
    )


def waiting_words(request: NodeRequest, fleet: Fleet, reasons: Mapping[str, str]) -> str:
    """Why a request has no place yet: those ahead of it, and why no provider takes the first."""
    queue = fleet.queues.get(queue_shape(request), [])
    ahead = bisect.bisect_left(queue, queue_key(request), key=queue_key)
    place = f"{ahead} like it are ahead of it. " if ahead else ""
    if not reasons:
        return f"{place}It has not been looked at yet."
    return place + by_reason(reasons) + "."


def by_reason(reasons: Mapping[str, str]) -> str:
    """Reasons by provider in words; what holds for several is said once."""
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    return "; ".join(f"{', '.join(those)}: {reason}" for reason, those in names.items())


def pending_words(request: NodeRequest, fleet: Fleet) -> tuple[str, str]:
    """What a placed request waits for, in brief and in words."""
    place = request.placement
    assert place is not None
    where = place.provider + (f", zone {place.az}" if place.az else "")
    nodes = fleet.slots.get(request.id, {}).values()
    building = [node for node in nodes if node.state is NodeState.BUILDING]
    ready = sum(node.state is NodeState.READY for node in nodes)
    missing = len(request.ask.labels) - ready - len(building)
    parts = [f"It is placed on {where}: {ready} of {len(request.ask.labels)} nodes are ready"]
    parts += [f"node {node.id} {_step(node)}" for node in building[:MOST_NAMED]]
    if len(building) > MOST_NAMED:
        parts.append(f"{len(building) - MOST_NAMED} more are on their way")
    if missing:
        parts.append(f"{missing} wait for room to be launched")
    if place.failures:
        parts.append(f"{place.failures} launches failed there")
    return "its nodes to be ready" if building else "room", "; ".join(parts) + "."


def _fulfilled_words(request: NodeRequest, fleet: Fleet) -> tuple[str, str]:
    """What a fulfilled request waits for, in brief and in words."""
    source, requestor = request.ask.source, request.ask.requestor
    nodes = [node for x in request.nodes if (node := fleet.nodes.get(x)) is not None]
    given = [node.id for node in nodes if node.given and node.lease_id == request.lease_id]
    if source is None or not given:
        return "", "Its nodes were handed out; the lease runs."
    named = ", ".join(given[:MOST_NAMED]) + (", …" if len(given) > MOST_NAMED else "")
    return (
        f"{requestor} to take its nodes",
        f"It is fulfilled; {source} has not told yet that these nodes were taken: {named}.",
    )


def explain_node(
    node: Node, history: tuple[Event, ...], request: NodeRequest | None = None
) -> Explanation:
    """Say what a node waits for.

    Args:
        request: that it is allocated to, if it is.
    """
    of_request = "its requestor to take it" if node.given else "the rest of its request"
    waits_for = {
        NodeState.BUILDING: "the cloud",
        NodeState.READY: "a request" if node.allocated_to is None else of_request,
        NodeState.IN_USE: "the end of its lease",
        NodeState.HOLD: f"{node.held_by} to let go",
        NodeState.DELETING: "the cloud to show that it is gone",
    }.get(node.state, "")
    match node.state:
        case NodeState.BUILDING:
            words = f"It {_step(node)}."
        case NodeState.HOLD:
            words = f"It is held by {node.held_by}: {node.hold_reason}."
        case NodeState.READY if node.given:
            words = f"It is ready, and given to request {node.allocated_to}."
        case NodeState.DELETING:
            left = ", ".join(
                f"{r.kind.value} {r.external_id or '(in doubt)'}"
                for r in node.resources
                if r.exists
            )
            words = f"It is being deleted; still to be proved gone: {left or 'nothing'}."
        case _:
            words = f"It is {node.state.value}."
    if request is not None and (whom := for_whom(request.ask)):
        words += f" It is for {whom} (request {request.id})."
    if node.fault:
        words += f" Reason: {node.fault}."
    if node.lost:
        words += " It died under its lease."
    if not node.login.host_key_checking:
        words += " Its host keys are NOT checked: host-key-checking is off for its label."
    return Explanation(
        subject=f"node {node.id}",
        state=node.state.value,
        since=node.state_at,
        words=words,
        waits_for=waits_for,
        declined=(),
        history=history,
        console=node.console or "",
    )


def _step(node: Node) -> str:
    """Which step of its launch a building node is at."""
    server = node.server
    if server is None:
        return "waits for its turn to be created"
    if server.in_doubt:
        return "is in doubt: its create was not answered"
    if node.active_at is None:
        return f"waits for server {server.external_id} to become active"
    if node.addresses is None:
        return "waits for an address"
    if node.wants_public:
        return "waits for a floating IP"
    return f"waits to be reachable at {node.addresses.interface_ip}"
