"""The simulated log: what a crash leaves, and that the dead do not write."""

import random

import pytest
import trio
from store_builders import a_node, new

from trellis.errors import FencedError
from trellis.model.node import Node
from trellis.store.log import Entry, RecordRow
from trellis.store.simulated import SimulatedLog
from trellis.store.store import Store


def entries(*revisions: int) -> list[Entry]:
    return [
        Entry(
            revision=n, puts=(RecordRow(("node", str(n)), "x"), RecordRow(("node", "last"), str(n)))
        )
        for n in revisions
    ]


async def crashed_while_appending(seed: int) -> tuple[int, list[str]]:
    """Crash in the middle of an append of four commits; return what the heir finds."""
    log = SimulatedLog(random.Random(seed), fsync_s=10.0)
    await log.open()
    await log.append(entries(1))
    with pytest.RaisesGroup(FencedError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(log.append, entries(2, 3, 4, 5))
            await trio.sleep(1)
            log.crash()
    contents = await log.reopen().open()
    return contents.revision, [row.key[1] for row in contents.records]


async def test_a_crash_leaves_a_prefix_of_what_was_under_way(autojump_clock):
    """Whole commits in their order; none, some or all of them, as the seed decides."""
    found = [await crashed_while_appending(seed) for seed in range(40)]

    for revision, ids in found:
        assert [*map(str, range(1, revision + 1)), "last"] == ids
    assert {1, 2, 3, 4, 5} == {revision for revision, _ in found}


async def test_the_same_seed_leaves_the_same(autojump_clock):
    """A failing run can be repeated."""
    assert await crashed_while_appending(11) == await crashed_while_appending(11)


async def test_a_fence_lets_nothing_under_way_survive(autojump_clock):
    """Other than a crash, it is the word of the one who plays."""
    for seed in range(10):
        log = SimulatedLog(random.Random(seed), fsync_s=10.0)
        await log.open()
        with pytest.RaisesGroup(FencedError):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(log.append, entries(1, 2))
                await trio.sleep(1)
                log.fence()

        assert (await log.reopen().open()).revision == 0


async def test_the_dead_neither_write_nor_read(autojump_clock):
    """Whatever a killed daemon's tasks still try has no effect on its heir."""
    log = SimulatedLog(random.Random(1))
    await log.open()
    log.crash()
    heir = log.reopen()
    await heir.open()

    with pytest.raises(FencedError):
        await log.append(entries(1))
    with pytest.raises(FencedError):
        await log.events_after(0, 10)
    await heir.append(entries(1))

    assert (await heir.reopen().open()).revision == 1


async def test_a_killed_daemon_ends_quietly_and_its_heir_goes_on(wall, autojump_clock):
    """Fence first, then cancel: commits under way raise nothing out of the block."""
    for seed in range(10):
        log = SimulatedLog(random.Random(seed), fsync_s=10.0)
        with trio.CancelScope() as daemon:
            async with (
                Store.open(log, deployment="ci", wall=wall) as store,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(store.commit, new(a_node(1)))
                await trio.sleep(1)
                nursery.start_soon(store.commit, new(a_node(2)))
                await trio.sleep(1)
                log.fence()
                daemon.cancel()
        assert daemon.cancelled_caught

        async with Store.open(log.reopen(), deployment="ci", wall=wall) as heir:
            assert dict(heir.all(Node)) == {}
            await heir.commit(new(a_node(1)))
            assert heir.incarnation == 2


async def test_a_fenced_store_whose_daemon_lives_on_ends_it(wall, autojump_clock):
    """Nobody cancelled it, so it must say why it ends."""
    log = SimulatedLog(random.Random(1), fsync_s=10.0)
    with pytest.RaisesGroup(FencedError):
        async with Store.open(log, deployment="ci", wall=wall) as store:
            store.stage(new(a_node(1)))
            await trio.sleep(1)
            log.fence()
            await trio.sleep_forever()
