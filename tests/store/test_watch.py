"""The event stream of the store."""

import random

import pytest
import trio
import trio.testing
from store_builders import a_node, new

from trellis.model.node import Node
from trellis.model.records import Event
from trellis.store.simulated import SimulatedLog
from trellis.store.store import Store
from trellis.store.watch import PAGE, RECENT, Watch


async def take(watch: Watch, count: int) -> list[Event]:
    """The next events, which must come without waiting for new ones for ever."""
    taken: list[Event] = []
    with trio.fail_after(20):
        async for event in watch:
            taken.append(event)
            if len(taken) == count:
                return taken
    raise AssertionError(f"the stream ended after {len(taken)} of {count} events")


async def test_without_a_place_the_stream_starts_with_the_next_event(next_log, wall):
    """From the call on, not from the first read."""
    async with Store.open(next_log(), deployment="ci", wall=wall) as store:
        await store.commit(new(a_node(1)))
        watch = store.watch()
        await store.commit(new(a_node(2)))

        events = await take(watch, 1)

    assert [a_node(2).id] == [event.subject for event in events]


async def test_a_reader_resumes_after_a_restart_and_goes_on_live(next_log, wall, nursery):
    """Every event after its place once and in order: from the log, then as they happen."""
    seen = []
    all_seen = trio.Event()

    async def read(store, after):
        async for event in store.watch(after):
            seen.append((event.id, event.subject))
            if len(seen) == 4:
                all_seen.set()

    async with Store.open(next_log(), deployment="ci", wall=wall) as store:
        for number in range(1, 4):
            await store.commit(new(a_node(number)))
    async with Store.open(next_log(), deployment="ci", wall=wall) as store:
        await store.commit(new(a_node(4)))
        async with trio.open_nursery() as readers:
            readers.start_soon(read, store, 1)
            await store.commit(new(a_node(5)))
            with trio.fail_after(20):
                await all_seen.wait()
            readers.cancel_scope.cancel()

    assert [(n, a_node(n).id) for n in (2, 3, 4, 5)] == seen


@pytest.mark.slow
async def test_a_reader_far_behind_is_served_from_the_log(next_log, wall):
    """Memory holds a bounded tail; nothing is lost or repeated where the two meet."""
    total = 2 * RECENT + 2 * PAGE + 7
    async with Store.open(next_log(), deployment="ci", wall=wall) as store:
        slow = store.watch()
        for start in range(1, total + 1, 1000):
            await store.commit(new(*map(a_node, range(start, min(start + 1000, total + 1)))))

        events = await take(slow, total)

        assert list(range(1, total + 1)) == [event.id for event in events]
        assert len(store._tail._recent) <= 2 * RECENT


async def test_a_place_older_than_a_day_gets_reset_and_then_what_is_new(next_log, wall):
    """The reset's id is a place to resume from."""
    async with Store.open(next_log(), deployment="ci", wall=wall) as store:
        await store.commit(new(a_node(1), a_node(2)))
        wall.now += 25 * 3600
        watch = store.watch(1)
        (reset,) = await take(watch, 1)
        await store.commit(new(a_node(3)))

        (following,) = await take(watch, 1)
        (resumed,) = await take(store.watch(reset.id), 1)

    assert (reset.type, reset.id) == ("reset", 2)
    assert a_node(3).id == following.subject
    assert following == resumed


async def test_a_place_whose_events_were_pruned_gets_reset(next_log, wall):
    """Also when what is left begins later than the place."""
    async with Store.open(next_log(), deployment="ci", wall=wall) as store:
        await store.commit(new(a_node(1), a_node(2)))
        wall.now += 8 * 24 * 3600
        await store.prune(wall.now)
    async with Store.open(next_log(), deployment="ci", wall=wall) as store:
        await store.commit(new(a_node(3)))

        events = await take(store.watch(1), 1)

    assert [event.type for event in events] == ["reset"]


async def test_a_place_that_was_never_issued_gets_reset(next_log, wall):
    """A store restored from a copy has lower ids than its readers remember."""
    async with Store.open(next_log(), deployment="ci", wall=wall) as store:
        await store.commit(new(a_node(1)))

        events = await take(store.watch(1000), 1)

    assert [(event.type, event.id) for event in events] == [("reset", 1)]


async def test_an_event_never_overtakes_the_record_it_tells_of(wall, autojump_clock):
    """Durable is not yet published: a reader of the log must not see it before `get` does."""

    class LateWord(SimulatedLog):
        """The disk has it, and the answer takes another minute."""

        async def append(self, entries):
            await super().append(entries)
            await trio.sleep(60)

    first = LateWord(random.Random(1))
    async with Store.open(first, deployment="ci", wall=wall) as store:
        await store.commit(new(a_node(1)))
    second = LateWord(random.Random(1))
    second._disk = first._disk
    async with Store.open(second, deployment="ci", wall=wall) as store:
        store.stage(new(a_node(2)))
        await trio.sleep(1)
        async for event in store.watch(0):
            assert store.get(Node, event.subject) is not None
            if event.subject == a_node(2).id:
                break


async def test_the_stream_ends_with_the_store(next_log, wall, nursery):
    """A waiting reader is let go, so that shutdown does not wait for it."""
    ended = trio.Event()

    async def read(store):
        async for _ in store.watch():
            pass
        ended.set()

    async with Store.open(next_log(), deployment="ci", wall=wall) as store:
        nursery.start_soon(read, store)
        await trio.testing.wait_all_tasks_blocked()

    with trio.fail_after(20):
        await ended.wait()
