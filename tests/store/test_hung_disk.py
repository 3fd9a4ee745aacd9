"""A disk that is slow or hangs: it is told, nothing is said early, and the end is bounded."""

import random
import threading

import pytest
import structlog.testing
import trio
from store_builders import a_node, new

from trellis.errors import StoreFailedError
from trellis.model.node import Node
from trellis.store.simulated import SimulatedLog
from trellis.store.sqlite import SqliteLog
from trellis.store.sqlite_file import StoreWriter
from trellis.store.store import CLOSE_AT_MOST_S, SLOW_S, Store

HUNG = 0.2
"""Seconds without any event after which virtual time goes on although a thread is at work."""


class HungWriter(StoreWriter):
    """Its thread does not come back from a write while `stuck`."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.free = threading.Event()
        self.free.set()

    def append(self, entries):
        self.free.wait(60)
        super().append(entries)


@pytest.fixture
def writer(monkeypatch):
    """Gives the writer of the log that is opened next."""
    made = []

    def make(*args, **kwargs):
        made.append(HungWriter(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr("trellis.store.sqlite.StoreWriter", make)
    yield lambda: made[-1]
    for one in made:
        one.free.set()


async def test_a_disk_that_hangs_does_not_hang_the_end(writer, wall, tmp_path, mock_clock):
    """The daemon ends with a message; who waited for his commit was told nothing."""
    outcome = []

    async def commit(store):
        try:
            outcome.append(await store.commit(new(a_node())))
        except StoreFailedError as error:
            outcome.append(str(error))

    with trio.fail_after(3 * CLOSE_AT_MOST_S), pytest.RaisesGroup(StoreFailedError) as raised:
        async with Store.open(SqliteLog(tmp_path / "t.db"), deployment="ci", wall=wall) as store:
            writer().free.clear()
            mock_clock.autojump_threshold = HUNG
            async with trio.open_nursery() as nursery:
                nursery.start_soon(commit, store)
                await trio.sleep(1.0)
                nursery.cancel_scope.cancel()

    assert "has not answered" in str(raised.value.exceptions[0])
    assert [] == outcome, "it was cancelled, and never acknowledged"


async def test_a_read_that_hangs_does_not_hang_the_end(wall, tmp_path, mock_clock, monkeypatch):
    """A long page of history is nobody's reason to stay."""
    free = threading.Event()
    monkeypatch.setattr(
        "trellis.store.sqlite_file.StoreReader.events_about", lambda *_: free.wait(60) and ()
    )
    try:
        with trio.fail_after(3 * CLOSE_AT_MOST_S):
            async with Store.open(
                SqliteLog(tmp_path / "t.db"), deployment="ci", wall=wall
            ) as store:
                mock_clock.autojump_threshold = HUNG
                with trio.move_on_after(5.0):
                    await store.events_about("x", 1)
    finally:
        free.set()


@pytest.mark.parametrize("slow_s", [3.0, 12.0])
async def test_nothing_is_acknowledged_before_it_is_durable(slow_s, wall, autojump_clock):
    """Seconds of a sync are seconds of everybody's; after five of them the log says so."""
    log = SimulatedLog(random.Random(1), fsync_s=0.0)
    with structlog.testing.capture_logs() as logs:
        async with Store.open(log, deployment="ci", wall=wall) as store:
            log.disk.slow_s = slow_s
            began = trio.current_time()
            pending = store.stage(new(a_node()))
            assert store.get(Node, "0000000001") is None
            await pending.durable()

            assert trio.current_time() - began == pytest.approx(slow_s)
            assert store.get(Node, "0000000001") == a_node()
    told = [entry["waits_s"] for entry in logs if entry["event"] == "store_slow"]
    assert len(told) == (slow_s >= 2 * SLOW_S)


async def test_a_slow_disk_is_not_a_hung_one(wall, autojump_clock):
    """Each write of the end has its time: three of 20 s are waited for."""
    log = SimulatedLog(random.Random(1), fsync_s=0.0)
    async with Store.open(log, deployment="ci", wall=wall) as store:
        log.disk.slow_s = 20.0
        for number in range(1, 4):
            store.stage(new(a_node(number)))
            await trio.sleep(1.0)

    async with Store.open(log.reopen(), deployment="ci", wall=wall) as store:
        assert 3 == len(store.all(Node))


@pytest.mark.parametrize("held_s", [25.0, 40.0])
async def test_another_program_that_holds_the_store_is_waited_for(held_s, wall, autojump_clock):
    """For 30 s, as SQLite does it; then the daemon ends, and nothing acknowledged is lost."""
    log = SimulatedLog(random.Random(1), fsync_s=0.0)
    failed = False
    try:
        async with Store.open(log, deployment="ci", wall=wall) as store:
            await store.commit(new(a_node(1)))
            log.disk.busy_until = trio.current_time() + held_s
            await store.commit(new(a_node(2)))
    except* StoreFailedError:
        failed = True

    assert failed is (held_s > 30.0)
    log.disk.busy_until = 0.0
    async with Store.open(log.reopen(), deployment="ci", wall=wall) as store:
        assert 2 - failed == len(store.all(Node))
