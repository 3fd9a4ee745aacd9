"""A daemon that died and is back finds its requests locked by its own dead session."""

import attrs
import pytest
import trio
from trellis_zuul.request_life import context_of

from tests.zuul.node_stage import SOURCE, a_fit_node
from tests.zuul.request_stage import the_request_stage, wait_for
from trellis.model.request import ENDED, RequestState
from trellis.sim.zookeeper import Latency
from trellis.testing.builders import a_request


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


@pytest.mark.parametrize("fulfilled", [False, True], ids=["waiting", "fulfilled"])
@pytest.mark.parametrize("contexts", [[b"?"], [context_of("200-0000000007", 3)] * 2])
async def test_a_record_that_leads_to_no_znode_of_its_own_is_ended(
    contexts, fulfilled, autojump_clock
):
    """Nobody would look after it: it would launch, or keep its nodes, for ever."""
    state = RequestState.FULFILLED if fulfilled else RequestState.REQUESTED
    async with the_request_stage(latency=Latency()) as stage:
        for number, context in enumerate(contexts):
            given = a_request(number, source=SOURCE, context=context)
            stage.port.requests[given.id] = attrs.evolve(given, state=state, nodes=("0000000001",))
        stage.port.nodes["0000000001"] = a_fit_node(
            1, allocated_to=a_request(len(contexts) - 1).id, lease_id="lease"
        )
        async with stage.serving():
            await trio.sleep(20.0)

            odd = stage.port.requests[given.id]
            assert odd.state in ENDED
            assert fulfilled == ("release" in dict(stage.port.said))
