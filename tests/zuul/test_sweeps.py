"""What nobody is left to tidy up is tidied up; what somebody still needs is not."""

import json
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trellis_zuul.config import ZuulConfig
from trellis_zuul.paths import (
    REQUEST_LOCKS,
    node_lock_path,
    node_path,
    request_lock_path,
    request_path,
)
from trellis_zuul.sweeps import EVERY_S, TWICE_S, Sweeps

from tests.zuul.node_stage import HOSTS, a_ground, an_executor, the_stage
from tests.zuul.request_stage import the_request_stage
from trellis.sim.zookeeper import Strike
from trellis.spi.config import Seconds

REQUEST = "200-0000000001"
LONG_S = TWICE_S + 3 * EVERY_S


@asynccontextmanager
async def sweeps_on(stage):
    async with (
        stage.zookeeper.opener("trellis")(HOSTS) as session,
        trio.open_nursery() as nursery,
    ):
        ground = a_ground(stage, session)
        sweeps = Sweeps(ground)
        for mirror in ground.mirrors:
            await nursery.start(mirror.run)
        nursery.start_soon(sweeps.run)
        yield
        nursery.cancel_scope.cancel()


async def lock_folders(stage):
    return set(await stage.session.children(REQUEST_LOCKS))


async def state_of(stage):
    data, _stat = await stage.session.get(request_path(REQUEST))
    return json.loads(data)["state"]


async def test_the_lock_of_a_request_that_is_gone_goes_too(autojump_clock):
    async with the_stage() as stage, sweeps_on(stage):
        await stage.session.make_path(request_lock_path(REQUEST))

        await trio.sleep(TWICE_S - 1)
        assert {REQUEST} == await lock_folders(stage)
        await trio.sleep(LONG_S)

        assert set() == await lock_folders(stage)
        assert 1 == stage.zookeeper.counts["trellis"].writes


async def test_how_long_a_thing_must_have_been_left_is_configured(autojump_clock):
    """A minute, unless the configuration says otherwise."""
    assert attrs.fields(ZuulConfig).take_over_after.default == TWICE_S
    async with the_request_stage() as stage, trio.open_nursery() as nursery:
        nursery.start_soon(stage.source(take_over_after=Seconds(6)).run, stage.port)
        await stage.session.make_path(request_lock_path(REQUEST))
        await trio.sleep(5)
        assert {REQUEST} == await lock_folders(stage)
        await trio.sleep(5)

        assert set() == await lock_folders(stage)
        nursery.cancel_scope.cancel()


async def test_the_lock_of_a_request_that_is_there_stays(autojump_clock):
    async with the_stage() as stage, sweeps_on(stage):
        await stage.ask(REQUEST)
        await stage.session.make_path(request_lock_path(REQUEST))
        await trio.sleep(LONG_S)

        assert {REQUEST} == await lock_folders(stage)
        assert 0 == stage.zookeeper.counts["trellis"].writes


async def test_a_lock_that_somebody_has_stays_though_its_request_is_gone(autojump_clock):
    async with the_stage() as stage, sweeps_on(stage):
        folder = request_lock_path(REQUEST)
        await stage.session.make_path(folder)
        path = await stage.session.create(f"{folder}/c__lock__", ephemeral=True, sequence=True)
        await trio.sleep(LONG_S)
        assert {REQUEST} == await lock_folders(stage)

        await stage.session.delete(path)
        await trio.sleep(LONG_S)
        assert set() == await lock_folders(stage)


async def test_a_request_whose_launcher_died_waits_again_for_whoever_can_serve_it(autojump_clock):
    async with the_stage() as stage, sweeps_on(stage):
        await stage.ask(REQUEST, state="pending", declined_by=["a"], odd=2**100)
        await stage.session.make_path(request_lock_path(REQUEST))
        await trio.sleep(TWICE_S - 1)
        assert "pending" == await state_of(stage)
        await trio.sleep(LONG_S)

        document = json.loads((await stage.session.get(request_path(REQUEST)))[0])
        assert "requested" == document["state"]
        assert 2**100 == document["odd"]
        assert ["a"] == document["declined_by"]
        assert () == await stage.session.children(request_lock_path(REQUEST))


async def test_a_request_that_is_served_stays_as_it_is(autojump_clock):
    async with the_stage() as stage, sweeps_on(stage):
        await stage.ask(REQUEST, state="pending")
        folder = request_lock_path(REQUEST)
        await stage.session.make_path(folder)
        await stage.session.create(f"{folder}/c__lock__", ephemeral=True, sequence=True)
        await trio.sleep(LONG_S)

        assert "pending" == await state_of(stage)
        assert 0 == stage.zookeeper.counts["trellis"].writes


async def test_a_launcher_that_was_away_for_a_moment_keeps_its_request(autojump_clock):
    """Two sightings without a break: a lock that comes and goes is somebody's."""
    async with the_stage() as stage, sweeps_on(stage):
        await stage.ask(REQUEST, state="pending")
        folder = request_lock_path(REQUEST)
        await stage.session.make_path(folder)
        for _ in range(4):
            await trio.sleep(TWICE_S - EVERY_S)
            path = await stage.session.create(f"{folder}/c__lock__", ephemeral=True, sequence=True)
            await trio.sleep(2 * EVERY_S)
            await stage.session.delete(path)

        assert "pending" == await state_of(stage)


@pytest.mark.parametrize("state", ["requested", "fulfilled", "failed"])
async def test_a_request_that_nobody_serves_is_left_alone(state, autojump_clock):
    async with the_stage() as stage, sweeps_on(stage):
        await stage.ask(REQUEST, state=state, requestor_data={"job_name": "pending"})
        await trio.sleep(LONG_S)

        assert state == await state_of(stage)


async def test_a_znode_that_a_late_executor_made_anew_is_deleted(autojump_clock):
    async with the_stage() as stage, sweeps_on(stage), an_executor(stage) as executor:
        assert await executor.lock("0000000003")
        await trio.sleep(LONG_S)
        assert {"0000000003", "0000000003/lock"} <= await stage.folders()

        await executor.unlock("0000000003")
        await trio.sleep(LONG_S)
        assert set() == await stage.folders()


async def test_a_znode_with_data_or_of_a_session_is_left_alone(autojump_clock):
    async with the_stage() as stage, sweeps_on(stage):
        await stage.session.create(node_path("0000000001"), b"x")
        await stage.session.make_path(node_lock_path("0000000001"))
        await stage.session.create(node_path("0000000002"), ephemeral=True)
        await trio.sleep(LONG_S)

        assert {"0000000001", "0000000001/lock", "0000000002"} == await stage.folders()
        assert 0 == stage.zookeeper.counts["trellis"].writes


@pytest.mark.slow
@pytest.mark.parametrize("strike", [Strike.LOST_CALL, Strike.LOST_ANSWER], ids=["call", "answer"])
async def test_a_broken_connection_leaves_no_lock_of_ours(strike, autojump_clock):
    """Whichever call it befalls."""
    number, struck = 0, True
    while struck:
        number += 1
        struck = await swept_with(number, strike)
    assert number > 10


async def swept_with(number, strike):
    seen = 0

    def befall(called):
        nonlocal seen
        if called.who != "trellis" or not begun:
            return None
        seen += 1
        return strike if seen == number else None

    begun = False
    async with the_stage() as stage:
        await stage.ask(REQUEST, state="pending")
        await stage.session.make_path(request_lock_path("200-0000000009"))
        await stage.session.make_path(node_path("0000000003"))
        stage.zookeeper.on_call = befall
        async with sweeps_on(stage):
            begun = True
            await trio.sleep(3 * LONG_S)

            assert "requested" == await state_of(stage)
            assert set() == await stage.folders()
            assert await lock_folders(stage) <= {REQUEST}
            if REQUEST in await lock_folders(stage):
                assert () == await stage.session.children(request_lock_path(REQUEST))
    return seen >= number


async def test_a_look_costs_no_call_however_many_requests_wait(autojump_clock):
    async with the_stage() as stage:
        for number in range(1000):
            await stage.ask(f"200-{number:010d}")
        async with sweeps_on(stage):
            before = stage.zookeeper.counts["trellis"].calls.total()
            await trio.sleep(LONG_S)

            assert before == stage.zookeeper.counts["trellis"].calls.total()


async def test_a_request_of_a_job_that_is_called_pending_is_not_locked(autojump_clock):
    async with the_stage() as stage:
        await stage.ask(REQUEST, requestor_data={"job_name": "pending"})
        async with sweeps_on(stage):
            await trio.sleep(LONG_S)

            assert 0 == stage.zookeeper.counts["trellis"].writes
