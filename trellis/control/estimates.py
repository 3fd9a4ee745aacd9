"""When a request will be ready, from how long the launches before it took."""

import bisect
from collections import deque
from collections.abc import Iterable, Mapping

from trellis.control.explain import pending_words, waiting_words
from trellis.control.fleet import Fleet
from trellis.model.node import Node, NodeState
from trellis.model.records import Change, Record
from trellis.model.request import NodeRequest, RequestState
from trellis.model.status import Outlook
from trellis.scheduler.snapshot import QueueShape, queue_shape

KEPT = 100
"""So many launches of a provider and label are remembered: an hour of a busy label."""
FEWEST = 3
"""From fewer launches than this nothing is foretold."""

NOTHING_TO_SAY = Outlook(words="", estimate_s=None, basis="")


class Estimates:
    """Remembers how long the latest launches took, by provider and label, and foretells others.

    A launch is measured from the decision to make the node, which is when its request is placed,
    until it is ready: the waits for a turn and for an address are in it.
    """

    def __init__(self) -> None:
        self._took: dict[tuple[str, str], deque[float]] = {}
        self._sorted: dict[tuple[str, str], list[float]] = {}

    def load(self, records: Iterable[Record]) -> None:
        """Take in the nodes that the store holds at the start."""
        nodes = [x for x in records if isinstance(x, Node) and x.ready_at is not None]
        for node in sorted(nodes, key=lambda node: node.ready_at or 0.0):
            self._see(node)

    def see(self, change: Change) -> None:
        """Take in one durable change."""
        match change.before, change.after:
            case Node(state=NodeState.BUILDING), Node(state=NodeState.READY) as ready:
                self._see(ready)
            case _:
                pass

    def _see(self, node: Node) -> None:
        if node.ready_at is not None:
            key = node.provider, node.label
            self._took.setdefault(key, deque(maxlen=KEPT)).append(node.ready_at - node.created_at)
            self._sorted.pop(key, None)

    def outlook(
        self,
        request: NodeRequest,
        fleet: Fleet,
        waits: Mapping[QueueShape, Mapping[str, str]],
        now: float,
    ) -> Outlook:
        """Say what a request waits for and when it may be ready; nothing if it waits no more.

        Costs no more than the request has nodes, however many requests wait.

        Args:
            waits: why the first request of each queue waits, by provider.
            now: UTC seconds.
        """
        match request.state:
            case RequestState.REQUESTED:
                words = waiting_words(request, fleet, waits.get(queue_shape(request), {}))
                return Outlook(
                    words=words,
                    estimate_s=None,
                    basis="it has no place yet, and nobody knows when one is free.",
                )
            case RequestState.PENDING:
                words = pending_words(request, fleet)[1]
                estimate_s, basis = self._pending(request, fleet, now)
                return Outlook(words=words, estimate_s=estimate_s, basis=basis)
            case _:
                return NOTHING_TO_SAY

    def _pending(self, request: NodeRequest, fleet: Fleet, now: float) -> tuple[float | None, str]:
        """Seconds until the last of its nodes is ready, and what that is taken from."""
        nodes = fleet.slots.get(request.id, {}).values()
        building = [node for node in nodes if node.state is NodeState.BUILDING]
        missing = len(request.ask.labels) - len(nodes)
        if missing > 0:
            of = f"{missing} of its {len(request.ask.labels)} nodes"
            return None, f"{of} must wait for room, and nobody knows how long."
        if not building:
            return 0.0, "all its nodes are ready."
        # The last of n is ready in the middle of all cases when each of them is with this chance.
        share = 0.5 ** (1 / len(building))
        latest, basis = 0.0, ""
        for node in building:
            took = self._in_order((node.provider, node.label))
            if len(took) < FEWEST:
                known = "no launch" if not took else f"only {len(took)} of the launches"
                return None, f"{known} of {node.label} at {node.provider} has been measured yet."
            elapsed = now - node.created_at
            longer = took[bisect.bisect_right(took, elapsed) :]
            if not longer:
                return None, (
                    f"node {node.id} takes longer than each of the last {len(took)} launches of "
                    f"{node.label} at {node.provider} did (at most {took[-1]:.0f} s)."
                )
            left = _quantile(longer, share) - elapsed
            if left >= latest:
                latest = left
                basis = (
                    f"the last {len(took)} launches of {node.label} at {node.provider} took "
                    f"{_quantile(took, 0.5):.0f} s in the middle, nine of ten at most "
                    f"{_quantile(took, 0.9):.0f} s."
                )
        return latest, basis

    def _in_order(self, key: tuple[str, str]) -> list[float]:
        if key not in self._sorted:
            self._sorted[key] = sorted(self._took.get(key, ()))
        return self._sorted[key]


def _quantile(ordered: list[float], share: float) -> float:
    """The value that this share of them does not exceed, between two of them where it falls so."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
