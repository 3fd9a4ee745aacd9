"""Stories on the twins of real clouds, with the plugins that know these."""

import textwrap

import attrs
import pytest
import yaml

from trellis.demo.run import PLUGINS, SCENARIO
from trellis.plugin_host import installed_plugins, load_plugins
from trellis.sim.clouds import TWINS
from trellis.sim.demand import DemandSpec
from trellis.sim.scenario import Scenario
from trellis.sim.scenario_dump import dumped
from trellis.sim.scenario_file import load_scenario
from trellis.sim.serving.files import configuration_document
from trellis.sim.simulate import simulate

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not {*PLUGINS} <= {plugin.name for plugin in installed_plugins()},
        reason="the plugins of Rackspace, HP and OVH are not installed: make setup",
    ),
]

DEMAND = """
demand:
  requests: 25
  every-s: 3
  labels: [debian-12, debian-12-large]
  use: {median: 10, p95: 30}
"""


@pytest.fixture
def story(tmp_path):
    """The demo's clouds and configuration, with demand."""
    file = tmp_path / "demo.yaml"
    file.write_text(SCENARIO.read_text(encoding="utf-8") + textwrap.dedent(DEMAND))
    return load_scenario(file)


def test_every_promise_is_held_on_the_clouds_of_the_article(story):
    """Rackspace, HP and OVH by their plugins: each serves, and nothing is left anywhere."""
    outcome = simulate(story, 1)

    assert outcome.violations == ()
    assert outcome.report is not None
    made = {use.cloud: use.made for use in outcome.report.clouds}
    assert {name for name, count in made.items() if count} == {*PLUGINS}


def test_the_same_seed_is_the_same_story(story):
    """With plugins as without, to the last bit of the trace."""
    assert simulate(story, 2).trace == simulate(story, 2).trace


def test_a_story_that_was_written_down_is_the_same_story(story, tmp_path):
    """A file of Trellis's own says all that matters of a twin."""
    file = tmp_path / "demo.yaml"
    file.write_text(dumped(story), encoding="utf-8")

    again = load_scenario(file)

    assert again.clouds == story.clouds
    assert simulate(again, 3).trace == simulate(story, 3).trace


@pytest.mark.parametrize("name", sorted({*TWINS} & {*load_plugins((), {}).providers.types()}))
def test_what_trellis_cloud_writes_for_a_twin_is_ready_to_be_served(name):
    """Each region that can be used makes nodes of both labels, by the twin's plugin."""
    spec = attrs.evolve(TWINS[name](), twin=name, number=0, outside=())
    types = load_plugins((), {}).providers
    document = configuration_document([spec], None, types, ssh_port=22, reachable=True)
    document = {key: value for key, value in document.items() if key not in ("store", "web")}
    streams = [
        DemandSpec(
            name=f"{provider['name']}-{label}",
            requests=2,
            every_s=5.0,
            labels=(label,),
            provider=provider["name"],
            cancel=0.0,
            expire=0.0,
        )
        for provider in document["providers"]
        for label in ("small", "large")
    ]
    story = Scenario(
        name=name,
        clouds=(spec,),
        configuration=yaml.safe_dump(document),
        demand=streams[0],
        more_demand=tuple(streams[1:]),
        kills=0,
        faults_end=0.0,
        patience_s=1800.0,
        settle_s=4500.0,
    )

    outcome = simulate(story, 1)

    assert outcome.violations == ()
    assert outcome.report is not None
    assert outcome.report.ended("fulfilled") == 2 * len(streams)
