"""Whatever befalls any call to ZooKeeper, a node is never shared and nothing is left."""

from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trellis_zuul.marks import Marks
from trellis_zuul.node_life import BARRED_S
from trellis_zuul.node_lives import NodeLives
from trellis_zuul.paths import request_path

from tests.zuul.node_stage import (
    DEPLOYMENT,
    HOSTS,
    SOURCE,
    a_ground,
    an_executor,
    live_on,
    lives_on,
    the_stage,
    wait_until,
)
from trellis.model.node import NodeState
from trellis.sim.zookeeper import Called, Strike

REQUEST = "200-0000000001"


@attrs.define
class Striker:
    """Strikes the n-th call of the lives' sessions, all of them counted through."""

    number: int
    strike: Strike
    seen: int = 0

    def __call__(self, called: Called) -> Strike | None:
        if called.who != "trellis":
            return None
        self.seen += 1
        return self.strike if self.seen == self.number else None


async def used(stage, executor, znode):
    await executor.use(REQUEST, znode)


async def cancelled(stage, executor, znode):
    await stage.session.delete(request_path(REQUEST))


async def held(stage, executor, znode):
    await executor.accept(REQUEST, znode)
    await executor.store(znode, "in-use")
    await executor.store(znode, "hold", hold_expiration=100)
    await executor.unlock(znode)


async def returned(stage, executor, znode):
    await executor.accept(REQUEST, znode)
    await executor.unlock(znode)


STORIES = {"used": used, "cancelled": cancelled, "held": held, "returned": returned}


async def one_story(story, striker):
    """Returns whether the strike fell, and whether the node was given back."""
    async with (
        the_stage() as stage,
        an_executor(stage) as executor,
        trio.open_nursery() as nursery,
    ):
        stage.zookeeper.on_call = striker
        request = stage.port.fulfilled(1, 1)
        await stage.ask(REQUEST, state="pending")
        nursery.start_soon(live_on, stage)
        await trio.sleep(1)
        [znode] = await stage.offer(request, REQUEST)
        await trio.sleep(1)

        await STORIES[story](stage, executor, znode)
        await trio.sleep(BARRED_S + 200)

        node = stage.port.nodes["0000000001"]
        words = stage.port.words()
        assert set() == await stage.folders(), words
        if story == "cancelled":
            assert node.idle or node.state is NodeState.GONE
        else:
            assert node.state is NodeState.GONE
            assert "give_back" not in words
        nursery.cancel_scope.cancel()
    return striker.seen >= striker.number, "give_back" in words


@pytest.mark.slow
@pytest.mark.parametrize("strike", list(Strike), ids=lambda strike: strike.name.lower())
@pytest.mark.parametrize("story", STORIES)
async def test_each_call_is_struck_once(story, strike, autojump_clock):
    number, given_back = 0, 0
    while True:
        number += 1
        struck, back = await one_story(story, Striker(number, strike))
        given_back += back
        if not struck:
            break
    assert number > 10
    # A doubt costs a node that nobody had used, but most breaks leave none.
    assert given_back > number / 2 or story != "cancelled"


@pytest.mark.slow
@pytest.mark.parametrize("story", STORIES)
async def test_each_call_is_the_last_before_a_kill(story, autojump_clock):
    """The process dies in that call; its session expires, and another process takes over."""
    number = 0
    while True:
        number += 1
        if not await killed_at(story, number):
            break
    assert number > 5


async def killed_at(story, number):
    scope = trio.CancelScope()

    def kill(called):
        nonlocal number
        if called.who == "trellis":
            number -= 1
            if number == 0:
                # What a kill leaves: the server hears nothing more, and no code of ours runs.
                for session in stage.zookeeper.sessions:
                    if session.who == "trellis":
                        stage.zookeeper.cut(session, away_s=1000)
                scope.cancel()

    async def mortal():
        with scope:
            await live_on(stage)

    async with (
        the_stage() as stage,
        an_executor(stage) as executor,
        trio.open_nursery() as nursery,
    ):
        stage.zookeeper.on_call = kill
        request = stage.port.fulfilled(1, 1)
        await stage.ask(REQUEST, state="pending")
        nursery.start_soon(mortal)
        await trio.sleep(1)
        [znode] = await stage.offer(request, REQUEST)
        await trio.sleep(1)
        nursery.start_soon(STORIES[story], stage, executor, znode)
        await trio.sleep(BARRED_S + 200)
        died = scope.cancelled_caught
        scope.cancel()

        nursery.start_soon(live_on, stage)
        await trio.sleep(BARRED_S + 200)

        node, words = stage.port.nodes["0000000001"], stage.port.words()
        assert set() == await stage.folders(), words
        if story == "cancelled":
            assert node.idle or node.state is NodeState.GONE
        else:
            assert node.state is NodeState.GONE
            assert "give_back" not in words
        nursery.cancel_scope.cancel()
    return died


async def test_a_lock_that_the_mirror_has_not_shown_is_found_before_a_node_is_given_back(
    autojump_clock,
):
    """What the mirror shows is old by a read; the proof is not."""
    async with the_stage() as stage, an_executor(stage) as executor, frozen(stage) as freeze:
        [znode] = await stage.offer(stage.port.fulfilled(1, 1), REQUEST)
        await trio.sleep(1)
        freeze()
        await executor.read(znode, REQUEST)
        assert await executor.lock(znode)
        await executor.unlock(znode)

        await stage.session.delete(request_path(REQUEST))
        await wait_until(lambda: stage.port.nodes["0000000001"].state is NodeState.GONE)

        assert ["release"] == stage.port.words()


@asynccontextmanager
async def frozen(stage):
    """Lives whose mirror of nodes can be made to stand still."""
    scope = trio.CancelScope()

    async def run_until_frozen(mirror, read):
        with scope:
            async with trio.open_nursery() as own:
                await own.start(mirror.run)
                read.set()

    async with (
        stage.zookeeper.opener("trellis")(HOSTS) as session,
        trio.open_nursery() as nursery,
    ):
        ground = a_ground(stage, session)
        read = trio.Event()
        nursery.start_soon(run_until_frozen, ground.nodes, read)
        await read.wait()
        await nursery.start(ground.requests.run)
        await nursery.start(
            NodeLives(ground, Marks(ground.nodes, deployment=DEPLOYMENT, source=SOURCE)).run
        )
        yield scope.cancel
        nursery.cancel_scope.cancel()


async def test_zookeeper_that_stands_still_delays_everything_and_breaks_nothing(autojump_clock):
    async with the_stage() as stage, lives_on(stage), an_executor(stage) as executor:
        [znode] = await stage.offer(stage.port.fulfilled(1, 1), REQUEST)
        await executor.accept(REQUEST, znode)
        await executor.store(znode, "in-use")
        await trio.sleep(1)
        stage.zookeeper.pause(5.0)
        await executor.store(znode, "used")
        await executor.unlock(znode)

        await wait_until(lambda: stage.port.nodes["0000000001"].state is NodeState.GONE)
        await trio.sleep(1)
        assert set() == await stage.folders()


@pytest.mark.slow
async def test_a_node_of_which_we_make_nothing_does_not_take_the_others_with_it(autojump_clock):
    """A bug in one life is a bug in one life: it is tried again, and the others go on."""
    async with the_stage() as stage, an_executor(stage) as executor:
        [bad] = await stage.offer(stage.port.fulfilled(1, 1), REQUEST)
        [good] = await stage.offer(stage.port.fulfilled(2, 2), "200-0000000002")
        record, stage.port.nodes["0000000001"] = stage.port.nodes["0000000001"], None
        async with lives_on(stage):
            await trio.sleep(10)
            await executor.use("200-0000000002", good)
            await wait_until(lambda: stage.port.nodes["0000000002"].state is NodeState.GONE)

            stage.port.nodes["0000000001"] = record
            await executor.use(REQUEST, bad)
            await wait_until(
                lambda: stage.port.nodes["0000000001"].state is NodeState.GONE, within_s=900.0
            )
