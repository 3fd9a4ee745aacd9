"""The state of everything at one moment, read off the records and a few counts."""

import bisect
import heapq
import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Final

from trellis.control.explain import explain_node, explain_request
from trellis.control.fleet import Fleet
from trellis.model.node import Node, NodeState
from trellis.model.overview import Mishap, SlowNode, Spread, WaitingRequest
from trellis.model.records import Change
from trellis.model.request import NodeRequest, RequestState
from trellis.model.status import Outlook
from trellis.scheduler.snapshot import QueueShape, queue_key, queue_shape

SAMPLES: Final = 1000
_TO_LEAVE: Final = frozenset(NodeState) - {NodeState.READY, NodeState.IN_USE, NodeState.GONE}
_WENT_WRONG: Final = frozenset({NodeState.FAILED, NodeState.ABORTED})


class Recent:
    """What happened lately, kept as commits say it; begins empty with each start.

    Attributes:
        launches: launches that ended since the start, by how.
        mishaps: the last launch that went wrong, by provider.
    """

    def __init__(self) -> None:
        self.launches: Counter[str] = Counter()
        self.mishaps: dict[str, Mishap] = {}
        self._waits: deque[float] = deque(maxlen=SAMPLES)
        self._boots: deque[float] = deque(maxlen=SAMPLES)

    def see(self, change: Change) -> None:
        """Take in one durable change."""
        before, after = change.before, change.after
        match after:
            case Node() if isinstance(before, Node) and before.state is NodeState.BUILDING:
                if after.state is not NodeState.BUILDING:
                    self._launched(after)
            case NodeRequest() if after.state is RequestState.FULFILLED:
                if isinstance(before, NodeRequest) and before.state is not after.state:
                    self._waits.append(after.state_at - after.created_at)
            case _:
                pass

    def _launched(self, node: Node) -> None:
        self.launches[node.state.value] += 1
        if node.state is NodeState.READY and node.ready_at is not None:
            self._boots.append(node.ready_at - node.created_at)
        elif node.state in _WENT_WRONG:
            self.mishaps[node.provider] = Mishap(
                at=node.state_at, node_id=node.id, reason=node.fault or node.state.value
            )

    def wait_s(self) -> Spread:
        """Seconds from request to fulfilment, of the last thousand."""
        return spread(self._waits)

    def boot_s(self) -> Spread:
        """Seconds from the decision to launch to ready, of the last thousand."""
        return spread(self._boots)


def spread(samples: Iterable[float]) -> Spread:
    """The nearest-rank percentiles of *samples*."""
    ranked = sorted(samples)

    def at(share: float) -> float | None:
        return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else None

    return Spread(count=len(ranked), p50=at(0.5), p95=at(0.95))


def waiting_longest(
    fleet: Fleet,
    waits: Mapping[QueueShape, Mapping[str, str]],
    outlook: Callable[[NodeRequest], Outlook],
    most: int,
) -> tuple[WaitingRequest, ...]:
    """The requests that wait longest, placed or not, oldest first, each with its reason.

    Args:
        waits: why the first request of each queue waits, by provider.
        outlook: foretells when a request will be ready.
    """
    oldest = heapq.nsmallest(
        most,
        chain(fleet.pending.values(), *fleet.queues.values()),
        key=lambda request: (request.created_at, request.id),
    )
    waiting = []
    for request in oldest:
        why = explain_request(request, fleet, waits, ())
        waiting.append(
            WaitingRequest(
                request=request,
                words=why.words,
                waits_for=why.waits_for,
                declined=why.declined,
                ahead=_ahead(request, fleet),
                estimate_s=outlook(request).estimate_s,
            )
        )
    return tuple(waiting)


def _ahead(request: NodeRequest, fleet: Fleet) -> int:
    queue = fleet.queues.get(queue_shape(request), [])
    return bisect.bisect_left(queue, queue_key(request), key=queue_key)


def slowest(fleet: Fleet, most: int) -> tuple[SlowNode, ...]:
    """The nodes that have been longest in a state they should leave, longest first.

    Those that people hold take up a fifth at most: they stay for days, and hide what is stuck.
    """
    moving = [n for n in fleet.nodes.values() if n.state in _TO_LEAVE or n.lost or n.given]
    held = [node for node in moving if node.state is NodeState.HOLD]
    others = [node for node in moving if node.state is not NodeState.HOLD]
    named = heapq.nsmallest(most // 5, held, key=_since)
    named += heapq.nsmallest(most - len(named), others, key=_since)
    nodes = sorted(named, key=_since)
    return tuple(SlowNode(node=node, words=explain_node(node, ()).words) for node in nodes)


def _since(node: Node) -> tuple[float, str]:
    return node.state_at, node.id


def counted(fleet: Fleet) -> dict[str, int]:
    """How many nodes there are by state."""
    total: Counter[str] = Counter()
    for states in fleet.provider_states.values():
        total.update(states)
    return {state: count for state, count in total.items() if count}
