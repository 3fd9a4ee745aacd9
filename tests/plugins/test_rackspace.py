"""Classic Rackspace beyond its quirks: what its twin does to nodes, logins and limits."""

import json

import attrs
import pytest
import trio
from trellis_rackspace.classic import PROFILE, awaiting

from tests.daemon.stage import MINUTE, Stage
from tests.plugins.rackspace_stage import (
    IMAGE,
    LABEL,
    all_served,
    configured,
    creates_tried,
    twin,
    with_key,
)
from trellis.errors import RejectedError
from trellis.http.buckets import Limit
from trellis.http.message import Answer, Verb
from trellis.model.node import NodeState
from trellis.model.status import Health
from trellis.openstack.faults import error_from
from trellis.plugin_host import load_plugins
from trellis.providers.config import OpenStackProviderConfig
from trellis.providers.openstack import make_provider
from trellis.sim.cloud import Request
from trellis.sim.cloud.aftercare import MANAGED, RACKCONNECT
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.spec import RateLimit, fixed
from trellis.spi.registry import ProviderRegistry

TYPES = load_plugins(environment={}).providers
SMALL = {**LABEL, "min-ram": 8192}


def a_stage(tmp_path, alpha=None, **changes) -> Stage:
    """A provider of the installed type on the twin, with the user's API key."""
    text = configured(**changes)
    return with_key(Stage(tmp_path, alpha=alpha or twin(), configuration=text, types=TYPES))


def types_with(quirk_name, value) -> ProviderRegistry:
    """The type with another value of one quirk."""
    quirks = [
        attrs.evolve(quirk, value=value) if quirk.name == quirk_name else quirk
        for quirk in PROFILE.quirks
    ]
    types = ProviderRegistry()
    profile = attrs.evolve(PROFILE, quirks=tuple(quirks))
    types.add("openstack", make_provider, OpenStackProviderConfig)
    types.add("rackspace", make_provider, OpenStackProviderConfig, profile=profile)
    return types


class TestNodes:
    async def test_a_node_is_had_and_is_gone(self, tmp_path, autojump_clock):
        """Public address first; full lists still show the deleted server, which is gone."""
        stage = a_stage(tmp_path)
        async with stage.running() as core:
            request = await stage.served(await stage.ask("alpha"))
            (node,) = await core.port.nodes_of(request)
            (server,) = stage.alpha.servers()
            await stage.release(request)
            await stage.gone(node.id)
            await trio.sleep(11 * MINUTE)

            assert node.addresses.interface_ip == node.addresses.public_ipv4
            assert node.addresses.private_ipv4 in server.addresses
            assert (await core.operator.node(node.id)).state is NodeState.GONE
            assert stage.status().health is Health.AVAILABLE
            assert stage.alpha.servers() == ()

    async def test_networks_may_be_named_by_their_ids(self, tmp_path, autojump_clock):
        """PublicNet alone: the server has no address on ServiceNet."""
        stage = a_stage(tmp_path, networks=["00000000-0000-0000-0000-000000000000"])
        async with stage.running():
            (node,) = await all_served(stage)

            assert len(stage.alpha.ports()) == 1
            assert node.addresses.public_ipv4 in stage.alpha.servers()[0].addresses

    async def test_a_network_by_another_name_is_refused_before_a_create(
        self, tmp_path, autojump_clock
    ):
        """Names cannot be looked up without neutron."""
        stage = a_stage(tmp_path, networks=["PublicNet"])
        async with stage.running() as core:
            request = await stage.ask("alpha")
            await trio.sleep(MINUTE)

            assert creates_tried(stage) == 0
            assert "give its id" in (await core.port.explain_request(request)).words

    async def test_the_memory_binds_where_cores_are_unlimited(self, tmp_path, autojump_clock):
        """131072 MiB hold sixteen servers of 8 GB; the seventeenth is not even asked for."""
        stage = a_stage(tmp_path, label=SMALL, most=40)
        async with stage.running():
            requests = [await stage.ask("alpha") for _ in range(17)]
            for request in requests[:16]:
                await stage.served(request)
            await trio.sleep(MINUTE)

            assert stage.created() == 16
            assert stage.alpha.ledger.of(What.QUOTA_REFUSED) == []

    async def test_memory_told_in_gib_lets_no_more_be_asked_for(self, tmp_path, autojump_clock):
        """The documents say GB: what is ours is counted from the records."""
        stage = a_stage(tmp_path, twin(behaviour={"tells_ram_in_gib": True}), label=SMALL, most=40)
        async with stage.running():
            for request in [await stage.ask("alpha") for _ in range(16)]:
                await stage.served(request)
            await stage.ask("alpha")
            await trio.sleep(20 * MINUTE)

            assert stage.created() == 16
            assert stage.alpha.ledger.of(What.QUOTA_REFUSED) == []

    async def test_its_quirks_are_shown_in_words(self, tmp_path, autojump_clock):
        """Waits and limits as well."""
        stage = a_stage(tmp_path)
        async with stage.running():
            shown = await stage.becomes(Health.AVAILABLE)

            values = {quirk.name: quirk.value for quirk in shown.quirks}
            assert values["ready_waits"] == (
                "rackconnect_automation_status until it is DEPLOYED or UNPROCESSABLE, "
                "rax_service_level_automation until it is Complete"
            )
            assert values["rate.compute.create"].endswith("50 at once; 1000 a day")


class TestRackConnect:
    async def test_where_it_does_not_apply_the_node_is_used(self, tmp_path, autojump_clock):
        """UNPROCESSABLE is no failure."""
        stage = a_stage(tmp_path, twin(behaviour={"rackconnect": "UNPROCESSABLE"}))
        async with stage.running():
            await all_served(stage)

            assert stage.alpha.servers()[0].metadata[RACKCONNECT] == "UNPROCESSABLE"
            assert stage.created() == 1

    @pytest.mark.parametrize(
        ("ways", "why"),
        [
            ({"rackconnect": "FAILED"}, f"{RACKCONNECT} is FAILED"),
            ({"managed": "Build Error"}, f"{MANAGED} is Build Error"),
        ],
        ids=["rackconnect", "managed"],
    )
    async def test_where_it_fails_the_node_does(self, ways, why, tmp_path, autojump_clock):
        """Another is launched in its place; both say why."""
        alpha = twin(behaviour={**ways, "rackconnect_s": 20.0, "managed_s": 20.0})
        changes = {"provider": {"managed": "managed" in ways}}
        stage = a_stage(tmp_path, alpha, **changes)
        async with stage.running() as core:
            request = await stage.ask("alpha")
            await trio.sleep(3 * MINUTE)

            assert stage.created() > 1
            assert why in str(await core.port.explain_request(request))

    @pytest.mark.parametrize("managed", [True, False])
    async def test_work_that_is_not_told_yet_is_awaited_where_it_is_known_of(
        self, managed, tmp_path, autojump_clock
    ):
        """The key of a managed account may be missing at first: then only the file knows."""
        alpha = twin(behaviour={"managed": "Complete", "managed_s": 30.0}, guest=fixed(0.5))
        stage = a_stage(tmp_path, alpha, provider={"managed": managed})
        async with stage.running():
            await all_served(stage)

            told = stage.alpha.servers()[0].metadata.get(MANAGED)
            assert told == ("Complete" if managed else None)

    def test_only_what_the_account_has_is_awaited(self):
        """By the two keys of its configuration."""
        registered = TYPES.get("rackspace").configuration_class
        config = registered(name="a", type="rackspace", cloud="a", rackconnect=True)

        waits = awaiting(PROFILE.settings, config).ready_waits

        assert [(wait.key, wait.awaited) for wait in waits] == [
            (RACKCONNECT, True),
            (MANAGED, False),
        ]

    async def test_what_the_vendor_does_later_takes_no_node_away(self, tmp_path, autojump_clock):
        """RackConnect begins again whenever somebody changes its rules."""
        stage = a_stage(tmp_path, twin(behaviour={"rackconnect": "DEPLOYED", "rackconnect_s": 5.0}))
        text = stage.configuration.replace("- name: small\n", "- {name: small, min-ready: 1}\n", 1)
        stage.configuration = text
        async with stage.running() as core:
            await all_served(stage)
            await trio.sleep(5 * MINUTE)
            idle, leased = stage.alpha.servers()
            for server in (idle, leased):
                answer = await tell_metadata(stage, server.id, {RACKCONNECT: "DEPLOYING"})
                assert answer == 200
            await trio.sleep(20 * MINUTE)

            states = [(await core.operator.node(id)).state for id in ("0000000001", "0000000002")]
            assert sorted(state.value for state in states) == ["in-use", "ready"]
            assert stage.created() == 2


class TestLimits:
    def test_too_much_metadata_is_no_rate(self):
        """Though it is refused with 413, and with nothing to wait for."""
        text = b'{"overLimit": {"code": 413, "message": "Maximum number of metadata items exceeds'
        answer = Answer(status=413, body=text + b' 40", "retryAfter": "0"}}', retry_after_s=0.0)

        error = error_from(
            answer, cloud="rax", service="compute", call="POST", first=PROFILE.refusals
        )

        assert type(error) is RejectedError
        assert "fewer instance-properties" in error.message

    @pytest.mark.parametrize("spelling", ["retryAt", "retryAfter"])
    async def test_the_time_in_a_refusals_body_is_kept_to(self, spelling, tmp_path, autojump_clock):
        """One refusal, and the next create comes when it was said; nothing is lost."""
        limit = RateLimit(
            calls=1, per_s=60.0, status=413, service="compute", method="POST", tells_at=spelling
        )
        stage = a_stage(tmp_path, twin(rate_limits=(limit,)))
        async with stage.running():
            await all_served(stage, 2)

            assert len(stage.alpha.ledger.of(What.RATE_LIMITED)) == 1
            first, second = stage.alpha.ledger.of(What.SERVER_CREATED)
            assert 60.0 <= second.at - first.at < 70.0

    async def test_the_creates_of_a_day_are_counted_over_restarts(self, tmp_path, autojump_clock):
        """Five a day: three before the restart leave two."""
        types = types_with("rate.compute.create", Limit(per_s=1.0, burst=5, per_day=5))
        stage = with_key(Stage(tmp_path, alpha=twin(), configuration=configured(), types=types))
        async with stage.running():
            await all_served(stage, 3)
        async with stage.running():
            for _ in range(4):
                await stage.ask("alpha")
            await trio.sleep(20 * MINUTE)

            assert stage.created() == 5

    def test_a_thousand_a_day_are_in_the_profile(self):
        """And a hundred in any minute."""
        limit = PROFILE.rates.verb("compute", Verb.CREATE)

        assert (limit.per_day, round(limit.burst + limit.per_s * 60)) == (1000, 100)


class TestStockClient:
    @pytest.mark.parametrize(
        ("auth_type", "why"),
        [
            ("v3password", "no identity service that auth_type v3password can use"),
            ("v2password", "404"),
        ],
    )
    async def test_it_gets_no_node(self, auth_type, why, tmp_path, autojump_clock):
        """Keystone v3 is not there; with v2.0 it calls a product that is not the one meant."""
        label = {"name": "small", "cloud-image": IMAGE, "flavor-name": "2 GB Performance"}
        text = configured(kind="openstack", label=label)
        stage = Stage(tmp_path, alpha=twin(), configuration=text, types=TYPES)
        mine = stage.alpha.spec.credentials
        auth = {"username": mine.username, "password": mine.password}
        auth["auth_url"] = stage.alpha.auth_url
        if auth_type == "v3password":
            auth |= {"user_domain_name": "Default", "project_domain_name": "Default"}
        stage.entry = {"auth_type": auth_type, "auth": {**auth, "project_name": mine.project}}
        stage.write()
        async with stage.running():
            await stage.ask("alpha")
            shown = await stage.becomes(Health.UNAVAILABLE)
            await trio.sleep(5 * MINUTE)

            assert why in shown.reason
            assert stage.created() == 0


class TestLogin:
    async def test_a_second_factor_is_answered_by_the_api_key(self, tmp_path, autojump_clock):
        """The password is right and refused; the reason says what to write; the key works."""
        stage = a_stage(tmp_path, twin(behaviour={"asks_second_factor": True}))
        with_the_key = stage.entry
        with_password(stage)
        async with stage.running():
            shown = await stage.becomes(Health.UNAVAILABLE)
            assert "write auth_type: rackspace_apikey" in shown.reason
            assert "second factor" in shown.reason
            assert stage.alpha.spec.credentials.password not in shown.reason
        stage.entry = with_the_key
        stage.write()
        async with stage.running():
            await all_served(stage)

    async def test_a_disabled_account_is_said_to_be_one(self, tmp_path, autojump_clock):
        """Another secret would not help."""
        stage = a_stage(tmp_path, twin(behaviour={"is_disabled": True}))
        async with stage.running():
            shown = await stage.becomes(Health.UNAVAILABLE)

            assert "The account is disabled or locked" in shown.reason

    async def test_a_password_in_place_of_the_key_is_suspected(self, tmp_path, autojump_clock):
        """A key has 32 hexadecimal digits."""
        stage = a_stage(tmp_path)
        stage.entry["auth"]["api_key"] = stage.alpha.spec.credentials.password
        stage.write()
        async with stage.running():
            shown = await stage.becomes(Health.UNAVAILABLE)

            assert "has 32 hexadecimal digits" in shown.reason
            assert "write auth_type: v2password" in shown.reason

    async def test_a_key_in_place_of_the_password_is_suspected(self, tmp_path, autojump_clock):
        """By its look."""
        stage = a_stage(tmp_path)
        with_password(stage, "fedcba9876543210fedcba9876543210")
        async with stage.running():
            shown = await stage.becomes(Health.UNAVAILABLE)

            assert "looks like an API key" in shown.reason
            assert "write auth_type: rackspace_apikey" in shown.reason
            assert "fedcba9876543210" not in shown.reason

    async def test_a_wrong_key_that_looks_like_one_is_just_wrong(self, tmp_path, autojump_clock):
        """Nothing else is suspected."""
        stage = a_stage(tmp_path)
        stage.entry["auth"]["api_key"] = "fedcba9876543210fedcba9876543210"
        stage.write()
        async with stage.running():
            shown = await stage.becomes(Health.UNAVAILABLE)

            assert "refuses the credentials" in shown.reason
            assert "looks like" not in shown.reason
            assert "hexadecimal" not in shown.reason

    async def test_a_region_in_small_letters_is_refused_with_those_there_are(
        self, tmp_path, autojump_clock
    ):
        """And with the one that is meant."""
        stage = a_stage(tmp_path, region="dfw")
        async with stage.running():
            shown = await stage.becomes(Health.UNAVAILABLE)

            assert "there is no region dfw; there is: DFW, ORD, IAD" in shown.reason
            assert "is DFW meant?" in shown.reason


async def tell_metadata(stage: Stage, server_id: str, metadata: dict[str, str]) -> int:
    """Add to a server's metadata as the vendor does; returns the status."""
    cloud, mine = stage.alpha, stage.alpha.spec.credentials
    login = {"auth": {"RAX-KSKEY:apiKeyCredentials": {
        "username": mine.username, "apiKey": mine.api_key}}}  # fmt: skip
    body = json.dumps(login).encode()
    access = cloud.handle(Request("POST", "/identity/v2.0/tokens", "", {}, body))
    token = json.loads(access.body)["access"]["token"]["id"]
    path = f"/DFW/compute/v2.1/servers/{server_id}/metadata"
    body = json.dumps({"metadata": metadata}).encode()
    await trio.lowlevel.checkpoint()
    return cloud.handle(Request("POST", path, "", {"x-auth-token": token}, body)).status


def with_password(stage: Stage, password: str | None = None) -> None:
    """Have the first cloud used with its user's password, or another one."""
    mine = stage.alpha.spec.credentials
    auth = {"username": mine.username, "password": password or mine.password}
    auth["auth_url"] = stage.alpha.auth_url
    stage.entry = {"profile": "rackspace", "auth_type": "v2password", "auth": auth}
    stage.write()
