"""The page for operators shows what the plugin reads."""

import re
from pathlib import Path

import attrs
from trellis_zuul.config import ZooKeeperServerConfig, ZooKeeperTlsConfig, ZuulConfig
from trellis_zuul.plugin import trellis_register_demand_sources

from trellis.config import parse
from trellis.config.kinds import key_of
from trellis.spi.registry import DemandSourceRegistry, ProviderRegistry

PAGE = Path(__file__).parents[2] / "docs/how-to/serve-zuul.md"


def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_the_entry_it_shows_is_read():
    registry = DemandSourceRegistry()
    trellis_register_demand_sources(registry)
    (entry,) = re.findall(r"```yaml\n(demand-sources:.*?)```", page(), re.S)

    configuration = parse(
        f"deployment: d\n{entry}", ProviderRegistry(), None, registry, file="f", folder=Path("/")
    ).configuration

    (zuul,) = configuration.demand_sources
    assert zuul.servers.hosts[0] == "zk01.example.org:2281"
    assert zuul.servers.tls is not None


def test_every_key_is_in_its_table():
    told = "\n".join(line for line in page().splitlines() if line.startswith("| `"))
    keys = {
        key_of(field)
        for cls in (ZuulConfig, ZooKeeperServerConfig, ZooKeeperTlsConfig)
        for field in attrs.fields(cls)
        if field.name != "type"
    }

    assert {key for key in keys if f"`{key}`" not in told} == set()
