"""A cloud is taken out of use and put back without a restart: by limits, pause and drain."""

import pytest
import trio

from tests.daemon.stage import MINUTE, Stage
from trellis.model.node import NodeState
from trellis.model.request import RequestState
from trellis.model.status import Health

pytestmark = pytest.mark.slow

TEXT = """
deployment: stage
labels: [{{name: small, min-ready: {ready}{label}}}, {{name: large}}]
providers:
  - name: alpha
    type: openstack
    cloud: alpha
    priority: 50
    pools:
      - name: main
        max-servers: {most}
        labels:
          - {{name: small, cloud-image: tiny, flavor-name: ci-1c-1g{pool}}}
          - {{name: large, cloud-image: tiny, flavor-name: ci-2c-4g}}
  - name: beta
    type: openstack
    cloud: beta
    pools:
      - name: main
        max-servers: 10
        labels:
          - {{name: small, cloud-image: tiny, flavor-name: ci-1c-1g}}
          - {{name: large, cloud-image: tiny, flavor-name: ci-2c-4g}}
"""


def text(*, most=10, ready=0, pool="", label=""):
    """Alpha is preferred; how much it may have, by pool and by label."""
    return TEXT.format(most=most, ready=ready, pool=pool, label=label)


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path, configuration=text())


async def both_are_up(stage):
    await stage.becomes(Health.AVAILABLE)
    await stage.becomes(Health.AVAILABLE, name="beta")


async def taken_up(stage, configuration):
    """The configuration changes, and all providers have read their clouds anew."""
    await stage.take_up(configuration)
    await trio.sleep(20.0)
    await both_are_up(stage)


async def until(true, within_s=10 * MINUTE):
    """Wait for a fact."""
    ends_at = trio.current_time() + within_s
    while not true():
        assert trio.current_time() < ends_at, "it did not come to that"
        await trio.sleep(0.5)


async def where(stage, **ask):
    """On which provider a request is served."""
    request = await stage.served(await stage.ask(**ask))
    assert stage.core is not None
    return stage.core.fleet.nodes[request.nodes[0]].provider


async def waits(stage, request_id):
    """Why a request waits, after it was looked at for some time."""
    await trio.sleep(MINUTE)
    assert stage.core is not None
    assert (await stage.core.port.request(request_id)).state is RequestState.REQUESTED
    return (await stage.core.port.explain_request(request_id)).words


async def test_a_preferred_cloud_is_used_as_long_as_it_may_be(stage, autojump_clock):
    """With max-servers: 0 all goes elsewhere; what runs there lives on; then it is used again."""
    async with stage.running() as core:
        await both_are_up(stage)
        before = await stage.served(await stage.ask())
        assert core.fleet.nodes[before.nodes[0]].provider == "alpha"

        await taken_up(stage, text(most=0))
        assert await where(stage) == "beta"
        assert core.fleet.nodes[before.nodes[0]].state is NodeState.IN_USE

        await taken_up(stage, text())
        assert await where(stage) == "alpha"


async def test_who_insists_on_it_waits_and_is_told_why(stage, autojump_clock):
    """A limit of 0 is how a cloud is left alone for a while: nobody fails for it."""
    async with stage.running():
        await both_are_up(stage)
        await taken_up(stage, text(most=0))
        request_id = await stage.ask(provider="alpha")

        words = await waits(stage, request_id)

        assert "pool main is full: instances" in words
        await taken_up(stage, text())
        await stage.served(request_id)


async def test_idle_nodes_are_used_up(stage, autojump_clock):
    """Nothing is deleted for a limit: what is ready is handed out, and replaced elsewhere."""
    async with stage.running() as core:
        await both_are_up(stage)
        await taken_up(stage, text(ready=2))
        await until(lambda: len(core.fleet.idle.get(("alpha", "small"), {})) == 2)

        await taken_up(stage, text(ready=2, most=0))
        assert await where(stage) == "alpha"
        assert await where(stage) == "alpha"

        await trio.sleep(MINUTE)
        assert len(core.fleet.idle.get(("beta", "small"), {})) == 2
        assert await where(stage) == "beta"


async def test_one_label_of_a_pool_is_taken_out(stage, autojump_clock):
    """The others are launched there as before."""
    async with stage.running():
        await both_are_up(stage)
        await taken_up(stage, text(pool=", max-servers: 0"))

        assert await where(stage, labels=("small",)) == "beta"
        assert await where(stage, labels=("large",)) == "alpha"
        assert await where(stage, labels=("small", "large")) == "beta"


async def test_a_label_is_taken_out_everywhere(stage, autojump_clock):
    """Its requests wait, with the limit as the reason, and are served when it is lifted."""
    async with stage.running():
        await both_are_up(stage)
        await taken_up(stage, text(label=", max-servers: 0"))
        request_id = await stage.ask()
        assert await where(stage, labels=("large",)) == "alpha"

        assert "max-servers" in await waits(stage, request_id)
        await taken_up(stage, text())
        await stage.served(request_id)


async def test_a_pause_ends_by_itself(stage, autojump_clock):
    """What waits for that cloud alone is served when its time is over, unasked."""
    async with stage.running() as core:
        await both_are_up(stage)
        await core.operator.pause("alpha", "ada", "new switches", 600.0)
        assert await where(stage) == "beta"
        request_id = await stage.ask(provider="alpha")

        assert "paused by ada: new switches" in await waits(stage, request_id)

        await stage.served(request_id, within_s=600.0)
        assert core.operator.provider("alpha").pause is None


async def test_a_pause_is_kept_over_a_restart(stage, autojump_clock):
    """With who, why and until when."""
    async with stage.running() as core:
        await both_are_up(stage)
        until = (await core.operator.pause("alpha", "ada", "new switches", 3600.0)).pause.until
    async with stage.running() as core:
        await both_are_up(stage)
        pause = core.operator.provider("alpha").pause

        assert (pause.by, pause.reason, pause.until) == ("ada", "new switches", until)
        assert await where(stage) == "beta"
        await core.operator.resume("alpha")
        assert await where(stage) == "alpha"


async def test_a_drain_empties_it_and_a_resume_fills_it(stage, autojump_clock):
    """Idle nodes go, leased ones stay until they are given back; then nothing is there."""
    async with stage.running() as core:
        await both_are_up(stage)
        await taken_up(stage, text(ready=1))
        request = await stage.served(await stage.ask())
        await until(lambda: len(core.fleet.idle.get(("alpha", "small"), {})) == 1)

        await core.operator.drain("alpha", "ada", "contract ends")
        await until(lambda: len(core.fleet.by_provider["alpha"]) == 1)
        await stage.release(request)
        await stage.gone(request.nodes[0])
        assert stage.alpha.servers() == ()

        await core.operator.resume("alpha")
        assert await where(stage, labels=("large",)) == "alpha"


async def test_a_change_of_priority_and_weight_is_taken_up(stage, autojump_clock):
    """Under way, like all else: the next request goes by it, and nothing that runs is touched."""
    async with stage.running() as core:
        await both_are_up(stage)
        first = await stage.served(await stage.ask())

        await taken_up(stage, text().replace("priority: 50", "priority: 200"))
        assert await where(stage) == "beta"

        await taken_up(stage, text().replace("priority: 50", "weight: 9"))
        placed = [await where(stage) for _ in range(9)]
        assert placed.count("alpha") >= 7
        assert core.fleet.nodes[first.nodes[0]].state is NodeState.IN_USE
