"""The store on both engines: what a commit means, and what is remembered after it."""

import random
import re

import attrs
import pytest
import trio
import trio.testing
from store_builders import CountingLog, a_lease, a_node, a_request, new

from trellis.errors import (
    ConflictError,
    FencedError,
    StoreFailedError,
    StoreMismatchError,
)
from trellis.model.node import Node, NodeState
from trellis.model.provider import ProviderRecord, StoreMeta
from trellis.model.records import Change
from trellis.model.request import Lease, NodeRequest, RequestState
from trellis.store.simulated import SimulatedLog
from trellis.store.store import Keeping, Store


class TestOpening:
    async def test_a_new_store_belongs_to_the_deployment_that_opened_it(self, next_log, wall):
        """It gets its one meta record, and node numbers start at 1."""
        async with Store.open(next_log(), deployment="ci", wall=wall) as store:
            assert StoreMeta(deployment="ci", next_node=1) == store.get(StoreMeta, "store")

    async def test_another_deployments_store_is_refused_and_left_as_it_is(self, next_log, wall):
        """The message names both deployments; the owner can still open it."""
        async with Store.open(next_log(), deployment="ci-main", wall=wall):
            pass

        with pytest.raises(StoreMismatchError, match=r"'ci-main'.*'ci-other'"):
            async with Store.open(next_log(), deployment="ci-other", wall=wall):
                pytest.fail("the store was opened")

        async with Store.open(next_log(), deployment="ci-main", wall=wall) as store:
            assert store.all(StoreMeta)["store"].deployment == "ci-main"

    async def test_every_kind_of_record_is_the_same_after_reopening(self, next_log, wall):
        """Enums, tuples, mappings, bytes and None survive the log."""
        records = (a_node(), a_request(key="k"), a_lease(), ProviderRecord(name="ovh"))
        async with Store.open(next_log(), deployment="ci", wall=wall) as store:
            revision = await store.commit(new(*records))

        async with Store.open(next_log(), deployment="ci", wall=wall) as store:
            assert revision == store.revision
            assert records[0] == store.get(Node, "0000000001")
            assert records[1] == store.get(NodeRequest, records[1].id)
            assert records[2] == store.get(Lease, records[2].id)
            assert records[3] == store.get(ProviderRecord, "ovh")

    async def test_each_opening_is_a_new_incarnation(self, next_log, wall):
        """A fence of an earlier incarnation is refused."""
        async with Store.open(next_log(), deployment="ci", wall=wall) as store:
            old = store.own("scheduler")
        async with Store.open(next_log(), deployment="ci", wall=wall) as store:
            await store.commit(new(a_node(1)), fence=store.own("scheduler"))

            with pytest.raises(FencedError, match="scheduler"):
                await store.commit(new(a_node(2)), fence=old)

            assert store.head(Node, a_node(2).id) is None


class TestCommit:
    async def test_a_stale_before_raises_and_stages_nothing(self, next_log, wall):
        """One bad change refuses the batch; the error names the record and what differs."""
        async with Store.open(next_log(), deployment="ci", wall=wall) as store:
            await store.commit(new(a_node()))
            stale = a_node(hostname="other")

            with pytest.raises(ConflictError, match=r"node 0000000001 .*: hostname"):
                await store.commit([*new(a_request()), Change(stale, a_node(fault="x"))])

            assert store.head(NodeRequest, a_request().id) is None
            assert a_node() == store.head(Node, "0000000001")

    async def test_a_record_that_is_there_cannot_be_made_again(self, next_log, wall):
        """None as what was read means that nothing was there."""
        async with Store.open(next_log(), deployment="ci", wall=wall) as store:
            await store.commit(new(a_node()))

            with pytest.raises(ConflictError, match="node 0000000001 is there already"):
                await store.commit(new(a_node()))

    async def test_a_conflict_never_shows_a_whole_lease_id(self, next_log, wall):
        """Who knows the id may end the lease, and errors end up in logs."""
        async with Store.open(next_log(), deployment="ci", wall=wall) as store:
            await store.commit(new(a_lease()))

            with pytest.raises(ConflictError, match=r"lease 5ec2e7… ") as caught:
                await store.commit(new(a_lease()))

        assert a_lease().id not in str(caught.value)

    async def test_a_record_that_would_not_read_back_is_refused_at_once(self, next_log, wall):
        """Infinity has no JSON; found at the next start it would keep the daemon down."""
        async with Store.open(next_log(), deployment="ci", wall=wall) as store:
            with pytest.raises(ValueError, match="node 0000000001"):
                await store.commit(new(a_node(launch_by=float("inf"))))
            with pytest.raises(ValueError, match="nodes"):
                await store.commit(new(a_request(nodes=["0000000001"])))

            assert store.head(Node, "0000000001") is None

    async def test_a_record_may_change_twice_in_one_commit(self, next_log, wall):
        """Changes apply in order, and each step of a life has its event."""
        ready = a_node().became(NodeState.READY, 120.0)
        async with Store.open(next_log(), deployment="ci", wall=wall) as store:
            await store.commit([*new(a_node()), Change(a_node(), ready)])

            assert ready == store.get(Node, ready.id)
            events = await store.events_about(ready.id, limit=10)
        assert [event.type for event in events] == ["node.building", "node.ready"]

    async def test_nothing_to_change_is_no_commit(self, next_log, wall):
        """An empty pass of the planner costs no write."""
        async with Store.open(next_log(), deployment="ci", wall=wall) as store:
            before = store.revision

            assert before == await store.commit([])
            assert before == store.revision

    async def test_after_the_block_the_store_is_closed(self, next_log, wall):
        """A late commit is told so and does not wait for ever."""
        async with Store.open(next_log(), deployment="ci", wall=wall) as store:
            pass

        with pytest.raises(StoreFailedError, match="closed"):
            await store.commit(new(a_node()))


class TestDurability:
    """On the simulated log, where a sync takes its time on the virtual clock."""

    async def test_a_commit_shows_only_when_it_is_durable(self, wall, autojump_clock, nursery):
        """Until then it is the head, and no view, listener or event has it."""
        told = []
        log = SimulatedLog(random.Random(1), fsync_s=10.0)
        async with Store.open(log, deployment="ci", wall=wall) as store:
            store.subscribe(told.append)
            last_event = store.last_event
            nursery.start_soon(store.commit, new(a_node()))
            await trio.sleep(1)

            assert a_node() == store.head(Node, "0000000001")
            assert store.get(Node, "0000000001") is None
            assert (last_event, []) == (store.last_event, told)

            await trio.sleep(20)

            assert a_node() == store.get(Node, "0000000001")
            assert [event.type for event in told[0].events] == ["node.building"]
            assert last_event + 1 == store.last_event

    async def test_a_cancelled_callers_commit_becomes_durable(self, wall, autojump_clock):
        """What was staged is written, whoever waits for it."""
        log = SimulatedLog(random.Random(1), fsync_s=10.0)
        async with Store.open(log, deployment="ci", wall=wall) as store:
            with trio.move_on_after(1) as scope:
                await store.commit(new(a_node()))
            assert scope.cancelled_caught

        async with Store.open(log.reopen(), deployment="ci", wall=wall) as store:
            assert a_node() == store.get(Node, "0000000001")

    async def test_a_cancelled_block_writes_what_is_staged(self, wall, autojump_clock):
        """Shutdown loses nothing: commits behind the one being written go too."""
        log = SimulatedLog(random.Random(1), fsync_s=10.0)
        with trio.CancelScope() as shutdown:
            async with (
                Store.open(log, deployment="ci", wall=wall) as store,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(store.commit, new(a_node(1)))
                await trio.sleep(1)
                nursery.start_soon(store.commit, new(a_node(2)))
                await trio.sleep(1)
                shutdown.cancel()

        async with Store.open(log.reopen(), deployment="ci", wall=wall) as store:
            assert [a_node(1), a_node(2)] == list(store.all(Node).values())

    async def test_commits_of_one_moment_share_an_append(self, wall, autojump_clock):
        """So do those that come while it is being written."""
        log = CountingLog()
        async with Store.open(log, deployment="ci", wall=wall) as store:
            async with trio.open_nursery() as nursery:
                for number in range(1, 51):
                    nursery.start_soon(store.commit, new(a_node(number)))

            assert len(store.all(Node)) == 50
        assert log.sizes == [1, 50]  # the first is the store's own

    async def test_listeners_hear_commits_in_their_order_until_they_leave(
        self, wall, autojump_clock
    ):
        """Each hears every commit once, with the views as that commit leaves them."""
        heard = []
        log = SimulatedLog(random.Random(1))
        async with Store.open(log, deployment="ci", wall=wall) as store:
            leave = store.subscribe(
                lambda committed: heard.append((committed.revision, len(store.all(Node))))
            )
            async with trio.open_nursery() as nursery:
                for number in range(1, 4):
                    nursery.start_soon(store.commit, new(a_node(number)))
            leave()
            await store.commit(new(a_node(9)))

        first = heard[0][0]
        assert [(first, 1), (first + 1, 2), (first + 2, 3)] == heard

    async def test_a_failing_log_fails_every_waiter_and_ends_the_daemon(self, wall):
        """Each commit raises, later ones too; the views keep what is durable."""

        class FullLog(SimulatedLog):
            full = False

            async def append(self, entries):
                if self.full:
                    raise StoreFailedError("no room left")
                await super().append(entries)

        log = FullLog(random.Random(1), fsync_s=0.0)
        failures = []

        async def try_to_commit(store, number):
            try:
                with trio.CancelScope(shield=True):
                    await store.commit(new(a_node(number)))
            except StoreFailedError as failure:
                failures.append(str(failure))

        with pytest.RaisesGroup(pytest.RaisesExc(StoreFailedError, match="no room left")):
            async with Store.open(log, deployment="ci", wall=wall) as store:
                log.full = True
                async with trio.open_nursery() as nursery:
                    for number in range(1, 4):
                        nursery.start_soon(try_to_commit, store, number)
                await trio.sleep_forever()

        assert failures == ["no room left"] * 3
        assert dict(store.all(Node)) == {}
        with pytest.raises(StoreFailedError, match="no room left"):
            await store.commit(new(a_node(4)))

    async def test_a_raising_listener_ends_the_daemon_and_leaves_nobody_waiting(self, wall):
        """A bug is not hidden, and a waiter under a shield does not hang on it."""
        waiter = []

        def broken(committed):
            raise LookupError("a bug")

        async def shielded_commit(store):
            with trio.CancelScope(shield=True), pytest.raises(StoreFailedError, match="a bug"):
                await store.commit(new(a_node()))
            waiter.append("told")

        log = SimulatedLog(random.Random(1), fsync_s=0.0)
        with pytest.RaisesGroup(pytest.RaisesExc(LookupError, match="a bug")):
            async with (
                Store.open(log, deployment="ci", wall=wall) as store,
                trio.open_nursery() as nursery,
            ):
                store.subscribe(broken)
                nursery.start_soon(shielded_commit, store)

        assert waiter == ["told"]


class TestHistory:
    async def test_an_archived_record_leaves_the_records_and_is_found(self, next_log, wall):
        """In the history, also after reopening; its id may not be changed any more."""
        gone = a_node().became(NodeState.DELETING, 5.0).became(NodeState.GONE, 6.0)
        async with Store.open(next_log(), deployment="ci", wall=wall) as store:
            await store.commit(new(a_node()))
            await store.commit([Change(a_node(), gone, archive=True)])

            assert store.get(Node, gone.id) is None
            assert store.head(Node, gone.id) is None
            with pytest.raises(ConflictError, match="not there"):
                await store.commit([Change(gone, attrs.evolve(gone, lost=True))])

        async with Store.open(next_log(), deployment="ci", wall=wall) as store:
            assert dict(store.all(Node)) == {}
            assert gone == await store.history(Node, gone.id)
            assert await store.history(Node, "0000000002") is None

    async def test_pages_go_newest_first_and_go_on_where_they_ended(self, next_log, wall):
        """One kind at a time, no record twice and none left out."""
        async with Store.open(next_log(), deployment="ci", wall=wall) as store:
            for number in range(1, 6):
                wall.now += 1
                await store.commit([Change(None, a_node(number), archive=True)])
                await store.commit([Change(None, a_request(number), archive=True)])

            first = await store.history_page(Node, limit=3)
            second = await store.history_page(Node, limit=3, before=first[-1].position)

        assert [a_node(5), a_node(4), a_node(3)] == [item.record for item in first]
        assert [a_node(2), a_node(1)] == [item.record for item in second]
        assert [wall.now, wall.now - 1, wall.now - 2] == [item.at for item in first]

    async def test_an_ended_request_is_found_by_its_idempotency_key_for_a_day(self, next_log, wall):
        """By its own requestor only, the newest of one key, and no longer than 24 h."""
        async with Store.open(next_log(), deployment="ci", wall=wall) as store:
            for number in (1, 2):
                ended = a_request(number, key="k", state=RequestState.CANCELLED)
                await store.commit([Change(None, ended, archive=True)])

            assert ended == await store.history_lookup(NodeRequest, ("zuul", "k"))
            assert await store.history_lookup(NodeRequest, ("other", "k")) is None
            assert await store.history_lookup(NodeRequest, ("zuul", "K")) is None

            wall.now += 24 * 3600 + 1
            assert await store.history_lookup(NodeRequest, ("zuul", "k")) is None

    async def test_what_is_about_a_request_includes_its_nodes_events(self, next_log, wall):
        """The last ones, oldest first; others' events are not among them."""
        request = a_request()
        node = a_node(allocated_to=request.id)
        ready = node.became(NodeState.READY, 130.0)
        async with Store.open(next_log(), deployment="ci", wall=wall) as store:
            await store.commit(new(request, node, a_node(2)))
            await store.commit([Change(node, ready, why="it answered")])

            events = await store.events_about(request.id, limit=10)
            last = await store.events_about(request.id, limit=1)

        assert [e.type for e in events] == ["request.requested", "node.building", "node.ready"]
        assert [(ready.id, "it answered")] == [(e.subject, e.why) for e in last]


class TestPrune:
    async def test_what_is_older_than_the_history_age_is_forgotten(self, next_log, wall):
        """Events and archived records; live records and younger ones stay."""
        async with Store.open(next_log(), deployment="ci", wall=wall) as store:
            await store.commit([*new(a_node(1)), Change(None, a_node(2), archive=True)])
            wall.now += 4 * 24 * 3600
            await store.commit([Change(None, a_node(3), archive=True)])
            wall.now += 4 * 24 * 3600

            await store.prune(wall.now)

            assert a_node(1) == store.get(Node, a_node(1).id)
            assert await store.history(Node, a_node(2).id) is None
            assert a_node(3) == await store.history(Node, a_node(3).id)
            assert await store.events_about(a_node(2).id, limit=9) == ()
            assert len(await store.events_about(a_node(3).id, limit=9)) == 1

    async def test_history_and_events_are_bounded_by_count(self, next_log, wall):
        """However busy the week: more portions than one, and exactly so many are left."""
        keeping = Keeping(history_count=10, event_count=20)
        async with Store.open(next_log(), deployment="ci", wall=wall, keeping=keeping) as store:
            await store.commit(
                [Change(None, a_node(n), archive=True, why="x") for n in range(1, 2502)]
            )

            await store.prune(wall.now)

            kept = await store.history_page(Node, limit=100)
            assert list(range(2501, 2491, -1)) == [int(item.record.id) for item in kept]
            about = [bool(await store.events_about(a_node(n).id, 1)) for n in (2481, 2482)]
            assert about == [False, True]

    async def test_event_ids_go_on_rising_after_all_events_were_pruned(self, next_log, wall):
        """An id is never given twice, so that a reader's place stays true."""
        async with Store.open(next_log(), deployment="ci", wall=wall) as store:
            await store.commit(new(a_node(1)))
            wall.now += 8 * 24 * 3600
            await store.prune(wall.now)
            last = store.last_event
        async with Store.open(next_log(), deployment="ci", wall=wall) as store:
            await store.commit(new(a_node(2)))

            assert [last + 1] == [e.id for e in await store.events_about(a_node(2).id, 9)]


class TestUnreadable:
    async def test_a_row_of_a_newer_minor_release_is_read(self, wall):
        """Keys unknown here are passed over, and missing ones take their defaults."""
        log = await _log_with(wall, '"lost":false,', '"colour":"red",')
        async with Store.open(log, deployment="ci", wall=wall) as store:
            assert a_node() == store.get(Node, "0000000001")

    async def test_a_row_of_the_wrong_type_is_refused_by_name(self, wall):
        """Nothing is guessed: the message has kind, id and field."""
        log = await _log_with(wall, '"launch_by":1900.0', '"launch_by":"1900"')
        with pytest.raises(StoreMismatchError, match=r"node 0000000001 .*launch_by"):
            async with Store.open(log, deployment="ci", wall=wall):
                pytest.fail("the store was opened")

    async def test_an_unknown_kind_of_record_is_refused(self, wall):
        """A newer release's records must not be dropped in silence."""
        log = await _log_with(wall, "", "")
        log._disk.records["volume", "1"] = "{}"
        with pytest.raises(StoreMismatchError, match="volume 1"):
            async with Store.open(log, deployment="ci", wall=wall):
                pytest.fail("the store was opened")

    async def test_a_row_under_anothers_id_is_refused(self, wall):
        """A damaged store is not taken for a good one."""
        log = await _log_with(wall, '"id":"0000000001"', '"id":"0000000002"')
        with pytest.raises(StoreMismatchError, match="holds another record"):
            async with Store.open(log, deployment="ci", wall=wall):
                pytest.fail("the store was opened")


async def _log_with(wall, old: str, fresh: str) -> SimulatedLog:
    """A log that holds `a_node()`, with a part of its text exchanged."""
    log = SimulatedLog(random.Random(1), fsync_s=0.0)
    async with Store.open(log, deployment="ci", wall=wall) as store:
        await store.commit(new(a_node()))
    log = log.reopen()
    value = log._disk.records["node", "0000000001"]
    assert re.search(re.escape(old), value)
    log._disk.records["node", "0000000001"] = value.replace(old, fresh)
    return log
