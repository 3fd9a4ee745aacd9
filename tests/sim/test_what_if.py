"""What if: clouds made for a configuration, and changes to a story."""

import json

import attrs
import pytest
import yaml
from click.testing import CliRunner

from trellis.cli.main import main
from trellis.config import parse
from trellis.errors import RefusedError
from trellis.plugin_host import PluginHost, built_in_plugins
from trellis.sim.demand import Arrival, DemandSpec
from trellis.sim.prices import Prices
from trellis.sim.scenario import Scenario, calm
from trellis.sim.scenario_file import Assumptions
from trellis.sim.simulate import builtin_types, simulate
from trellis.sim.supposed import Wish, suppose
from trellis.sim.what_if import (
    Addition,
    Loss,
    lasts,
    lost_with,
    with_cloud,
    with_demand,
    with_loss,
    with_quota,
)
from trellis.spi.config import DemandSourceConfig, ProviderConfig
from trellis.spi.registry import DemandSourceRegistry

OWN = """
deployment: ci-main
store: sqlite:records.db
web: {listen: "127.0.0.1:9999"}
labels: [{name: debian, min-ready: 1}, {name: large}]
images: [{name: built}]
providers:
  - name: bhs
    type: openstack
    cloud: ovh
    region-name: BHS1
    pools:
      - name: main
        max-servers: 12
        networks: [Ext-Net]
        security-groups: [ci]
        labels:
          - {name: debian, image: built, flavor-name: b2-7, key-name: infra, userdata: secret}
          - {name: large, cloud-image: deb, flavor-name: b2-15, connection-port: 2222}
  - name: gra
    type: openstack
    cloud: ovh
    region-name: GRA1
    pools:
      - name: main
        max-servers: 8
        availability-zones: [a, b]
        labels: [{name: debian, cloud-image: deb, min-ram: 4096}]
"""


def configuration(text=OWN):
    """What an operator has."""
    types = PluginHost(built_in_plugins()).providers
    return parse(text, types, file="own.yaml", folder=_here()).configuration


def _here():
    from pathlib import Path

    return Path()


def supposed(text=OWN, **more):
    """The scenario made of it."""
    return suppose(configuration(text), name="own", types=builtin_types(), **more)


def cloud_of(scenario: Scenario, name):
    """A cloud of the scenario."""
    return next(cloud for cloud in scenario.clouds if cloud.name == name)


# ------------------------------------------------------------------ a configuration's clouds


def test_each_region_of_a_configuration_gets_a_cloud():
    """With the flavors, images, networks and zones that are named, and room for max-servers."""
    scenario = supposed().scenario

    bhs, gra = cloud_of(scenario, "bhs"), cloud_of(scenario, "gra")
    assert (bhs.quota.instances, gra.quota.instances) == (12, 8)
    assert [flavor.name for flavor in bhs.flavors] == ["b2-7", "b2-15"]
    assert [image.name for image in bhs.images] == ["built", "deb"]
    assert [network.name for network in bhs.networks] == ["Ext-Net"]
    assert [flavor.ram_mib for flavor in gra.flavors] == [4096]
    assert gra.zones == ("a", "b")
    assert bhs.number != gra.number


def test_what_stands_for_real_things_is_left_out():
    """No secrets, no keypairs, no store: the rest of the configuration is as it was."""
    scenario = supposed().scenario
    settings = yaml.safe_load(scenario.configuration)
    read = parse(scenario.configuration, builtin_types(), file="x", folder=_here()).configuration

    assert "secret" not in scenario.configuration
    assert not {"store", "web", "images"} & set(settings)
    assert not {"key-name", "userdata", "connection-port", "security-groups"} & {
        key
        for provider in settings["providers"]
        for pool in provider["pools"]
        for part in (pool, *pool["labels"])
        for key in part
    }
    assert [label.min_ready for label in read.labels] == [1, 0]
    assert read.deployment == "ci-main"


def test_demand_sources_are_left_out():
    """Made-up nodes must never be offered to the Zuul of the site."""
    sources = DemandSourceRegistry()
    sources.add("zuul", lambda config, context: None, DemandSourceConfig)
    text = f"{OWN}demand-sources: [{{name: zuul, type: zuul}}]\n"
    types = PluginHost(built_in_plugins()).providers
    own = parse(text, types, None, sources, file="own.yaml", folder=_here()).configuration
    assert own.demand_sources

    scenario = suppose(own, name="own", types=builtin_types()).scenario

    assert "demand-sources" not in yaml.safe_load(scenario.configuration)


def test_a_story_opens_no_session_with_a_real_zookeeper(monkeypatch):
    """Not even if the configuration that it holds names one."""
    opened = []

    def open_one(servers):
        opened.append(servers)
        raise AssertionError("a simulation has called the world outside")

    monkeypatch.setattr("trellis.zookeeper.bridge.kazoo_session", open_one)
    story = calm()
    named = "demand-sources: [{name: z, type: zuul, zookeeper-servers: [{host: zk01}]}]\n"
    story = attrs.evolve(story, configuration=f"{story.configuration}\n{named}")

    outcome = simulate(story, 1)

    assert outcome.violations == ()
    assert opened == []


def test_what_is_assumed_is_said():
    """Room and pace of each cloud, and the demand."""
    notes = supposed(OWN.replace("max-servers: 8\n", "max-cores: 8\n")).notes

    assert "bhs: room for 12 servers (its pools' max-servers); boot 20s (p95 45s)" in notes[0]
    assert "gra: room for 100 servers (assumed: 100 a pool)" in notes[1]
    assert "requests an hour by chance" in notes[2]


def test_demand_fills_most_of_the_room_unless_it_is_said():
    """70 % of it; or so many an hour, so long, for so many hours."""
    (usual,) = supposed().scenario.streams
    (wished,) = supposed(wish=Wish(per_hour=60.0, use_s=300.0, hours=0.5)).scenario.streams

    mean_use = 748.0
    assert 0.65 < (mean_use + 40) / usual.every_s / 20 < 0.75
    assert usual.labels == ("debian", "large")
    assert (wished.requests, wished.every_s, wished.use.median) == (30, 60.0, 300.0)


def test_what_is_known_of_a_cloud_is_used():
    """By the name of the cloud for all of its regions, or by that of one provider."""
    spec = cloud_of(supposed().scenario, "bhs")
    ovh = attrs.evolve(spec, name="ovh", regions=("BHS1", "GRA1"))
    gra = attrs.evolve(spec, name="gra")

    by_cloud = supposed(assumptions=Assumptions(clouds=(ovh,))).scenario
    by_provider = supposed(assumptions=Assumptions(clouds=(gra,))).scenario

    assert by_cloud.clouds == (ovh,)
    assert [x["cloud"] for x in yaml.safe_load(by_cloud.configuration)["providers"]] == [
        "ovh", "ovh",
    ]  # fmt: skip
    assert {cloud.name for cloud in by_provider.clouds} == {"bhs", "gra"}
    assert gra in by_provider.clouds


def test_a_plugins_type_is_stood_for_by_a_stock_cloud():
    """With a note; keys of its own are left out."""

    @attrs.frozen(kw_only=True)
    class Own(ProviderConfig):
        """A plugin's."""

        flavour: str = "x"

    plain = configuration()
    providers = tuple(
        Own(name=x.name, type="plugged", cloud=x.cloud, pools=x.pools, region_name=x.region_name)
        for x in plain.providers
    )

    found = suppose(attrs.evolve(plain, providers=providers), name="own", types=builtin_types())

    assert "bhs: a stock OpenStack cloud stands for its type plugged" in found.notes
    assert parse(found.scenario.configuration, builtin_types(), file="x", folder=_here())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("deployment: x\n", "nothing to simulate"),
        (OWN.replace("max-servers: 12", "max-servers: 0").replace("max-servers: 8",
                                                                  "max-servers: 0"), "no pool"),
    ],
)  # fmt: skip
def test_what_cannot_be_simulated_is_refused(text, why):
    """Nothing in it, or no room."""
    with pytest.raises(RefusedError, match=why):
        supposed(text)


def test_too_many_clouds_are_refused():
    """Seventeen regions."""
    plain = configuration()
    many = tuple(
        attrs.evolve(plain.providers[0], name=f"p{i}", region_name=f"r{i}") for i in range(17)
    )

    with pytest.raises(RefusedError, match="17 clouds, and a simulation has 16 at most"):
        suppose(attrs.evolve(plain, providers=many), name="own", types=builtin_types())


# --------------------------------------------------------------------------------- changes


def test_a_lost_cloud_comes_back_when_the_demand_is_over():
    """So that what it holds can be counted."""
    story = supposed(wish=Wish(hours=2.0)).scenario

    lost = with_loss(story, Loss(provider="gra", start=600.0))

    (outage,) = cloud_of(lost, "gra").outages
    assert outage.start == 600.0
    assert outage.end == lost.faults_end > lasts(story.streams)
    assert cloud_of(lost, "bhs").outages == ()


def test_providers_on_one_cloud_are_lost_together():
    """Which is said."""
    spec = attrs.evolve(cloud_of(supposed().scenario, "bhs"), name="ovh", regions=("BHS1", "GRA1"))

    scenario = supposed(assumptions=Assumptions(clouds=(spec,))).scenario

    assert lost_with(scenario, "bhs") == ["gra"]
    assert lost_with(supposed().scenario, "bhs") == []


def test_a_loss_may_have_an_end():
    """And then the faults end with it."""
    lost = with_loss(supposed().scenario, Loss(provider="gra", start=60.0, end=90.0))

    assert lost.faults_end == 90.0


@pytest.mark.parametrize(
    ("loss", "why"),
    [
        (Loss(provider="graa"), "no provider or cloud 'graa', did you mean 'gra'"),
        (Loss(provider="gra", start=1e6), "when all demand is over"),
        (Loss(provider="gra", start=60.0, end=30.0), "before it is lost"),
    ],
)
def test_a_loss_that_cannot_be_is_refused(loss, why):
    """No such provider, too late, back before it began."""
    with pytest.raises(RefusedError, match=why):
        with_loss(supposed().scenario, loss)


def test_another_cloud_is_like_one_there_is():
    """A provider and its cloud, with a quota and prices of its own; the old ones stay."""
    prices = Prices(clouds={"bhs": {"b2-7": 1.0}})
    story = attrs.evolve(supposed().scenario, prices=prices)

    more = with_cloud(story, Addition(name="new", like="bhs", instances=5))

    settings = yaml.safe_load(more.configuration)["providers"]
    assert [provider["name"] for provider in settings] == ["bhs", "gra", "new"]
    assert (settings[2]["cloud"], settings[2]["pools"][0]["max-servers"]) == ("new", 5)
    assert cloud_of(more, "new").quota.instances == 5
    assert len({cloud.number for cloud in more.clouds}) == 3
    assert more.prices is not None
    assert more.prices.clouds["new"] == {"b2-7": 1.0}
    assert cloud_of(more, "bhs") == cloud_of(story, "bhs")


@pytest.mark.parametrize(
    ("addition", "why"),
    [
        (Addition(name="gra"), "there is a provider or cloud 'gra' already"),
        (Addition(name="new", like="graa"), "no provider 'graa' .* did you mean 'gra'"),
        (Addition(name="a/b"), "must be a name of ASCII letters"),
    ],
)
def test_an_addition_that_cannot_be_is_refused(addition, why):
    """A name that is taken, nothing to be like, no name."""
    with pytest.raises(RefusedError, match=why):
        with_cloud(supposed().scenario, addition)


def test_another_quota_takes_the_pools_limit_with_it():
    """Else the larger quota would change nothing."""
    more = with_quota(supposed().scenario, "gra", 30)

    assert cloud_of(more, "gra").quota.instances == 30
    gra = yaml.safe_load(more.configuration)["providers"][1]
    assert gra["pools"][0]["max-servers"] == 30


def test_demand_is_scaled_in_all_streams():
    """Twice what was scaled already is four times."""
    story = attrs.evolve(calm(), more_demand=(calm().demand,))

    twice = with_demand(with_demand(story, 2.0), 2.0)

    assert [stream.factor for stream in twice.streams] == [4.0, 4.0]


def test_how_long_demand_lasts_is_known_of_every_kind():
    """Recorded arrivals to the last one that is filed."""
    arrivals = tuple(Arrival(time=float(t), labels=("a",)) for t in (50, 10, 90))

    assert lasts([DemandSpec(arrivals=arrivals, starts_at=5.0)]) == 95.0
    assert lasts([DemandSpec(arrivals=arrivals, requests=2)]) == 50.0
    assert lasts([DemandSpec(requests=10, every_s=6.0)]) == 60.0


@pytest.mark.slow
def test_requests_wait_longer_without_a_cloud_and_none_is_lost():
    """The same demand with and without; what it held is cleaned up when it is back."""
    story = supposed(wish=Wish(per_hour=60.0, use_s=300.0, hours=0.5)).scenario

    usual = simulate(story, 1)
    lost = simulate(with_loss(story, Loss(provider="bhs", start=300.0)), 1)

    assert usual.violations == lost.violations == ()
    assert usual.report is not None
    assert lost.report is not None
    assert [x.filed_at for x in usual.report.asked] == [x.filed_at for x in lost.report.asked]
    assert lost.report.ended("fulfilled") == len(lost.report.asked)
    assert lost.report.waits().p95_s > usual.report.waits().p95_s


# ----------------------------------------------------------------------------- the command


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs ``trellis simulate -c own.yaml`` with ten minutes of demand."""
    (tmp_path / "own.yaml").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    usual = ["simulate", "-c", "own.yaml"]
    return lambda *arguments: CliRunner().invoke(main, [*usual, *arguments])


@pytest.mark.slow
def test_the_command_compares_with_and_without(run):
    """A column for each; what was assumed on stderr."""
    done = run("--for", "10m", "--use", "2m", "--demand", "2", "--add-cloud", "new=bhs:20")

    assert done.exit_code == 0, done.output
    assert "assumed: bhs: room for 12 servers" in done.stderr
    head = done.stdout.splitlines()[1]
    assert "AS IT IS" in head
    assert "WITH NEW, DEMAND × 2" in head
    assert "wait p95" in done.stdout
    assert "servers at new, mean" in done.stdout


@pytest.mark.slow
def test_the_command_loses_one_cloud_at_a_time(run, tmp_path):
    """A variant for each provider, as data, and plots of all of them."""
    done = run("--for", "10m", "--use", "2m", "--lose", "each@5m-7m", "-o", "json",
               "--plots", "pictures")  # fmt: skip

    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["schema_version"] == 1
    assert [x["name"] for x in told["variants"]] == ["as it is", "without bhs", "without gra"]
    assert {x["report"]["requests"]["filed"] for x in told["variants"]} == {
        told["variants"][0]["report"]["requests"]["filed"]
    }
    assert (tmp_path / "pictures/comparison.png").exists()
    assert (tmp_path / "pictures/without-gra/nodes.svg").exists()


@pytest.mark.slow
def test_the_command_takes_what_is_known_from_a_file(run, tmp_path):
    """Clouds, demand and prices: the report has the cost."""
    (tmp_path / "known.yaml").write_text(
        "demand: {requests: 3, every-s: 10, labels: [debian], cancel: 0, expire: 0,"
        " use: {median: 60, p95: 60}}\n"
        "prices: {currency: CAD, billed-by-s: 3600, clouds: {bhs: {other: 1}, gra: {other: 1}}}\n"
    )

    done = run("known.yaml", "-o", "json")

    assert done.exit_code == 0, done.output
    (variant,) = json.loads(done.stdout)["variants"]
    assert variant["report"]["requests"]["fulfilled"] == 3
    assert variant["report"]["cost"]["currency"] == "CAD"
    assert variant["report"]["cost"]["total"] >= 3.0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--lose", "gra@soon"], "write NAME, NAME@2h or NAME@2h-3h"),
        (["--add-cloud", "a=b=c"], "write NAME, NAME=PROVIDER"),
        (["--quota", "gra"], "write NAME=SERVERS"),
        (["--demand", "0"], "range"),
        (["--use", "0"], "above 0"),
    ],
)
def test_bad_usage_is_exit_code_2(run, arguments, why):
    """With what to write instead."""
    done = run(*arguments)

    assert done.exit_code == 2
    assert why in done.stderr


def test_what_is_made_up_needs_a_configuration():
    """``--per-hour`` alone says nothing of a scenario that has its demand."""
    done = CliRunner().invoke(main, ["simulate", "calm", "--per-hour", "5"])

    assert done.exit_code == 2
    assert "name it with -c" in done.stderr


def test_a_change_that_cannot_be_is_told_with_a_remedy(run):
    """Exit code 1, before anything is run."""
    done = run("--lose", "graa@1h")

    assert done.exit_code == 1
    assert "did you mean 'gra'" in done.stderr
    assert "there are: bhs, gra" in done.stderr


def test_plots_without_matplotlib_are_refused_before_the_run(run, monkeypatch):
    """The message names the extra."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    done = run("--plots", "pictures")

    assert done.exit_code == 1
    assert "trellis-ci[plots]" in done.stderr
