"""Each plugin looks at its twin without a failure, by logins and questions alone."""

from random import Random

import attrs
import httpx
import pytest
import yaml

from tests.daemon.stage import wall
from trellis.inspection.cloud import look
from trellis.inspection.findings import Verdict
from trellis.plugin_host import load_plugins
from trellis.providers.config import OpenStackProviderConfig
from trellis.providers.openstack import OpenStackProvider
from trellis.sim.cloud import CloudSpec, NetworkSpec, SimCloud, SimTransport
from trellis.sim.clouds import TWINS
from trellis.sim.entries import cloud_entry
from trellis.spi.registry import ProviderRegistry

TYPES = load_plugins(environment={}).providers


class Watched(httpx.AsyncBaseTransport):
    """The wires to a twin, with a list of what went over them."""

    def __init__(self, cloud, seen):
        self._inner, self._seen = SimTransport(cloud), seen

    async def handle_async_request(self, request):
        self._seen.append((request.method, request.url.path))
        return await self._inner.handle_async_request(request)


async def looked_at(kind, folder, monkeypatch, *, spec=None, entry=None):
    """All findings by name, and what was sent."""
    spec = attrs.evolve(spec or TWINS[kind](), twin=kind)
    cloud = SimCloud(spec, wall=wall, random=Random(1))
    file = folder / "clouds.yaml"
    mine = {**cloud_entry(cloud, TYPES), **(entry or {})}
    file.write_text(yaml.safe_dump({"clouds": {"mine": mine}}))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
    seen = []
    found = await look(
        TYPES.get(kind), TYPES, cloud="mine", region=None,
        transports=lambda settings: Watched(cloud, seen), random=Random(1), wall=wall,
    )  # fmt: skip
    return {f"{one.what} {one.subject}".strip(): one for one in found}, seen


@pytest.mark.parametrize("kind", sorted(TWINS))
async def test_a_plugin_finds_its_way_around_its_twin(kind, tmp_path, monkeypatch, autojump_clock):
    """Nothing fails; what is posted are logins, of which two-step ones need two."""
    found, seen = await looked_at(kind, tmp_path, monkeypatch)

    failed = {name: one.found for name, one in found.items() if one.verdict is Verdict.FAIL}
    assert failed == {}
    acts = [(method, path) for method, path in seen if method != "GET"]
    assert {method for method, _ in acts} == {"POST"}
    assert {path.rpartition("/")[2] for _, path in acts} == {"tokens"}
    assert len(acts) <= 2
    assert {"auth", "limits", "flavors", "images", "networks", "zones", "servers"} <= set(found)


async def test_a_second_factor_is_named_with_the_way_around_it(
    tmp_path, monkeypatch, autojump_clock
):
    """Rackspace asks for one with a right password, and takes an API key without."""
    twin = TWINS["rackspace"]()
    asks = attrs.evolve(twin, behaviour=attrs.evolve(twin.behaviour, asks_second_factor=True))
    who = twin.credentials
    entry = {"auth_type": "v2password"}

    found, seen = await looked_at(
        "rackspace", tmp_path, monkeypatch, spec=asks,
        entry={**entry, "auth": {
            "auth_url": "http://rackspace.sim/identity/v2.0", "username": who.username,
            "password": who.password,
        }},
    )  # fmt: skip

    assert found["auth"].verdict is Verdict.FAIL
    assert "factor" in found["auth"].found + found["auth"].remedy
    assert "API key" in found["auth"].remedy
    assert len(seen) == 1


async def test_an_account_that_is_disabled_fails_at_the_login(
    tmp_path, monkeypatch, autojump_clock
):
    """Nothing else is asked."""
    twin = TWINS["rackspace"]()
    off = attrs.evolve(twin, behaviour=attrs.evolve(twin.behaviour, is_disabled=True))

    found, _ = await looked_at("rackspace", tmp_path, monkeypatch, spec=off)

    assert found["auth"].verdict is Verdict.FAIL
    assert list(found) == ["entry", "auth"]


async def test_another_product_of_the_same_type_is_named_as_the_likely_cause(
    tmp_path, monkeypatch, autojump_clock
):
    """A stock client takes the first compute service of Rackspace's catalog, which is another."""
    twin = TWINS["rackspace"]()
    who = twin.credentials
    cloud = attrs.evolve(twin, twin=None)
    file = tmp_path / "clouds.yaml"
    there = SimCloud(cloud, wall=wall, random=Random(1))
    auth = {"auth_url": there.auth_url, "username": who.username, "password": who.password}
    entry = {"auth_type": "v2password", "region_name": "DFW", "auth": auth}
    file.write_text(yaml.safe_dump({"clouds": {"mine": entry}}))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))

    findings = await look(
        TYPES.get("openstack"), TYPES, cloud="mine", region=None,
        transports=lambda settings: SimTransport(there), random=Random(1), wall=wall,
    )  # fmt: skip

    (limits,) = [one for one in findings if one.what == "limits"]
    assert limits.verdict is Verdict.FAIL
    assert "compute_service_name" in limits.remedy


@pytest.mark.parametrize("kind", sorted(set(TYPES.types()) - set(TWINS)))
async def test_a_type_that_is_data_only_looks_at_a_stock_cloud(
    kind, tmp_path, monkeypatch, autojump_clock
):
    """In the first of its own regions; what its profile asks for is there or warned of."""
    profile = TYPES.get(kind).profile
    regions = (profile.regions if profile is not None else ())[:1] or ("RegionOne",)

    found, seen = await looked_at(
        kind, tmp_path, monkeypatch, spec=CloudSpec(name="stock", regions=regions)
    )

    assert {name: one.found for name, one in found.items() if one.verdict is Verdict.FAIL} == {}
    assert [method for method, _ in seen].count("POST") == 1


class Delegate:
    """A provider that is no OpenStackProvider: it has the methods of the SPI and no more."""

    def __init__(self, config, context):
        self._inner = OpenStackProvider(config, context.session, context.deployment)
        self.capabilities = self._inner.capabilities

    def __getattr__(self, name):
        if name in {"quirks", "compute", "image", "network", "session"}:
            raise AttributeError(name)
        return getattr(self._inner, name)


async def test_a_provider_of_another_make_is_looked_at_too(tmp_path, monkeypatch, autojump_clock):
    """What it has no method for is asked by the session it was given."""
    cloud = SimCloud(CloudSpec(name="stock"), wall=wall, random=Random(1))
    types = ProviderRegistry()
    types.add("other", Delegate, OpenStackProviderConfig)
    file = tmp_path / "clouds.yaml"
    file.write_text(yaml.safe_dump({"clouds": {"mine": cloud_entry(cloud, types)}}))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))

    findings = await look(
        types.get("other"), types, cloud="mine", region=None,
        transports=lambda settings: SimTransport(cloud), random=Random(1), wall=wall,
    )  # fmt: skip

    assert {one.what for one in findings if one.verdict is not Verdict.OK} == set()
    assert {"limits", "servers", "networks"} <= {one.what for one in findings}


async def test_floating_ips_come_from_where_the_daemon_takes_them(
    tmp_path, monkeypatch, autojump_clock
):
    """The type has a default for it, whichever external network comes first."""
    twin = TWINS["hpcloud"]()
    other = NetworkSpec(name="legacy", external=True, attachable=False)
    spec = attrs.evolve(twin, networks=(other, *twin.networks))

    found, _ = await looked_at("hpcloud", tmp_path, monkeypatch, spec=spec)

    assert found["networks"].data["floating_ips_from"] == "Ext-Net"


async def test_a_floating_network_that_is_not_there_is_named(tmp_path, monkeypatch, autojump_clock):
    """Of another name than the type takes for granted."""
    twin = TWINS["hpcloud"]()
    renamed = [
        attrs.evolve(network, name="Outside") if network.external else network
        for network in twin.networks
    ]
    spec = attrs.evolve(twin, networks=tuple(renamed))

    found, _ = await looked_at("hpcloud", tmp_path, monkeypatch, spec=spec)

    assert found["networks"].verdict is Verdict.WARN
    assert "Ext-Net" in found["networks"].found
