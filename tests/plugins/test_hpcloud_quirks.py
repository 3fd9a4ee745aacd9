"""Each quirk of HP's cloud: what holds on its twin with it, and not without it."""

import ipaddress

import pytest
import yaml
from trellis_hpcloud.profile import PROFILE

from tests.daemon.stage import MINUTE
from tests.plugins.hpcloud_stage import NETWORKS, all_served, on_stage, twin
from tests.plugins.image_uploads import provider_of, uploaded
from tests.plugins.quirk_stories import Stories, Told
from trellis.errors import ConfigError, RejectedError
from trellis.openstack.clouds import read_clouds
from trellis.sim.cloud.addresses import cidrs_of
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.spec import NetworkSpec, Quota, fixed
from trellis.sim.clouds.hpcloud import hpcloud
from trellis.spi.image import CloudImageState

STORIES = Stories(PROFILE)


@STORIES.of("entry.auth.auth_url")
async def an_entry_of_two_keys_is_enough(told: Told) -> None:
    """Each region has its own identity service."""
    file = told.folder / "clouds.yaml"
    auth = {"access_key": "FAKEACCESSKEY0000000", "secret_key": "fakesecretkey"}
    file.write_text(yaml.safe_dump({"clouds": {"hp": {"auth": auth}}}))
    profiles = {name: found.entry for name, found in told.types.profiles().items()}
    clouds = read_clouds({"OS_CLIENT_CONFIG_FILE": str(file)}, profiles=profiles)

    config = clouds.get("hp", "region-b.geo-1", profile="hpcloud")

    assert config.auth["auth_url"] == ("https://region-b.geo-1.identity.hpcloudsvc.com:35357/v2.0/")


@STORIES.of("entry.auth_type")
async def a_node_is_had_with_an_access_key(told: Told) -> None:
    """The tenant is found, which no file names."""
    stage = on_stage(told, twin())
    async with stage.running():
        (node,) = await all_served(stage, 1)

        assert node.external_id == stage.alpha.servers()[0].id


@STORIES.of("needs_config_drive")
async def a_guest_answers(told: Told) -> None:
    """It has learnt its address."""
    stage = on_stage(told, twin())
    async with stage.running():
        (node,) = await all_served(stage, 1)

        assert node.host_keys


@STORIES.of("servers_per_network")
async def servers_are_spread_over_the_networks(told: Told) -> None:
    """A hundred and twenty of them answer, sixty on each of two networks."""
    quota = Quota(instances=500, floating_ips=200, ports=500)
    stage = on_stage(told, twin(quota=quota), networks=NETWORKS, most=200)
    async with stage.running():
        await all_served(stage, 120, 30 * MINUTE)

        inner = [ipaddress.ip_network(cidr) for cidr in cidrs_of(stage.alpha.spec, 0)[:2]]
        own = [
            [
                n
                for n, net in enumerate(inner)
                for a in view.addresses
                if ipaddress.ip_address(a) in net
            ]
            for view in stage.alpha.servers()
        ]
        assert all(len(places) == 1 for places in own)
        assert [own.count([0]), own.count([1])] == [60, 60]


@STORIES.of("reads_images_through_nova")
async def an_image_is_found_that_glance_does_not_show(told: Told) -> None:
    """By its name."""
    stage = on_stage(told, twin())
    async with stage.running():
        (node,) = await all_served(stage, 1)

        assert node.shape.image_name == "Ubuntu Server 14.04 LTS (amd64)"


@STORIES.of("refused_image_properties")
async def properties_of_the_vendor_are_left_out(told: Told) -> None:
    """An image's metadata may have been copied from one of the vendor's."""
    stage = on_stage(told, twin())
    async with provider_of(told, stage) as provider:
        _, image_id = await uploaded(provider, properties={"com.hp__1__os_distro": "org.debian"})

        assert (await provider.images.get(image_id)).state is CloudImageState.ACTIVE


@STORIES.of("default.floating-network")
async def floating_ips_come_from_ext_net(told: Told) -> None:
    """Though there is another external network, which comes first."""
    other = NetworkSpec(name="legacy", external=True, attachable=False)
    alpha = twin(networks=(other, *hpcloud().networks))
    stage = on_stage(told, alpha)
    async with stage.running():
        (node,) = await all_served(stage, 1)

        ext_net = ipaddress.ip_network(cidrs_of(alpha, 0)[-1])
        assert ipaddress.ip_address(node.addresses.public_ipv4) in ext_net


@STORIES.of("floating_ips_lack_descriptions")
async def a_floating_ip_is_had_without_a_mark(told: Told) -> None:
    """And is gone with its node."""
    stage = on_stage(told, twin())
    async with stage.running():
        request = await stage.served(await stage.ask("alpha"))
        (node,) = await stage.core.port.nodes_of(request)
        (floating,) = stage.alpha.floating_ips()
        assert floating.description == ""
        await stage.release(request)
        await stage.gone(node.id)

        assert stage.alpha.floating_ips() == ()


@STORIES.of("lacks_quota_details")
async def no_more_is_asked_for_than_the_quota_of_ports_allows(told: Told) -> None:
    """Nine nodes are wanted, and six ports are there: nothing is refused."""
    stage = on_stage(told, twin(quota=Quota(ports=6, floating_ips=6)))
    async with stage.running():
        requests = [await stage.ask("alpha") for _ in range(9)]
        for request_id in requests[:6]:
            await stage.served(request_id)

        assert stage.alpha.ledger.of(What.QUOTA_REFUSED) == []


@STORIES.of("rate.compute")
async def nova_is_called_no_faster_than_it_likes(told: Told) -> None:
    """Thirty nodes at once."""
    assert await refused_for_the_rate(told, "compute") == 0


@STORIES.of("rate.network")
async def neutron_is_called_no_faster_than_it_likes(told: Told) -> None:
    """Thirty servers that are active at once, and all need a floating IP."""
    assert await refused_for_the_rate(told, "network") == 0


async def refused_for_the_rate(told: Told, service: str) -> int:
    alpha = twin(boot=fixed(20.0), guest=fixed(5.0))
    stage = on_stage(told, alpha, most=40)
    async with stage.running():
        await all_served(stage, 30)
        facts = stage.alpha.ledger.of(What.RATE_LIMITED)
        return len([fact for fact in facts if fact.id.endswith(service)])


@STORIES.of("default.boot-timeout")
async def a_slow_guest_is_waited_for(told: Told) -> None:
    """Two and a half minutes from active to an answer: none is given up."""
    stage = on_stage(told, twin(guest=fixed(150.0)))
    async with stage.running():
        await all_served(stage, 1)

        assert stage.created() == 1


def test_each_quirk_has_a_story():
    """Nothing is in the profile for nothing."""
    assert STORIES.untold() == []


@pytest.mark.parametrize("name", STORIES.names)
async def test_with_the_quirk_it_holds(name, tmp_path, autojump_clock):
    """On HP's twin."""
    await STORIES.tell(name, tmp_path)


FAILURES = {"entry.auth.auth_url": ConfigError, "refused_image_properties": RejectedError}


@pytest.mark.parametrize("name", STORIES.names)
async def test_without_the_quirk_it_fails(name, tmp_path, autojump_clock):
    """A cloud that is stock in this one respect is not HP's."""
    failure = FAILURES.get(name, AssertionError)
    with pytest.RaisesGroup(failure, allow_unwrapped=True, flatten_subgroups=True):
        await STORIES.tell(name, tmp_path, without=True)
