"""A story that was recorded is told again from its cassette alone, and holds nobody's secrets."""

import json
from random import Random

import httpx
import pytest
import trio

from tests.daemon.stage import wall
from trellis.errors import AuthError, CloudError, QuotaExceededError
from trellis.openstack.clouds import CloudConfig
from trellis.openstack.login import Access
from trellis.plugin_host import PluginHost, built_in_plugins
from trellis.providers.config import OpenStackProviderConfig
from trellis.providers.openstack import OpenStackProvider
from trellis.sim.cloud import (
    CloudSpec,
    Faults,
    IdentityVersions,
    Quota,
    SimCloud,
    SimTransport,
    floating_networks,
)
from trellis.spi.provider import InstanceState
from trellis.spi.registry import ProviderRegistry
from trellis.testing.cassette import CassetteError, read_provenance
from trellis.testing.cloud_stories import STORIES, CannotTellError
from trellis.testing.recording import Place, cassettes_under, record, tell_again
from trellis.testing.secrets import Scrubber, find_secrets
from trellis.testing.stand_ins import stand_ins

LABEL = {"cloud-image": "tiny", "flavor-name": "ci-1c-1g"}
TYPES = PluginHost(built_in_plugins()).providers


class Scene:
    """A simulated cloud that stories are recorded from."""

    def __init__(self, folder, types=TYPES, kind="openstack", **parts):
        parts = {"networks": floating_networks(), **parts}
        self.cloud = SimCloud(CloudSpec(name="mycloud", **parts), wall=wall, random=Random(1))
        self.folder, self.spoil = folder, lambda request: None
        old = self.cloud.spec.identity is IdentityVersions.V2
        domains = {} if old else {"user_domain_name": "Default", "project_domain_name": "Default"}
        self.entry = CloudConfig(
            name="mycloud",
            region_name="RegionOne",
            auth_type="v2password" if old else "v3password",
            auth={
                "auth_url": self.cloud.auth_url, "username": "ci", "password": "sim-password",
                "tenant_name" if old else "project_name": "ci", **domains,
            },
        )  # fmt: skip
        self.types, self.kind, self.label = types, kind, LABEL

    async def record(self, name):
        place = Place(
            registration=self.types.get(self.kind), registry=self.types, cloud=self.entry,
            label=self.label, pool={"networks": ["ci-net"]},
        )  # fmt: skip
        return await record(
            STORIES[name], place, self.folder, lambda settings: Spoiled(self),
            described="a simulated cloud", again="trellis plugin record", hide_hosts=False,
            wall=wall,
        )  # fmt: skip

    async def again(self, path):
        return await tell_again(path, self.types)

    def left(self):
        """What is left in the cloud."""
        return [*self.cloud.servers(), *self.cloud.floating_ips()]


class Spoiled(httpx.AsyncBaseTransport):
    """The wires to the scene's cloud."""

    def __init__(self, scene):
        self._scene, self._inner = scene, SimTransport(scene.cloud)

    async def handle_async_request(self, request):
        return self._scene.spoil(request) or await self._inner.handle_async_request(request)


@pytest.fixture
def scene(tmp_path):
    """Makes scenes."""
    return lambda **parts: Scene(tmp_path, **parts)


async def test_a_whole_life_is_told_again_without_the_cloud(scene, autojump_clock):
    """The same states, the same addresses; and nothing is left behind at the cloud."""
    there = scene()

    recorded = await there.record("launch")
    life, found, gone = await there.again(recorded.path)

    assert life[0].state is InstanceState.BUILDING
    assert life[-1].addresses.private_ipv4
    assert found.tag.node_id == "0000000001"
    assert gone.state is InstanceState.GONE
    assert there.left() == []
    assert recorded.path == there.folder / "compute/launch.yaml"
    assert recorded.calls > 5


async def test_a_floating_ip_is_told_again(scene, autojump_clock):
    """It is the same when it is asked for twice, and its tag finds it."""
    there = scene()

    recorded = await there.record("floating_ip")
    before, first, again, reached, left = await there.again(recorded.path)

    assert before.needs_public
    assert first == again
    assert reached.addresses.public_ipv4 == first.address
    assert [row.external_id for row in left] == [first.external_id]
    assert there.left() == []


@pytest.mark.parametrize("identity", [IdentityVersions.V2, IdentityVersions.V3])
@pytest.mark.parametrize("name", ["login", "limits", "unknown_server", "offer"])
async def test_questions_are_told_again(scene, name, identity, autojump_clock):
    """By both versions of keystone; equal answers come to equal things."""
    there = scene(identity=identity)
    recorded = await there.record(name)

    told = await there.again(recorded.path)

    assert told == await there.again(recorded.path)
    assert there.left() == []


async def test_a_refusal_for_quota_is_told_again(scene, autojump_clock):
    """Only where there is no room, so that nothing is made by it."""
    there = scene(quota=Quota(cores=0))

    recorded = await there.record("over_quota")

    assert type(await there.again(recorded.path)) is QuotaExceededError


async def test_a_server_above_the_quota_is_not_tried_where_there_is_room(scene, autojump_clock):
    """It would be made, and cost something."""
    there = scene()

    with pytest.raises(CannotTellError, match=r"has room for it .*100 instances less 0"):
        await there.record("over_quota")

    assert not [k for k in there.cloud.ledger.calls if k[0].startswith("POST compute")]
    assert not (there.folder / "compute/over_quota.yaml").exists()


async def test_nothing_of_the_account_stands_in_a_cassette(scene, autojump_clock):
    """Neither its secrets nor its names and ids, nor the hosts of a private cloud."""
    there = scene()

    text = (await there.record("launch")).path.read_text()

    assert find_secrets(text) == ()
    for own in ("sim-password", there.cloud.project_id, there.cloud.user_id, '"ci"'):
        assert own not in text


@pytest.mark.parametrize("private", [False, True])
def test_hosts_that_everybody_knows_stay_unless_they_are_to_be_hidden(private):
    """An address, or a name of one word, is nobody's business in any case."""
    cloud = CloudConfig(
        name="a", auth_type="password", auth={"auth_url": "https://auth.cloud.example.net/v3"}
    )
    access = Access(token="t", project_id="p", user_id="u", catalog=())

    assert bool(stand_ins(cloud, access, hide_hosts=private)) is private
    for url in ("http://127.0.0.1:5000/v3", "http://controller:5000/v3", "http://a.internal/v3"):
        inside = CloudConfig(name="a", auth_type="password", auth={"auth_url": url})
        assert stand_ins(inside, access, hide_hosts=False)


def test_ids_keep_their_look():
    """An account number stays a number: some clouds have it in their URLs."""
    cloud = CloudConfig(name="a", auth_type="password", auth={})
    access = Access(token="t", project_id="700456", user_id="ab-cdef-0", catalog=())

    assert stand_ins(cloud, access, hide_hosts=False) == {
        "700456": "000001",
        "ab-cdef-0": "00-0000-2",
    }


async def test_a_known_secret_in_an_unknown_place_is_not_written(scene, autojump_clock):
    """Here the cloud says it back in a name."""
    there = scene(networks=floating_networks())
    told = {"networks": [{"id": "1" * 32, "name": "sim-password", "tenant_id": "x"}]}
    there.spoil = lambda request: (
        httpx.Response(200, json=told) if request.url.path.endswith("/networks") else None
    )
    there.label = LABEL

    with pytest.raises(CassetteError, match="one of the known secrets"):
        await there.record("unknown_server")

    assert not (there.folder / "compute/unknown_server.yaml").exists()


async def test_what_a_story_made_is_deleted_when_it_breaks(scene, autojump_clock):
    """Nova fails each look at the server after it was made."""
    there = scene(faults=Faults(boot_error=1.0))

    with pytest.raises(CannotTellError, match="the server is error"):
        await there.record("launch")

    assert there.left() == []
    assert not (there.folder / "compute/launch.yaml").exists()


async def test_what_a_story_made_is_deleted_when_it_is_cancelled(scene, autojump_clock):
    """As by Ctrl-C in the middle of it."""
    there = scene()

    with trio.move_on_after(8):
        await there.record("launch")

    await trio.sleep(60)
    assert [fact.what.value for fact in there.cloud.ledger.facts].count("server-created") == 1
    assert there.left() == []


async def test_a_login_that_is_refused_ends_it_before_anything_is_written(scene, autojump_clock):
    """With the client's own words."""
    there = scene()
    there.cloud.set_password("another")

    with pytest.raises(AuthError):
        await there.record("login")

    assert list(there.folder.iterdir()) == []


async def test_a_plugin_that_asks_otherwise_by_now_is_found(scene, autojump_clock):
    """That is what the cassettes are for."""

    class Curious(OpenStackProvider):
        async def limits(self):
            await self.compute.keypair_names()
            return await super().limits()

    there = scene()
    path = (await there.record("limits")).path
    types = ProviderRegistry()
    types.add(
        "openstack",
        lambda config, context: Curious(config, context.session, context.deployment),
        OpenStackProviderConfig,
    )

    with pytest.raises(CassetteError, match=r"not recorded: GET .*/os-keypairs"):
        await tell_again(path, types)


async def test_a_plugin_that_no_longer_asks_is_found(scene, autojump_clock):
    """A call that is not made any more is a change too."""

    class Idle(OpenStackProvider):
        async def limits(self):
            return await self.home()

    there = scene()
    path = (await there.record("limits")).path
    types = ProviderRegistry()
    types.add(
        "openstack",
        lambda config, context: Idle(config, context.session, context.deployment),
        OpenStackProviderConfig,
    )

    with pytest.raises(CassetteError, match="recorded, but never asked for"):
        await tell_again(path, types)


async def test_the_head_says_how_it_is_told(scene, autojump_clock):
    """Only those that say so are told again; the others have tests of their own."""
    there = scene()
    path = (await there.record("login")).path
    head = read_provenance(path)

    assert head.source == "recorded"
    assert json.loads(head.told)["type"] == "openstack"
    assert list(cassettes_under(there.folder)) == [path]

    path.write_text(path.read_text().replace("# told:", "# untold:"))
    assert list(cassettes_under(there.folder)) == []
    with pytest.raises(CassetteError, match="no line '# told"):
        await there.again(path)


async def test_a_type_that_is_not_there_cannot_tell(scene, autojump_clock):
    """The plugin must be installed."""
    there = scene()
    path = (await there.record("login")).path

    with pytest.raises(CassetteError, match="no plugin offers openstack"):
        await tell_again(path, ProviderRegistry())


async def test_a_plugin_without_floating_ips_says_so(scene, autojump_clock):
    """Nothing is made before it does."""
    there = scene()

    class Without(OpenStackProvider):
        @property
        def _wants_floating(self):
            return False

    types = ProviderRegistry()
    types.add(
        "openstack",
        lambda config, context: Without(config, context.session, context.deployment),
        OpenStackProviderConfig,
    )
    there.types = types

    with pytest.raises(CannotTellError, match="capability floating-ips"):
        await there.record("floating_ip")

    assert there.left() == []


def test_half_of_a_key_is_an_id_of_the_account():
    """HP's access key is worth nothing without its secret, and yet nobody else's business."""
    auth = {"access_key": "ABCDEFGH1234", "secret_key": "fake"}
    cloud = CloudConfig(name="a", auth_type="hpcloud_accesskey", auth=auth)
    access = Access(token="t", project_id="p", user_id="u", catalog=())

    assert stand_ins(cloud, access, hide_hosts=False) == {"ABCDEFGH1234": "000000000004"}


@pytest.mark.parametrize("key", ["secretKey", "secret_key", "apiKey", "password"])
def test_each_spelling_of_a_secret_key_is_scrubbed_and_found(key):
    """HP's logins call it secretKey."""
    body = json.dumps({"auth": {"apiAccessKeyCredentials": {key: "0123456789"}}}).encode()

    assert b"0123456789" not in Scrubber().body(body)
    assert find_secrets(body.decode())


def test_every_story_says_what_it_does_and_makes():
    """Whoever records it reads that first."""
    assert all(story.about.endswith(".") for story in STORIES.values())
    assert {name for name, story in STORIES.items() if story.makes} == {
        "launch", "floating_ip", "over_quota",
    }  # fmt: skip


def test_errors_of_clouds_are_no_cassette_errors():
    """They are told apart by their class."""
    assert not issubclass(CannotTellError, CloudError)


async def test_what_cannot_be_deleted_is_said_with_its_name(scene, autojump_clock):
    """A cloud that does not delete: somebody must look for it there."""
    there = scene(faults=Faults(boot_error=1.0, stuck_delete=1.0, stuck_delete_s=3600.0))

    with pytest.raises(CannotTellError, match="not gone after 300 s: look for server np0000000001"):
        await there.record("launch")
