"""OVH day by day: one token for all regions, full aggregates, lost answers, three zones."""

from random import Random

import attrs
import httpx
import pytest
import trio
import yaml

from tests.daemon.stage import MINUTE, Carry, Meddler, Stage, hanging
from tests.plugins.ovh_stories import CONFIGURATION, LABEL, most_in
from trellis.errors import MisconfiguredError
from trellis.inspection.opening import opened, provider_config
from trellis.model.request import Ask, RequestState
from trellis.model.status import Health
from trellis.plugin_host import load_plugins
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.spec import CloudSpec
from trellis.sim.clouds.ovh import ovh, ovh_three_zones

TYPES = load_plugins(environment={}).providers
ONE = CONFIGURATION.replace("TYPE", "ovh").replace("REGION", "GRA1").replace("LABEL", LABEL)


def staged(tmp_path, twin: CloudSpec | None = None, configuration: str = ONE) -> Stage:
    """The plugin as it is installed, at its twin."""
    spec = attrs.evolve(ovh() if twin is None else twin, name="alpha")
    stage = Stage(tmp_path, alpha=spec, configuration=configuration, types=TYPES)
    who = spec.credentials
    auth = {"username": who.username, "password": who.password, "project_name": who.project}
    stage.entry = {"profile": "ovh", "auth": {**auth, "auth_url": stage.alpha.auth_url}}
    stage.write()
    return stage


def fifteen(entry: str) -> str:
    """Providers p0 to p14 in two regions; *entry* is the clouds.yaml entry of each."""
    label = {"name": "small", "cloud-image": "Debian 12", "flavor-name": "b2-7"}
    providers = [
        {
            "name": f"p{number}",
            "type": "ovh",
            "cloud": entry.format(number),
            "region-name": ("GRA1", "BHS1")[number % 2],
            "pools": [{"name": "main", "labels": [label]}],
        }
        for number in range(15)
    ]
    written = {"deployment": "stage", "labels": [{"name": "small"}], "providers": providers}
    return yaml.safe_dump(written)


async def all_available(stage: Stage) -> None:
    for number in range(15):
        await stage.becomes(Health.AVAILABLE, f"p{number}")


async def test_fifteen_providers_of_one_entry_share_one_login(tmp_path, autojump_clock):
    """In two regions; a token is good in all of them."""
    stage = staged(tmp_path, configuration=fifteen("alpha"))
    async with stage.running():
        await all_available(stage)
        await trio.sleep(15 * MINUTE)

    assert len(stage.logins()) == 1
    assert stage.alpha.ledger.of(What.RATE_LIMITED) == []


async def test_fifteen_entries_of_one_project_keep_to_its_limits_together(tmp_path, autojump_clock):
    """At the start, and each time the cloud has forgotten all its tokens: it counts by user, and by
    project, whatever our entries are called.
    """
    stage = staged(tmp_path, configuration=fifteen("alpha{}"))
    read = stage.read
    stage.read = lambda name, region, *, profile=None: attrs.evolve(
        read("alpha", region, profile=profile), name=name
    )
    async with stage.running(lambda _: Meddler(stage, "alpha")):
        await all_available(stage)
        assert stage.alpha.now < 10.0
        for _ in range(5):
            await trio.sleep(MINUTE + 1.0)
            stage.alpha.revoke_all()

    logins = [fact.at for fact in stage.alpha.ledger.of(What.LOGIN)]
    assert len(logins) >= 30
    assert most_in(logins, MINUTE) <= 60
    assert stage.alpha.ledger.of(What.RATE_LIMITED) == []


async def test_a_region_that_hangs_does_not_hold_up_another_entry_of_its_project(
    tmp_path, autojump_clock
):
    """They share the rates, not the connections: forty creates hang, and the other serves."""
    stage = staged(tmp_path, configuration=fifteen("alpha{}"))
    read = stage.read
    stage.read = lambda name, region, *, profile=None: attrs.evolve(
        read("alpha", region, profile=profile), name=name
    )
    async with stage.running(lambda _: Meddler(stage, "alpha")) as core:
        await all_available(stage)
        stage.meddle = hanging("/GRA1/")
        for _ in range(40):
            await core.port.submit(Ask(labels=("small",), requestor="test", provider="p0"))
        await trio.sleep(5.0)
        began = trio.current_time()
        asked = await core.port.submit(Ask(labels=("small",), requestor="test", provider="p1"))
        await stage.served(asked.id)

        assert trio.current_time() - began < 3 * MINUTE


async def test_an_application_credential_will_do(tmp_path, autojump_clock):
    """What the profile says of passwords is in nobody's way."""
    stage = staged(tmp_path)
    mine = stage.alpha.spec.credentials
    auth = {
        "auth_url": stage.alpha.auth_url,
        "application_credential_id": mine.application_credential_id,
        "application_credential_secret": mine.application_credential_secret,
    }
    stage.entry = {"profile": "ovh", "auth_type": "v3applicationcredential", "auth": auth}
    stage.write()
    async with stage.running():
        await stage.served(await stage.ask("alpha"))


async def test_a_create_that_ends_in_a_timed_out_reply_is_looked_for(tmp_path, autojump_clock):
    """The server is there all the same: it is found and used, and no second one is made."""
    stage = staged(tmp_path)

    async def meddle(request: httpx.Request, carry: Carry) -> httpx.Response:
        answer = await carry(request)
        if request.method != "POST" or not request.url.path.endswith("/servers"):
            return answer
        words = "Unexpected API Error. Timed out waiting for a reply to message ID 0000"
        fault = {"computeFault": {"code": 500, "message": words}}
        return httpx.Response(500, json=fault, request=request)

    stage.meddle = meddle
    async with stage.running() as core:
        request = await stage.served(await stage.ask("alpha"))
        (node,) = await core.port.nodes_of(request)

        assert stage.created() == 1
        assert node.external_id == stage.alpha.servers()[0].id


async def test_a_full_aggregate_is_left_alone_more_and_more(tmp_path, autojump_clock):
    """Three hosts' worth of room for six: no tight loop of creates and deletes, and it is said."""
    stage = staged(tmp_path, attrs.evolve(ovh(), capacity=3))
    async with stage.running() as core:
        requests = [await stage.ask("alpha") for _ in range(6)]
        await trio.sleep(15 * MINUTE)
        seen = [await core.port.request(request) for request in requests]
        served = [request for request in seen if request.state is RequestState.FULFILLED]
        waiting = [request.id for request in seen if request not in served]
        assert len(served) == 3
        before = stage.created()
        await trio.sleep(30 * MINUTE)

        assert stage.created() - before <= 12
        assert "No valid host" in (await core.port.explain_request(waiting[0])).words

        for request in served:
            await stage.release(request)
        for request_id in waiting:
            await stage.served(request_id)


async def test_volumes_lie_in_the_zone_of_their_server(tmp_path, autojump_clock):
    """In a region of three zones cinder takes no ``nova``; every server names its zone."""
    booting = LABEL.replace("}", ", boot-from-volume: true, volume-size: 30}")
    text = CONFIGURATION.replace("TYPE", "ovh").replace("REGION", "EU-WEST-PAR")
    stage = staged(tmp_path, ovh_three_zones(), text.replace("LABEL", booting))
    async with stage.running() as core:
        zones = set()
        for _ in range(8):
            request = await stage.served(await stage.ask("alpha"))
            zones |= {node.az for node in await core.port.nodes_of(request)}

        assert len(stage.alpha.volumes()) == 8
        assert zones == set(stage.alpha.spec.zones)
        assert stage.alpha.ledger.of(What.SERVER_ERROR) == []


async def test_an_announced_outage_is_slept_through_while_paused(tmp_path, autojump_clock):
    """Paused until it is over: no create is sent, and what waited is served afterwards."""
    stage = staged(tmp_path)
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        ends_at = stage.wall() + 60 * MINUTE
        await core.operator.pause("alpha", "ops", "announced maintenance of GRA1", 60 * MINUTE)
        asked = await core.port.submit(Ask(labels=("small",), requestor="t", provider="alpha"))
        await trio.sleep(55 * MINUTE)
        assert stage.created() == 0

        await stage.served(asked.id)
        assert stage.wall() >= ends_at


async def test_a_look_at_the_cloud_says_what_to_do_about_the_region_too(tmp_path, autojump_clock):
    """`trellis plugin check` opens a provider of its own."""
    stage = staged(tmp_path)
    config = provider_config(TYPES, "ovh", "alpha", "SBG5")
    there = opened(
        TYPES.get("ovh"),
        stage.read("alpha", "SBG5"),
        config,
        lambda _: Meddler(stage, "alpha"),
        deployment="check",
        random=Random(1),
        wall=stage.wall,
    )
    async with there as looked_at:
        with pytest.raises(MisconfiguredError, match="Activate it in the OVH manager"):
            await looked_at.provider.home()
