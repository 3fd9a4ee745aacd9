"""What fifteen configured providers add to a start: counted, as times depend on the machine."""

import socket
import sys
from collections import Counter

import pytest

from tests.daemon.stage import Stage
from trellis.config import parse
from trellis.model.status import Health
from trellis.plugin_host import load_plugins
from trellis.sim.cloud.spec import CloudSpec

pytestmark = pytest.mark.slow

REGIONS = ("R1", "R2", "R3", "R4")
MANY = 15


def configuration(kind="openstack", many=MANY):
    """So many providers: some in regions of one account, all others on another one."""
    text = "deployment: stage\nlabels: [{name: small}]\nproviders:"
    for number in range(many):
        cloud = "alpha" if number < 8 else "beta"
        region = REGIONS[number % 4] if cloud == "alpha" else "RegionOne"
        text += f"""
  - name: p{number}
    type: {kind}
    cloud: {cloud}
    region-name: {region}
    pools: [{{name: main, labels: [{{name: small, cloud-image: tiny, flavor-name: ci-1c-1g}}]}}]"""
    return text


def logins(stage):
    """How many logins each cloud has seen."""
    return Counter(
        cloud
        for cloud, method, path in stage.calls
        if method == "POST" and path.endswith("/auth/tokens")
    )


def staged(folder, **parts):
    """A stage on which alpha has four regions."""
    stage = Stage(folder, alpha=CloudSpec(name="alpha", regions=REGIONS), **parts)
    assert stage.entry is not None
    stage.entry.pop("region_name", None)
    stage.entry["regions"] = list(REGIONS)
    stage.write()
    return stage


async def test_an_account_logs_in_once_for_all_its_providers(tmp_path, autojump_clock):
    """Eight providers in four regions, and seven in one: one login each."""
    stage = staged(tmp_path, configuration=configuration())

    async with stage.running() as core:
        for number in range(MANY):
            await stage.becomes(Health.AVAILABLE, name=f"p{number}")
        assert len(core.operator.providers()) == MANY

    assert logins(stage) == {"alpha": 1, "beta": 1}


async def test_a_further_provider_costs_as_many_calls_as_the_first(tmp_path, autojump_clock):
    """The calls of a start grow with the providers, and not faster."""
    counts = []
    for many in (1, 2, 4):
        folder = tmp_path / str(many)
        folder.mkdir()
        stage = staged(folder, configuration=configuration(many=many))
        async with stage.running():
            for number in range(many):
                await stage.becomes(Health.AVAILABLE, name=f"p{number}")
            counts.append(sum(path.find("/auth/") < 0 for _, _, path in stage.calls))

    assert counts[1] <= 2 * counts[0]
    assert counts[2] <= 4 * counts[0]


async def test_a_further_provider_imports_nothing(tmp_path, autojump_clock):
    """All that a type needs is there once the first of it is connected."""
    stage = Stage(tmp_path, configuration=configuration(many=1).replace("R1", "RegionOne"))
    async with stage.running():
        await stage.becomes(Health.AVAILABLE, name="p0")
        before = set(sys.modules)
        text = configuration(many=1).replace("R1", "RegionOne")
        text += text[text.index("\n  - name: p0") :].replace("p0", "p1").replace("alpha", "beta")
        await stage.take_up(text)
        await stage.becomes(Health.AVAILABLE, name="p1")

    assert sorted(set(sys.modules) - before) == []


@pytest.mark.parametrize("kind", sorted(load_plugins((), {}).providers.types()))
def test_no_call_is_made_while_the_configuration_is_read(kind, tmp_path, monkeypatch):
    """Not even for a profile that others fetch from the Internet, as OVH's."""

    def refuse(*args, **_):
        raise AssertionError(f"a call while the configuration is read: {args}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    types = load_plugins((), {}).providers

    found = parse(configuration(kind), types, file="trellis.yaml", folder=tmp_path).configuration

    assert len(found.providers) == MANY
