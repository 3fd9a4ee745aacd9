"""Loading configurations from texts, with two types of provider."""

from pathlib import Path

import attrs
import pytest

from trellis.config import Configuration, Loaded, parse
from trellis.errors import ConfigError
from trellis.plugin_host import PluginHost, built_in_plugins
from trellis.spi.config import NOT_OF_THE_NODE, PoolConfig, PoolLabelConfig, ProviderConfig
from trellis.spi.registry import ProviderRegistry


@attrs.frozen(kw_only=True)
class ToyLabelConfig(PoolLabelConfig):
    """A label of a toy pool.

    Attributes:
        flavor_name: the flavor.
        userdata: not to be shown.
    """

    flavor_name: str = "small"
    userdata: str | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class ToyPoolConfig(PoolConfig):
    """A pool of a toy provider.

    Attributes:
        networks: names of networks.
    """

    labels: tuple[ToyLabelConfig, ...] = attrs.field(default=(), metadata=NOT_OF_THE_NODE)
    networks: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class ToyConfig(ProviderConfig):
    """A toy provider.

    Attributes:
        password: a secret.
    """

    pools: tuple[ToyPoolConfig, ...] = attrs.field(default=(), metadata=NOT_OF_THE_NODE)
    password: str = attrs.field(default="", repr=False)


def make_toy(config, context):
    raise NotImplementedError


@pytest.fixture
def registry():
    registry = ProviderRegistry()
    registry.add("toy", make_toy, ToyConfig)
    registry.add("plain", make_toy, ProviderConfig)
    return registry


@pytest.fixture
def builders():
    """The types of image builder that come with Trellis."""
    return PluginHost(built_in_plugins()).image_builders


@pytest.fixture
def loaded(registry, builders):
    def loaded(text: str) -> Loaded:
        return parse(text, registry, builders, file="trellis.yaml", folder=Path("/etc/trellis"))

    return loaded


@pytest.fixture
def configured(loaded):
    def configured(text: str) -> Configuration:
        return loaded(text).configuration

    return configured


@pytest.fixture
def faults(loaded):
    def faults(text: str) -> list[str]:
        with pytest.raises(ConfigError) as refused:
            loaded(text)
        return list(refused.value.faults)

    return faults


WHOLE = """\
deployment: ci-main
store: sqlite:var/trellis.db
web: {listen: "127.0.0.1:8480"}
labels:
  - name: debian-12
    min-ready: 2
    max-ready-age: 8h
images:
  - name: debian-12
    elements: [debian-minimal, vm, simple-init]
    rebuild-age: 24h
    env-vars: {DIB_PASSWORD: hunter2}
providers:
  - name: ovh-bhs1
    type: toy
    cloud: ovh
    region-name: BHS1
    password: hunter2
    boot-timeout: 90s
    pools:
      - name: main
        max-servers: 120
        labels:
          - {name: debian-12, image: debian-12, flavor-name: b2-7}
"""


@pytest.fixture
def whole():
    return WHOLE
