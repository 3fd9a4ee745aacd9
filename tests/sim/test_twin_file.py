"""`twin:` in a file: what is laid over what, what is written for it, and what is refused."""

import textwrap
from random import Random

import attrs
import pytest
import yaml

from trellis.config import parse
from trellis.errors import ConfigError
from trellis.plugin_host import Plugin, PluginHost, built_in_plugins, load_plugins
from trellis.sim.cloud.cloud import SimCloud
from trellis.sim.cloud.spec import (
    Behaviour,
    CloudSpec,
    Credentials,
    FlavorSpec,
    IdentityVersions,
    Lognormal,
    NetworkSpec,
    Quota,
)
from trellis.sim.clouds import TWINS
from trellis.sim.entries import STOCK, cloud_config, cloud_entry, type_of, types_of
from trellis.sim.scenario_dump import dumped
from trellis.sim.scenario_file import load_assumptions, load_clouds, load_scenario
from trellis.sim.serving.files import configuration_document


def tiny() -> CloudSpec:
    """A twin of a cloud that is nowhere."""
    return CloudSpec(
        name="tiny",
        regions=("EAST", "WEST"),
        outside=("198.51.100.0/24", "203.0.113.0/24"),
        identity=IdentityVersions.BOTH,
        quota=Quota(instances=7, floating_ips=0),
        behaviour=Behaviour(scopes_unasked=True),
        flavors=(FlavorSpec(name="t1", cores=1, ram_mib=1024),),
        networks=(NetworkSpec(name="net", external=True),),
        boot=Lognormal(60.0, 90.0),
    )


@pytest.fixture(autouse=True)
def _a_tiny_twin(monkeypatch):
    monkeypatch.setitem(TWINS, "tiny", tiny)


@pytest.fixture
def path(tmp_path):
    def write(text):
        file = tmp_path / "story.yaml"
        file.write_text(textwrap.dedent(text).lstrip("\n"))
        return file

    return write


def clouds_of(path, text):
    return load_clouds(path(text)).clouds


class TestLaidOver:
    def test_a_twin_alone_is_the_whole_cloud(self, path):
        """Its name is its own; its number is its place in the file."""
        (found,) = clouds_of(path, "clouds: [{twin: tiny}]")

        assert found == attrs.evolve(tiny(), twin="tiny", number=0)

    def test_only_what_is_written_is_otherwise(self, path):
        found = clouds_of(path, "clouds: [{name: a, twin: tiny, boot: {median: 1, p95: 2}}]")

        expected = attrs.evolve(tiny(), name="a", twin="tiny", number=0, boot=Lognormal(1.0, 2.0))
        assert found == (expected,)

    def test_groups_are_laid_over_key_by_key(self, path):
        """A smaller quota takes nothing from how the cloud behaves, nor from its other limits."""
        text = "clouds: [{twin: tiny, quota: {cores: 9}, behaviour: {scopes-unasked: false}}]"
        (found,) = clouds_of(path, text)

        assert found.quota == Quota(instances=7, floating_ips=0, cores=9)
        assert found.behaviour == Behaviour()

    def test_what_is_the_same_as_stock_is_laid_over_too(self, path):
        """That it is written counts, not that it is unusual."""
        (found,) = clouds_of(path, "clouds: [{twin: tiny, identity: v3}]")

        assert found.identity is IdentityVersions.V3

    def test_other_regions_have_other_addresses(self, path):
        """The twin's ranges are those of its own regions."""
        (found,) = clouds_of(path, "clouds: [{twin: tiny, regions: [EAST]}]")

        assert (found.regions, found.outside) == (("EAST",), ())

    def test_several_stand_beside_stock_clouds(self, path):
        """Each with addresses of its own."""
        text = "clouds: [{twin: tiny}, {name: plain}, {name: third, twin: tiny}]"
        found = clouds_of(path, text)

        assert [(x.name, x.twin, x.number) for x in found] == [
            ("tiny", "tiny", 0),
            ("plain", None, 1),
            ("third", "tiny", 2),
        ]

    @pytest.mark.parametrize("name", sorted(TWINS))
    def test_each_twin_can_be_named(self, path, name):
        (found,) = clouds_of(path, f"clouds: [{{twin: {name}}}]")

        assert found == attrs.evolve(TWINS[name](), twin=name, number=0)


class TestFaults:
    def faults(self, path, text, load=load_clouds):
        with pytest.raises(ConfigError) as found:
            load(path(text))
        return [line.rpartition("/")[2] for line in found.value.faults]

    def test_an_unknown_twin_is_told_with_what_was_perhaps_meant(self, path):
        (fault,) = self.faults(path, "clouds:\n  - twin: tinny\n    quota: {cores: 9}\n")

        assert fault.startswith("story.yaml:2:11: clouds.0.twin: there is no twin 'tinny', did ")
        assert "did you mean 'tiny'?" in fault
        assert "twins are: " in fault

    def test_one_that_is_no_text(self, path):
        faults = self.faults(path, "clouds: [{name: a, twin: [tiny]}]")

        assert faults == ["story.yaml:1:26: clouds.0.twin: expected text, got a list"]

    def test_what_does_not_fit_the_twin(self, path):
        text = "clouds: [{twin: tiny, outside: [10.0.0.0/24]}]"

        assert any("outside must have one range" in fault for fault in self.faults(path, text))

    def test_a_region_that_the_twin_does_not_have(self, path):
        text = """
        clouds: [{twin: tiny}]
        demand: {requests: 1, every-s: 1, labels: [small]}
        configuration:
          deployment: sim
          labels: [{name: small}]
          providers:
            - name: one
              type: openstack
              cloud: tiny
              region-name: NORTH
              pools: [{name: main, labels: [{name: small, cloud-image: tiny, flavor-name: t1}]}]
        """
        (fault,) = self.faults(path, text, load_scenario)

        assert fault.endswith("its cloud has no region 'NORTH', but EAST, WEST")


class TestFiles:
    def test_a_story_of_a_twin_is_written_and_read_again(self, path):
        """As small as it was: what is as with the real cloud is left out."""
        text = """
        clouds: [{twin: tiny, quota: {cores: 9}, boot: {median: 1, p95: 1}}, {name: plain}]
        demand: {requests: 3, every-s: 10, labels: [small]}
        configuration:
          deployment: sim
          labels: [{name: small}]
          providers:
            - name: one
              type: openstack
              cloud: tiny
              region-name: EAST
              pools: [{name: main, labels: [{name: small, cloud-image: tiny, flavor-name: t1}]}]
        """
        story = load_scenario(path(text))
        written = dumped(story)

        assert load_scenario(path(written)) == story
        cloud = yaml.safe_load(written)["clouds"][0]
        assert cloud == {
            "name": "tiny",
            "twin": "tiny",
            "quota": {"cores": 9},
            "boot": {"median": 1.0, "p95": 1.0},
        }

    def test_what_is_known_of_a_cloud_may_be_its_twin(self, path, tmp_path):
        """With a configuration that stands elsewhere."""
        own = tmp_path / "trellis.yaml"
        own.write_text("deployment: own\nproviders: []\n")

        (found,) = load_assumptions(path("clouds: [{twin: tiny}]"), own).clouds

        assert found.quota.instances == 7


def twin_of(name: str, **changes) -> SimCloud:
    spec = attrs.evolve(TWINS[name](), twin=name, **changes)
    return SimCloud(spec, wall=lambda: 0.0, random=Random(1))


BUILT_IN = PluginHost(built_in_plugins()).providers
INSTALLED = load_plugins({}, {}).providers


class TestEntries:
    def test_a_stock_cloud_has_all_of_it_in_its_entry(self):
        cloud = SimCloud(CloudSpec(name="one"), wall=lambda: 0.0, random=Random(1))

        entry = cloud_entry(cloud, INSTALLED)

        assert entry["auth_type"] == "v3password"
        assert "profile" not in entry

    @pytest.mark.parametrize("name", sorted(TWINS))
    def test_without_its_plugin_a_twin_is_taken_for_stock(self, name):
        """What was written then can at least be read; whether it serves is another matter."""
        spec = twin_of(name).spec

        assert type_of(spec, BUILT_IN) == STOCK
        assert "profile" not in cloud_entry(twin_of(name), BUILT_IN)

    @pytest.mark.parametrize("name", sorted(set(TWINS) & {*INSTALLED.types()}))
    def test_with_its_plugin_it_is_written_as_its_customers_write_it(self, name):
        """The profile says how to log in; the entry has the secret that this takes."""
        cloud = twin_of(name)
        region = cloud.spec.regions[0]

        assert type_of(cloud.spec, INSTALLED) == name
        assert cloud_entry(cloud, INSTALLED)["profile"] == name
        found = cloud_config(cloud, INSTALLED, region)
        assert found.region_name == region
        assert found.auth["auth_url"] == cloud.auth_url

    @pytest.mark.parametrize(
        ("auth_type", "keys"),
        [
            ("rackspace_apikey", {"username", "api_key"}),
            ("hpcloud_accesskey", {"access_key", "secret_key"}),
            (
                "v3applicationcredential",
                {"application_credential_id", "application_credential_secret"},
            ),
            ("v2password", {"username", "password", "tenant_name"}),
            (
                "v3password",
                {
                    "username",
                    "password",
                    "user_domain_name",
                    "project_name",
                    "project_domain_name",
                },
            ),
        ],
    )
    def test_each_kind_of_login_has_its_own_secret(self, auth_type, keys):
        """And no other, which the kind would not know."""
        from trellis.sim.entries import _credentials

        assert set(_credentials(auth_type, Credentials())) == keys

    def test_a_password_may_be_another_than_the_right_one(self):
        """That of a customer who has not been told of the new one."""
        entry = cloud_entry(twin_of("tiny"), BUILT_IN, password="old")

        assert entry["auth"]["password"] == "old"

    def test_each_region_that_can_be_used_has_a_provider(self):
        """A region that is not activated has none: it could not be used."""
        behaviour = attrs.evolve(tiny().behaviour, regions_not_activated=("WEST",))
        spec = attrs.evolve(tiny(), twin="tiny", behaviour=behaviour)

        document = configuration_document([spec], None, BUILT_IN, ssh_port=22, reachable=True)

        (provider,) = document["providers"]
        assert (provider["region-name"], provider["type"]) == ("EAST", STOCK)


def test_a_configuration_of_stock_types_loads_no_plugins(monkeypatch):
    """A simulation of stock clouds is the same whatever is installed."""
    monkeypatch.setattr(
        "trellis.sim.entries.load_plugins", lambda: pytest.fail("plugins were loaded")
    )

    types = types_of("providers: [{name: a, type: openstack}, {name: b, type: openstack}]")

    assert types.types() == BUILT_IN.types()


@pytest.mark.parametrize("text", ["providers: [{name: a}]", "providers: {", "- a", ""])
def test_what_cannot_be_read_names_no_types(text):
    """Who reads all of it says what is wrong."""
    assert types_of(text).types() == BUILT_IN.types()


def test_a_type_of_a_plugin_is_known(monkeypatch, tmp_path):
    """Types of installed plugins are there once one is named."""
    plugin = Plugin(name="mine", load=lambda: _Mine)
    monkeypatch.setattr(
        "trellis.sim.entries.load_plugins", lambda: PluginHost([*built_in_plugins(), plugin])
    )
    text = "deployment: d\nproviders: [{name: a, type: mine, cloud: c, pools: []}]"

    found = parse(text, types_of(text), file="x", folder=tmp_path).configuration

    assert found.providers[0].type == "mine"


class _Mine:
    """A plugin with one type."""

    @staticmethod
    def trellis_register_providers(register):
        stock = register.get("openstack") or BUILT_IN.get("openstack")
        register.add("mine", stock.factory, stock.configuration_class)


def test_two_of_one_twin_share_no_address(path):
    """What the twin has on the outside is the first one's; the other's are by its number."""
    clouds = load_clouds(path("clouds: [{twin: tiny}, {twin: tiny, name: second}]")).clouds

    first, second = (
        SimCloud(spec, wall=lambda: 0.0, random=Random(1)).outside_ranges() for spec in clouds
    )

    assert not any(one.overlaps(other) for one in first for other in second)
    assert [str(one) for one in first] == ["198.51.100.0/24", "203.0.113.0/24"]
