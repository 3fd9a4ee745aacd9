"""A daemon that died and is back finds its requests locked by its own dead session."""

import trio

from tests.zuul.request_stage import the_request_stage, wait_for
from trellis.sim.zookeeper import Latency


def sessions_of_trellis(stage):
    """Those that the server has not ended."""
    return [one for one in stage.zookeeper.sessions if one.who == "trellis"]


async def test_a_lock_of_our_own_dead_session_is_waited_for(autojump_clock):
    """Its launch goes on meanwhile: nothing is cancelled, and nothing asked for twice."""
    async with the_request_stage(latency=Latency()) as stage, stage.serving():
        stage.port.boot_s = 30.0
        request = await stage.ask()
        await stage.becomes(request, "pending")
        (held,) = await stage.contenders()

        (dead,) = sessions_of_trellis(stage)
        stage.zookeeper.abandon(dead)
        await wait_for(lambda: [dead] != sessions_of_trellis(stage))
        await trio.sleep(1.0)
        assert [held] == await stage.contenders()

        await stage.becomes(request, "fulfilled")
        assert 1 == len(stage.port.submitted)
        assert "cancel" not in dict(stage.port.said)
