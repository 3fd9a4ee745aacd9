"""Rackspace as documents have it, through our client and provider."""

import pytest

from tests.plugins.documented import CASSETTES, replay
from tests.plugins.rackspace_documented import (
    CONNECTED,
    CREATED,
    DELETED,
    FLEX_PROJECT,
    IMAGE,
    STORIES,
    TENANT,
    compute,
)
from trellis.errors import AuthError, RetryLaterError, UploadBrokenError
from trellis.model.quota import UNLIMITED
from trellis.spi.provider import InstanceState
from trellis.testing.cassette import read_provenance


async def test_a_login_by_key_leads_to_the_service_that_is_meant(autojump_clock):
    """Neither first-generation servers nor the old block storage; the tenant is a number."""
    home, (servers, images, volumes) = await replay(STORIES["api_key_login"])

    assert (home.project_id, home.region, home.endpoint) == (TENANT, "DFW", compute())
    assert servers == compute()
    assert images == "https://dfw.images.api.rackspacecloud.com/v2"
    assert volumes == f"https://dfw.blockstorage.api.rackspacecloud.com/v2/{TENANT}"


async def test_a_login_by_password_gives_the_same(autojump_clock):
    """While no second factor is asked for."""
    assert (await replay(STORIES["password_login"])).endpoint == compute()


async def test_a_second_factor_is_said_to_need_the_key(autojump_clock):
    """Though the password is right."""
    error = await replay(STORIES["second_factor"])

    assert type(error) is AuthError
    assert error.status == 401
    assert "auth_type: rackspace_apikey" in error.message


async def test_a_login_over_the_limit_says_when_to_come_again(autojump_clock):
    """The account waits that long, whoever asks."""
    error = await replay(STORIES["login_over_limit"])

    assert type(error) is RetryLaterError
    assert error.after_s == 90.0


async def test_a_server_is_created_on_both_networks(autojump_clock):
    """The answer has its id and little else."""
    assert await replay(STORIES["create"]) == CREATED


@pytest.mark.parametrize(
    ("story", "seconds"),
    [("over_limit", 90.0), ("over_limit_retry_after", 90.0), ("over_limit_seconds", 12.0)],
)
async def test_how_long_to_wait_is_read_in_every_spelling(story, seconds, autojump_clock):
    """413 is a rate here, and the create is not repeated by itself."""
    error = await replay(STORIES[story])

    assert type(error) is RetryLaterError
    assert (error.status, error.after_s) == (413, seconds)


async def test_cores_are_unlimited_and_memory_is_not(autojump_clock):
    """Neutron is not asked for anything, cinder neither."""
    reading = await replay(STORIES["limits"])

    assert reading.limits.cores is UNLIMITED
    assert (reading.limits.instances, reading.limits.ram_mib) == (100, 131072)
    assert (reading.used.instances, reading.used.ram_mib) == (12, 98304)


async def test_a_server_is_building_until_the_vendor_is_done(autojump_clock):
    """And is reached at the address that it has then."""
    before, after = await replay(STORIES["rackconnect"])

    assert (before.external_id, before.state) == (CONNECTED, InstanceState.BUILDING)
    assert before.addresses.public_ipv4 == "203.0.113.43"
    assert after.state is InstanceState.ACTIVE
    assert after.addresses.interface_ip == "198.51.100.43"
    assert after.addresses.private_ipv4 == "10.176.0.43"
    assert after.addresses.public_ipv6 == "2001:db8:7::43"


async def test_a_row_of_a_deleted_server_is_gone(autojump_clock):
    """Whatever metadata it still has."""
    listing = await replay(STORIES["deleted_row"])

    (row,) = listing.instances
    assert (row.external_id, row.state) == (DELETED, InstanceState.GONE)
    assert listing.full is False


async def test_an_image_is_imported_from_an_object(autojump_clock):
    """The task's result names it; its object is gone when it is done."""
    steps = await replay(STORIES["image_import"])

    assert steps[-1].done
    assert steps[-1].external_id == IMAGE
    assert steps[-1].things["object"].startswith("trellis-images/")


async def test_an_import_that_fails_again_and_again_is_given_up(autojump_clock):
    """396 is a file that is no VHD, or a task that only has to be begun again."""
    error = await replay(STORIES["image_import_396"])

    assert type(error) is UploadBrokenError
    assert "Error code: '396'" in str(error)


async def test_on_flex_the_project_is_found(autojump_clock):
    """By three calls to its identity service."""
    home = await replay(STORIES["project_choice"])

    assert home.project_id == FLEX_PROJECT
    assert home.endpoint == "https://nova.api.dfw3.rackspacecloud.com/v2.1"


def test_every_cassette_of_classic_has_its_story():
    """None is left that nothing replays."""
    on_disk = sorted(
        path.relative_to(CASSETTES).as_posix() for path in (CASSETTES / "rackspace").rglob("*.yaml")
    )

    ours = sorted(story.path for story in STORIES.values() if story.path.startswith("rackspace/"))
    assert on_disk == ours


@pytest.mark.parametrize("name", sorted(STORIES))
def test_a_cassette_says_which_document_it_follows(name):
    """It was recorded from no cloud, and says so."""
    story = STORIES[name]

    assert read_provenance(CASSETTES / story.path) == story.head
