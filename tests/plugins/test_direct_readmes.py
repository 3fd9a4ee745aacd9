"""What the READMEs of OVH and Vexxhost tell people to write is what Trellis reads."""

import re
import textwrap
from pathlib import Path

import pytest

from trellis.config import load
from trellis.openstack.clouds import read_clouds
from trellis.plugin_host import load_plugins

PLUGINS = Path(__file__).parents[2] / "plugins"
TYPES = load_plugins(environment={}).providers


@pytest.mark.parametrize(
    ("plugin", "host"), [("ovh", "auth.cloud.ovh.net"), ("vexxhost", "auth.vexxhost.net")]
)
def test_first_node_is_configured_as_the_readme_says(plugin, host, tmp_path, monkeypatch):
    """Both files are good, and to read them nobody is called."""

    def call(*_args, **_kwargs):
        raise AssertionError("the network was used")

    monkeypatch.setattr("socket.getaddrinfo", call)
    text = (PLUGINS / plugin / "README.md").read_text()
    blocks = [textwrap.dedent(one) for one in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    for block in blocks:
        name = re.match(r"# (\S+)", block)
        assert name is not None
        (tmp_path / name[1]).write_text(block)

    configuration = load(tmp_path / "trellis.yaml", TYPES).configuration
    profiles = {name: found.entry for name, found in TYPES.profiles().items()}
    environment = {"OS_CLIENT_CONFIG_FILE": str(tmp_path / "clouds.yaml")}
    clouds = read_clouds(environment, profiles=profiles)

    (provider,) = configuration.providers
    assert provider.type == plugin
    cloud = clouds.get(provider.cloud, provider.region_name, profile=provider.type)
    assert cloud.region_name == provider.region_name
    assert cloud.auth["auth_url"] == f"https://{host}/v3"
    assert cloud.auth_type == "v3password"
