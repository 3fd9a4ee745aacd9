"""Alarms by age (P4): what stays for long where it should move on is told, with its reason."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from itertools import chain
from typing import Final

import structlog
import trio

from trellis.control.explain import explain_node, explain_request
from trellis.control.fleet import Fleet
from trellis.control.policy import InForce
from trellis.model.node import Node, NodeState
from trellis.model.request import NodeRequest
from trellis.scheduler.snapshot import QueueShape

log = structlog.get_logger()

LOOK_EVERY_S: Final = 60.0
MOST_LINES: Final = 20
"""Most lines in the log at one look: a cloud that is down for long makes thousands overdue."""

Waits = Mapping[QueueShape, Mapping[str, str]]

# Those ready and leased are where they belong, and a hold ends by a person's word or max-hold-age.
_TO_LEAVE: Final = frozenset(NodeState) - {
    NodeState.READY,
    NodeState.IN_USE,
    NodeState.HOLD,
    NodeState.GONE,
}


def overdue(fleet: Fleet, before: float) -> Iterator[NodeRequest | Node]:
    """The requests not served and the nodes that should move on, unchanged from *before* (UTC)."""
    for request in chain(fleet.pending.values(), *fleet.queues.values()):
        if request.created_at < before:
            yield request
    for node in fleet.nodes.values():
        # Those set apart wait for a person, who has a notice of their own.
        moves_on = (node.state in _TO_LEAVE or node.given) and not node.set_apart
        if moves_on and node.state_at < before:
            yield node


class Overseer:
    """Looks each minute for what is older than ``alarm-age``, and says so.

    Each is a line in the log when it is found, all of a kind together are a notice (in
    `trellis top` and on the status page), and their numbers are a metric.

    Args:
        waits: why the first request of each queue waits, by provider, at the moment.
        notices: what is wrong with the daemon, by what it is about.

    Attributes:
        requests: those found at the last look, by id.
        nodes: the same for nodes.
    """

    def __init__(
        self,
        fleet: Fleet,
        in_force: InForce,
        wall: Callable[[], float],
        waits: Callable[[], Waits],
        notices: MutableMapping[str, str],
    ) -> None:
        self._fleet, self._in_force, self._wall = fleet, in_force, wall
        self._waits, self._notices = waits, notices
        self.requests: Mapping[str, NodeRequest] = {}
        self.nodes: Mapping[str, Node] = {}

    def counts(self) -> Mapping[str, int]:
        """How many were overdue at the last look, by kind: ``request`` or ``node``."""
        return {"request": len(self.requests), "node": len(self.nodes)}

    async def run(self) -> None:
        """Look each minute, until cancelled."""
        while True:
            self.look()
            await trio.sleep(LOOK_EVERY_S)

    def look(self) -> None:
        """Find what is overdue, and say what was not when it was last looked for."""
        age_s = self._in_force.policy.alarm_age_s
        found = tuple(overdue(self._fleet, self._wall() - age_s)) if age_s else ()
        known: dict[str, NodeRequest | Node] = {**self.requests, **self.nodes}
        self._log([x for x in found if x.id not in known or known[x.id].state is not x.state])
        self.requests = {x.id: x for x in found if isinstance(x, NodeRequest)}
        self.nodes = {x.id: x for x in found if isinstance(x, Node)}
        self._notice("request", self.requests)
        self._notice("node", self.nodes)

    def _log(self, new: list[NodeRequest | Node]) -> None:
        for one in sorted(new, key=_since)[:MOST_LINES]:
            log.warning(
                "overdue",
                **{_kind(one): one.id},
                state=one.state.value,
                for_min=self._minutes(one),
                why=self._why(one),
            )
        if len(new) > MOST_LINES:
            log.warning("more_overdue", more=len(new) - MOST_LINES)

    def _notice(self, kind: str, found: Mapping[str, NodeRequest | Node]) -> None:
        name = f"overdue {kind}s"
        if not found:
            self._notices.pop(name, None)
            return
        oldest = min(found.values(), key=_since)
        many = f"1 {kind} is" if len(found) == 1 else f"{len(found)} {kind}s are"
        self._notices[name] = (
            f"{many} overdue; the oldest, {oldest.id}, is {oldest.state.value} after "
            f"{self._minutes(oldest)} min: {self._why(oldest)} "
            f"More by 'trellis {kind} explain {oldest.id}'"
        )

    def _minutes(self, one: NodeRequest | Node) -> int:
        return round((self._wall() - _since(one)[0]) / 60)

    def _why(self, one: NodeRequest | Node) -> str:
        if isinstance(one, Node):
            return explain_node(one, ()).words
        return explain_request(one, self._fleet, self._waits(), ()).words


def _kind(one: NodeRequest | Node) -> str:
    return "node" if isinstance(one, Node) else "request"


def _since(one: NodeRequest | Node) -> tuple[float, str]:
    return (one.state_at if isinstance(one, Node) else one.created_at), one.id
