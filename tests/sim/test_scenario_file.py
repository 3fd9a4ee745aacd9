"""Scenario files: what can stand in one, and where each mistake in it is."""

import textwrap

import pytest

from trellis.errors import ConfigError
from trellis.sim.demand import Arrival, Burst
from trellis.sim.scenario_file import load_assumptions, load_clouds, load_scenario

CONFIGURATION = """
configuration:
  deployment: sim
  labels: [{name: small}, {name: large}]
  providers:
    - name: one
      type: openstack
      cloud: one
      pools:
        - name: main
          networks: [public]
          labels:
            - {name: small, cloud-image: tiny, flavor-name: ci-1c-1g}
            - {name: large, cloud-image: tiny, flavor-name: ci-2c-4g}
"""
CLOUDS = "clouds: [{name: one}]\n"
DEMAND = "demand: {requests: 5, every-s: 10}\n"


@pytest.fixture
def path(tmp_path):
    """Writes a scenario and returns its path."""

    def write(text, name="story.yaml"):
        file = tmp_path / name
        file.write_text(textwrap.dedent(text).lstrip("\n"))
        return file

    return write


@pytest.fixture
def faults(path):
    """The faults of a scenario without its file's name."""

    def find(text):
        with pytest.raises(ConfigError) as found:
            load_scenario(path(text))
        return [line.rpartition("/")[2].removeprefix("story.yaml:") for line in found.value.faults]

    return find


def test_streams_of_all_kinds_stand_in_one_file(path):
    """Recorded beside the file or in it, in bursts, with the rhythm of a week."""
    path("time,labels\n0,small\n60,small large\n", "jobs.csv")
    streams = """
    demand:
      - {name: recorded, arrivals: jobs.csv}
      - {name: written, arrivals: [{time: 5, labels: [large], priority: 100}]}
      - name: gate
        requests: 100
        every-s: 3600
        burst: {size: 20, resets: 2, reset-after: {median: 300, p95: 600}}
      - name: checks
        requests: 1000
        every-s: 30
        labels: [small, small, large]
        tenants: [web, infra]
        rhythm: {weekdays: [5, 5, 5, 5, 5, 1, 1], begins-on: friday}
    """

    found = load_scenario(path(CLOUDS + textwrap.dedent(streams) + CONFIGURATION)).streams

    assert [stream.name for stream in found] == ["recorded", "written", "gate", "checks"]
    assert found[0].arrivals == (
        Arrival(time=0.0, labels=("small",)),
        Arrival(time=60.0, labels=("small", "large")),
    )
    assert found[1].arrivals == (Arrival(time=5.0, labels=("large",), priority=100),)
    assert isinstance(found[2].burst, Burst)
    assert found[3].rhythm is not None
    assert found[3].rhythm.begins_on == "friday"


def test_one_stream_needs_no_list(path):
    """As before there were several."""
    assert len(load_scenario(path(CLOUDS + DEMAND + CONFIGURATION)).streams) == 1


def test_prices_are_read(path):
    """By cloud and flavor; ``other`` stands for the rest."""
    prices = (
        "prices: {currency: EUR, billed-by-s: 3600, clouds: {one: {ci-1c-1g: 0.1, other: 1}}}\n"
    )

    found = load_scenario(path(CLOUDS + DEMAND + prices + CONFIGURATION)).prices

    assert found is not None
    assert found.of("one", "ci-1c-1g", 30.0) == pytest.approx(0.1)
    assert found.of("one", "ci-2c-4g", 3601.0) == pytest.approx(2.0)
    assert found.of("two", "ci-1c-1g", 30.0) is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("clouds: [{name: one, faults: {boot-eror: 0.1}}]\n" + DEMAND,
         "1:31: clouds.0.faults.boot-eror: unknown key, did you mean 'boot-error'?"),
        ("clouds: [{name: one, faults: {boot-error: 1.5}}]\n" + DEMAND,
         "1:43: clouds.0.faults.boot-error: is a probability: must be from 0 to 1, not 1.5"),
        ("clouds: [{name: one, outages: [{start: 1, end: 2, kind: hangs}]}]\n" + DEMAND,
         "1:57: clouds.0.outages.0.kind: expected one of refuse, hang, gateway"),
        (CLOUDS + "demand: {requests: 5, every-s: 1, every: 10}\n",
         "2:35: demand.every: unknown key, did you mean 'every-s'?"),
        (CLOUDS + "demand: {requests: 5}\n",
         "2:9: demand: needs requests and every-s, both above 0, or arrivals"),
        (CLOUDS + "demand: {requests: -5, every-s: 1}\n",
         "2:20: demand.requests: must be from 0 to 1e+06, not -5"),
        (CLOUDS + "demand: {requests: 5, every-s: .nan}\n",
         "2:32: demand.every-s: must be from 0 to"),
        (CLOUDS + "demand: {requests: 5, every-s: 1, priorities: [1000]}\n",
         "2:47: demand.priorities: must be one or more priorities from 0"),
        (CLOUDS + "demand: {requests: 5, every-s: 1, rhythm: {hours: [1, 2]}}\n",
         "2:51: demand.rhythm.hours: must be 24 numbers, one for each hour"),
        (CLOUDS + "demand: {requests: 5, every-s: 1, rhythm: {begins-on: fryday}}\n",
         "2:55: demand.rhythm.begins-on: must be one of monday"),
        (CLOUDS + "demand: {requests: 5, every-s: 1, rhythm: {}, burst: {size: 2}}\n",
         "2:9: demand: has a rhythm or comes in bursts"),
        (CLOUDS + "demand: {arrivals: [{time: 1, labels: [smal]}]}\n",
         "2:40: demand.arrivals.0.labels.0: the configuration has no label 'smal', did you"),
        (CLOUDS + "demand: [{requests: 5, every-s: 1, labels: [smal]}]\n",
         "2:45: demand.0.labels.0: the configuration has no label 'smal', did you mean 'small'?"),
        (CLOUDS + "demand: {requests: 5, every-s: 1, provider: onee}\n",
         "2:45: demand.provider: the configuration has no provider 'onee', did you mean 'one'?"),
        (CLOUDS + "demand: [{requests: 5, every-s: 1}, {requests: 5, every-s: 1}]\n",
         "2:9: demand: two streams of demand have the name 'demand': give each its own"),
        (CLOUDS + "demand: []\n", "2:9: demand: there must be one stream of demand at least"),
        (CLOUDS + DEMAND + "prices: {clouds: {two: {other: 1}}}\n",
         "3:19: prices.clouds.two: the scenario has no cloud 'two'"),
        (CLOUDS + DEMAND + "prices: {clouds: {one: {ci-1c-2g: 1}}}\n",
         "3:25: prices.clouds.one.ci-1c-2g: the cloud has no flavor 'ci-1c-2g', did you mean"),
        (CLOUDS + DEMAND + "prices: {clouds: {one: {other: -1}}}\n",
         "3:18: prices.clouds: one: other must cost 0 or more an hour, not -1"),
        (CLOUDS + DEMAND + "kills: 3\n", "1:1: (top): kills and changes come until faults-end"),
        (CLOUDS + "demand: {requests: 5, every-s: 1" + "0" * 400 + "}\n",
         "2:32: demand.every-s: too large a number"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(faults, text, fault):
    """Unknown keys and faults, impossible numbers, names that stand for nothing."""
    found = faults(text + CONFIGURATION.lstrip("\n"))

    assert len(found) == 1, found
    assert found[0].startswith(fault)


def test_a_mistake_in_a_file_of_arrivals_has_that_files_name(path):
    """Its line and column, and labels of the configuration as near matches."""
    path("time,labels\n0,small\n1,lage\n", "jobs.csv")

    with pytest.raises(ConfigError) as found:
        load_scenario(path(CLOUDS + "demand: {arrivals: jobs.csv}\n" + CONFIGURATION))

    assert found.value.faults[0].endswith(
        "jobs.csv:3:3: labels: the configuration has no label 'lage', did you mean 'large'?"
    )


def test_the_configuration_of_arrivals_may_be_a_file_too(path):
    """Labels are looked up in it."""
    path("time,labels\n1,lage\n", "jobs.csv")
    body = textwrap.dedent(CONFIGURATION.split("configuration:\n")[1])
    path(body, "own.yaml")

    with pytest.raises(ConfigError, match="no label 'lage'"):
        load_scenario(path(CLOUDS + "demand: {arrivals: jobs.csv}\nconfiguration: own.yaml\n"))


def test_clouds_alone_are_served_whatever_else_the_file_has(path):
    """``trellis cloud`` looks at clouds only."""
    text = CLOUDS + DEMAND + "prices: 5\nkills: 7\n"

    assert [cloud.name for cloud in load_clouds(path(text)).clouds] == ["one"]


def test_assumptions_may_be_about_anything_or_nothing(path):
    """Clouds, demand and prices for a configuration that is elsewhere."""
    own = path(CONFIGURATION.split("configuration:\n")[1], "own.yaml")

    nothing = load_assumptions(path("{}\n"), own)
    some = load_assumptions(path("clouds: [{name: one}]\n" + DEMAND), own)

    assert (nothing.clouds, nothing.streams, nothing.prices) == ((), (), None)
    assert [cloud.name for cloud in some.clouds] == ["one"]
    assert len(some.streams) == 1


def test_assumptions_are_held_against_the_configuration(path):
    """A label that it does not have."""
    own = path(CONFIGURATION.split("configuration:\n")[1], "own.yaml")

    with pytest.raises(ConfigError, match="no label 'smal', did you mean 'small'"):
        load_assumptions(path("demand: {requests: 1, every-s: 1, labels: [smal]}\n"), own)
