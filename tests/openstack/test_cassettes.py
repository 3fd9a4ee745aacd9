"""Do we still understand a real OpenStack? Its recorded answers, through the real client."""

import hashlib
from pathlib import Path

import pytest
import yaml

from tests.real.stories import FLAVOR, IMAGE_TAG, NAME, STORIES, TAG, Nothing, scene
from trellis.errors import (
    AuthError,
    CloudBrokenError,
    ConflictingStateError,
    NoCapacityError,
    NotFoundError,
    QuotaExceededError,
)
from trellis.openstack.auth import Standing
from trellis.testing.cassette import CassetteError, open_cassette, read_provenance

CASSETTES = Path(__file__).parents[2] / "cassettes" / "openstack"


@pytest.fixture
def replay():
    """Tell a story to the client again; every recorded request must be made, and no other."""

    async def replay(name):
        story = STORIES[name]
        with open_cassette(CASSETTES / story.path) as transport:
            async with scene(story.config, transport, Nothing()) as on:
                return await story.tell(on)

    return replay


class TestIdentity:
    @pytest.mark.parametrize("story", ["password_login", "application_credential_login"])
    async def test_a_login_says_where_compute_is(self, replay, story, autojump_clock):
        """Project, region and endpoint come from the token and its catalog."""
        home = await replay(story)

        assert len(home.project_id) == 32
        assert home.region == "RegionOne"
        assert home.endpoint == "https://compute.cloud.example/v2.1"

    async def test_a_wrong_password_is_tried_once(self, replay, autojump_clock):
        """Two callers get the one refusal, with the entry to look at and no password."""
        first, second, state = await replay("wrong_password")

        assert type(first) is type(second) is AuthError
        assert first.status == 401
        assert NAME in str(first)
        assert "scrubbed" not in str(first)
        assert state.logins == 1
        assert state.standing is Standing.FAILING

    async def test_a_token_that_nova_refuses_is_renewed_unseen(self, replay, autojump_clock):
        """A 401 costs one login; the caller gets the answer."""
        before, limits, after, state = await replay("expired_token")

        assert (before.token, after.token) == ("scrubbed-token-1", "scrubbed-token-2")
        assert limits.max_total_instances == 20
        assert state.logins == 2


class TestCompute:
    async def test_what_a_region_offers(self, replay, autojump_clock):
        """Flavors with their sizes, zones, an image by name, quota and use."""
        flavors, zones, image, nothing, limits = await replay("inventory")

        small = next(row for row in flavors if row.name == FLAVOR)
        assert (small.vcpus, small.ram, small.disk) == (1, 1024, 10)
        assert [(zone.name, zone.state.available) for zone in zones] == [("nova", True)]
        assert image.status == "active"
        assert nothing is None
        assert (limits.max_total_cores, limits.total_instances_used) == (80, 0)

    async def test_a_servers_whole_life(self, replay, autojump_clock):
        """BUILD, ACTIVE with address and metadata, gone, and a DELETED row in the list."""
        server_id, life, listed, gone, changed, left = await replay("launch")

        assert {row.status for row in life[:-1]} == {"BUILD"}
        assert life[-1].status == "ACTIVE"
        assert life[-1].addresses["test-net"][0].addr.startswith("10.43.0.")
        assert life[-1].metadata["trellis_node_id"] == "0000000001"
        assert [row.id for row in listed] == [server_id]
        assert gone.status == 404
        assert gone.cloud_request_id.startswith("req-")
        assert [(row.id, row.status) for row in changed] == [(server_id, "DELETED")]
        assert left == []

    async def test_the_row_of_a_deleted_server_has_no_metadata(self, replay, autojump_clock):
        """Nova forgets the tags with the server: a DELETED row is known by its id alone."""
        *_, changed, _ = await replay("launch")

        assert changed[0].metadata == {}

    async def test_over_quota(self, replay, autojump_clock):
        """Nova's 403 becomes the error that says: not the node's fault, wait for room."""
        error = await replay("over_quota")

        assert type(error) is QuotaExceededError
        assert error.status == 403
        assert "cores" in error.message
        assert error.call == "POST compute /servers"

    async def test_no_valid_host(self, replay, autojump_clock):
        """The fault of a server that no host can take is read as a want of capacity."""
        server, error = await replay("no_valid_host")

        assert server.status == "ERROR"
        assert type(error) is NoCapacityError
        assert "No valid host" in error.message

    async def test_a_build_that_fails(self, replay, autojump_clock):
        """Any other fault is the cloud's failure: counts as an attempt."""
        server, error = await replay("build_failure")

        assert server.status == "ERROR"
        assert type(error) is CloudBrokenError
        assert error.message

    async def test_deleting_what_is_gone(self, replay, autojump_clock):
        """Looking at it and deleting it again are both *not found*, which proves it gone."""
        gone, again = await replay("delete_twice")

        assert type(gone) is type(again) is NotFoundError
        assert again.call == "DELETE compute /servers/{id}"

    async def test_a_list_is_followed_to_its_end(self, replay, autojump_clock):
        """Three pages and one that is empty make three rows, each once."""
        listed, by_name = await replay("paging")

        assert sorted(row.name for row in listed) == ["paged-0", "paged-1", "paged-2"]
        assert [row.name for row in by_name] == ["paged-1"]


class TestNetwork:
    async def test_a_floating_ip_carries_our_mark(self, replay, autojump_clock):
        """One POST makes and attaches it; the mark finds it; a second delete is *not found*."""
        port, made, found, quota, refused = await replay("floating_ip")

        assert made.floating_ip_address.startswith("203.0.113.")
        assert made.port_id == port.id
        assert made.fixed_ip_address == port.fixed_ips[0].ip_address
        assert [(row.id, row.description) for row in found] == [(made.id, TAG)]
        assert quota.used == 1
        assert type(refused) is NotFoundError


class TestImages:
    async def test_an_image_is_what_was_sent(self, replay, autojump_clock):
        """Its hash says so; it is found by its name and mark, and sent once only."""
        made, active, twice, changed, found, gone, again = await replay("image_put")

        assert (made.status, active.status, active.size) == ("queued", "active", 65_536)
        assert active.hash_value == hashlib.sha512(b"\0" * 65_536).hexdigest()
        assert type(twice) is ConflictingStateError
        assert changed.properties == {**IMAGE_TAG, "os_distro": "debian"}
        assert [(row.id, tag_of_image(row)) for row in found] == [(made.id, IMAGE_TAG)]
        assert type(gone) is type(again) is NotFoundError

    async def test_what_was_staged_is_imported(self, replay, autojump_clock):
        """Its size is told before it is imported; nothing can be imported before it is staged."""
        ways, early, staged, active = await replay("image_import")

        assert ways == ("glance-direct", "web-download")
        assert type(early) is ConflictingStateError
        assert (staged.status, staged.size) == ("uploading", 65_536)
        assert active.hash_value == hashlib.sha512(b"\0" * 65_536).hexdigest()


def tag_of_image(row):
    return {key: row.properties.get(key) for key in IMAGE_TAG}


TOLD = {
    "password_login", "application_credential_login", "wrong_password", "expired_token",
    "inventory", "launch", "over_quota", "no_valid_host", "build_failure", "delete_twice",
    "paging", "floating_ip", "image_put", "image_import",
}  # fmt: skip


def test_every_story_has_its_cassette_and_every_cassette_its_story():
    """No cassette is left that nothing replays."""
    on_disk = sorted(str(path.relative_to(CASSETTES)) for path in CASSETTES.rglob("*.yaml"))

    assert on_disk == sorted(story.path for story in STORIES.values())


def test_no_story_is_dropped():
    """What a client must understand of a cloud is named here: none goes without a word."""
    assert set(STORIES) == TOLD


@pytest.mark.parametrize("story", sorted(STORIES))
def test_a_cassette_is_a_recording_of_its_story(story):
    """Its head tells the story that is told now, was recorded, and says how to do so again."""
    told = STORIES[story]
    head = read_provenance(CASSETTES / told.path)

    assert head.story == told.about
    assert head.source == "recorded"
    assert head.again.endswith(f"tests.real.record_cassettes {story}")


async def test_a_cassette_that_lacks_an_exchange_fails_its_story(tmp_path, autojump_clock):
    """Replay knows what was recorded and nothing else: no answer is made up."""
    story = STORIES["delete_twice"]
    recorded = (CASSETTES / story.path).read_text()
    head = "".join(line for line in recorded.splitlines(True) if line.startswith("#"))
    cut = yaml.safe_load(recorded)
    cut["interactions"].pop()
    shorter = tmp_path / "delete_twice.yaml"
    shorter.write_text(head + yaml.safe_dump(cut))

    async def tell():
        with open_cassette(shorter) as transport:
            async with scene(story.config, transport, Nothing()) as on:
                await story.tell(on)

    missing = pytest.RaisesExc(CassetteError, match=r"(?s)not recorded: DELETE .*not as often")
    with pytest.RaisesGroup(missing, flatten_subgroups=True):
        await tell()
