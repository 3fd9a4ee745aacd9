"""The stories of OVH's quirks, on its twin; the same for both of its companies."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import attrs
import httpx
import pytest
import trio
from trellis_ovh.profiles import OVH, OVH_US

from tests.daemon.stage import MINUTE, Carry, Meddler, Stage, wall
from tests.plugins.quirk_stories import Stories, Story, Told
from trellis.accounts import Accounts
from trellis.config import parse
from trellis.errors import RetryLaterError
from trellis.model.node import Node
from trellis.model.request import NodeRequest
from trellis.model.status import Health
from trellis.providers.config import OpenStackProviderConfig
from trellis.providers.openstack import OpenStackProvider
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.spec import CloudSpec
from trellis.sim.clouds.ovh import ovh, ovh_with_private_network
from trellis.world import World

STORIES = {
    "ovh": Stories(OVH),
    "ovh-us": Stories(OVH_US),
}
LABEL = "{name: small, cloud-image: Debian 12, flavor-name: b2-7}"
CONFIGURATION = """
deployment: stage
labels: [{name: small}]
providers:
  - name: alpha
    type: TYPE
    cloud: alpha
    region-name: REGION
    sweep: delete
    pools: [{name: main, labels: [LABEL]}]
  - name: beta
    type: openstack
    cloud: beta
    pools:
      - name: main
        labels: [{name: small, cloud-image: tiny, flavor-name: ci-1c-1g}]
"""


def of(*names: str) -> Callable[[Story], Story]:
    """Decorate the story of a quirk of both profiles."""

    def add(story: Story) -> Story:
        for stories in STORIES.values():
            stories.of(*names)(story)
        return story

    return add


def staged(
    told: Told, twin: CloudSpec | None = None, *, region: str = "GRA1", label: str = LABEL
) -> Stage:
    """A core at the twin, of which clouds.yaml says where it is and who logs in, and no more."""
    text = CONFIGURATION.replace("TYPE", told.profile.name)
    text = text.replace("REGION", region).replace("LABEL", label)
    spec = attrs.evolve(ovh() if twin is None else twin, name="alpha")
    stage = told.stage(alpha=spec, configuration=text)
    who = spec.credentials
    auth = {"username": who.username, "password": who.password, "project_name": who.project}
    stage.entry = {"profile": told.profile.name, "auth": auth}
    stage.entry["auth"]["auth_url"] = stage.alpha.auth_url
    stage.write()
    return stage


async def a_node(stage: Stage) -> tuple[NodeRequest, Node]:
    """A request that alpha has served, with its node."""
    assert stage.core is not None
    request = await stage.served(await stage.ask("alpha"))
    (node,) = await stage.core.port.nodes_of(request)
    return request, node


@asynccontextmanager
async def accounts_at(
    stage: Stage, entries: int = 1
) -> AsyncIterator[tuple[list[OpenStackProvider], Accounts]]:
    """Alpha's provider, once for each of so many entries of clouds.yaml that are all alike."""
    configuration = parse(
        stage.configuration, stage.types, file="stage", folder=Path()
    ).configuration
    alpha = configuration.providers[0]
    assert isinstance(alpha, OpenStackProviderConfig)
    configs = [
        attrs.evolve(alpha, name=f"alpha-{number}", cloud=f"alpha-{number}")
        for number in range(entries)
    ]

    def read(name, region, *, profile=None):
        return attrs.evolve(stage.read("alpha", region, profile=profile), name=name)

    accounts = Accounts(
        read=read,
        registry=stage.types,
        deployment=configuration.deployment,
        world=World(
            wall=wall,
            random=Random(1),
            connect=None,
            transport=lambda _: Meddler(stage, "alpha"),
        ),
        configs=configs,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accounts.run)
        yield [(await accounts.connect(config)).provider for config in configs], accounts
        nursery.cancel_scope.cancel()


async def at_once(calls: list[Callable[[], Awaitable[object]]]) -> None:
    """Make calls at once; what the cloud refuses for its rate its ledger tells."""

    async def make(call: Callable[[], Awaitable[object]]) -> None:
        with contextlib.suppress(RetryLaterError):
            await call()

    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(make, call)


def refused(stage: Stage) -> int:
    """How many calls were too many."""
    return len(stage.alpha.ledger.of(What.RATE_LIMITED))


def most_in(times: list[float], span_s: float) -> int:
    """The most of these that lie within a span."""
    return max(sum(1 for at in times if begin <= at < begin + span_s) for begin in times)


# ---------------------------------------------------------------------- where and who


@of("entry.auth.auth_url")
async def an_entry_of_user_and_secret_is_enough(told):
    stage = staged(told)
    stage.entry["auth"].pop("auth_url")
    stage.write()

    config = stage.read("alpha", "GRA1", profile=told.profile.name)

    assert config.auth["auth_url"].startswith("https://auth.cloud.ovh.")
    await trio.lowlevel.checkpoint()


@of("entry.auth_type")
async def nothing_is_asked_before_a_login(told):
    stage = staged(told)
    async with accounts_at(stage) as ((provider,), _):
        await provider.home()

    assert [(method, path) for _, method, path in stage.calls] == [
        ("POST", "/identity/v3/auth/tokens")
    ]


async def body_of_the_login(stage):
    """What is sent to log in."""
    bodies = []

    async def meddle(request: httpx.Request, carry: Carry) -> httpx.Response:
        if request.url.path.endswith("/auth/tokens"):
            bodies.append(httpx.Response(200, content=request.read()).json()["auth"])
        return await carry(request)

    stage.meddle = meddle
    async with accounts_at(stage) as ((provider,), _):
        await provider.home()
    return bodies[0]


@of("entry.auth.user_domain_name")
async def the_user_is_looked_for_in_his_domain(told):
    body = await body_of_the_login(staged(told))

    assert body["identity"]["password"]["user"].get("domain") == {"name": "Default"}


@of("entry.auth.project_domain_name")
async def the_project_is_looked_for_in_its_domain(told):
    body = await body_of_the_login(staged(told))

    assert body["scope"]["project"].get("domain") == {"name": "Default"}


@of("missing_region")
async def a_region_that_is_not_activated_says_what_to_do_and_is_found_then(told):
    stage = staged(told, region="SBG5")
    async with stage.running():
        shown = await stage.becomes(Health.UNAVAILABLE)
        assert "not in region SBG5; it is in: GRA1, BHS1" in shown.reason
        assert "Activate it in the OVH manager" in shown.reason

        activated = attrs.evolve(stage.alpha.spec.behaviour, regions_not_activated=())
        stage.alpha.change(behaviour=activated)
        await stage.becomes(Health.AVAILABLE)
        await a_node(stage)


# ---------------------------------------------------------------------------- the rates


@of("rate.identity")
async def logins_of_one_user_keep_to_sixty_a_minute_whatever_the_entries(told):
    stage = staged(told)
    async with accounts_at(stage, entries=75) as (providers, _):
        await at_once([provider.home for provider in providers])

    logins = [fact.at for fact in stage.alpha.ledger.of(What.LOGIN)]
    assert refused(stage) == 0
    assert len(logins) == 75
    assert most_in(logins, MINUTE) <= 60


async def keeps_to_the_rate(told, call):
    stage, times = staged(told), []

    async def meddle(request: httpx.Request, carry: Carry) -> httpx.Response:
        times.append(trio.current_time())
        return await carry(request)

    stage.meddle = meddle
    async with accounts_at(stage) as ((provider,), _):
        await at_once([lambda: call(provider)] * 100)

    assert refused(stage) == 0
    assert most_in(times, 1.0) <= 20
    assert len(stage.calls) == 101


@of("rate.compute")
async def compute_is_called_no_faster_than_it_allows(told):
    await keeps_to_the_rate(told, lambda provider: provider.compute.limits())


@of("rate.network")
async def network_is_called_no_faster_than_it_allows(told):
    await keeps_to_the_rate(told, lambda provider: provider.network.networks())


@of("rate.image")
async def image_is_called_no_faster_than_it_allows(told):
    await keeps_to_the_rate(told, lambda provider: provider.image.images())


@of("rate.block-storage")
async def block_storage_is_called_no_faster_than_it_allows(told):
    await keeps_to_the_rate(told, lambda provider: provider.volumes.storage.limits())


# -------------------------------------------------------------------------- the servers


@of("gives_public_addresses")
async def nothing_is_asked_about_floating_ips(told):
    stage = staged(told)
    async with stage.running():
        request, node = await a_node(stage)
        await stage.release(request)
        await stage.gone(node.id)
        await trio.sleep(15 * MINUTE)

    about = ("/floatingips", "/routers", "/subnets")
    assert [
        path for cloud, _, path in stage.calls if cloud == "alpha" and path.endswith(about)
    ] == []


@of("public_networks")
async def addresses_of_ext_net_are_public_whatever_they_look_like(told):
    stage = staged(told, ovh_with_private_network())
    async with stage.running():
        _, node = await a_node(stage)
        (server,) = stage.alpha.servers()

        assert server.addresses[0].startswith("10.")
        assert node.addresses.public_ipv4 == server.addresses[0]


@of("default_networks")
async def a_server_goes_on_ext_net_though_there_is_a_private_network(told):
    stage = staged(told, ovh_with_private_network())
    async with stage.running():
        await a_node(stage)

        assert len(stage.alpha.ports()) == 1


@of("shows_unusable_ipv6")
async def the_ipv6_address_that_no_guest_has_is_not_told(told):
    stage = staged(told)
    async with stage.running():
        _, node = await a_node(stage)
        (server,) = stage.alpha.servers()
        (dead,) = [address for address in server.addresses if ":" in address]
        with pytest.raises(OSError, match="no server"):
            await stage.alpha.connect(dead, 22)

        assert node.addresses.public_ipv6 is None


@of("needs_config_drive")
async def the_guest_knows_its_name(told):
    stage = staged(told)
    async with stage.running():
        _, node = await a_node(stage)
        (server,) = stage.alpha.servers()

        assert server.hostname == node.hostname


@of("miscounts_use")
async def a_project_that_is_said_to_be_full_is_used(told):
    stage = staged(told)
    async with stage.running():
        await a_node(stage)


@of("passed_over_flavors")
async def a_flavor_by_memory_is_neither_windows_nor_flex(told):
    stage = staged(told, label="{name: small, cloud-image: Debian 12, min-ram: 4000}")
    async with stage.running():
        _, node = await a_node(stage)

        assert node.shape.flavor_name == "b2-7"
