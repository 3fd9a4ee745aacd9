"""Vexxhost: each quirk of its profile is needed at its twin, and what the twin has besides."""

import attrs
import pytest
import trio
import yaml
from trellis_vexxhost.profile import PROFILE

from tests.daemon.stage import MINUTE, Stage
from tests.plugins.image_uploads import boots_in, provider_of, uploaded
from tests.plugins.quirk_stories import Stories, Told
from trellis.errors import ConfigError
from trellis.model.names import RequestId
from trellis.model.request import Ask
from trellis.model.status import Health
from trellis.plugin_host import load_plugins
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.spec import CloudSpec, Faults, Quota
from trellis.sim.clouds.vexxhost import vexxhost

STORIES = Stories(PROFILE)
TYPES = load_plugins(environment={}).providers
FAILS = pytest.RaisesExc((AssertionError, ConfigError))
LABEL = {"name": "small", "cloud-image": "Ubuntu 24.04", "flavor-name": "v2-highcpu-8"}


def on_stage(make_stage, twin: CloudSpec, *, region="ca-ymq-1", labels=(LABEL,), **provider):
    """A provider of type vexxhost on the twin, whose entry says where it is and who logs in."""
    names = [label["name"] for label in labels]
    pools = [{"name": label["name"], "labels": [label]} for label in labels]
    mine = {"name": "alpha", "type": "vexxhost", "cloud": "alpha", "region-name": region}
    configuration = {
        "deployment": "stage",
        "labels": [{"name": name} for name in names],
        "providers": [{**mine, "pools": pools, **provider}],
    }
    stage = make_stage(
        alpha=attrs.evolve(twin, name="alpha"), configuration=yaml.safe_dump(configuration)
    )
    who = twin.credentials
    auth = {"username": who.username, "password": who.password, "project_name": who.project}
    auth |= {"user_domain_name": "Default", "project_domain_name": "Default"}
    stage.entry = {"profile": "vexxhost", "auth": {**auth, "auth_url": stage.alpha.auth_url}}
    stage.write()
    return stage


def told_on(told: Told, **options) -> Stage:
    return on_stage(told.stage, vexxhost(), **options)


def plainly(tmp_path, twin: CloudSpec | None = None, **options) -> Stage:
    """The plugin as it is installed."""

    def make(**parts):
        return Stage(tmp_path, types=TYPES, **parts)

    return on_stage(make, vexxhost() if twin is None else twin, **options)


async def a_node(stage: Stage, label: str = "small"):
    asked = await stage.core.port.submit(Ask(labels=(label,), requestor="test"))
    request = await stage.served(RequestId(asked.id))
    (node,) = await stage.core.port.nodes_of(request)
    return request, node


# ------------------------------------------------------------------------------ the quirks


@STORIES.of("entry.auth.auth_url")
async def an_entry_of_user_and_secret_is_enough(told):
    stage = told_on(told)
    stage.entry["auth"].pop("auth_url")
    stage.write()

    config = stage.read("alpha", "sjc1", profile="vexxhost")

    assert config.auth["auth_url"] == "https://auth.vexxhost.net/v3"
    await trio.lowlevel.checkpoint()


@STORIES.of("entry.auth_type")
async def nothing_is_asked_before_a_login(told):
    stage = told_on(told)
    async with stage.running():
        await stage.becomes(Health.AVAILABLE)

    about_identity = [call for call in stage.calls if call[2].startswith("/identity")]
    assert about_identity == [("alpha", "POST", "/identity/v3/auth/tokens")]


@STORIES.of("entry.image_format")
async def images_are_raw_and_boot_at_once(told):
    """A qcow2 one would be imported at each boot."""
    async with provider_of(told, told_on(told)) as provider:
        _, image_id = await uploaded(provider)

        took_s = await boots_in(provider, image_id, ("small", "small"))
        assert took_s is not None
        assert took_s < 2 * MINUTE


@STORIES.of("gives_public_addresses")
async def nothing_is_asked_about_floating_ips(told):
    stage = told_on(told)
    async with stage.running():
        request, node = await a_node(stage)
        await stage.release(request)
        await stage.gone(node.id)
        await trio.sleep(15 * MINUTE)

    about = ("/floatingips", "/routers", "/subnets")
    assert [path for _, _, path in stage.calls if path.endswith(about)] == []


@STORIES.of("boots_from_volume")
async def servers_of_sjc1_boot_from_volumes_unasked(told):
    stage = told_on(told, region="sjc1")
    async with stage.running():
        _, node = await a_node(stage)

        (volume,) = stage.alpha.volumes()
        assert (volume.region, volume.server_id) == ("sjc1", node.external_id)
        assert volume.description.startswith("80 GiB")
        assert node.shape.disk_gib == 80


@pytest.mark.parametrize("name", STORIES.names)
async def test_quirk_holds(name, tmp_path, autojump_clock):
    """The plugin does as its cloud needs."""
    await STORIES.tell(name, tmp_path)


@pytest.mark.parametrize("name", STORIES.names)
async def test_without_the_quirk_its_story_fails(name, tmp_path, autojump_clock):
    """What stock does is not enough."""
    with pytest.RaisesGroup(FAILS, allow_unwrapped=True, flatten_subgroups=True):
        await STORIES.tell(name, tmp_path, without=True)


def test_every_quirk_has_its_story():
    """None is there for show."""
    assert STORIES.untold() == []


# -------------------------------------------------------------------------- volumes, pools


async def test_servers_of_the_other_region_boot_from_their_own_disk(tmp_path, autojump_clock):
    """One profile, and what is usual differs by region."""
    stage = plainly(tmp_path)
    async with stage.running():
        _, node = await a_node(stage)

        assert stage.alpha.volumes() == ()
        assert node.shape.disk_gib == 80  # the flavor's


@pytest.mark.parametrize(
    ("region", "said", "size"),
    [("sjc1", {"volume-size": 120}, "120 GiB"), ("ca-ymq-1", {"boot-from-volume": True}, "50 GiB")],
    ids=["another-size-in-sjc1", "a-volume-in-ca-ymq-1"],
)
async def test_a_label_has_the_last_word(region, said, size, tmp_path, autojump_clock):
    """What the cloud has is for labels that say nothing."""
    stage = plainly(tmp_path, region=region, labels=[{**LABEL, **said}])
    async with stage.running():
        await a_node(stage)

        assert stage.alpha.volumes()[0].description.startswith(size)


async def test_several_pools_of_a_region_have_flavors_of_their_own(tmp_path, autojump_clock):
    """Ordinary nodes, larger ones and those with a GPU, side by side."""
    flavors = {"small": "v2-highcpu-8", "large": "v3-standard-16", "gpu": "v3-standard-32-gpu"}
    labels = [{**LABEL, "name": name, "flavor-name": each} for name, each in flavors.items()]
    stage = plainly(tmp_path, labels=labels)
    async with stage.running():
        got = {}
        for name in flavors:
            _, node = await a_node(stage, name)
            got[node.pool] = node.shape.flavor_name

        assert got == flavors


async def test_ipv6_is_the_guests_own(tmp_path, autojump_clock):
    """It comes by router advertisements, so it is told, and it is answered at."""
    stage = plainly(tmp_path)
    async with stage.running():
        _, node = await a_node(stage)
        assert node.addresses.public_ipv6 is not None

        stream = await stage.alpha.connect(node.addresses.public_ipv6, 22)
        await stream.aclose()


async def test_quota_of_volumes_is_known_before_it_is_asked_for(tmp_path, autojump_clock):
    """Three nodes of 80 GiB in 250 GiB: the fourth waits, and nothing ends in ERROR."""
    twin = attrs.evolve(vexxhost(), quota=Quota(volumes=20, gigabytes=250))
    stage = plainly(tmp_path, twin, region="sjc1")
    async with stage.running() as core:
        requests = [await stage.ask() for _ in range(5)]
        served = [await stage.served(request) for request in requests[:3]]
        await trio.sleep(10 * MINUTE)
        assert stage.created() == 3
        assert stage.alpha.ledger.of(What.QUOTA_REFUSED, What.SERVER_ERROR) == []
        assert "volume" in (await core.port.explain_request(requests[3])).words

        await stage.release(served[0])
        await stage.served(requests[3])


async def test_volumes_that_are_left_do_not_make_launches_fail_in_a_loop(tmp_path, autojump_clock):
    """Nova forgets each volume, as in 2018: each goes with its node, and the next one has room."""
    twin = attrs.evolve(
        vexxhost(), quota=Quota(volumes=2, gigabytes=160), faults=Faults(leak_volume=1.0)
    )
    stage = plainly(tmp_path, twin, region="sjc1")
    async with stage.running():
        for _ in range(6):
            request, node = await a_node(stage)
            await stage.release(request)
            await stage.gone(node.id)

        assert stage.alpha.volumes() == ()
        assert stage.created() == 6
        assert stage.alpha.ledger.of(What.SERVER_ERROR) == []


async def test_volumes_of_somebody_else_that_fill_the_quota_are_waited_for(
    tmp_path, autojump_clock
):
    """Left in error long ago, and nobody's: no server is made to end in ERROR for want of room."""
    twin = attrs.evolve(vexxhost(), quota=Quota(volumes=20, gigabytes=100))
    stage = plainly(tmp_path, twin, region="sjc1")
    region = stage.alpha._regions["sjc1"]
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        left = region.servers.volumes.create(80, who="ci-fake", status="error")
        await trio.sleep(10 * MINUTE)
        asked = await stage.ask()
        await trio.sleep(30 * MINUTE)
        assert stage.created() == 0
        assert "volume" in (await core.port.explain_request(asked)).words

        region.servers.volumes.delete(left, "ci-fake")
        await stage.served(asked)
