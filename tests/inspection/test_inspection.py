"""A cloud is looked at through its plugin by questions alone, and each trouble says what to do."""

import json
from random import Random

import attrs
import httpx
import pytest
import trio
import yaml

from tests.daemon.stage import wall
from trellis.inspection.cloud import look
from trellis.inspection.findings import Finding, Verdict, listed, worst
from trellis.inspection.itself import plugins, type_of_provider
from trellis.openstack.profile import CloudProfile, Quirk
from trellis.plugin_host import Plugin, PluginHost, built_in_plugins
from trellis.providers.config import OpenStackProviderConfig
from trellis.providers.openstack import OpenStackProvider
from trellis.sim.cloud import (
    CloudSpec,
    FlavorSpec,
    ImageSpec,
    NetworkSpec,
    Quota,
    SimCloud,
    SimTransport,
    floating_networks,
)
from trellis.sim.cloud.spec import IdentityVersions
from trellis.sim.cloud.wire import Request
from trellis.sim.entries import cloud_entry
from trellis.spi.registry import ProviderRegistry


class Watched(httpx.AsyncBaseTransport):
    """The wires to a cloud, with a list of what went over them and a spoiler of answers."""

    def __init__(self, cloud, seen, spoil):
        self._inner, self._seen, self._spoil = SimTransport(cloud), seen, spoil

    async def handle_async_request(self, request):
        self._seen.append((request.method, request.url.path))
        spoiled = self._spoil(request)
        return spoiled or await self._inner.handle_async_request(request)


class Bench:
    """One simulated cloud, its clouds.yaml and types of provider to look at it with."""

    def __init__(self, folder, monkeypatch, spec=None, **parts):
        spec = spec or CloudSpec(name="mycloud", **parts)
        self.cloud = SimCloud(spec, wall=wall, random=Random(1))
        self.file = folder / "clouds.yaml"
        self.types = PluginHost(built_in_plugins()).providers
        self.entry = cloud_entry(self.cloud, self.types)
        self.document = {"clouds": {"mycloud": self.entry}}
        self.seen, self.spoil = [], lambda request: None
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(self.file))
        monkeypatch.setenv("HOME", str(folder))
        monkeypatch.delenv("OS_CLOUD", raising=False)

    async def look(self, kind="openstack", region=None, cloud="mycloud"):
        """All findings, by what and subject."""
        self.file.write_text(yaml.safe_dump(self.document))
        found = await look(
            self.types.get(kind),
            self.types,
            cloud=cloud,
            region=region,
            transports=lambda settings: Watched(self.cloud, self.seen, self.spoil),
            random=Random(1),
            wall=wall,
        )
        return {f"{one.what} {one.subject}".strip(): one for one in found}


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """Makes benches."""
    return lambda spec=None, **parts: Bench(tmp_path, monkeypatch, spec, **parts)


def refused(status, path, body=None):
    """What answers every call of this path so."""
    answer = httpx.Response(status, json=body or {"error": {"message": "no", "code": status}})
    return lambda request: answer if request.url.path.endswith(path) else None


async def test_a_stock_cloud_is_ok_and_nothing_but_the_login_is_posted(bench, autojump_clock):
    """One POST, to identity; every other call is a GET."""
    there = bench(networks=floating_networks())

    found = await there.look()

    assert {name: one.verdict for name, one in found.items() if one.verdict is not Verdict.OK} == {}
    assert list(found) == [
        "entry", "auth", "catalog", "catalog compute", "catalog image", "catalog network",
        "catalog block-storage", "versions", "limits", "flavors", "images", "networks", "zones",
        "servers",
    ]  # fmt: skip
    assert [path for method, path in there.seen if method != "GET"] == ["/identity/v3/auth/tokens"]


async def test_what_there_is_is_said_in_words_and_as_data(bench, autojump_clock):
    """The figures are the cloud's."""
    there = bench(
        networks=floating_networks(),
        quota=Quota(instances=7, cores=20, ram_mib=-1),
        zones=("az1", "az2"),
        images=(ImageSpec(name="tiny"), ImageSpec(name="old", status="deactivated")),
    )

    found = await there.look()

    assert found["auth"].data["user"] == found["auth"].data["project"] == "ci"
    assert found["auth"].data["token_life_s"] == pytest.approx(3600, abs=5)
    assert found["auth"].data["project_id"] == there.cloud.project_id
    assert found["limits"].data["instances"] == {"limit": 7, "used": 0}
    assert found["limits"].data["ram_mib"]["limit"] == "unlimited"
    assert "0 of 7 servers" in found["limits"].found
    assert found["flavors"].data["flavors"][0] == {
        "name": "ci-1c-1g", "cores": 1, "ram_mib": 1024, "disk_gib": 10,
    }  # fmt: skip
    assert found["images"].data["formats"] == {"raw": 1}
    assert "qcow2" in found["images"].data["upload_formats"]
    assert found["images"].data["import_methods"] == ["glance-direct", "web-download"]
    assert found["networks"].data["floating_ips_from"] == "public"
    assert [
        (row["name"], row["attachable"], row["public"])
        for row in found["networks"].data["networks"]
    ] == [("ci-net", True, False), ("public", False, False)]
    assert found["zones"].data["available"] == ["az1", "az2"]
    assert found["versions"].data["compute_most"] == "2.96"
    assert json.dumps([one.as_plain() for one in found.values()])


@pytest.mark.parametrize("identity", [IdentityVersions.V2, IdentityVersions.V3])
async def test_both_versions_of_keystone_are_looked_at(bench, identity, autojump_clock):
    """With v2.0 the login is the one POST too."""
    there = bench(identity=identity)

    found = await there.look()

    assert found["auth"].verdict is Verdict.OK
    assert [method for method, _ in there.seen].count("POST") == 1


# ---------------------------------------------------------------------- what ends it early


async def test_a_wrong_password_is_one_login_and_ends_it(bench, autojump_clock):
    """It is tried once, as keystone locks accounts, and nothing else is asked."""
    there = bench()
    there.entry["auth"]["password"] = "wrong-password"

    found = await there.look()

    assert found["auth"].verdict is Verdict.FAIL
    assert found["auth"].data == {"error": "AuthError", "status": 401, "call": "login"}
    assert "Check user, secret and project of mycloud in clouds.yaml" in found["auth"].remedy
    assert "second factor (MFA)" in found["auth"].remedy
    assert "wrong-password" not in str(found)
    assert list(found) == ["entry", "auth"]
    assert [method for method, _ in there.seen].count("POST") == 1


async def test_a_dead_cloud_says_where_nobody_is(bench, autojump_clock):
    """With the command that tries the same."""
    there = bench()
    there.entry["auth"]["auth_url"] = "http://elsewhere.sim/identity/v3"

    found = await there.look()

    assert found["auth"].verdict is Verdict.FAIL
    assert "no connection to http://elsewhere.sim" in found["auth"].found
    assert "`curl http://elsewhere.sim/identity/v3` tries it" in found["auth"].remedy
    assert list(found) == ["entry", "auth"]


async def test_a_web_page_in_place_of_keystone_says_so(bench, autojump_clock):
    """The URL of a dashboard is a frequent slip."""
    there = bench()
    there.spoil = lambda request: httpx.Response(200, html="<html>Log in</html>")

    found = await there.look()

    assert found["auth"].verdict is Verdict.FAIL
    assert "auth_url" in found["auth"].found + found["auth"].remedy


@pytest.mark.parametrize(
    ("region", "cloud", "said"),
    [
        ("Regionone", "mycloud", "there is no region Regionone; there is: RegionOne, RegionTwo"),
        (None, "mycluod", "did you mean mycloud?"),
    ],
)
async def test_an_unknown_entry_or_region_lists_what_there_is(
    bench, region, cloud, said, autojump_clock
):
    """Nothing is sent."""
    there = bench(regions=("RegionOne", "RegionTwo"))

    found = await there.look(region=region, cloud=cloud)

    assert list(found) == ["entry"]
    assert found["entry"].verdict is Verdict.FAIL
    assert said in found["entry"].found
    assert there.seen == []


async def test_a_region_that_only_the_catalog_lacks_lists_the_catalogs(bench, autojump_clock):
    """Regions must be activated at some clouds: then the entry has them, and the catalog not."""
    there = bench()
    there.entry["region_name"] = "GRA7"

    found = await there.look()

    assert found["catalog compute"].verdict is Verdict.FAIL
    assert "the compute service is not in region GRA7" in found["catalog compute"].found
    assert "it is in: RegionOne" in found["catalog compute"].found
    assert found["catalog compute"].remedy


async def test_a_number_where_a_text_is_meant_is_told_with_its_place(bench, autojump_clock):
    """YAML makes numbers of project ids that are not quoted."""
    there = bench()
    there.entry["auth"]["project_id"] = 700001

    found = await there.look()

    assert list(found) == ["entry"]
    assert "project_id" in found["entry"].found
    assert "quotes" in found["entry"].found


# -------------------------------------------------------------- what is lacking, or surprises


async def test_a_catalog_without_a_network_service_warns_and_names_the_quirk(bench, autojump_clock):
    """The rest is looked at all the same."""
    there = bench()
    there.spoil = without_service(there.cloud, "network")

    found = await there.look()

    assert found["catalog network"].verdict is Verdict.WARN
    assert "no service of type network; it has: compute" in found["catalog network"].found
    assert "lacks_neutron" in found["catalog network"].remedy
    assert found["networks"].verdict is Verdict.FAIL
    assert found["servers"].verdict is Verdict.OK


def without_service(cloud, kind):
    """Takes a service out of the catalog."""

    def spoil(request):
        if not request.url.path.endswith("/auth/tokens"):
            return None
        answer = _answered(cloud, request)
        body = json.loads(answer.body)
        body["token"]["catalog"] = [x for x in body["token"]["catalog"] if x["type"] != kind]
        return httpx.Response(answer.status, headers=answer.headers, json=body)

    return spoil


def _answered(cloud, request):
    headers = {name.lower(): value for name, value in request.headers.items()}
    asked = Request(
        request.method, request.url.path, request.url.query.decode(), headers,
        request.content, trio.current_time(),
    )  # fmt: skip
    return cloud.handle(asked)


@pytest.mark.parametrize(
    ("parts", "what", "verdict", "said"),
    [
        ({"quota": Quota(instances=0)}, "limits", Verdict.WARN, "used up: servers"),
        ({"images": ()}, "images", Verdict.WARN, "0 active"),
        (
            {"flavors": (FlavorSpec(name="v1", cores=1, ram_mib=1024, disk_gib=0),)},
            "flavors", Verdict.WARN, "without a disk: v1",
        ),
        (
            {"networks": (NetworkSpec(name="public", external=True, attachable=False),)},
            "networks", Verdict.FAIL, "public (external, for floating IPs)",
        ),
        (
            {"networks": (NetworkSpec(name="inside"),)}, "networks", Verdict.WARN,
            "there is no external network",
        ),
        ({"token_lifetime_s": 120.0}, "auth", Verdict.WARN, "a token lives 2m"),
        ({"block_storage": ""}, "catalog block-storage", Verdict.WARN, "no service of type"),
    ],
    ids=[
        "quota-used-up", "no-image", "no-disk", "nowhere-to-go", "no-way-out", "short-tokens",
        "no-cinder",
    ],
)  # fmt: skip
async def test_what_will_surprise_is_said_before_it_does(
    bench, parts, what, verdict, said, autojump_clock
):
    """With a remedy."""
    found = await bench(**parts).look()

    assert found[what].verdict is verdict
    assert said in found[what].found
    assert found[what].remedy


@pytest.mark.parametrize(
    ("path", "what"),
    [("/flavors/detail", "flavors"), ("/v2/images", "images"), ("/servers/detail", "servers")],
)
async def test_a_service_that_refuses_is_one_finding_and_the_rest_goes_on(
    bench, path, what, autojump_clock
):
    """With the call, so that its operators know which."""
    there = bench()
    there.spoil = refused(403, path)

    found = await there.look()

    assert found[what].verdict is Verdict.FAIL
    assert "403" in found[what].found
    assert [name for name, one in found.items() if one.verdict is Verdict.FAIL] == [what]


async def test_glance_that_tells_nothing_of_itself_is_no_trouble(bench, autojump_clock):
    """Formats and import methods are an extra."""
    there = bench()
    there.spoil = refused(404, "/v2/info/import")

    found = await there.look()

    assert found["images"].verdict is Verdict.OK
    assert found["images"].data["import_methods"] == []


# ------------------------------------------------------------------- through another plugin


def quirky(**values):
    """A registry with the type *quirky*: a profile of these quirks."""
    quirks = tuple(
        Quirk(name=name, value=value, does="d", evidence="e", era="2026", check="c")
        for name, value in values.items()
    )
    profile = CloudProfile(name="quirky", title="Quirky", status="in operation", quirks=quirks)
    types = ProviderRegistry()

    def make(config, context):
        return OpenStackProvider(
            config, context.session, context.deployment, quirks=profile.settings
        )

    types.add("quirky", make, OpenStackProviderConfig, profile=profile)
    return types


async def test_the_types_own_quirks_decide_what_is_asked_and_said(bench, autojump_clock):
    """A cloud whose network service is dead is not asked for networks."""
    there = bench()
    there.types = quirky(lacks_neutron=True, hides_zones=True)

    found = await there.look("quirky")

    assert found["catalog network"].verdict is Verdict.OK
    assert "lacks_neutron" in found["networks"].found
    assert not [path for _, path in there.seen if "/network/" in path]
    assert not [path for _, path in there.seen if "availability-zone" in path]


@pytest.mark.parametrize(
    ("quirk", "verdict"),
    [({}, Verdict.WARN), ({"default_networks": ("outer",)}, Verdict.OK)],
    ids=["without-quirk", "default-networks"],
)
async def test_a_choice_of_networks_is_asked_for_until_a_quirk_makes_it(
    bench, quirk, verdict, autojump_clock
):
    """A server on the private one alone could not be reached."""
    there = bench(networks=(NetworkSpec(name="outer", external=True), NetworkSpec(name="inner")))
    there.types = quirky(**{"needs_config_drive": True, **quirk})

    found = await there.look("quirky")

    assert found["networks"].verdict is verdict
    assert "outer (public), inner (private)" in found["networks"].found
    assert bool(found["networks"].remedy) is (verdict is Verdict.WARN)


async def test_a_microversion_that_nova_does_not_speak_fails(bench, autojump_clock):
    """Every call would be answered 406."""
    there = bench()
    there.types = quirky(compute_microversion="2.999")

    found = await there.look("quirky")

    assert found["versions"].verdict is Verdict.FAIL
    assert "compute_microversion" in found["versions"].remedy


async def test_a_microversion_that_nova_speaks_is_ok(bench, autojump_clock):
    """The range is compared as numbers: 2.9 is below 2.10."""
    there = bench()
    there.types = quirky(compute_microversion="2.9")

    found = await there.look("quirky")

    assert found["versions"].verdict is Verdict.OK


class Acting(OpenStackProvider):
    """A provider that deletes while it is asked for its limits."""

    async def limits(self):
        await self.compute.delete_server("11111111-1111-1111-1111-111111111111")
        return await super().limits()


class Broken(OpenStackProvider):
    """A provider with a slip in it."""

    async def list(self, since):
        return since["rows"]


def of_class(provider):
    """A registry with the type *own*, made by this class."""
    types = ProviderRegistry()
    types.add(
        "own",
        lambda config, context: provider(config, context.session, context.deployment),
        OpenStackProviderConfig,
    )
    return types


async def test_a_plugin_that_acts_when_it_is_asked_is_stopped(bench, autojump_clock):
    """Nothing of it reaches the cloud; the finding names the call."""
    there = bench()
    there.types = of_class(Acting)

    found = await there.look("own")

    assert found["limits"].verdict is Verdict.FAIL
    assert "DELETE compute /servers/{id}" in found["limits"].found
    assert {method for method, _ in there.seen} == {"GET", "POST"}
    assert found["flavors"].verdict is Verdict.OK


async def test_a_plugin_that_raises_what_it_may_not_is_named(bench, autojump_clock):
    """The rest is looked at all the same."""
    there = bench()
    there.types = of_class(Broken)

    found = await there.look("own")

    assert found["servers"].verdict is Verdict.FAIL
    assert "list of type 'own' raises what is no CloudError: TypeError" in found["servers"].found
    assert "author" in found["servers"].remedy


# --------------------------------------------------------------------- the plugin by itself


class Halfway:
    """A provider that lacks most of the SPI."""

    capabilities = frozenset()

    def __init__(self, config, session, deployment):
        pass

    async def limits(self):
        pass


class Plain(OpenStackProvider):
    """A provider with a method that is no coroutine."""

    def limits(self):
        pass


@pytest.mark.parametrize(
    ("provider", "verdict", "said"),
    [
        (OpenStackProvider, Verdict.OK, "has all 15 methods of the SPI"),
        (Halfway, Verdict.FAIL, "lacks open, inventory"),
        (Plain, Verdict.FAIL, "limits must be async"),
    ],
    ids=["whole", "halfway", "plain"],
)
async def test_a_provider_that_is_not_whole_is_found_without_a_cloud(
    provider, verdict, said, autojump_clock
):
    """By its methods, which are those of the SPI."""
    types = of_class(provider)

    (found,) = await type_of_provider(types.get("own"), types)

    assert found.verdict is verdict
    assert said in found.found


async def test_a_factory_that_fails_is_found_without_a_cloud(autojump_clock):
    """With what it raised."""

    class Failing:
        def __init__(self, config, session, deployment):
            raise KeyError("endpoint")

    types = of_class(Failing)

    (found,) = await type_of_provider(types.get("own"), types)

    assert found.verdict is Verdict.FAIL
    assert "the factory of type 'own' fails: KeyError: 'endpoint'" in found.found


async def test_a_configuration_that_needs_more_is_said(autojump_clock):
    """Nothing can be made without its keys; which they are is said."""

    @attrs.frozen(kw_only=True)
    class Demanding(OpenStackProviderConfig):
        tenant_code: str

    types = ProviderRegistry()
    types.add("own", OpenStackProvider, Demanding)

    (found,) = await type_of_provider(types.get("own"), types)

    assert found.verdict is Verdict.WARN
    assert "tenant-code" in found.found


def test_a_broken_plugin_fails_with_its_problem():
    """And one that is in order says what it registers."""

    class Wrong:
        trellis_spi_version = 99

        @staticmethod
        def trellis_register_providers(register):
            pass

    host = PluginHost([*built_in_plugins(), Plugin(name="wrong", load=Wrong, origin="wrong-dist")])

    found = {one.subject: one for one in plugins(host)}

    assert found["wrong"].verdict is Verdict.FAIL
    assert "99" in found["wrong"].found
    assert "provider type 'openstack'" in found["openstack"].found
    assert worst(found.values()) is Verdict.FAIL
    assert [one.subject for one in plugins(host, ["openstack"])] == ["openstack"]


def test_many_names_are_cut_with_their_number():
    """A table has little room; the data has them all."""
    assert listed(["a", "b"]) == "a, b"
    assert listed([str(n) for n in range(20)], 3) == "0, 1, 2 and 17 more"


def test_the_verdict_is_that_of_the_worst():
    """Nothing found is nothing wrong."""
    warn = Finding(what="a", found="", verdict=Verdict.WARN)

    assert worst([Finding(what="b", found=""), warn]) is Verdict.WARN
    assert worst([]) is Verdict.OK
