"""The demand port for sources that hand out nodes themselves: given, taken, returned, reused."""

import attrs
import pytest
import trio
import trio.testing

from tests.control.port_ground import Ground, an_ask, wall
from trellis.control.leases import GRACE_S
from trellis.errors import AlreadyDoneError, UnknownIdError
from trellis.model.names import NodeId, RequestId
from trellis.model.node import NodeState
from trellis.model.provider import Pause, ProviderRecord
from trellis.model.records import Change
from trellis.model.request import Ask, RequestState
from trellis.spi.demand import OfferedPool

HOUR = 3600.0
GIVEN_STEPS = ["in_use", "release_nodes", "give_back"]


async def test_an_ask_that_cannot_be_recorded_leaves_its_key_unused(autojump_clock):
    """Else whoever asks again with it is led to a request that there never was, for ever."""
    ground = Ground()
    async with ground.running() as port:
        for _ in range(2):
            with pytest.raises(ValueError, match="cannot be recorded"):
                await port.submit(an_ask(idempotency_key="k", metadata={"job": "\ud800"}))

        assert (await port.submit(an_ask(idempotency_key="k"))).ask.source == "zuul"


class TestFulfilled:
    async def test_nodes_stay_ready_under_a_lease_without_an_end(self, autojump_clock):
        """They are nobody else's, and not in use either: nobody has taken them yet."""
        ground = Ground()
        async with ground.running() as port:
            request = await ground.served(("small", "large"))
            await trio.sleep(2 * HOUR)

            nodes = await port.nodes_of(request)
            assert [node.label for node in nodes] == ["small", "large"]
            assert {node.state for node in nodes} == {NodeState.READY}
            assert {node.allocated_to for node in nodes} == {request.id}
            assert not any(node.idle for node in nodes)
            lease = await port.lease(request.lease_id)
            assert lease.expires_at is None
            assert {node.lease_id for node in nodes} == {lease.id}
            assert port.asked_by("zuul") == (request,)

    async def test_they_are_given_to_no_other_request(self, autojump_clock):
        """Another request for the same label gets a node of its own."""
        ground = Ground()
        async with ground.running():
            first, second = await ground.served(), await ground.served()

            assert set(first.nodes).isdisjoint(second.nodes)

    async def test_they_make_room_for_nobody(self, autojump_clock):
        """A full pool stays full, however long the other waits."""
        ground = Ground(most=1)
        async with ground.running() as port:
            first = await ground.served()
            second = await port.submit(an_ask())
            await trio.sleep(2 * HOUR)

            assert (await port.request(second.id)).state is RequestState.REQUESTED
            assert ground.node(first.nodes[0]).state is NodeState.READY

    async def test_they_are_not_counted_as_kept_ready(self, autojump_clock):
        """The shelf is filled beside them."""
        ground = Ground(min_ready=2)
        async with ground.running():
            await ground.served()
            await trio.sleep(300)

            assert len(ground.fleet.idle[("alpha", "small")]) == 2

    async def test_a_request_of_rest_has_its_nodes_in_use_as_ever(self, autojump_clock):
        """Only a source says by itself when a node is handed out."""
        ground = Ground()
        async with ground.running() as port:
            request = await ground.served(source=None)

            assert ground.node(request.nodes[0]).state is NodeState.IN_USE
            assert (await port.lease(request.lease_id)).expires_at is not None
            assert port.asked_by("zuul") == ()

    async def test_a_waiting_one_is_explained(self, autojump_clock):
        """Who has not taken what."""
        ground = Ground()
        async with ground.running() as port:
            request = await ground.served()
            of_request = await port.explain_request(request.id)
            of_node = await port.explain_node(request.nodes[0])

            assert of_request.waits_for == "zuul-web to take its nodes"
            assert request.nodes[0] in of_request.words
            assert of_node.waits_for == "its requestor to take it"
            await port.in_use(request.nodes)
            assert (await port.explain_request(request.id)).waits_for == ""


class TestTaken:
    async def test_a_node_taken_is_in_use(self, autojump_clock):
        """And so it stays when it is said again."""
        ground = Ground()
        async with ground.running() as port:
            request = await ground.served(("small", "small"))
            await port.in_use(request.nodes[:1])
            await port.in_use(request.nodes[:1])

            states = [node.state for node in await port.nodes_of(request)]
            assert states == [NodeState.IN_USE, NodeState.READY]

    async def test_one_that_was_given_back_too_early_is_deleted(self, autojump_clock):
        """A source that errs does not have a node go to two."""
        ground = Ground(min_ready=0)
        async with ground.running() as port:
            request = await ground.served()
            await port.give_back(request.nodes, why="never used")
            await port.in_use(request.nodes)

            assert ground.node(request.nodes[0]).state is NodeState.DELETING
            await ground.empty()

    @pytest.mark.parametrize("name", GIVEN_STEPS)
    async def test_an_unknown_node_is_an_error(self, name, autojump_clock):
        """Nothing is written of the others either."""
        ground = Ground()
        async with ground.running() as port:
            request = await ground.served()
            words = {} if name == "in_use" else {"why": "it is over"}
            with pytest.raises(UnknownIdError):
                await getattr(port, name)((*request.nodes, NodeId("9999999999")), **words)

            assert ground.node(request.nodes[0]).given

    @pytest.mark.parametrize("name", GIVEN_STEPS)
    async def test_on_a_node_that_is_gone_nothing_happens(self, name, autojump_clock):
        """Whoever comes late is no error."""
        ground = Ground()
        async with ground.running() as port:
            request = await ground.served()
            await port.release_nodes(request.nodes, why="used")
            await ground.empty()
            words = {} if name == "in_use" else {"why": "it is over"}

            await getattr(port, name)(request.nodes, **words)

            assert not ground.fleet.nodes


class TestReleased:
    async def test_used_nodes_are_deleted_and_the_request_is_closed(self, autojump_clock):
        """With its last node the lease ends, not before."""
        ground = Ground()
        async with ground.running() as port:
            request = await ground.served(("small", "small"))
            await port.in_use(request.nodes)
            await port.release_nodes(request.nodes[1:], why="the job is done")
            assert ground.node(request.nodes[0]).state is NodeState.IN_USE
            assert (await port.request(request.id)).state is RequestState.FULFILLED
            assert (await port.lease(request.lease_id)).nodes == request.nodes[:1]

            await port.release_nodes(request.nodes[:1], why="the job is done")

            assert (await port.request(request.id)).state is RequestState.CLOSED
            assert (await port.lease(request.lease_id)).ended_at is not None
            assert port.asked_by("zuul") == ()
            await ground.empty()

    async def test_a_ready_one_is_deleted_too(self, autojump_clock):
        """It may have been handed out without our having been told (P1)."""
        ground = Ground()
        async with ground.running() as port:
            request = await ground.served()
            await port.release_nodes(request.nodes, why="nobody can tell")

            node = ground.node(request.nodes[0])
            assert (node.state, node.fault) == (NodeState.DELETING, "nobody can tell")
            await ground.empty()

    async def test_one_that_somebody_deletes_stays_in_the_lease_until_released(
        self, autojump_clock
    ):
        """The source finds the request as long as it has anything to say of its nodes."""
        ground = Ground()
        async with ground.running() as port:
            request = await ground.served()
            node = ground.node(request.nodes[0])
            dying = node.became(NodeState.DELETING, wall())
            await ground.store.commit([Change(node, dying, why="deleted by ada")])
            await trio.sleep(60)
            assert ground.node(node.id) is None
            assert [r.id for r in port.asked_by("zuul")] == [request.id]

            await port.release_nodes(request.nodes, why="gone")

            assert port.asked_by("zuul") == ()

    @pytest.mark.parametrize("taken", [False, True], ids=["ready", "in-use"])
    async def test_a_cancel_ends_it_all(self, taken, autojump_clock):
        """Also of what was never taken: the request is fulfilled, so it may be on its way."""
        ground = Ground()
        async with ground.running() as port:
            request = await ground.served(("small", "small"))
            if taken:
                await port.in_use(request.nodes[:1])
            closed = await port.cancel(request.id)

            assert closed.state is RequestState.CLOSED
            assert not any(node.idle for node in ground.fleet.nodes.values())
            await ground.empty()

    async def test_a_release_of_the_lease_ends_it_all(self, autojump_clock):
        """As an operator may, who knows the lease."""
        ground = Ground()
        async with ground.running() as port:
            request = await ground.served(("small", "small"))
            await port.in_use(request.nodes[:1])
            await port.release(request.lease_id)
            await ground.empty()


class TestGivenBack:
    async def test_a_node_never_handed_out_serves_another(self, autojump_clock):
        """At once, and it is the same node; its request is closed."""
        ground = Ground(most=1)
        async with ground.running() as port:
            first = await ground.served(tenant="acme")
            second = await port.submit(an_ask())
            await trio.sleep(60)
            await port.give_back(first.nodes, why="its request vanished")

            second = await port.wait(second.id)
            assert second.nodes == first.nodes
            node = ground.node(second.nodes[0])
            assert (node.allocated_to, node.tenant, node.lease_id) == (
                second.id,
                None,
                second.lease_id,
            )
            assert (await port.request(first.id)).state is RequestState.CLOSED

    async def test_it_counts_against_the_tenant_until_then(self, autojump_clock):
        """Nothing is held after that."""
        ground = Ground()
        async with ground.running() as port:
            request = await ground.served(tenant="acme")
            assert ground.fleet.tallies.held["acme"].instances == 1
            await port.give_back(request.nodes, why="its request vanished")

            assert ground.fleet.tallies.held == {}

    async def test_one_that_was_taken_is_deleted(self, autojump_clock):
        """Whatever the caller says of it (P1)."""
        ground = Ground()
        async with ground.running() as port:
            request = await ground.served()
            await port.in_use(request.nodes)
            await port.give_back(request.nodes, why="its request vanished")

            assert ground.node(request.nodes[0]).state is NodeState.USED
            await ground.empty()

    async def test_one_that_died_is_deleted(self, autojump_clock):
        """A dead node serves nobody."""
        ground = Ground()
        async with ground.running() as port:
            request = await ground.served()
            await ground.lose(request.nodes[0])
            await port.give_back(request.nodes, why="its request vanished")

            assert ground.node(request.nodes[0]).state is NodeState.DELETING

    async def test_said_again_it_takes_nothing_from_who_has_it_now(self, autojump_clock):
        """Once it is an idle node's turn again, an old word does nothing to it."""
        ground = Ground(min_ready=1)
        async with ground.running() as port:
            request = await ground.served()
            await port.give_back(request.nodes, why="its request vanished")
            await port.give_back(request.nodes, why="its request vanished")
            await port.release_nodes(request.nodes, why="its request vanished")

            assert ground.node(request.nodes[0]).idle


class TestHolds:
    async def test_a_hold_ends_by_itself(self, autojump_clock):
        """Zuul's holds carry their own end; the node is deleted then."""
        ground = Ground()
        async with ground.running() as port:
            await trio.sleep(GRACE_S)
            request = await ground.served()
            await port.in_use(request.nodes)
            held = await port.hold(
                request.nodes[0], by="zuul", reason="autohold", until=wall() + HOUR
            )
            await trio.sleep(HOUR - 60)
            assert ground.node(held.id).state is NodeState.HOLD

            used = await port.wait_node(held.id, held)

            assert used.state in (NodeState.USED, NodeState.DELETING)
            await port.release_nodes(request.nodes, why="the hold is over")
            await ground.empty()

    async def test_max_hold_age_ends_it_sooner(self, autojump_clock):
        """The site's limit holds for every hold."""
        ground = Ground(max_hold_age_s=HOUR)
        async with ground.running() as port:
            request = await ground.served()
            await port.in_use(request.nodes)
            held = await port.hold(request.nodes[0], by="zuul", reason="", until=wall() + 9 * HOUR)
            with trio.fail_after(2 * HOUR):
                await port.wait_node(held.id, held)

    async def test_a_release_ends_the_sources_own_hold(self, autojump_clock):
        """As Zuul says that it is used."""
        ground = Ground()
        async with ground.running() as port:
            request = await ground.served()
            await port.in_use(request.nodes)
            await port.hold(request.nodes[0], by="zuul", reason="autohold")
            await port.release_nodes(request.nodes, why="the hold was deleted")
            await ground.empty()

    async def test_a_release_leaves_what_a_person_holds(self, autojump_clock):
        """The job is over, the node stays until that person's word (P1); the lease has ended."""
        ground = Ground()
        async with ground.running() as port:
            request = await ground.served()
            await port.in_use(request.nodes)
            await port.hold(request.nodes[0], by="ada", reason="to look at it")
            await port.release_nodes(request.nodes, why="the job is done")
            await trio.sleep(HOUR)

            assert ground.node(request.nodes[0]).state is NodeState.HOLD
            assert (await port.request(request.id)).state is RequestState.CLOSED

    async def test_one_may_change_ones_own_hold(self, autojump_clock):
        """Whoever comes again after a crash says the same again; another person may not."""
        ground = Ground()
        async with ground.running() as port:
            request = await ground.served()
            await port.in_use(request.nodes)
            await port.hold(request.nodes[0], by="zuul", reason="autohold")
            until = wall() + HOUR
            again = await port.hold(request.nodes[0], by="zuul", reason="autohold", until=until)

            assert again.hold_until == until
            with pytest.raises(AlreadyDoneError):
                await port.hold(request.nodes[0], by="ada", reason="mine")


class TestAskedAgain:
    async def test_a_live_request_of_the_key_is_the_answer(self, autojump_clock):
        """Whatever else a newer release says of the same demand."""
        ground = Ground()
        async with ground.running() as port:
            first = await port.submit(an_ask(idempotency_key="100-7", metadata={"job": "tox"}))
            again = await port.submit(an_ask(idempotency_key="100-7", rank=3))

            assert again.id == first.id

    async def test_one_that_has_ended_is_not(self, autojump_clock):
        """A source that cancelled, as another launcher had it, may ask again."""
        ground = Ground()
        async with ground.running() as port:
            first = await port.submit(an_ask(idempotency_key="100-7"))
            await trio.sleep(5)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(port.cancel, first.id)
                await trio.testing.wait_all_tasks_blocked()
                again = await port.submit(an_ask(idempotency_key="100-7"))

            assert again.id != first.id
            assert again.state is RequestState.REQUESTED

    async def test_the_key_of_a_source_is_not_that_of_a_caller_of_the_same_name(
        self, autojump_clock
    ):
        """Nobody gets at a source's request by guessing its key."""
        ground = Ground()
        async with ground.running() as port:
            first = await port.submit(an_ask(idempotency_key="100-7"))
            other = await port.submit(
                Ask(labels=("small",), requestor="zuul-web", idempotency_key="100-7")
            )
            assert other.id != first.id


class TestWaiting:
    async def test_a_place_is_waited_for(self, autojump_clock):
        """It comes as soon as there is room, before any node is ready."""
        ground = Ground(most=1)
        async with ground.running() as port:
            first = await ground.served()
            second = await port.submit(an_ask())
            with trio.move_on_after(60) as patience:
                await port.wait_placed(second.id)
            assert patience.cancelled_caught

            await port.release_nodes(first.nodes, why="used")

            with trio.fail_after(60):
                placed = await port.wait_placed(second.id)
            assert placed.state is RequestState.PENDING

    async def test_a_request_that_ends_has_no_place_to_wait_for(self, autojump_clock):
        """The waiter is told."""
        ground = Ground(most=0)
        async with ground.running() as port, trio.open_nursery() as nursery:
            request = await port.submit(an_ask())
            nursery.start_soon(port.cancel, request.id)

            assert (await port.wait_placed(request.id)).state is RequestState.CANCELLED
            with pytest.raises(UnknownIdError):
                await port.wait_placed(RequestId("none"))

    async def test_a_rank_moves_a_request_ahead(self, autojump_clock):
        """The lowest rank of a priority is served first, and no event is made of it."""
        ground = Ground(most=1)
        async with ground.running() as port:
            first = await ground.served()
            second = await port.submit(an_ask(rank=1))
            third = await port.submit(an_ask(rank=2))
            changed = await port.reprioritise(third.id, 200, rank=0)
            assert changed.ask.rank == 0
            await port.release_nodes(first.nodes, why="used")

            await port.wait_placed(third.id)
            assert (await port.request(second.id)).state is RequestState.REQUESTED
            with pytest.raises(AlreadyDoneError):
                await port.reprioritise(first.id, 100)
            history = (await port.explain_request(third.id)).history
            steps = [event.type for event in history if event.subject == third.id]
            assert steps == ["request.requested", "request.pending"]


class TestDead:
    async def test_the_death_of_a_given_one_is_on_record_and_no_more(self, autojump_clock):
        """It may be in somebody's hands: nothing is deleted before its source says so (rule 8)."""
        ground = Ground()
        async with ground.running() as port:
            request = await ground.served()
            await ground.lose(request.nodes[0])
            await trio.sleep(HOUR)
            assert ground.node(request.nodes[0]).given
            await port.in_use(request.nodes)
            assert ground.node(request.nodes[0]).lost

            await port.release_nodes(request.nodes, why="used")
            await ground.empty()


class TestRestart:
    async def test_everything_is_found_again(self, autojump_clock):
        """Waiting, placed, given and taken: each goes on where it was."""
        ground = Ground(most=3)
        async with ground.running() as port:
            given, taken = await ground.served(), await ground.served()
            await port.in_use(taken.nodes)
            placed = await port.submit(an_ask())
            await port.wait_placed(placed.id)
            waiting = await port.submit(an_ask(context=b"\x00znode"))
        async with ground.running() as port:
            ids = [request.id for request in port.asked_by("zuul")]
            assert ids == [given.id, taken.id, placed.id, waiting.id]
            assert port.asked_by("zuul")[-1].ask.context == b"\x00znode"
            await trio.sleep(2 * HOUR)
            assert ground.node(given.nodes[0]).given
            assert ground.node(taken.nodes[0]).state is NodeState.IN_USE
            assert (await port.request(placed.id)).state is RequestState.FULFILLED
            for request in port.asked_by("zuul"):
                await port.cancel(request.id)
            await ground.empty()

    async def test_an_older_copy_of_the_store_gives_nothing_away_twice(self, autojump_clock):
        """What was given when the copy was made may be anybody's now: set apart, lease ends."""
        ground = Ground()
        async with ground.running() as port:
            request = await ground.served()
            copy = ground.log.disk.copied()
            await port.in_use(request.nodes)
        ground.log.disk.set_back(copy, witness=True)
        async with ground.running() as port:
            (old,) = port.asked_by("zuul")
            node = ground.node(request.nodes[0])
            assert node.set_apart
            assert not node.idle
            await port.in_use(old.nodes)
            await port.release_nodes(old.nodes, why="used")
            await trio.sleep(HOUR)

            node = ground.node(request.nodes[0])
            assert (node.state, node.lease_id) == (NodeState.READY, None)
            assert not node.idle
            assert port.asked_by("zuul") == ()


class TestOffers:
    async def test_pools_are_offered_with_what_is_said_of_them(self, autojump_clock):
        """By the policy in force; a pause is a person's word on record."""
        ground = Ground()
        async with ground.running() as port:
            pool = OfferedPool(
                provider="alpha", pool="main", labels=frozenset({"small"}), priority=1,
                paused=False, max_servers=0,
            )  # fmt: skip
            port._in_force.policy = attrs.evolve(port._in_force.policy, pools=(pool,))
            assert port.offers() == (pool,)
            pause = Pause(by="ada", reason="repairs", since=wall(), until=wall() + 60)
            await ground.store.commit([Change(None, ProviderRecord(name="alpha", pause=pause))])
            assert port.offers() == (attrs.evolve(pool, paused=True),)
            await trio.sleep(61)
            assert port.offers() == (pool,)
