"""The creates of one provider that are still to be sent: whether their turns come soon enough.

A cloud may let creates through slowly, or not at all for a while, as its rate limit wants it.
Who would wait there for long is better served elsewhere: nothing more is placed there than gets
its turn soon, and launches whose turn is far off are taken back, as nothing of them is in the
cloud yet. What is let in is expected to go within a minute, what is taken back within two at
the earliest: a request does not go to and fro.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import attrs
import structlog
import trio

from trellis.control.fleet import Fleet
from trellis.model.names import NodeId, RequestId
from trellis.model.node import Node, NodeState

log = structlog.get_logger()

LET_IN_S = 60.0
"""So soon the turn of a create has to be expected for its launch to be placed here."""
TAKE_BACK_S = 120.0
"""A launch whose turn is expected later than this is taken back; for a set, so much each node,
but for a pause that is as long."""
SLOW_S = 90.0
"""Once creates have waited so long in fact, nothing more is placed here, whatever is expected."""
WAITED_S = 180.0
"""So long a launch waits in fact before it is taken back; for a set, so much each node."""
FIRST_WAITED_S = 600.0
"""So long the first in the line waits: it is what shows that turns come again."""
LOOK_EVERY_S = 5.0


class Turns(Protocol):
    """What the rate limits of an account let through."""

    def create_delay_s(self) -> float:
        """Seconds until they let one more create through."""
        ...

    def creates_within(self, span_s: float) -> float:
        """About how many creates they let through in so many seconds."""
        ...

    def creates_in_line(self) -> int:
        """How many creates of the account wait, those of its other providers too."""
        ...


@attrs.frozen(kw_only=True)
class Admission:
    """What may be placed on a provider now, as far as turns go.

    Attributes:
        barred: why nothing may; "" if something may.
        turns_left: so many launches more get their turn soon; None is as many as are needed.
    """

    barred: str = ""
    turns_left: int | None = None


@attrs.frozen(kw_only=True)
class InLine:
    """A launch that waits for the turn of its create.

    Attributes:
        waited_s: so long it has stood in the line; one whose create was refused comes again,
            and what it waited for elsewhere in between does not count.
        request_id: whose it is, if anybody's.
        size: how many nodes that request has.
    """

    node_id: NodeId
    waited_s: float
    request_id: RequestId | None = None
    size: int = 1


def admission(*, delay_s: float, soon: float, unsent: int, waited_s: float) -> Admission:
    """Decide what may be placed on a provider.

    Args:
        delay_s: until a turn comes for one who would be alone in the line.
        soon: turns that come within `LET_IN_S`.
        unsent: launches of the account whose create is still to be sent.
        waited_s: how long the one that waits longest has waited.
    """
    if delay_s > LET_IN_S:
        return Admission(barred=f"its rate limit lets no create through for {_about(delay_s)}")
    if waited_s > SLOW_S:
        return Admission(barred=f"creates have waited for their turn for {_about(waited_s)} there")
    if soon == float("inf"):
        return Admission()
    # Who would be alone has its turn soon: however slow the cloud, one at a time can go.
    return Admission(turns_left=max(0, max(1, int(soon)) - unsent))


def to_take_back(
    line: Sequence[InLine], *, in_line: int, within: Callable[[float], float]
) -> dict[NodeId, str]:
    """Whose create is not to be waited for any longer, and why; sets go as a whole.

    Args:
        line: those of one provider, in the order of their turns.
        in_line: how many wait at the account, all its providers together.
        within: how many turns come within so many seconds at the account.
    """
    share = len(line) / max(in_line, len(line), 1)
    late: dict[NodeId, str] = {}
    requests: dict[RequestId, str] = {}
    for place, launch in enumerate(line):
        why = _too_late(launch, place, share, within)
        if why:
            late[launch.node_id] = why
            if launch.request_id is not None:
                requests[launch.request_id] = why
    for launch in line:
        if launch.request_id in requests:
            late.setdefault(launch.node_id, requests[launch.request_id])
    return late


def _too_late(launch: InLine, place: int, share: float, within: Callable[[float], float]) -> str:
    # A set is given time for its many turns, but not for a pause in which none comes at all.
    horizon_s = TAKE_BACK_S * (launch.size if within(TAKE_BACK_S) > 0.0 else 1)
    if within(horizon_s) * share < place + 1:
        return f"the turn of its create would come in {_about(horizon_s)} at the earliest"
    most_s = FIRST_WAITED_S if place == 0 else WAITED_S * launch.size
    if launch.waited_s > most_s:
        return f"its create has waited for its turn for {_about(launch.waited_s)}"
    return ""


def _about(seconds: float) -> str:
    """Coarse on purpose: words that change with each second are news to the planner."""
    return f"{round(seconds, -1):.0f} s" if seconds < 120.0 else f"{seconds / 60.0:.0f} min"


class CreateLine:
    """The launches of one provider whose create is still to be sent.

    Args:
        provider: its name.
        fleet: knows its nodes and whose they are.
        turns: of its account; None while it is not connected.
        taken_back: told when some are to end their wait.
    """

    def __init__(
        self,
        provider: str,
        *,
        fleet: Fleet,
        turns: Callable[[], Turns | None],
        taken_back: Callable[[], None],
    ) -> None:
        self._provider, self._fleet = provider, fleet
        self._turns, self._taken_back = turns, taken_back
        self._unsent: set[NodeId] = set()
        self._line: dict[NodeId, float] = {}  # since when, all its waits as one, as turns come
        self._waited_s: dict[NodeId, float] = {}  # before it came this time
        self._late: dict[NodeId, str] = {}
        self._somebody = trio.Event()
        for node_id, node in fleet.by_provider.get(provider, {}).items():
            self.note(node_id, node)

    def note(self, node_id: NodeId, node: Node | None) -> None:
        """Take notice of a node as it is now; None once it is gone."""
        building = node is not None and node.state is NodeState.BUILDING and not node.set_apart
        if node is not None and building and node.server is None:
            self._unsent.add(node_id)
            return
        self._unsent.discard(node_id)
        if node is None or not building or node.external_id is not None:
            self._waited_s.pop(node_id, None)
            self._late.pop(node_id, None)

    @contextlib.contextmanager
    def waiting(self, node_id: NodeId) -> Iterator[None]:
        """Stand in the line while waiting for the turn of a create."""
        self._line[node_id] = trio.current_time() - self._waited_s.get(node_id, 0.0)
        self._somebody.set()
        try:
            yield
        finally:
            waited_s = trio.current_time() - self._line.pop(node_id)
            if node_id in self._unsent:  # of one that is over nothing is remembered
                self._waited_s[node_id] = waited_s

    def against(self, node_id: NodeId) -> str:
        """Why a launch is taken back; "" if it is not."""
        return self._late.get(node_id, "")

    def admission(self) -> Admission:
        """What may be placed on the provider now."""
        turns = self._turns()
        if turns is None:
            return Admission()
        now = trio.current_time()
        others = max(0, turns.creates_in_line() - len(self._line))
        return admission(
            delay_s=turns.create_delay_s(),
            soon=turns.creates_within(LET_IN_S),
            unsent=len(self._unsent) + others,
            waited_s=max((now - since for since in self._line.values()), default=0.0),
        )

    async def run(self) -> None:
        """Take back whose turn is too far off, until cancelled."""
        while True:
            if not self._line:
                self._somebody = trio.Event()
                await self._somebody.wait()
            await trio.sleep(LOOK_EVERY_S)
            self._look()

    def _look(self) -> None:
        turns = self._turns()
        if turns is None or not self._line:
            return
        now = trio.current_time()
        line = [
            self._in_line(node_id, now - since)
            for node_id, since in self._line.items()
            if self._fleet.is_building(node_id)  # one that was ended leaves by itself
        ]
        found = to_take_back(line, in_line=turns.creates_in_line(), within=turns.creates_within)
        if found:
            self._late.update(found)
            why = next(iter(found.values()))
            log.info("creates_taken_back", provider=self._provider, nodes=len(found), why=why)
            self._taken_back()

    def _in_line(self, node_id: NodeId, waited_s: float) -> InLine:
        node = self._fleet.nodes.get(node_id)
        request_id = node.allocated_to if node is not None else None
        request = self._fleet.pending.get(request_id) if request_id is not None else None
        return InLine(
            node_id=node_id,
            waited_s=waited_s,
            request_id=request_id,
            size=len(request.ask.labels) if request is not None else 1,
        )
