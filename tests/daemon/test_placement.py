"""One request, any cloud: where it goes, and the words for it, in a whole daemon."""

import pytest
import trio

from tests.daemon.stage import MINUTE, Stage
from trellis.control.tracks import LATELY_S
from trellis.model.status import Health
from trellis.sim.cloud.spec import CloudSpec, Faults, FaultWindow, Quota, fixed

pytestmark = pytest.mark.slow

TEXT = """
deployment: stage
labels: [{{name: small}}]
providers:
  - name: alpha
    type: openstack
    cloud: alpha{alpha}
    pools: &pools
      - {{name: main, labels: [{{name: small, cloud-image: tiny, flavor-name: ci-1c-1g}}]}}
  - {{name: beta, type: openstack, cloud: beta, pools: *pools{beta}}}
"""


def staged(folder, *, alpha="", beta="", spec=None):
    spec = spec or CloudSpec(name="alpha")
    return Stage(folder, alpha=spec, configuration=TEXT.format(alpha=alpha, beta=beta))


async def both_are_up(stage):
    await stage.becomes(Health.AVAILABLE)
    await stage.becomes(Health.AVAILABLE, name="beta")


async def served_on(stage, many):
    """Where so many requests are served that come one after the other."""
    found = []
    for _ in range(many):
        request = await stage.served(await stage.ask())
        found.append(stage.core.fleet.nodes[request.nodes[0]].provider)
    return found


async def why(stage, request_id):
    """What `request explain` shows as the reason of its place."""
    history = (await stage.core.port.explain_request(request_id)).history
    return [event.why for event in history if event.type == "request.pending"]


async def test_nodes_follow_the_weights(tmp_path, autojump_clock):
    """Three to one, and each says why it went where it went."""
    stage = staged(tmp_path, alpha="\n    weight: 3")
    async with stage.running():
        await both_are_up(stage)
        found = await served_on(stage, 8)
        request_id = await stage.ask()
        await stage.served(request_id)

        assert (found.count("alpha"), found.count("beta")) == (6, 2)
        (reason,) = await why(stage, request_id)
        assert "nodes for a weight of 3" in reason
        assert "; beta less: it has 2 nodes for a weight of 1" in reason


async def test_a_cloud_that_fails_gets_less_and_comes_back(tmp_path, autojump_clock):
    """For half an hour most of alpha's servers end in ERROR; `explain` says so."""
    window = FaultWindow(start=0.0, end=1800.0, faults=Faults(boot_error=0.6))
    spec = CloudSpec(name="alpha", fault_windows=(window,), boot=fixed(20.0))
    stage = staged(tmp_path, spec=spec)
    async with stage.running() as core:
        await both_are_up(stage)
        during = await served_on(stage, 16)
        request_id = await stage.ask()
        await stage.served(request_id)
        (reason,) = (await why(stage, request_id))[-1:]

        assert during.count("alpha") < during.count("beta")
        assert "alpha less: " in reason
        assert "launches failed in the last 15 min" in reason

        await trio.sleep(1800.0 + LATELY_S)
        here = len(core.fleet.by_provider["beta"]) - len(core.fleet.by_provider["alpha"])
        assert set(await served_on(stage, here)) == {"alpha"}


async def test_a_slow_cloud_gets_less(tmp_path, autojump_clock):
    """Not nothing: its room is used, too."""
    spec = CloudSpec(name="alpha", boot=fixed(100.0))
    stage = staged(tmp_path, spec=spec)
    async with stage.running():
        await both_are_up(stage)
        found = await served_on(stage, 24)

    assert 6 <= found.count("alpha") <= 10


async def test_the_first_choice_is_used_up_to_its_quota(tmp_path, autojump_clock):
    """By priority; and what comes then says why it is not there."""
    stage = staged(
        tmp_path,
        alpha="\n    priority: 10",
        spec=CloudSpec(name="alpha", quota=Quota(instances=3)),
    )
    async with stage.running() as core:
        await both_are_up(stage)
        found = await served_on(stage, 4)
        request_id = await stage.ask()
        await trio.sleep(1.0)
        (reason,) = await why(stage, request_id)

        assert found == ["alpha", "alpha", "alpha", "beta"]
        assert reason.startswith("beta: 0 ready, 1 to launch; alpha not: quota: 1 instances")
        assert core.operator.plan() == ()


async def test_the_plan_says_where_and_why(tmp_path, autojump_clock):
    """`trellis plan` tells it before it is done."""
    stage = staged(tmp_path, alpha="\n    priority: 10")
    async with stage.running() as core:
        await both_are_up(stage)
        await stage.ask()
        steps = core.operator.plan()

        assert [step.action for step in steps] == ["place"]
        assert "because its priority is 10; beta less: its priority is 100" in steps[0].reason


async def test_what_is_known_of_clouds_outlasts_a_restart(tmp_path, autojump_clock):
    """A cloud that failed a minute ago is not new to the next process."""
    spec = CloudSpec(name="alpha", faults=Faults(boot_error=1.0), boot=fixed(20.0))
    stage = staged(tmp_path, spec=spec)
    async with stage.running():
        await both_are_up(stage)
        await stage.served(await stage.ask())
        await trio.sleep(2 * MINUTE)
        before = sum(cloud == "alpha" for cloud, *_ in stage.calls)
        assert before
    async with stage.running() as core:
        await both_are_up(stage)
        request_id = await stage.ask()
        await stage.served(request_id)
        (reason,) = await why(stage, request_id)

        assert "alpha less: " in reason or "alpha not: " in reason
        assert core.fleet.nodes
