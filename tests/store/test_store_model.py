"""The store against a plain dict, through commits, crashes and reopenings in any order."""

import json
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_builders import WallClock, a_node

from trellis.errors import FencedError
from trellis.model.names import node_id
from trellis.model.node import Node
from trellis.model.records import Change
from trellis.store.log import Log
from trellis.store.simulated import SimulatedLog
from trellis.store.sqlite import SqliteLog
from trellis.store.store import Store

State = dict[str, str]
Write = tuple[int, str]
"""Which of six nodes, and what happens to it: set, archive."""

WRITES = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from(["set", "set", "archive"])), min_size=1, max_size=4
)
BURST = st.lists(WRITES, min_size=1, max_size=5)
"""Commits staged in one moment."""

LIFE = st.lists(st.tuples(BURST, st.floats(0.0, 3.0)), max_size=4)
"""One incarnation: bursts, and the seconds after each of them; a sync takes one to three."""


class Model:
    """What was staged in order, and how much of it was acknowledged."""

    def __init__(self) -> None:
        self.states: list[State] = [{}]
        self.gone: list[State] = [{}]
        self.acknowledged = 0
        self.serial = 0

    def changes(self, store: Store, writes: list[Write]) -> list[Change]:
        """Turn writes into changes of the heads, and note what they lead to."""
        state, gone = dict(self.states[-1]), dict(self.gone[-1])
        changes = []
        for number, action in writes:
            self.serial += 1
            record_id = node_id(number)
            last = [c for c in changes if c.after.id == record_id]
            if last:
                before = None if last[-1].archive else last[-1].after
            else:
                before = store.head(Node, record_id)
                assert self.states[-1].get(record_id) == (before and before.hostname)
            after = a_node(number, hostname=str(self.serial))
            if action == "archive":
                state.pop(record_id, None)
                gone[record_id] = after.hostname
            else:
                state[record_id] = after.hostname
            changes.append(Change(before, after, archive=action == "archive", why="step"))
        self.states.append(state)
        self.gone.append(gone)
        return changes

    def survived(self, revision: int) -> None:
        """The log holds this many commits: those behind them were lost and never were."""
        assert self.acknowledged <= revision < len(self.states)
        del self.states[revision + 1 :]
        del self.gone[revision + 1 :]
        self.acknowledged = revision

    async def check(self, store: Store) -> None:
        """The store holds exactly what its revision says."""
        # The store's own first commit, its meta record, is revision 1.
        at = store.revision - 1
        assert self.states[at] == {n.id: n.hostname for n in store.all(Node).values()}
        for number in range(1, 7):
            archived = await store.history(Node, node_id(number))
            assert self.gone[at].get(node_id(number)) == (archived and archived.hostname)


async def live(
    model: Model, log: Log, life: list, crash: Callable[[], None] | None, lost: int = 0
) -> None:
    """One incarnation, which finds so many commits lost; crashes at its end, or closes."""
    async with Store.open(log, deployment="ci", wall=WallClock()) as store:
        assert lost == store.lost_commits
        model.survived(store.revision - 1)
        await model.check(store)
        events = await store.events_about(node_id(1), limit=10_000)
        assert sorted({e.id for e in events}) == [e.id for e in events]
        async with trio.open_nursery() as nursery:
            for burst, pause_s in life:
                for writes in burst:
                    changes = model.changes(store, writes)
                    pending = store.stage(changes)
                    nursery.start_soon(_acknowledge, model, pending, len(model.states) - 1)
                if pause_s:
                    await trio.sleep(pause_s)
            if crash is not None:
                crash()
                nursery.cancel_scope.cancel()


def noted(log: SimulatedLog) -> int:
    """What a new store noted of the one it took the place of; nobody takes account of it here."""
    value = log.disk.records.get(("meta", "store"))
    return 0 if value is None else int(json.loads(value)["lost"])


async def _acknowledge(model: Model, pending, number: int) -> None:
    assert number == await pending.durable() - 1
    model.acknowledged = max(model.acknowledged, number)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    lives=st.lists(st.tuples(LIFE, st.booleans()), min_size=1, max_size=5),
    seed=st.integers(0, 2**16),
)
def test_crashes_keep_what_was_acknowledged_and_no_half_commit(lives, seed):
    """After any crash the store is a prefix of what was staged, not behind any answer."""

    async def main() -> None:
        model = Model()
        log = SimulatedLog(random.Random(seed), fsync_s=2.0)
        for life, crashes in lives:
            try:
                await live(model, log, life, log.crash if crashes else None)
            except* FencedError:
                assert crashes
            log = log.reopen()
        await live(model, log, [], None)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    lives=st.lists(
        st.tuples(LIFE, st.sampled_from(["close", "crash", "set back", "moved"])),
        min_size=1,
        max_size=6,
    ),
    seed=st.integers(0, 2**16),
)
def test_a_store_set_back_is_the_model_of_then_and_says_so(lives, seed):
    """It holds what it held when it was copied; the witness beside it counts what is missing."""

    async def main() -> None:
        model, lost = Model(), 0
        log = SimulatedLog(random.Random(seed), fsync_s=2.0)
        for life, end in lives:
            copy = log.disk.copied()
            try:
                found = max(lost, noted(log))
                await live(model, log, life, log.crash if end == "crash" else None, found)
            except* FencedError:
                assert end == "crash"
            before, lost_then = log.disk.revision, lost
            if before != copy.revision:
                lost = 0  # the first commit after it was set back makes it the latest again
            if end in ("set back", "moved"):
                log.disk.set_back(copy, witness=end == "set back")
                model.acknowledged = min(model.acknowledged, max(0, copy.revision - 1))
                if end == "moved":
                    lost = lost_then
                elif before != copy.revision:
                    lost = before - copy.revision
            log = log.reopen()
            if not log.disk.revision:
                model = Model()
        await live(model, log, [], None, max(lost, noted(log)))

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lives=st.lists(LIFE, min_size=1, max_size=3))
def test_the_sqlite_file_is_the_model_after_every_reopening(lives):
    """The same model on the production engine, closed in order each time."""

    async def main() -> None:
        model = Model()
        with tempfile.TemporaryDirectory() as folder:
            for life in [*lives, []]:
                hasty = [(burst, 0.0) for burst, _ in life]
                await live(model, SqliteLog(Path(folder) / "trellis.db"), hasty, None)

    trio.run(main)
