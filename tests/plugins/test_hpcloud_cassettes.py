"""HP's cloud as documents have it, through our client and provider."""

import pytest

from tests.plugins.documented import CASSETTES, documented_under, replay
from tests.plugins.hpcloud_documented import CATALOG, COMPUTE, NETWORK, REGION, STORIES, TENANT
from trellis.errors import QuotaExceededError, RetryLaterError
from trellis.openstack.quirks import Quirks
from trellis.providers.addresses import choose_addresses
from trellis.testing.cassette import read_provenance


async def test_a_login_of_two_steps_says_where_all_is(autojump_clock):
    """Of the image service's URL the version is cut off; services without a region do no harm."""
    home, endpoints = await replay(STORIES["access_key_login"])

    assert (home.project_id, home.region, home.endpoint) == (TENANT, REGION, COMPUTE)
    assert endpoints[1] == f"https://{REGION}.images.hpcloudsvc.com:443/v2"
    assert endpoints[2] == NETWORK
    assert "hpext:dns" in [service["type"] for service in CATALOG]


async def test_the_floating_address_is_told_from_the_private_one(autojump_clock):
    """By its looks: nova says nothing of it."""
    row = await replay(STORIES["server_with_floating_ip"])

    addresses = choose_addresses(row, Quirks())
    assert addresses is not None
    assert (addresses.interface_ip, addresses.public_ipv4) == ("198.51.100.51", "198.51.100.51")
    assert addresses.private_ipv4 == "10.0.0.51"
    assert row.zone == "az2"


async def test_one_413_is_a_want_of_quota(autojump_clock):
    """Which is waited out, and slows nothing down."""
    error = await replay(STORIES["over_quota"])

    assert type(error) is QuotaExceededError
    assert "already used 100 of 100" in error.message


async def test_another_413_is_a_rate(autojump_clock):
    """With how long to wait."""
    error = await replay(STORIES["over_rate"])

    assert type(error) is RetryLaterError
    assert error.after_s == 12.0


async def test_images_are_listed_over_https_only(autojump_clock):
    """The link to the second page is never followed, only its marker."""
    rows = await replay(STORIES["images"])

    assert len(rows) == 26
    assert {row.status for row in rows} == {"active"}
    assert rows[-1].name == "CentOS 6.5 Server"


async def test_a_floating_ip_is_made_without_a_description(autojump_clock):
    """And found by its port."""
    made, found = await replay(STORIES["floating_ip"])

    assert made.floating_ip_address == "203.0.113.53"
    assert [row.id for row in found] == [made.id]


@pytest.mark.parametrize("name", STORIES)
def test_each_cassette_says_that_it_is_documented(name):
    """Nothing of it was recorded."""
    story = STORIES[name]

    assert read_provenance(CASSETTES / story.path) == story.head


def test_no_documented_cassette_is_left_over():
    """Each has a story; beside them are recorded ones."""
    assert documented_under("hpcloud") == sorted(story.path for story in STORIES.values())
