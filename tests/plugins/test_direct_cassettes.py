"""OVH and Vexxhost as documents have them, through our client and provider."""

import pytest

from tests.plugins.direct_documented import MADE, OVH_COMPUTE, PROJECT, STORIES
from tests.plugins.documented import CASSETTES, documented_under, replay, scene
from trellis.errors import CloudBrokenError, QuotaExceededError, RetryLaterError
from trellis.model.node import Addresses
from trellis.providers.networks import NetworkFacts
from trellis.testing.cassette import open_cassette, read_provenance


async def test_one_login_says_where_all_is(autojump_clock):
    """URLs without a version get the one that our calls are written for."""
    home, (image, network, volume) = await replay(STORIES["login"])

    assert (home.project_id, home.region, home.endpoint) == (PROJECT, "GRA1", OVH_COMPUTE)
    assert image == "https://image.compute.gra1.cloud.ovh.net/v2"
    assert network == "https://network.compute.gra1.cloud.ovh.net/v2.0"
    assert volume == f"https://volume.compute.gra1.cloud.ovh.net/v3/{PROJECT}"


async def test_a_login_too_many_is_a_rate_and_is_not_repeated_at_once(autojump_clock):
    """Nothing says how long to wait: the account's own back-off does."""
    first, second = await replay(STORIES["login_over_the_rate"])

    assert type(first) is type(second) is RetryLaterError
    assert first.after_s is None
    assert "limits the rate of logins" in first.message


async def test_a_list_too_many_is_a_rate_and_comes_later(autojump_clock):
    """Though its status is a text, and there is no Retry-After: a second's pause, then a half."""
    rows, took_s = await replay(STORIES["list_over_the_rate"])

    assert rows == []
    assert 1.0 <= took_s < 10.0


async def test_a_server_on_ext_net_is_reached_by_ipv4_alone(autojump_clock):
    """The IPv6 address is shown and not used."""
    story = STORIES["server"]
    with open_cassette(CASSETTES / story.path) as transport:
        async with scene(story.place, transport) as on:
            row = await story.tell(on)
            addresses = on.provider.addresses(row, NetworkFacts(usable=True))

    assert len(row.addresses["Ext-Net"]) == 2
    assert addresses == Addresses(
        interface_ip="198.51.100.50", public_ipv4="198.51.100.50", private_ipv4=None
    )


async def test_a_reply_that_timed_out_leaves_a_create_in_doubt(autojump_clock):
    """It is sent once, and its server is looked for: a 500 says nothing of what was made."""
    error = await replay(STORIES["create_timed_out"])

    assert type(error) is CloudBrokenError
    assert error.status == 500
    assert "Timed out waiting for a reply" in error.message


async def test_a_server_is_made_with_its_volume(autojump_clock):
    """What is sent stands in the cassette, and is compared."""
    assert await replay(STORIES["boot_from_volume"]) == MADE


async def test_a_volume_without_quota_is_a_want_of_quota(autojump_clock):
    """It is waited out: the node is not to blame."""
    row, error = await replay(STORIES["volume_over_quota"])

    assert row.status == "ERROR"
    assert type(error) is QuotaExceededError


@pytest.mark.parametrize("name", STORIES)
def test_each_cassette_says_that_it_is_documented(name):
    """Nothing of it was recorded."""
    story = STORIES[name]

    assert read_provenance(CASSETTES / story.path) == story.head


@pytest.mark.parametrize("cloud", ["ovh", "vexxhost"])
def test_no_documented_cassette_is_left_over(cloud):
    """Each has a story; beside them are recorded ones."""
    ours = sorted(story.path for story in STORIES.values() if story.path.startswith(cloud))

    assert documented_under(cloud) == ours
