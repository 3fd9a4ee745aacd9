"""The clouds that are data only: found, usable, and with a reason for each value."""

import pytest
import yaml
from trellis_vendors.plugin import PROFILES

from tests.daemon.stage import CONFIGURATION, Stage
from trellis.config import load
from trellis.errors import ConfigError
from trellis.model.status import Health
from trellis.openstack.clouds import read_clouds
from trellis.plugin_host import PluginState, load_plugins
from trellis.sim.cloud.spec import CloudSpec

HOST = load_plugins(environment={})
NAMES = [profile.name for profile in PROFILES]


def a_cloud(tmp_path, profile, /, **entry):
    """A clouds.yaml with one entry, of what a customer of this cloud must say himself."""
    auth = {"username": "ci", "password": "secret", "project_name": "ci"}
    if "applicationcredential" in str(profile.entry.get("auth_type")):
        auth = {"application_credential_id": "1", "application_credential_secret": "secret"}
    auth |= {key.removeprefix("auth."): f"https://{key}.example/v3" for key in profile.needed}
    file = tmp_path / "clouds.yaml"
    file.write_text(yaml.safe_dump({"clouds": {"mine": {"auth": auth, **entry}}}))
    profiles = {name: found.entry for name, found in HOST.providers.profiles().items()}
    return read_clouds({"OS_CLIENT_CONFIG_FILE": str(file)}, profiles=profiles)


def test_all_are_registered():
    """By the distribution's own entry point."""
    (vendors,) = [info for info in HOST.plugins() if info.name == "vendors"]

    assert vendors.state is PluginState.ACTIVE
    assert set(vendors.registered) == {f"provider type '{name}'" for name in NAMES}


@pytest.mark.parametrize("profile", PROFILES, ids=NAMES)
def test_an_entry_of_user_and_secret_is_enough(profile, tmp_path):
    """The rest comes from the profile of the provider's type, in each of its regions."""
    clouds = a_cloud(tmp_path, profile)

    for region in profile.regions or ("",):
        config = clouds.get("mine", region, profile=profile.name)
        assert config.region_name == region
        assert config.auth["auth_url"].startswith("https://")
        assert "{" not in config.auth["auth_url"]


@pytest.mark.parametrize("profile", PROFILES, ids=NAMES)
def test_an_entry_may_name_the_profile_itself(profile, tmp_path):
    """Whatever the provider's type is."""
    config = a_cloud(tmp_path, profile, profile=profile.name).get("mine")

    assert config.regions == profile.regions


@pytest.mark.parametrize("place", [("auth", "auth_url"), ("auth", "auth-url"), ("auth_url",)])
def test_an_entry_with_an_auth_url_is_left_alone(place, tmp_path):
    """Who says where the cloud is does not get another one's regions."""
    (cleura,) = [profile for profile in PROFILES if profile.name == "cleura"]
    a_cloud(tmp_path, cleura)
    file = tmp_path / "clouds.yaml"
    document = yaml.safe_load(file.read_text())
    where = document["clouds"]["mine"]
    for key in place[:-1]:
        where = where[key]
    where[place[-1]] = "https://keystone.example/v3"
    file.write_text(yaml.safe_dump(document))

    clouds = read_clouds({"OS_CLIENT_CONFIG_FILE": str(file)}, profiles={"cleura": cleura.entry})
    config = clouds.get("mine", profile="cleura")

    assert config.regions == ()
    assert config.auth["auth_url"] == "https://keystone.example/v3"


def test_a_cloud_of_the_environment_is_left_alone(tmp_path):
    """It says where it is beside its credentials."""
    (cleura,) = [profile for profile in PROFILES if profile.name == "cleura"]
    environment = {
        "OS_AUTH_URL": "https://keystone.example/v3", "OS_USERNAME": "ci", "OS_PASSWORD": "secret",
        "OS_PROJECT_NAME": "ci",
    }  # fmt: skip

    clouds = read_clouds(
        environment, cwd=tmp_path, home=tmp_path, profiles={"cleura": cleura.entry}
    )

    assert clouds.get("envvars", profile="cleura").auth["auth_url"].startswith("https://keystone.")


def test_a_region_that_the_cloud_lacks_is_refused_with_those_it_has(tmp_path):
    """Also one in small letters."""
    (cleura,) = [profile for profile in PROFILES if profile.name == "cleura"]

    with pytest.raises(ConfigError, match="there is no region kna1; there is: Kna1, Sto2, Fra1"):
        a_cloud(tmp_path, cleura).get("mine", "kna1", profile="cleura")


def test_defaults_of_the_type_hold_and_can_be_written_over(tmp_path):
    """A slow cloud is waited for longer."""
    file = tmp_path / "trellis.yaml"
    file.write_text(
        """
deployment: ci
labels: [{name: small}]
providers:
  - {name: slow, type: osuosl, cloud: mine, pools: []}
  - {name: set, type: osuosl, cloud: mine, boot-timeout: 90, pools: []}
  - {name: floats, type: cleura, cloud: mine, pools: []}
  - {name: stock, type: openstack, cloud: mine, pools: []}
"""
    )

    providers = load(file, HOST.providers).configuration.providers

    assert [provider.boot_timeout for provider in providers] == [600, 90, 120, 120]
    assert [provider.floating_network for provider in providers[2:]] == ["ext-net", None]


@pytest.mark.parametrize(
    ("kind", "zones"), [("openmetal", {"nova"}), ("openstack", {"nova", "nova-local"})]
)
async def test_a_zone_that_fails_is_left_out_by_the_type(kind, zones, tmp_path, autojump_clock):
    """All goes to the one that works, and the provider says why; the stock type uses both."""
    alpha = CloudSpec(name="alpha", zones=("nova-local", "nova"))
    typed = CONFIGURATION.replace("type: openstack", f"type: {kind}", 1)
    stage = Stage(tmp_path, alpha=alpha, configuration=typed, types=HOST.providers)
    async with stage.running() as core:
        shown = await stage.becomes(Health.AVAILABLE)
        used = set()
        for _ in range(6):
            request = await stage.served(await stage.ask("alpha"))
            used |= {node.az for node in await core.port.nodes_of(request)}

        assert used == zones
        said = {quirk.name: quirk for quirk in shown.quirks}
        assert ("zones" in said) is (kind == "openmetal")
        if "zones" in said:
            assert said["zones"].value == "nova"
            assert "false no valid host" in said["zones"].does
            assert said["zones"].stock == "Every zone that is shown works."
