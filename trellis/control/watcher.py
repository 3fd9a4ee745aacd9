"""One server list for all who wait: nobody asks the cloud about a single machine.

Between full lists only what changed is asked for (`changes-since`). The pace follows what is
expected: nobody waits, no lists; something is due, a list soon.
"""

import math
from collections.abc import Callable

import attrs
import structlog
import trio

from trellis.control.health import PATIENCE, PROJECT_CHANGED, ProviderHealth
from trellis.control.nudge import Nudge
from trellis.errors import CloudError, RetryLaterError
from trellis.model.names import NodeId
from trellis.model.node import Home
from trellis.spi.provider import Instance, InstanceState, Listing, Provider

log = structlog.get_logger()

FULL_EVERY_S = 300.0
SHORTEST_S = 0.6
LONGEST_S = 30.0
FIRST_LOOK = 0.3
"""Share of the usual time before which nothing is expected."""
LOOK_SHARE = 0.04
"""Pause between looks as a share of the time waited so far, where many share a look."""
ALONE_SHARE, ALONE_S = 0.2, 2.0
"""The same share and the shortest pause for one who waits alone, and pays each look alone."""
PROJECT_CHANGED_S = 10.0
LIST_SHARE, SPARING_MOST_S = 0.05, 5.0
"""Share of the calls that a cloud is known to take which lists may be, and the longest pause that
comes of it: nothing can become ready faster than creates may be sent."""
LOOK_ONCE_S = 60.0
"""After so long without a row, one machine is asked for by itself (a list may skip a cell)."""


@attrs.define(eq=False)
class _Waiter:
    node_id: NodeId
    external_id: str | None
    accept: Callable[[Instance], bool]
    since: float
    found: trio.Event = attrs.field(factory=trio.Event)
    answer: Instance | None = None


@attrs.define
class _Expectation:
    """How long a thing of this kind takes, learnt from those that came."""

    mean_s: float
    seen: int = 0

    def learn(self, took_s: float) -> None:
        self.seen += 1
        self.mean_s += (took_s - self.mean_s) / min(self.seen, 50)


class Watcher:
    """Reads the server list of one provider for all who wait for something in it.

    Args:
        provider: whose list.
        deployment: rows with another deployment's tag are nobody's here.
        health: told of each list that came or failed.
        foreign: why a project and endpoint are not those of our records; "" if they are.
        on_attached: called for each row with volumes, before anybody else hears of it.
        on_row: called for each row that nobody waits for: of ours, or of anybody's if gone.
        on_full: called with each full list, the only kind the sweep may use.
        calls_per_s: how many calls in a second the cloud takes; inf if that is not known.

    Attributes:
        listed: set once the first full list has been read.
    """

    def __init__(
        self,
        provider: Provider,
        *,
        deployment: str,
        health: ProviderHealth,
        foreign: Callable[[Home], str],
        on_attached: Callable[[Instance], None],
        on_row: Callable[[Instance], None],
        on_full: Callable[[Listing], None],
        calls_per_s: Callable[[], float] = lambda: math.inf,
    ) -> None:
        self._provider, self._deployment, self._health = provider, deployment, health
        self._foreign, self._on_row, self._on_full = foreign, on_row, on_full
        self._on_attached, self._calls_per_s = on_attached, calls_per_s
        self._waiting: dict[NodeId, _Waiter] = {}
        self._by_external: dict[str, _Waiter] = {}
        self._newest: str | None = None
        self._home: Home | None = None
        self._wake = Nudge()
        self._full_wanted = True
        self._early: dict[str, Instance] | None = {}
        self._early_until = math.inf
        self._missed_until = -math.inf
        self._lasts = {"appear": _Expectation(10.0), "go": _Expectation(2.0)}
        self.lists = 0
        self.listed = trio.Event()

    async def wait(
        self,
        node_id: NodeId,
        external_id: str | None,
        accept: Callable[[Instance], bool],
        *,
        kind: str = "appear",
    ) -> Instance:
        """Wait for a row of this node that *accept* takes, and return it.

        Waits for ever: the caller sets the deadline. Cancellation leaves nothing behind.
        """
        waiter = _Waiter(node_id, external_id, accept, trio.current_time())
        self._waiting[node_id] = waiter
        if external_id is not None:
            self._by_external[external_id] = waiter
            if self._early and (row := self._early.pop(external_id, None)) is not None:
                self._offer(waiter, row)
        self._wake()
        try:
            while waiter.answer is None:
                with trio.move_on_after(LOOK_ONCE_S):
                    await waiter.found.wait()
                if waiter.answer is None and external_id is not None:
                    await self._look_once(waiter, external_id)
        finally:
            del self._waiting[node_id]
            if external_id is not None:
                self._by_external.pop(external_id, None)
        self._lasts[kind].learn(trio.current_time() - waiter.since)
        return waiter.answer

    async def _look_once(self, waiter: _Waiter, external_id: str) -> None:
        try:
            row = await self._provider.get(external_id)
            at_home = await self._provider.home() == self._home
        except CloudError as error:
            self._health.failed(error)
        else:
            if at_home:
                self._offer(waiter, row)
            now = trio.current_time()
            if waiter.answer is not None and now >= self._missed_until:
                # Lists of changes have missed it: a whole one tells from where to ask on.
                self._missed_until = now + LOOK_ONCE_S
                self.ask_for_full()

    def ask_for_full(self) -> None:
        """Have the next list be a full one, soon."""
        self._full_wanted = True
        self._wake()

    async def run(self) -> None:
        """List as long as the provider lives."""
        failures = 0
        next_full = trio.current_time()
        while True:
            full = self._full_wanted or trio.current_time() >= next_full or self._newest is None
            try:
                listing = await self._provider.list(None if full else self._newest)
            except CloudError as error:
                # One failed list means nothing but another try (design §9).
                failures += 1
                self._health.failed(error)
                if failures >= PATIENCE:
                    self._health.blind(error)
                asked = error.after_s if isinstance(error, RetryLaterError) else None
                await trio.sleep(max(asked or 0.0, min(30.0, 2.0 ** min(failures, 5))))
                continue
            failures = 0
            if listing.home != self._home:
                # Another project under the same name: its silence proves nothing (rule 2).
                if foreign := self._foreign(listing.home):
                    self._health.closed_for(foreign, kind=PROJECT_CHANGED)
                    await trio.sleep(PROJECT_CHANGED_S)
                    continue
                self._home = listing.home
            self.lists += 1
            self._health.works()
            self._newest = listing.newest or self._newest
            for row in listing.instances:
                self._take(row)
            if trio.current_time() > self._early_until:
                self._early = None
            if listing.full:
                if not self.listed.is_set():
                    self._early_until = trio.current_time() + LOOK_ONCE_S
                self.listed.set()
                self._full_wanted = False
                next_full = trio.current_time() + FULL_EVERY_S
                self._on_full(listing)
            await self._rest(next_full)

    async def _rest(self, next_full: float) -> None:
        """Sleep until a look is worth a call; who comes to wait meanwhile is taken into account."""
        began = trio.current_time()
        # What has only just been asked for cannot be there yet.
        await trio.sleep(SHORTEST_S)
        while not self._full_wanted:
            until = min(next_full, began + self._pace(began))
            if until <= trio.current_time():
                return
            await self._wake.wait(at_most=until - trio.current_time())

    def _pace(self, began: float) -> float:
        """Seconds to the next list: in proportion to how long the most impatient has waited.

        Nothing is due before a part of the usual time is over; what is long overdue is looked
        for ever more seldom. What a list adds to a wait is thus a small share of that wait. A
        list costs the cloud a call however many wait for it: few who wait are looked for less
        often than many, so that a node costs about the same number of calls.

        Args:
            began: when the last list was there, from which the seconds count.
        """
        if not self._waiting:
            return math.inf
        now = trio.current_time()
        soonest = LONGEST_S
        crowd = math.sqrt(len(self._waiting))
        share = max(LOOK_SHARE, ALONE_SHARE / crowd)
        sparing_s = min(SPARING_MOST_S, 1.0 / (LIST_SHARE * self._calls_per_s()))
        shortest_s = max(SHORTEST_S, ALONE_S / crowd, sparing_s)
        for waiter in self._waiting.values():
            kind = "go" if waiter.accept is is_gone else "appear"
            age_s = now - waiter.since
            due_s = FIRST_LOOK * self._lasts[kind].mean_s - age_s
            # The share is that of the age it will have by then.
            pause_s = due_s if due_s > 0 else (began - waiter.since) * share / (1.0 - share)
            if pause_s <= shortest_s:
                return shortest_s
            soonest = min(soonest, pause_s)
        return soonest

    def _take(self, row: Instance) -> None:
        if row.state is InstanceState.UNKNOWN:
            return  # no information, never a verdict (rule 3)
        if row.volumes:
            self._on_attached(row)
        waiter = self._by_external.get(row.external_id)
        ours = row.tag is not None and row.tag.deployment == self._deployment
        if waiter is None and ours and row.tag is not None:
            candidate = self._waiting.get(row.tag.node_id)
            # One that knows its server's id is not served by another server of its tag.
            if candidate is not None and candidate.external_id is None:
                waiter = candidate
        if waiter is not None:
            self._offer(waiter, row)
        elif ours or row.state is InstanceState.GONE:
            # A launch that goes on after a restart begins to wait when the first list has been
            # read, and no later one shows what had become active before.
            if self._early is not None:
                self._early[row.external_id] = row
            # Nova forgets the tag of what it has deleted: those rows are known by their id only.
            self._on_row(row)

    def _offer(self, waiter: _Waiter, row: Instance) -> None:
        if waiter.answer is None and waiter.accept(row):
            waiter.answer = row
            waiter.found.set()


def is_gone(row: Instance) -> bool:
    """Accept only the proof that it is gone."""
    return row.state is InstanceState.GONE
