"""A cloud that takes 20 calls a second: what a node costs of them, and what is refused."""

from collections import Counter

import pytest
import trio

from tests.daemon.stage import CONFIGURATION, Stage
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.spec import CloudSpec, Latency, Lognormal, Quota, RateLimit, fixed

pytestmark = pytest.mark.slow

NUMBER = 300
UNTOLD = CONFIGURATION.replace("max-servers: 10", "max-servers: 1000") + "launch-budget: 100000\n"
TOLD = UNTOLD.replace(
    "    cloud: alpha\n", "    cloud: alpha\n    limits: {calls-per-second: 20}\n"
)


def a_stage(folder, configuration, *limits):
    """One where calls take a few milliseconds each, and overtake one another."""
    alpha = CloudSpec(
        name="alpha",
        quota=Quota(instances=2000, cores=-1, ram_mib=-1, ports=-1),
        guest=fixed(0.0),
        latency=Latency.of(Lognormal(0.004, 0.012)),
        rate_limits=limits or (RateLimit(calls=20.0),),
    )
    return Stage(folder, alpha=alpha, configuration=configuration)


async def served_and_gone(stage, number=NUMBER):
    """So many requests filed at once, each released as soon as it is served."""

    async def one():
        await stage.release(await stage.served(await stage.ask("alpha")))

    async with trio.open_nursery() as nursery:
        for _ in range(number):
            nursery.start_soon(one)
    while stage.core.fleet.nodes:  # noqa: ASYNC110
        await trio.sleep(0.5)


def refused(stage):
    return len(stage.alpha.ledger.of(What.RATE_LIMITED))


def refused_by_kind(stage):
    return Counter(fact.id for fact in stage.alpha.ledger.of(What.RATE_LIMITED))


@pytest.mark.parametrize(("configuration", "most_refused"), [(TOLD, 0), (UNTOLD, 30)])
async def test_a_node_costs_no_more_calls_than_it_may(
    configuration, most_refused, tmp_path, autojump_clock
):
    """At most 2.5 each, lists and what is refused included; and a limit it is told it keeps."""
    stage = a_stage(tmp_path, configuration)
    async with stage.running():
        await trio.sleep(5.0)
        before = stage.alpha.ledger.total_calls
        await served_and_gone(stage)
        calls = stage.alpha.ledger.total_calls - before

    assert stage.created() == NUMBER
    assert refused(stage) <= most_refused
    assert calls / NUMBER <= 2.4


async def test_a_limit_that_was_learnt_is_kept(tmp_path, autojump_clock):
    """Once refused it knows; the same again, two minutes later, and hardly a call is refused.

    It is learnt of each class of calls by itself: one that was never refused may still be.
    """
    stage = a_stage(tmp_path, UNTOLD)
    async with stage.running():
        await served_and_gone(stage, 200)
        learnt = refused_by_kind(stage)
        await trio.sleep(120.0)
        await served_and_gone(stage, 200)

    assert learnt["POST compute"] > 0
    again = refused_by_kind(stage) - learnt
    assert sum(again[kind] for kind in learnt) <= 5


async def test_a_limit_of_one_call_a_second_is_kept(tmp_path, autojump_clock):
    """Where nothing may come at once, a call that is late is not met by the next."""
    one = TOLD.replace("calls-per-second: 20", "calls-per-second: 1")
    stage = a_stage(tmp_path, one, RateLimit(calls=1.0, service="compute"))
    async with stage.running():
        await served_and_gone(stage, 20)

    assert refused(stage) == 0
