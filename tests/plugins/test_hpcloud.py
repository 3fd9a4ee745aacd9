"""The type hpcloud on HP's twin: logins, floating IPs, zones, networks, refusals."""

import json

import attrs
import httpx
import pytest
import trio
import yaml
from trellis_hpcloud.profile import PROFILE

from tests.daemon.stage import MINUTE, Stage, rewriting
from tests.plugins.hpcloud_stage import NETWORKS, all_served, on_stage, twin
from trellis.model.request import RequestState
from trellis.model.status import Health
from trellis.openstack.clouds import read_clouds
from trellis.plugin_host import load_plugins
from trellis.providers import register_profile
from trellis.providers.spread import TAG_NETWORK
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.spec import Quota
from trellis.sim.clouds.hpcloud import hpcloud
from trellis.spi.registry import ProviderRegistry
from trellis.testing.secrets import SCRUBBED, Scrubber

HOST = load_plugins(environment={})
TWO_STEPS = [("POST", "/v2.0/tokens"), ("GET", "/v2.0/tenants"), ("POST", "/v2.0/tokens")]


@attrs.frozen
class Told:
    """What `on_stage` needs, with the plugin as it is installed."""

    folder: object
    profile: object = PROFILE
    types: object = HOST.providers

    def stage(self, **options) -> Stage:
        return Stage(self.folder, types=self.types, **options)


def hp_stage(folder, *, networks=NETWORKS[:1], most=10, **changes) -> Stage:
    return on_stage(Told(folder), twin(**changes), networks=networks, most=most)


def logins(stage):
    """The calls to the identity service."""
    return [
        (method, path.removeprefix("/identity"))
        for cloud, method, path in stage.calls
        if cloud == "alpha" and path.startswith("/identity")
    ]


class TestLogin:
    """Keystone v2.0, with access keys or passwords."""

    @pytest.mark.parametrize("kind", ["hpcloud_accesskey", "hpcloud_password"])
    async def test_the_tenant_is_found(self, kind, tmp_path, autojump_clock):
        """A token of no tenant, the list of tenants, and a token of the one there is."""
        stage = hp_stage(tmp_path)
        if kind == "hpcloud_password":
            auth = {"username": "ci", "password": "sim-password", "auth_url": stage.alpha.auth_url}
            stage.entry = {"profile": "hpcloud", "auth_type": kind, "auth": auth}
            stage.write()
        async with stage.running():
            await stage.becomes(Health.AVAILABLE)

            assert logins(stage) == TWO_STEPS

    @pytest.mark.parametrize("scope", ["project_name", "tenant_name", "project_id", "tenant_id"])
    async def test_a_tenant_that_is_named_is_logged_in_to_at_once(
        self, scope, tmp_path, autojump_clock
    ):
        """By its name or its id, in the words of either version."""
        stage = hp_stage(tmp_path)
        value = "ci" if scope.endswith("name") else stage.alpha.project_id
        stage.entry["auth"][scope] = value
        stage.write()
        async with stage.running():
            await stage.becomes(Health.AVAILABLE)

            assert logins(stage) == TWO_STEPS[:1]

    async def test_the_tenant_is_looked_for_with_each_login(self, tmp_path, autojump_clock):
        """Accounts are moved to other tenants."""
        stage = hp_stage(tmp_path, token_lifetime_s=600.0)
        async with stage.running():
            await stage.becomes(Health.AVAILABLE)
            await trio.sleep(8 * MINUTE)

            assert logins(stage) == TWO_STEPS * 2

    async def test_a_wrong_key_is_refused(self, tmp_path, autojump_clock):
        """And not shown."""
        stage = hp_stage(tmp_path)
        stage.entry["auth"]["secret_key"] = "mistyped-key"
        stage.write()
        async with stage.running():
            status = await stage.becomes(Health.UNAVAILABLE)

            assert "refuses the credentials (auth_type hpcloud_accesskey)" in status.reason
            assert "mistyped-key" not in status.reason

    async def test_another_key_is_taken_up(self, tmp_path, autojump_clock):
        """It is the same account with another secret, so nothing of it is lost."""
        stage = hp_stage(tmp_path)
        right = stage.entry["auth"]["secret_key"]
        stage.entry["auth"]["secret_key"] = "mistyped-key"
        stage.write()
        async with stage.running():
            await stage.becomes(Health.UNAVAILABLE)
            stage.entry["auth"]["secret_key"] = right
            stage.write()

            await stage.becomes(Health.AVAILABLE)

    @pytest.mark.parametrize(
        ("tenants", "words"),
        [
            (["a", "b"], "the user has 2 tenants: a, b. Set project_name"),
            ([f"t{n}" for n in range(9)], "9 tenants: t0, t1, t2, t3, t4, …. Set project_name"),
            ([], "their user has no tenant that is enabled"),
        ],
    )
    async def test_a_tenant_is_not_guessed(self, tenants, words, tmp_path, autojump_clock):
        """Of several the entry must name one."""
        stage = hp_stage(tmp_path)
        rows = [{"id": name, "name": name, "enabled": True} for name in tenants]
        rows.append({"id": "off", "name": "off", "enabled": False})
        stage.meddle = rewriting_tenants({"tenants": rows})
        async with stage.running():
            status = await stage.becomes(Health.UNAVAILABLE)

            assert words in status.reason

    @pytest.mark.parametrize("body", [{}, {"tenants": None}, {"tenants": ["x"]}, []])
    async def test_tenants_of_another_shape_are_no_crash(self, body, tmp_path, autojump_clock):
        """The cloud is broken, and the reason says so."""
        stage = hp_stage(tmp_path)
        stage.meddle = rewriting_tenants(body)
        async with stage.running():
            status = await stage.becomes(Health.UNAVAILABLE)

            assert "InvalidResponse" in status.reason

    def test_a_secret_key_is_scrubbed(self):
        """In both spellings, as it is sent and as it is configured."""
        body = b'{"apiAccessKeyCredentials": {"accessKey": "A", "secretKey": "fakesecretkey"}}'

        assert b"fakesecretkey" not in Scrubber().body(body)
        assert SCRUBBED.encode() in Scrubber().body(b'{"secret_key": "fakesecretkey"}')


def rewriting_tenants(body):
    """The list of tenants is another one."""
    return rewriting(lambda _: json.dumps(body).encode(), "/tenants")


class TestProfile:
    """What the cloud's customers all have."""

    def test_it_is_marked_as_closed(self):
        """Wherever clouds are listed, this is."""
        assert PROFILE.status.startswith("closed on 2016-01-31")

    @pytest.mark.parametrize("region", PROFILE.regions)
    def test_an_entry_of_two_keys_is_enough(self, region, tmp_path):
        """The rest comes from the profile, in each region."""
        file = tmp_path / "clouds.yaml"
        auth = {"access_key": "FAKEACCESSKEY0000000", "secret_key": "fakesecretkey"}
        file.write_text(yaml.safe_dump({"clouds": {"hp": {"auth": auth}}}))
        profiles = {name: found.entry for name, found in HOST.providers.profiles().items()}
        clouds = read_clouds({"OS_CLIENT_CONFIG_FILE": str(file)}, profiles=profiles)

        config = clouds.get("hp", region, profile="hpcloud")

        assert config.auth_type == "hpcloud_accesskey"
        assert config.auth["auth_url"].startswith(f"https://{region}.identity.")


class TestFloatingIps:
    """Nova shows them late, under the private network's name, and like any address."""

    async def test_a_node_is_reached_before_nova_shows_its_address(self, tmp_path, autojump_clock):
        """Three minutes before."""
        stage = hp_stage(tmp_path)
        async with stage.running():
            (node,) = await all_served(stage, 1)

            (server,), (floating,) = stage.alpha.servers(), stage.alpha.floating_ips()
            assert node.addresses.interface_ip == floating.name
            assert floating.name not in server.addresses

    async def test_it_is_known_after_a_restart(self, tmp_path, autojump_clock):
        """From nova's own row by then, where it stands beside the private one, unmarked."""
        stage = hp_stage(tmp_path)
        async with stage.running():
            (node,) = await all_served(stage, 1)
            await trio.sleep(4 * MINUTE)
        async with stage.running() as core:
            await stage.becomes(Health.AVAILABLE)
            await trio.sleep(2 * MINUTE)

            (floating,) = stage.alpha.floating_ips()
            kept = await core.operator.node(node.id)
            assert kept.addresses.public_ipv4 == floating.name
            assert kept.addresses.private_ipv4.startswith("10.")

    async def test_one_whose_answer_was_lost_is_found_by_its_port(self, tmp_path, autojump_clock):
        """None is left over, though none carries a mark."""
        stage = hp_stage(tmp_path)
        lost = []

        async def lose_first(request, carry):
            response = await carry(request)
            if request.method == "POST" and "floatingips" in request.url.path and not lost:
                lost.append(request)
                raise httpx.ReadError("connection reset by peer", request=request)
            return response

        stage.meddle = lose_first
        async with stage.running():
            request = await stage.served(await stage.ask("alpha"))
            (node,) = await stage.core.port.nodes_of(request)

            assert len(stage.alpha.floating_ips()) == 1
            assert lost
            await stage.release(request)
            await stage.gone(node.id)
            assert stage.alpha.floating_ips() == ()


class TestPlaces:
    """Zones and networks."""

    async def test_servers_are_spread_over_the_zones(self, tmp_path, autojump_clock):
        """Each is named: unnamed, all would land in az1, which holds two here."""
        behaviour = attrs.evolve(hpcloud().behaviour, zone_capacity=2)
        stage = hp_stage(tmp_path, behaviour=behaviour)
        async with stage.running():
            nodes = await all_served(stage, 6)

            assert sorted(node.az for node in nodes) == ["az1", "az1", "az2", "az2", "az3", "az3"]

    async def test_what_is_on_each_network_outlasts_a_restart(self, tmp_path, autojump_clock):
        """Three before it and three after it make three on each."""
        stage = hp_stage(tmp_path, networks=NETWORKS)
        async with stage.running():
            await all_served(stage, 3)
        async with stage.running():
            await all_served(stage, 3)

            created = stage.alpha.ledger.of(What.SERVER_CREATED)
            on = [dict(fact.metadata)[TAG_NETWORK] for fact in created]
            assert sorted(on.count(network) for network in set(on)) == [3, 3]

    async def test_networks_that_are_full_are_waited_for(self, tmp_path, autojump_clock):
        """No launch fails: no more is planned than they carry."""
        stage = on_stage(Told(tmp_path, types=carrying(2)), twin(), networks=NETWORKS)
        async with stage.running() as core:
            first, *others = [await stage.ask("alpha") for _ in range(6)]
            served = [await stage.served(request_id) for request_id in (first, *others[:3])]
            await trio.sleep(10 * MINUTE)
            waiting = [(await core.port.request(id)).state for id in others[3:]]
            made = stage.created()
            await stage.release(served[0])
            await stage.served(others[3])

            assert waiting == [RequestState.REQUESTED] * 2
            assert made == 4


def carrying(most: int) -> ProviderRegistry:
    """The type, were HP's networks smaller."""
    quirks = [
        attrs.evolve(quirk, value=most) if quirk.name == "servers_per_network" else quirk
        for quirk in PROFILE.quirks
    ]
    types = ProviderRegistry()
    register_profile(types, attrs.evolve(PROFILE, quirks=tuple(quirks)))
    return types


class TestRefusals:
    """What looks like a refusal for the rate, and is one for quota."""

    async def test_want_of_quota_in_413_is_waited_out(self, tmp_path, autojump_clock):
        """No launch fails, and the node is had once somebody else's server is gone."""
        stage = hp_stage(tmp_path, quota=Quota(instances=1, floating_ips=9, ports=9))
        stage.meddle = hiding_limits
        async with stage.running():
            first = await stage.served(await stage.ask("alpha"))
            second = await stage.ask("alpha")
            await trio.sleep(5 * MINUTE)
            refused = stage.alpha.ledger.of(What.QUOTA_REFUSED)
            await stage.release(first)
            await stage.served(second)

            assert 1 <= len(refused) < 10
            assert stage.status().health is Health.AVAILABLE


async def hiding_limits(request, carry):
    """The cloud does not tell its limits, so its refusals must."""
    if request.url.path.endswith("/limits"):
        return httpx.Response(403, json={"forbidden": {"message": "no"}}, request=request)
    return await carry(request)
