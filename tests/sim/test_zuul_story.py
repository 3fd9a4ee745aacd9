"""Stories with Zuul: the daemon with its source ``zuul`` keeps its promises, under every seed."""

from random import Random

import attrs
import pytest
import trio
import yaml

pytest.importorskip("trellis_zuul", reason="needs plugins/zuul: pip install -e plugins/zuul")

from tests.sim.test_teeth_zuul import story
from trellis.sim.catalogue import Struck
from trellis.sim.clock import VirtualClock
from trellis.sim.demand import DemandSpec
from trellis.sim.scenario import zuul
from trellis.sim.scenario_dump import dumped
from trellis.sim.scenario_file import load_scenario
from trellis.sim.simulate import EPOCH, simulate
from trellis.sim.zuul.documents import NODES, REQUESTS
from trellis.sim.zuul.launcher import PROVIDER
from trellis.sim.zuul.spec import ZuulSpec
from trellis.sim.zuul.story import ZuulStory


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 5])
def test_a_story_without_kills(seed):
    """Seed 0 has a lock whose making lost its answer, on a node that is held then."""
    outcome = simulate(story(), seed)

    assert () == outcome.violations
    assert outcome.figures["zuul_nodes"] > 40


@pytest.mark.slow
def test_the_same_seed_is_the_same_story():
    """To the last change in the tree."""
    assert simulate(story(), 2).trace == simulate(story(), 2).trace


@pytest.mark.slow
def test_kills_at_calls_of_zookeeper_do_no_harm():
    """A killed daemon's locks stay until its session has expired."""
    outcome = simulate(attrs.evolve(story(), kills=8), 1)

    assert () == outcome.violations
    assert any(point.startswith("zookeeper ") for point in outcome.passed)


@pytest.mark.slow
def test_a_node_costs_few_writes_where_nothing_goes_wrong():
    """At most twelve, Zuul's own not counted."""
    whole = zuul()
    spec = ZuulSpec(demand=attrs.evolve(story().zuul.demand, cancel=0.0), other_launcher=False)
    calm = attrs.evolve(story(), zuul=spec, faults_end=0.0, demand=whole.demand)

    figures = simulate(calm, 1).figures

    assert 0 < figures["zookeeper_writes_per_node"] <= 12.0


def test_a_scenario_file_has_zuul_in_it(tmp_path):
    """What is written down is read back the same."""
    path = tmp_path / "zuul.yaml"
    path.write_text(dumped(zuul()), encoding="utf-8")

    found = load_scenario(path)

    assert zuul().zuul == found.zuul
    assert "demand-sources" in yaml.safe_load(found.configuration)


def test_zuul_and_another_launcher_get_on_without_trellis():
    """Jobs are served, held nodes are given free, and the tree is empty when all is over."""

    async def main() -> ZuulStory:
        spec = ZuulSpec(
            demand=DemandSpec(requests=40, every_s=2.0, labels=("small",), cancel=0.1),
            hold=0.2,
            unstarted=0.1,
            executor_deaths=2,
        )
        tale = ZuulStory(
            spec, random=Random(3), wall=_wall, faults_end=60.0, struck=Struck(), others_take=1.0
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tale.run)
            await tale.work(not_before=0.0, patience_s=3600.0)
            await trio.sleep(600.0)
            nursery.cancel_scope.cancel()
        return tale

    tale = trio.run(main, clock=VirtualClock())

    ends = [job.told.ended for job in tale.jobs]
    served = [job for job in tale.jobs if job.told.nodes]
    assert ends.count("fulfilled") > 25
    assert {PROVIDER} == {node.provider for job in served for node in job.told.nodes}
    assert [] == list(tale.zookeeper.tree.below(NODES))
    assert [] == list(tale.zookeeper.tree.below(REQUESTS))


def _wall() -> float:
    return EPOCH + trio.current_time()
