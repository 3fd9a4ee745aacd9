"""A cloud that lets creates through too slowly, or not at all for a while, keeps nobody waiting."""

import json

import httpx
import pytest
import trio

from tests.daemon.stage import CONFIGURATION, MINUTE, Stage
from trellis.model.request import Ask
from trellis.sim.cloud.spec import CloudSpec, fixed

pytestmark = pytest.mark.slow

ROOM = CONFIGURATION.replace("max-servers: 10", "max-servers: 40")
SLOW = ROOM.replace(
    "    cloud: alpha\n", "    cloud: alpha\n    limits: {calls-per-second: 0.1, burst: 1}\n"
)
TEN_YEARS_S = 315_360_000


def quiet(says=TEN_YEARS_S, *, after=0, refusals=1_000_000):
    """Creates are refused for their rate, with a delay: after the first few, and so many."""
    number = 0

    async def meddle(request, carry):
        nonlocal number
        if request.method != "POST" or not request.url.path.endswith("/servers"):
            return await carry(request)
        number += 1
        if not after < number <= after + refusals:
            return await carry(request)
        await trio.sleep(0.05)
        fault = {"overLimit": {"code": 413, "message": "This request was rate-limited."}}
        return httpx.Response(
            413,
            content=json.dumps(fault).encode(),
            headers={"Retry-After": str(says)},
            request=request,
        )

    return meddle


async def ask(core, labels=1, provider=None):
    asked = Ask(labels=("small",) * labels, requestor="test", provider=provider)
    return (await core.port.submit(asked)).id


def taken_back(stage):
    """Launches that were decided upon and ended again."""
    return sum(event["event"] == "launch_ended" for event in stage.events)


async def test_who_waits_at_a_cloud_that_wants_quiet_is_served_elsewhere(tmp_path, autojump_clock):
    """Ten years, it says, each time: half of thirty requests are placed there, and all come."""
    stage = Stage(tmp_path, configuration=ROOM)
    async with stage.running() as core:
        await trio.sleep(MINUTE)
        stage.meddle = quiet()
        asked = [await ask(core) for _ in range(30)]

        for request_id in asked:
            await stage.served(request_id, within_s=4 * MINUTE)

    assert stage.created("alpha") == 0
    assert stage.created("beta") == 30


async def test_a_slow_cloud_is_given_no_more_than_it_takes(tmp_path, autojump_clock):
    """A call in ten seconds, and another cloud that has room: nobody waits for its turn."""
    stage = Stage(tmp_path, configuration=SLOW)
    async with stage.running() as core:
        await trio.sleep(2 * MINUTE)
        asked = [await ask(core) for _ in range(40)]

        for request_id in asked:
            await stage.served(request_id, within_s=5 * MINUTE)

    assert 0 < stage.created("alpha") <= 12
    assert taken_back(stage) == 0  # none was placed there in vain


async def test_one_that_insists_waits_with_the_reason_and_is_served_in_the_end(
    tmp_path, autojump_clock
):
    """It is told what it waits for; and it is not placed and given up over and over."""
    stage = Stage(tmp_path, configuration=ROOM)
    async with stage.running() as core:
        await trio.sleep(MINUTE)
        stage.meddle = quiet()
        asked = await ask(core, provider="alpha")
        await trio.sleep(20 * MINUTE)
        told = await core.port.explain_request(asked)
        ended = taken_back(stage)
        stage.meddle = None
        await stage.served(asked)

    assert "its rate limit lets no create through for" in told.words
    assert ended <= 4


async def test_a_set_that_has_begun_moves_as_a_whole(tmp_path, autojump_clock):
    """One of its two creates went through before the cloud wanted quiet for long (P9)."""
    stage = Stage(tmp_path, configuration=ROOM)
    async with stage.running() as core:
        await trio.sleep(MINUTE)
        stage.meddle = quiet(after=1)
        asked = await ask(core, labels=2)

        request = await stage.served(asked, within_s=9 * MINUTE)

        nodes = await core.port.nodes_of(request)
    assert stage.created("alpha") == 1
    assert [node.provider for node in nodes] == ["beta", "beta"]


async def test_where_all_are_slow_a_set_comes_all_the_same(tmp_path, autojump_clock):
    """A turn in ten seconds, for all: its creates are sent one by one, and none is taken back."""
    stage = Stage(tmp_path, configuration=SLOW)
    async with stage.running() as core:
        await trio.sleep(2 * MINUTE)
        asked = await ask(core, labels=6, provider="alpha")

        await stage.served(asked, within_s=20 * MINUTE)

    assert stage.created("alpha") == 6
    assert taken_back(stage) == 0


async def test_a_create_that_has_to_be_sent_again_has_its_time_anew(tmp_path, autojump_clock):
    """It is refused once, for a minute, which is longer than a launch may take."""
    brief = ROOM.replace("    cloud: alpha\n", "    cloud: alpha\n    launch-timeout: 50\n")
    boots = CloudSpec(name="alpha", boot=fixed(20.0))
    stage = Stage(tmp_path, alpha=boots, configuration=brief)
    async with stage.running() as core:
        await trio.sleep(MINUTE)
        stage.meddle = quiet(refusals=1)
        asked = await ask(core, provider="alpha")

        request = await stage.served(asked, within_s=3 * MINUTE)

    assert taken_back(stage) == 0
    assert len(request.nodes) == 1
