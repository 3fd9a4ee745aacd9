"""A node with a real Zuul's steps done to it: how it ends, what is recorded, what is written."""

import json

import pytest
import trio
from trellis_zuul.node_life import BARRED_S
from trellis_zuul.node_steps import HOLDER, READY_AGAIN_PATIENCE_S
from trellis_zuul.paths import NODES, node_path, request_path

from tests.zuul.node_stage import (
    HOSTS,
    Executor,
    a_fit_node,
    an_executor,
    lives_on,
    the_stage,
    wait_until,
    wall,
)
from trellis.model.node import NodeState
from trellis.sim.zookeeper import Latency
from trellis.zookeeper.errors import ZooKeeperError

REQUEST = "200-0000000001"


async def gone(stage, znode):
    ends_at = trio.current_time() + 600
    while True:
        if await stage.document(znode) is None:
            return
        assert trio.current_time() < ends_at, "the znode is still there"
        await trio.sleep(0.1)


@pytest.mark.parametrize("latency", [None, Latency()], ids=["at-once", "with-latency"])
async def test_a_node_that_was_used_is_deleted_and_then_its_znode(latency, autojump_clock):
    """Nothing is left, and we write no more than its lock, its deletion and its end."""
    async with the_stage(latency=latency) as stage, lives_on(stage), an_executor(stage) as executor:
        [znode] = await stage.offer(stage.port.fulfilled(1, 1), REQUEST)
        before = stage.zookeeper.counts["trellis"].writes

        await executor.use(REQUEST, znode)

        assert ["in_use"] == stage.port.words()
        await gone(stage, znode)
        assert ["in_use", "release"] == stage.port.words()
        assert NodeState.GONE is stage.port.nodes["0000000001"].state
        assert set() == await stage.folders()
        assert 5 == stage.zookeeper.counts["trellis"].writes - before


async def test_the_znode_is_there_until_the_node_is_gone(autojump_clock):
    """Whoever counts nodes by the tree counts what is still being deleted."""
    async with the_stage() as stage, lives_on(stage), an_executor(stage) as executor:
        stage.port.deletion_s = 50.0
        [znode] = await stage.offer(stage.port.fulfilled(1, 1), REQUEST)

        await executor.use(REQUEST, znode)
        await trio.sleep(45)

        document = await stage.document(znode)
        assert "deleting" == document["state"]
        assert {"zuul_system": "system-1"} == document["user_data"]
        await gone(stage, znode)


async def test_a_request_that_is_cancelled_before_its_nodes_are_locked_gives_them_back(
    autojump_clock,
):
    async with the_stage() as stage, lives_on(stage):
        await stage.offer(stage.port.fulfilled(1, 1, 2), REQUEST)

        await stage.session.delete(request_path(REQUEST))
        await wait_until(lambda: len(stage.port.said) == 2)

        assert {"give_back"} == {what for what, _node in stage.port.said}
        assert all(node.idle for node in stage.port.nodes.values())
        await trio.sleep(BARRED_S + 1)
        assert set() == await stage.folders()


@pytest.mark.parametrize("whose", ["ours", "the-next-incarnations"])
async def test_an_executor_that_had_read_a_node_cannot_lock_it_once_it_is_given_back(
    whose, autojump_clock
):
    """Zuul does not read a node again after it has locked it; nor do our ends change that."""
    async with the_stage() as stage, an_executor(stage) as executor:
        async with lives_on(stage):
            [znode] = await stage.offer(stage.port.fulfilled(1, 1), REQUEST)
            await executor.read(znode, REQUEST)
            await stage.session.delete(request_path(REQUEST))
            await wait_until(lambda: stage.port.words() == ["give_back"])
            if whose == "ours":
                assert not await executor.lock(znode)
        async with lives_on(stage):
            assert not await executor.lock(znode)
            await trio.sleep(BARRED_S + 1)

        assert set() == await stage.folders()
        assert ["give_back"] == stage.port.words()


async def test_a_request_that_another_answered_gives_our_nodes_back(autojump_clock):
    """Nobody was ever told of them."""
    async with the_stage() as stage, lives_on(stage):
        request = stage.port.fulfilled(1, 1)
        await stage.offer(request, REQUEST, fulfil=False)
        await trio.sleep(10)
        assert [] == stage.port.words()

        await stage.ask(REQUEST, state="fulfilled", nodes=["0000009999"])
        await wait_until(lambda: stage.port.words() == ["give_back"])


async def test_a_cancelled_request_whose_node_an_executor_has_is_not_given_back(autojump_clock):
    async with the_stage() as stage, lives_on(stage), an_executor(stage) as executor:
        [znode] = await stage.offer(stage.port.fulfilled(1, 1), REQUEST)
        await executor.read(znode, REQUEST)
        assert await executor.lock(znode)

        await stage.session.delete(request_path(REQUEST))
        await trio.sleep(100)
        assert "ready" == (await stage.document(znode))["state"]

        await executor.unlock(znode)
        await gone(stage, znode)
        assert ["in_use", "release"] == stage.port.words()


@pytest.mark.parametrize("dies_at", ["locked", "accepted", "in-use", "used"])
async def test_an_executor_that_dies_leaves_nodes_that_are_deleted(dies_at, autojump_clock):
    """Its session ends, its locks vanish; nobody else is ever given the node."""
    async with the_stage() as stage, lives_on(stage):
        [znode] = await stage.offer(stage.port.fulfilled(1, 1), REQUEST)
        async with stage.zookeeper.opener("executor")(HOSTS) as session:
            executor = Executor(session)
            await executor.read(znode, REQUEST)
            assert await executor.lock(znode)
            if dies_at != "locked":
                await session.delete(request_path(REQUEST))
            if dies_at in ("in-use", "used"):
                await executor.store(znode, "in-use")
            if dies_at == "used":
                await executor.store(znode, "used")
            stage.zookeeper.expire(session)
            died_at = trio.current_time()

            await gone(stage, znode)

        assert ["in_use", "release"] == stage.port.words()
        took_s = trio.current_time() - died_at
        assert took_s < 10.0 or (dies_at == "locked" and took_s > READY_AGAIN_PATIENCE_S)


async def test_an_executor_that_lost_its_session_may_come_back_for_a_node(autojump_clock):
    """As long as its request is there; it would find the node locked else, and the job fail."""
    async with the_stage() as stage, lives_on(stage), an_executor(stage) as executor:
        [znode] = await stage.offer(stage.port.fulfilled(1, 1), REQUEST)
        await executor.read(znode, REQUEST)
        assert await executor.lock(znode)
        await executor.unlock(znode)
        await trio.sleep(60)

        await executor.use(REQUEST, znode)

        await gone(stage, znode)
        assert ["in_use", "release"] == stage.port.words()


async def test_a_node_that_comes_back_ready_is_deleted(autojump_clock):
    """A build that was aborted before it began: the executor only lets go of the lock."""
    async with the_stage() as stage, lives_on(stage), an_executor(stage) as executor:
        [znode] = await stage.offer(stage.port.fulfilled(1, 1), REQUEST)
        await executor.accept(REQUEST, znode)
        await executor.unlock(znode)

        await gone(stage, znode)

        assert ["in_use", "release"] == stage.port.words()


@pytest.mark.parametrize("ends", ["deleted", "expires", "in-trellis"])
async def test_a_held_node_stays_until_its_hold_ends(ends, autojump_clock):
    async with the_stage() as stage, lives_on(stage), an_executor(stage) as executor:
        [znode] = await stage.offer(stage.port.fulfilled(1, 1), REQUEST)
        await executor.accept(REQUEST, znode)
        await executor.store(znode, "in-use")
        keys = {"hold_expiration": "3600"} if ends == "expires" else {}
        await executor.store(znode, "hold", hold_job="acme p unit .*", comment="look at it", **keys)
        held_at = trio.current_time()
        await executor.unlock(znode)
        await trio.sleep(3500)

        node = stage.port.nodes["0000000001"]
        assert NodeState.HOLD is node.state
        assert HOLDER == node.held_by
        assert "acme p unit .*: look at it" == node.hold_reason
        assert "hold" == (await stage.document(znode))["state"]
        if ends == "expires":
            assert node.hold_until == pytest.approx(wall() - 3500 + 3600, abs=1)
        elif ends == "deleted":
            assert await executor.lock(znode)
            await executor.store(znode, "used")
            await executor.unlock(znode)
        else:
            await stage.port.release_nodes([node.id], why="it reached max-hold-age")

        await gone(stage, znode)
        assert NodeState.GONE is stage.port.nodes["0000000001"].state
        if ends == "expires":
            assert 3600 <= trio.current_time() - held_at < 3610


async def test_a_node_that_a_person_holds_outlives_its_use(autojump_clock):
    async with the_stage() as stage, lives_on(stage), an_executor(stage) as executor:
        [znode] = await stage.offer(stage.port.fulfilled(1, 1), REQUEST)
        await executor.accept(REQUEST, znode)
        await executor.store(znode, "in-use")
        await trio.sleep(1)
        stage.port.become("0000000001", NodeState.HOLD, held_by="ada", hold_reason="why?")
        await executor.store(znode, "used")
        await executor.unlock(znode)
        await trio.sleep(1000)

        assert ["in_use"] == stage.port.words()
        assert "used" == (await stage.document(znode))["state"]

        stage.port.become("0000000001", NodeState.GONE)
        await gone(stage, znode)


async def test_a_node_that_is_lost_under_its_executor_is_not_touched(autojump_clock):
    """We have not locked it: what is in the tree is the executor's until it lets go."""
    async with the_stage() as stage, lives_on(stage), an_executor(stage) as executor:
        [znode] = await stage.offer(stage.port.fulfilled(1, 1), REQUEST)
        await executor.accept(REQUEST, znode)
        await executor.store(znode, "in-use")
        await trio.sleep(1)
        before = stage.zookeeper.counts["trellis"].writes

        stage.port.become("0000000001", NodeState.GONE, lost=True)
        await trio.sleep(100)

        assert before == stage.zookeeper.counts["trellis"].writes
        await executor.store(znode, "used")
        await executor.unlock(znode)
        assert ["in_use"] == stage.port.words()
        await gone(stage, znode)
        assert ["in_use", "release"] == stage.port.words(), "its lease ends by that alone"


@pytest.mark.parametrize("state", ["deleting", "failed", "aborted", "building", "init"])
async def test_a_node_that_an_operator_gives_up_in_the_tree_is_deleted(state, autojump_clock):
    """``nodepool delete`` writes the state, and lets the launcher do it."""
    async with the_stage() as stage, lives_on(stage):
        [znode] = await stage.offer(stage.port.fulfilled(1, 1), REQUEST)
        document = await stage.document(znode)
        await stage.session.write(
            node_path(znode), json.dumps({**document, "state": state}).encode()
        )

        await gone(stage, znode)

        assert ["release"] == stage.port.words()
        assert set() == await stage.folders()


async def test_a_znode_that_an_operator_deletes_has_its_node_deleted(autojump_clock):
    """Whether it was ever used nobody can tell."""
    async with the_stage() as stage, lives_on(stage):
        [znode] = await stage.offer(stage.port.fulfilled(1, 1), REQUEST)
        await trio.sleep(1)

        await stage.session.delete(node_path(znode))
        await wait_until(lambda: stage.port.words() == ["release"])


async def test_a_znode_whose_node_the_store_does_not_know_is_deleted_and_nothing_else(
    autojump_clock,
):
    """As after a restored store: there is no node to release."""
    async with the_stage() as stage:
        request = stage.port.fulfilled(1, 1)
        await stage.offer(request, REQUEST)
        document = await stage.document("0000000000")
        await stage.session.write(
            node_path("0000000000"), json.dumps({**document, "state": "used"}).encode()
        )
        del stage.port.requests[request.id]
        async with lives_on(stage):
            await gone(stage, "0000000000")

        assert [] == stage.port.said


@pytest.mark.parametrize("when", ["before-the-start", "under-way"])
async def test_a_node_that_serves_another_request_by_now_is_left_alone(when, autojump_clock):
    """A stale znode of its must not end it, though its state is the same as before."""
    async with the_stage() as stage:
        request = stage.port.fulfilled(1, 1)
        [znode] = await stage.offer(request, REQUEST)
        serves_another = a_fit_node(1, allocated_to="another", lease_id="lease-2")
        if when == "before-the-start":
            stage.port.nodes["0000000001"] = serves_another
        async with lives_on(stage):
            await trio.sleep(1)
            stage.port.nodes["0000000001"] = serves_another
            document = await stage.document(znode)
            await stage.session.write(
                node_path(znode), json.dumps({**document, "state": "deleting"}).encode()
            )
            await gone(stage, znode)

        assert [] == stage.port.said
        assert NodeState.READY is stage.port.nodes["0000000001"].state


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not JSON",
        b'{"state": "used"}',
        b'{"state": "used", "driver_data": {"trellis": {"deployment": "another", '
        b'"source": "zuul", "node": "0000000001", "request": "r"}}}',
    ],
    ids=["empty", "not-json", "nobodys", "another-deployments"],
)
async def test_what_does_not_bear_our_mark_is_left_alone(data, autojump_clock):
    async with the_stage() as stage:
        path = await stage.session.create(f"{NODES}/", data, sequence=True)
        async with lives_on(stage) as (lives, _ground):
            await trio.sleep(100)

            assert frozenset() == lives.znodes
            assert 0 == stage.zookeeper.counts["trellis"].writes
            assert data == (await stage.session.get(path))[0]


async def test_a_node_in_a_state_of_a_later_release_is_left_alone(autojump_clock):
    async with the_stage() as stage, lives_on(stage):
        [znode] = await stage.offer(stage.port.fulfilled(1, 1), REQUEST)
        document = await stage.document(znode)
        await stage.session.write(
            node_path(znode), json.dumps({**document, "state": "hibernating"}).encode()
        )
        await trio.sleep(1)
        await stage.session.delete(request_path(REQUEST))
        await trio.sleep(1000)

        assert [] == stage.port.said
        assert 0 == stage.zookeeper.counts["trellis"].writes


async def test_an_executor_that_waits_for_the_lock_in_vain_leaves_nothing(autojump_clock):
    """It recreates the znode of a node that is deleted under it, without data: swept elsewhere."""
    async with the_stage() as stage, lives_on(stage), an_executor(stage) as executor:
        stage.port.deletion_s = 50.0
        [znode] = await stage.offer(stage.port.fulfilled(1, 1), REQUEST)
        await executor.use(REQUEST, znode)
        await trio.sleep(5)

        assert not await executor.lock(znode, patience_s=30.0)

        await gone(stage, znode)
        assert set() == await stage.folders()


@pytest.mark.slow
async def test_two_executors_never_share_a_node_whatever_the_timing(autojump_clock):
    """A request is cancelled while its executor locks its nodes, at each moment of it."""
    given_back = 0
    for seed in range(12):
        async with (
            the_stage(latency=Latency(), seed=seed) as stage,
            lives_on(stage),
            an_executor(stage) as executor,
            trio.open_nursery() as nursery,
        ):
            [znode] = await stage.offer(stage.port.fulfilled(1, 1), REQUEST)
            await trio.sleep(1)
            had = []

            async def lock(stage=stage, executor=executor, znode=znode, had=had, seed=seed):
                try:
                    await executor.read(znode, REQUEST)
                    await trio.sleep(seed * 0.0025)
                    if await executor.lock(znode):
                        had.append(znode)
                except ZooKeeperError:
                    return

            nursery.start_soon(lock)
            await trio.sleep(0.010)
            await stage.session.delete(request_path(REQUEST))
            await trio.sleep(100)

            given = "give_back" in stage.port.words()
            given_back += given
            assert not (given and had), seed
            assert given or had or stage.port.words() == ["release"], seed
            nursery.cancel_scope.cancel()
    assert 0 < given_back < 12
