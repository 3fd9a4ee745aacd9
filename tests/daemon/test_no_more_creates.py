"""A provider that may create nothing for now still serves with what it has ready."""

import httpx
import pytest
import trio

from tests.daemon.stage import MINUTE, Carry
from tests.daemon.test_change import staged, until
from trellis.model.request import RequestState

pytestmark = pytest.mark.slow


def idle(core, count):
    return lambda: len(core.fleet.idle.get(("alpha", "small"), {})) == count


async def test_a_ready_node_serves_when_the_creates_of_the_day_are_used_up(
    tmp_path, autojump_clock
):
    stage = staged(tmp_path, "alpha", top=", min-ready: 1")
    stage.configuration = stage.configuration.replace(
        "    cloud: alpha\n", "    cloud: alpha\n    limits: {creates-per-day: 1}\n"
    )
    async with stage.running() as core:
        await until(idle(core, 1))

        await stage.served(await stage.ask(), within_s=MINUTE)

        second = await stage.ask()
        await trio.sleep(MINUTE)
        assert (await core.port.request(second)).state is RequestState.REQUESTED
        words = (await core.port.explain_request(second)).words
        assert "limits.creates-per-day allows in 24 h are used up" in words
    assert stage.created() == 1


async def test_a_ready_node_serves_while_creates_fail(tmp_path, autojump_clock):
    """The breaker is for creates; lists work, and so does what was made before."""
    failing = False

    async def fail(request: httpx.Request, carry: Carry) -> httpx.Response:
        if failing and request.method == "POST" and request.url.path.endswith("/servers"):
            return httpx.Response(500, content=b"oops", request=request)
        return await carry(request)

    stage = staged(tmp_path, "alpha", top=", min-ready: 2")
    stage.meddle = fail
    async with stage.running() as core:
        await until(idle(core, 2))
        failing = True
        first = await stage.served(await stage.ask(), within_s=MINUTE)
        running = core._roster.running["alpha"]
        await until(lambda: running.view().barred != "")

        await stage.served(await stage.ask(), within_s=5)

        assert len(first.nodes) == 1
    assert stage.created() == 2
