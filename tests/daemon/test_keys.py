"""Host keys tell nodes apart (design §5b, rules 8 and 11)."""

import attrs
import pytest
import trio

from tests.daemon.stage import MINUTE, Stage
from trellis.model.names import NodeId
from trellis.model.node import NodeState
from trellis.model.request import RequestState
from trellis.sim.cloud.spec import CloudSpec, ImageSpec, Latency, fixed

pytestmark = pytest.mark.slow


def baked(latency_s: float) -> CloudSpec:
    return CloudSpec(
        name="alpha",
        images=(ImageSpec(name="tiny", baked_host_key=True),),
        boot=fixed(5.0),
        guest=fixed(1.0),
        latency=Latency.of(fixed(latency_s)),
    )


@pytest.mark.parametrize("latency_s", [0.0, 0.1])
async def test_twins_that_boot_at_once_are_told_apart(tmp_path, autojump_clock, latency_s):
    """Of four nodes with one key only one becomes ready, though none was on record before."""
    stage = Stage(tmp_path, alpha=baked(latency_s))
    async with stage.running() as core:
        await trio.sleep(5)
        asked = [await stage.ask("alpha") for _ in range(4)]
        await trio.sleep(10 * MINUTE)
        requests = [await core.port.request(one) for one in asked]
        assert [r.state for r in requests].count(RequestState.FULFILLED) == 1
        faults = [str(node.fault) for node in (await core.operator.nodes(gone=True)).items]
        assert any("shows the same host key as node" in fault for fault in faults)


async def test_the_key_of_a_launch_that_failed_is_free_again(tmp_path, autojump_clock):
    """A claim ends with its launch: the next node of that key is no twin of anybody's."""
    stage = Stage(tmp_path, alpha=CloudSpec(name="alpha"))
    async with stage.running() as core:
        fleet = core.fleet
        request = await stage.served(await stage.ask("alpha"))
        node = fleet.nodes[request.nodes[0]]
        building = attrs.evolve(node, id="0000000099", state=NodeState.BUILDING, host_keys=())
        fleet._node(None, building)
        assert fleet.host_keys.claim("key", building.id) is None
        assert fleet.host_keys.claim("key", node.id) == building.id

        failed = building.became(NodeState.FAILED, 0.0)
        fleet._node(building, failed)

        assert fleet.host_keys.claim("key", node.id) is None
        fleet._node(failed, None)


async def test_a_node_whose_keys_changed_while_it_was_ready_is_not_handed_out(
    tmp_path, autojump_clock
):
    """Another machine at its address: found before the next requestor gets it."""
    configuration = """
deployment: stage
labels: [{name: small, min-ready: 1}]
providers:
  - name: alpha
    type: openstack
    cloud: alpha
    pools: [{name: main, max-servers: 1, labels: [
      {name: small, cloud-image: tiny, flavor-name: ci-1c-1g}]}]
"""
    stage = Stage(tmp_path, configuration=configuration)
    async with stage.running() as core:
        await trio.sleep(3 * MINUTE)
        ((node_id, node),) = core.fleet.idle["alpha", "small"].items()
        assert node.state is NodeState.READY
        assert node.external_id is not None
        await trio.sleep(11 * MINUTE)
        stage.alpha._known(node.external_id)[1].host_key = b"another's key, all 32 bytes of it"[:32]

        request = await stage.served(await stage.ask("alpha"))

        assert request.nodes != (node_id,)
        gone = await core.operator.node(node_id)
        assert "other host keys" in (gone.fault or "")


async def test_keys_are_known_after_a_restart(tmp_path, autojump_clock):
    """A zombie of before the restart is still one: seven days, not one process."""
    stage = Stage(tmp_path)
    async with stage.running() as core:
        request = await stage.served(await stage.ask("alpha"))
        node_id = request.nodes[0]
        (key, *_) = core.fleet.nodes[node_id].host_keys
        await stage.release(request)
        await stage.gone(node_id)
        assert core.fleet.host_keys.claim(key, NodeId("0000009999")) == node_id
    for days, known in ((6, node_id), (2, None)):
        await trio.sleep(days * 24 * 3600)
        async with stage.running() as core:
            await trio.sleep(MINUTE)
            assert core.fleet.host_keys.claim(key, NodeId("0000009999")) == known
