"""The folder of `trellis cloud`: what is written there is ready to be used, and nobody else's."""

import os
import stat

import pytest
import trio
import yaml
from served import clouds_of, serving, spec_of

from trellis.config import load
from trellis.errors import ConfigError
from trellis.openstack.clouds import read_clouds
from trellis.plugin_host import PluginHost, built_in_plugins
from trellis.sim.cloud import FlavorSpec, IdentityVersions, NetworkSpec, floating_networks
from trellis.sim.serving.files import MARK, claimed
from trellis.sim.serving.machines import NOWHERE
from trellis.sim.serving.process import builtin_clouds, placed
from trellis.sim.serving.stub_nodes import StubNodes

OWN = """
deployment: mine
labels: [{name: tiny, min-ready: 1}]
providers:
  - name: one
    type: openstack
    cloud: one
    pools:
      - name: main
        networks: [public]
        labels: [{name: tiny, cloud-image: tiny, flavor-name: ci-1c-1g}]
"""


def types():
    return PluginHost(built_in_plugins()).providers


async def test_the_configuration_can_be_loaded_and_the_clouds_too(tmp_path):
    """Every region has its provider, with the labels and the port of the nodes."""
    specs = (
        spec_of("one", regions=("a", "b")),
        spec_of("two", number=1, networks=floating_networks(), identity=IdentityVersions.V2),
    )
    async with clouds_of(tmp_path, *specs, machines=StubNodes()) as clouds:
        served = clouds.served
        configuration = load(served.configuration, types()).configuration
        found = read_clouds({"OS_CLIENT_CONFIG_FILE": str(served.clouds_yaml)})

    providers = {(p.name, p.cloud, p.region_name, p.sweep) for p in configuration.providers}
    assert providers == {
        ("one-a", "one", "a", "delete"),
        ("one-b", "one", "b", "delete"),
        ("two", "two", "RegionOne", "delete"),
    }
    pools = [provider.pools[0] for provider in configuration.providers]
    assert all({label.name for label in pool.labels} == {"small", "large"} for pool in pools)
    assert {x.connection_port for pool in pools for x in pool.labels} == {served.ssh_port}
    assert pools[2].networks == ("ci-net",)
    assert [label.name for label in configuration.labels] == ["small", "large"]
    assert (found.get("one", "b").auth_type, found.get("two").auth_type) == (
        "v3password",
        "v2password",
    )
    assert found.get("two").auth["auth_url"] == f"{served.url}/two/identity/v2.0"
    assert stat.S_IMODE(served.clouds_yaml.stat().st_mode) == 0o600


async def refused(folder):
    """Try to serve from a folder; it must not come to that."""
    with trio.fail_after(5.0):
        await serving(folder)()


async def test_a_configuration_of_the_scenario_is_kept(tmp_path):
    """Only what the nodes need is put in, and what it leaves out."""
    async with clouds_of(tmp_path, machines=StubNodes(), own=OWN) as clouds:
        configuration = load(clouds.served.configuration, types()).configuration

    (pool,) = configuration.providers[0].pools
    assert configuration.deployment == "mine"
    assert configuration.labels[0].min_ready == 1
    assert pool.labels[0].connection_port == clouds.served.ssh_port
    assert str(configuration.web.listen) == "127.0.0.1:8480"


async def test_without_nodes_host_keys_are_not_asked_for(tmp_path):
    """Nothing answers, so nothing is checked."""
    async with clouds_of(tmp_path) as clouds:
        configuration = load(clouds.served.configuration, types()).configuration

    assert configuration.providers[0].pools[0].host_key_checking is False


async def test_the_files_are_written_anew_by_the_next_run(tmp_path):
    """The project is the same one, the port another: a daemon goes on where it was."""
    async with clouds_of(tmp_path) as clouds:
        (first,) = (await clouds.look("clouds"))["clouds"]
        server = await (await clouds.account()).create()
    async with clouds_of(tmp_path) as clouds:
        (second,) = (await clouds.look("clouds"))["clouds"]
        other = await (await clouds.account()).create()
        text = clouds.served.clouds_yaml.read_text()

    assert first["project_id"] == second["project_id"]
    assert server != other
    assert second["auth_url"] in text


@pytest.mark.parametrize("name", ["clouds.yaml", "trellis.yaml"])
async def test_a_file_of_somebody_else_is_left_alone(tmp_path, name):
    """Refused before anything listens; the file is as it was."""
    (tmp_path / name).write_text("clouds: {precious: {}}\n")

    with pytest.raises(ConfigError, match=f"{name}.*did not write this file.*--folder"):
        await refused(tmp_path)

    assert (tmp_path / name).read_text() == "clouds: {precious: {}}\n"


async def test_a_folder_serves_one_run_at_a_time(tmp_path):
    """The second is told who has it; when the first has ended the folder is free."""
    async with clouds_of(tmp_path) as clouds:
        before = clouds.served.clouds_yaml.read_text()
        with pytest.raises(ConfigError, match=rf"process {os.getpid()}\) serves from this folder"):
            await refused(tmp_path)
        assert clouds.served.clouds_yaml.read_text() == before
    with claimed(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    """A file stands where the folder should be."""
    (tmp_path / "file").write_text("")

    told = r"file/sub: cannot be written: .*--folder DIR"
    with pytest.raises(ConfigError, match=told), claimed(tmp_path / "file" / "sub"):
        pytest.fail("it was made")


def test_the_built_in_clouds_are_of_three_kinds():
    """Direct and floating addresses, two regions, zones, Keystone of both versions, limits."""
    clouds = {spec.name: spec for spec in builtin_clouds().clouds}

    assert list(clouds) == ["ovh", "rackspace", "hpcloud"]
    assert clouds["ovh"].regions == ("GRA1", "BHS1")
    assert {limit.status for limit in clouds["rackspace"].rate_limits} == {413}
    assert clouds["rackspace"].identity is IdentityVersions.V2
    assert clouds["hpcloud"].zones == ("az1", "az2", "az3")
    assert not any(net.external and net.attachable for net in clouds["hpcloud"].networks)


def test_every_region_has_a_range_of_its_own():
    """What a scenario chose gives way where machines must be found by address."""
    own = NetworkSpec(name="public", external=True, cidr="203.0.113.0/24")
    specs = [spec_of("one", networks=(own,), regions=("a", "b", "c"))]

    (spec,) = placed(specs, NOWHERE)

    assert spec.networks[0].cidr is None
    assert spec.outside == ("100.64.0.0/12", "100.80.0.0/12", "100.96.0.0/12")


async def test_flavors_of_the_labels_are_the_smallest_two_that_can_be_placed(tmp_path):
    """By memory; one flavor serves both labels if there is no other."""
    flavors = (
        FlavorSpec(name="big", cores=8, ram_mib=8192),
        FlavorSpec(name="cursed", cores=1, ram_mib=64, placeable=False),
        FlavorSpec(name="little", cores=1, ram_mib=512),
    )
    async with clouds_of(tmp_path, spec_of(flavors=flavors)) as clouds:
        document = yaml.safe_load(clouds.served.configuration.read_text())

    labels = document["providers"][0]["pools"][0]["labels"]
    assert [label["flavor-name"] for label in labels] == ["little", "big"]
    assert clouds.served.configuration.read_text().startswith(MARK)
