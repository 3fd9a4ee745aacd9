"""Each quirk of classic Rackspace: what holds on its twin with it, and not without it."""

import pytest
import trio
from trellis_rackspace.classic import PROFILE

from tests.plugins.image_uploads import boots_in, provider_of, uploaded
from tests.plugins.quirk_stories import Stories, Told
from tests.plugins.rackspace_stage import (
    IMAGE,
    LABEL,
    all_served,
    creates_tried,
    entry_of,
    on_stage,
    twin,
)
from trellis.errors import ConfigError, RejectedError, RetryLaterError, UploadBrokenError
from trellis.sim.cloud.aftercare import RACKCONNECT
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.spec import UNLIMITED, Quota

STORIES = Stories(PROFILE)
ROOM = Quota(instances=500, cores=UNLIMITED, ram_mib=UNLIMITED, ports=1000)


@STORIES.of("entry.auth.auth_url")
async def an_entry_of_user_and_key_is_enough(told: Told) -> None:
    """One Keystone for all regions."""
    urls = {entry_of(told, region).auth["auth_url"] for region in PROFILE.regions}

    assert urls == {"https://identity.api.rackspacecloud.com/v2.0/"}


@STORIES.of("entry.auth_type", "entry.compute_service_name", "lacks_neutron")
async def a_node_is_had_with_an_api_key(told: Told) -> None:
    """From the product that is meant, though the catalog has two more and a dead neutron."""
    stage = on_stage(told)
    async with stage.running():
        (node,) = await all_served(stage)

        (server,) = stage.alpha.servers()
        assert node.external_id == server.id
        assert server.region == "DFW"


@STORIES.of("entry.block_storage_api_version")
async def a_node_boots_from_a_volume(told: Told) -> None:
    """Block storage is called by version 2, at the host of the version 1 that is listed."""
    stage = on_stage(told, label={**LABEL, "boot-from-volume": True})
    async with stage.running():
        await all_served(stage)

        assert [path for _, _, path in stage.calls if path.startswith("/DFW/volume/v2/700001")]
        assert len(stage.alpha.volumes()) == 1


@STORIES.of("needs_config_drive")
async def a_guest_answers(told: Told) -> None:
    """It has learnt its network."""
    stage = on_stage(told)
    async with stage.running():
        (node,) = await all_served(stage)

        assert node.host_keys


@STORIES.of("hides_zones")
async def a_zone_that_a_pool_names_is_not_sent(told: Told) -> None:
    """Nor are zones asked for."""
    stage = on_stage(told, **{"availability-zones": ["dfw-1"]})
    async with stage.running():
        await all_served(stage)

        assert not [path for _, _, path in stage.calls if "availability-zone" in path]


@STORIES.of("metadata_most")
async def a_label_with_too_much_metadata_is_not_tried(told: Told) -> None:
    """It is said why instead."""
    properties = {f"key-{number}": "value" for number in range(36)}
    stage = on_stage(told, label={**LABEL, "instance-properties": properties})
    async with stage.running() as core:
        request = await stage.ask("alpha")
        await trio.sleep(60.0)

        assert creates_tried(stage) == 0
        assert "takes 40" in (await core.port.explain_request(request)).words


@STORIES.of("passed_over_flavors")
async def min_ram_means_no_flavor_that_cannot_boot(told: Told) -> None:
    """The smallest with 7000 MiB is one without a disk."""
    stage = on_stage(told, label={"name": "small", "cloud-image": IMAGE, "min-ram": 7000})
    async with stage.running():
        (node,) = await all_served(stage)

        assert node.shape.flavor_name == "8 GB General Purpose v1"


@STORIES.of("lacks_security_groups")
async def security_groups_of_a_pool_are_not_sent(told: Told) -> None:
    """A pool may have been copied from another cloud."""
    stage = on_stage(told, **{"security-groups": ["default"]})
    async with stage.running():
        await all_served(stage)


@STORIES.of("ready_waits")
async def a_node_is_ready_when_the_vendor_is(told: Told) -> None:
    """At the address that it has from then on."""
    alpha = twin(behaviour={"rackconnect": "DEPLOYED", "managed": "Complete"})
    stage = on_stage(told, alpha)
    async with stage.running():
        (node,) = await all_served(stage)

        (server,) = stage.alpha.servers()
        assert server.metadata[RACKCONNECT] == "DEPLOYED"
        assert node.addresses.interface_ip in server.addresses
        assert stage.alpha.has_address(node.addresses.interface_ip)


@STORIES.of("rate.compute.create")
async def servers_are_created_no_faster_than_is_allowed(told: Told) -> None:
    """A hundred and fifty at once."""
    stage = on_stage(told, twin(quota=ROOM), most=200)
    async with stage.running():
        await all_served(stage, 150)

        assert stage.alpha.ledger.of(What.RATE_LIMITED) == []


@STORIES.of("rate.compute.read")
async def nothing_is_read_faster_than_is_allowed(told: Told) -> None:
    """Thirteen hundred calls that somebody wants to make at once."""
    stage = on_stage(told)
    async with provider_of(told, stage) as provider, trio.open_nursery() as callers:
        for _ in range(1300):
            callers.start_soon(provider.compute.limits)

    assert stage.alpha.ledger.of(What.RATE_LIMITED) == []


@STORIES.of("entry.image_format", "entry.image_api_use_tasks", "entry.disable_vendor_agent")
async def a_server_boots_from_an_image_of_our_own(told: Told) -> None:
    """A VHD that a task has imported, and that says that it has no agent."""
    stage = on_stage(told)
    async with provider_of(told, stage) as provider:
        _, image_id = await uploaded(provider)

        assert await boots_in(provider, image_id) is not None


@STORIES.of("refused_image_properties")
async def properties_of_the_vendor_are_left_out(told: Told) -> None:
    """An image's metadata may have been copied from one of the vendor's."""
    stage = on_stage(told)
    async with provider_of(told, stage) as provider:
        await uploaded(provider, properties={"com.rackspace__1__build_core": "1"})


def test_each_quirk_has_a_story():
    """Nothing is in the profile for nothing."""
    assert STORIES.untold() == []


@pytest.mark.parametrize("name", STORIES.names)
async def test_with_the_quirk_it_holds(name, tmp_path, autojump_clock):
    """On Rackspace's twin."""
    await STORIES.tell(name, tmp_path)


FAILURES = {
    "entry.auth.auth_url": ConfigError,
    "entry.image_format": UploadBrokenError,
    "entry.image_api_use_tasks": RejectedError,
    "refused_image_properties": RejectedError,
    "rate.compute.read": RetryLaterError,
}


@pytest.mark.parametrize("name", STORIES.names)
async def test_without_the_quirk_it_fails(name, tmp_path, autojump_clock):
    """A cloud that is stock in this one respect is not Rackspace's."""
    failure = FAILURES.get(name, AssertionError)
    with pytest.RaisesGroup(failure, allow_unwrapped=True, flatten_subgroups=True):
        await STORIES.tell(name, tmp_path, without=True)
