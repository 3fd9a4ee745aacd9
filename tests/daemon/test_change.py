"""The configuration changes under way: nodes live on, and nothing is launched twice or lost."""

import json

import attrs
import httpx
import pytest
import trio

from tests.daemon.stage import MINUTE, Carry, Stage
from trellis.errors import KeyReusedError
from trellis.model.node import NodeState
from trellis.model.provider import ProviderRecord
from trellis.model.request import Ask, RequestState
from trellis.model.status import Health
from trellis.sim.cloud.spec import CloudSpec, Latency, fixed

pytestmark = pytest.mark.slow

POOL = """
    pools:
      - name: main
        max-servers: {most}
        labels: [{{name: small, cloud-image: tiny, flavor-name: {flavor}{more}}}]"""


def configuration(
    *providers: str, most: int = 10, flavor: str = "ci-1c-1g", more: str = "", top: str = ""
) -> str:
    """A configuration with these providers, each written ``name`` or ``name=cloud``."""
    text = f"deployment: stage\nlabels: [{{name: small{top}}}]\nproviders:"
    for provider in providers:
        name, _, cloud = provider.partition("=")
        text += f"\n  - name: {name}\n    type: openstack\n    cloud: {cloud or name}"
        text += POOL.format(most=most, flavor=flavor, more=more)
    return text if providers else text + " []"


def staged(tmp_path, *providers, alpha=None, **fields) -> Stage:
    return Stage(tmp_path, alpha=alpha, configuration=configuration(*providers, **fields))


async def until(true, within_s: float = 10 * MINUTE) -> None:
    ends_at = trio.current_time() + within_s
    while not true():
        assert trio.current_time() < ends_at, "it did not come to that"
        await trio.sleep(0.5)


class TestProviders:
    async def test_one_that_is_added_serves(self, tmp_path, autojump_clock):
        """The request that waits for room gets it from a provider that was not there before."""
        stage = staged(tmp_path, "alpha", most=0)
        async with stage.running() as core:
            await stage.becomes(Health.AVAILABLE)
            request_id = await stage.ask()
            await trio.sleep(60)
            assert (await core.port.request(request_id)).state is RequestState.REQUESTED

            text = configuration("alpha", "beta")
            await stage.take_up(text.replace("max-servers: 10", "max-servers: 0", 1))

            await stage.served(request_id)
        assert (stage.created("alpha"), stage.created("beta")) == (0, 1)

    async def test_one_that_is_dropped_ends_what_it_has(self, tmp_path, autojump_clock):
        """Its idle node goes at once, the leased one when it is given back; then it is gone."""
        stage = staged(tmp_path, "alpha", top=", min-ready: 1")
        async with stage.running() as core:
            request = await stage.served(await stage.ask())
            (leased,) = request.nodes
            await until(lambda: len(core.fleet.idle.get(("alpha", "small"), {})) == 1)

            await stage.take_up(configuration("beta"))

            await until(lambda: len(stage.alpha.servers()) == 1)
            await trio.sleep(2 * MINUTE)
            assert core.fleet.nodes[leased].state is NodeState.IN_USE
            assert "configured no longer" in core.operator.provider("alpha").reason
            await stage.served(await stage.ask())
            assert stage.created("beta") == 1

            await stage.release(request)
            await stage.gone(leased)
            await until(lambda: [p.name for p in core.operator.providers()] == ["beta"])
        assert stage.alpha.servers() == ()

    async def test_one_that_is_renamed_is_another(self, tmp_path, autojump_clock):
        """The node of the old name lives and ends; the new name has the whole pool again."""
        stage = staged(tmp_path, "alpha", most=1)
        async with stage.running():
            request = await stage.served(await stage.ask())

            await stage.take_up(configuration("omega=alpha", most=1))

            other = await stage.served(await stage.ask())
            await stage.release(request)
            await stage.release(other)
            await stage.gone(request.nodes[0])
            await stage.gone(other.nodes[0])
        assert stage.created("alpha") == 2

    async def test_one_that_is_dropped_while_we_are_down(self, tmp_path, autojump_clock):
        """Its last configuration is on record, without secrets, and the next process ends it."""
        stage = staged(tmp_path, "alpha", more=", userdata: 'the password is swordfish'")
        async with stage.running():
            request = await stage.served(await stage.ask())
        stage.configuration = configuration("beta")
        async with stage.running() as core:
            record = core.store.head(ProviderRecord, "alpha")
            assert record is not None
            assert json.loads(record.configuration)["cloud"] == "alpha"
            assert "swordfish" not in record.configuration
            assert core.fleet.nodes[request.nodes[0]].state is NodeState.IN_USE
            await trio.sleep(MINUTE)

            await stage.release(request)
            await stage.gone(request.nodes[0])
            await until(lambda: [p.name for p in core.operator.providers()] == ["beta"])
        assert stage.alpha.servers() == ()

    async def test_one_that_is_dropped_and_comes_back(self, tmp_path, autojump_clock):
        stage = staged(tmp_path, "alpha")
        async with stage.running():
            request = await stage.served(await stage.ask())
            await stage.take_up(configuration("beta"))
            await trio.sleep(20)

            await stage.take_up(configuration("alpha"))

            await stage.becomes(Health.AVAILABLE)
            await stage.served(await stage.ask())
            await stage.release(request)
            await stage.gone(request.nodes[0])
        assert (stage.created("alpha"), stage.created("beta")) == (2, 0)

    async def test_without_its_credentials_a_dropped_one_says_so(self, tmp_path, autojump_clock):
        """Gone from clouds.yaml too: its node cannot be deleted, which is not kept quiet."""
        stage = staged(tmp_path, "alpha")
        async with stage.running():
            request = await stage.served(await stage.ask())
        stage.configuration = configuration("beta")
        entry, stage.entry = stage.entry, None
        stage.write()
        async with stage.running() as core:
            await stage.release(request)
            status = await stage.becomes(Health.UNAVAILABLE)
            assert "alpha" in status.reason
            assert core.fleet.nodes[request.nodes[0]].state is not NodeState.GONE

            stage.entry = entry
            stage.write()
            await stage.gone(request.nodes[0])

    async def test_who_insists_on_a_dropped_one_is_told(self, tmp_path, autojump_clock):
        stage = staged(tmp_path, "alpha", most=1)
        async with stage.running() as core:
            first = await stage.served(await stage.ask("alpha"))
            second = await stage.ask("alpha")

            await stage.take_up(configuration("beta"))

            request = await core.port.wait(second)
            assert request.state is RequestState.FAILED
            assert "no provider is configured" in request.reason
            await stage.release(first)
            await stage.gone(first.nodes[0])


class TestLaunchesUnderWay:
    async def test_a_change_cuts_off_no_create(self, tmp_path, autojump_clock):
        """Ten launches in all their phases: each server is made once, and none is in doubt."""
        latency = Latency.of(fixed(0.4))
        alpha = CloudSpec(name="alpha", latency=latency, boot=fixed(4.0), guest=fixed(2.0))
        stage = staged(tmp_path, "alpha", alpha=alpha, most=20)
        async with stage.running() as core:
            await stage.becomes(Health.AVAILABLE)
            asked = []
            for number in range(10):
                asked.append(await stage.ask())
                await trio.sleep(0.3)
                if number in (3, 6, 8):
                    await stage.take_up(configuration("alpha", most=20 + number))
            requests = [await stage.served(request_id) for request_id in asked]
            assert core.operator.provider("alpha").pools[0].limits.instances == 28
        assert stage.created("alpha") == 10
        assert len({node for request in requests for node in request.nodes}) == 10
        assert [e for e in stage.events if e["event"] == "create_in_doubt"] == []

    async def test_a_label_that_goes_takes_its_requests_elsewhere(self, tmp_path, autojump_clock):
        """What was decided for it and is not created yet never is."""

        async def no_creates(request: httpx.Request, carry: Carry) -> httpx.Response:
            if request.method == "POST" and request.url.path.endswith("/servers"):
                return httpx.Response(429, headers={"Retry-After": "30"}, request=request)
            return await carry(request)

        stage = staged(tmp_path, "alpha")
        stage.meddle = no_creates
        async with stage.running() as core:
            await stage.becomes(Health.AVAILABLE)
            request_id = await stage.ask()
            await trio.sleep(20)
            assert len(core.fleet.by_provider["alpha"]) == 1

            text = configuration("alpha", "beta")
            first = "[{name: small, cloud-image: tiny, flavor-name: ci-1c-1g}]"
            await stage.take_up(text.replace(first, "[]", 1))

            request = await stage.served(request_id)
            assert stage.alpha.servers() == ()
            await stage.release(request)
            await stage.gone(request.nodes[0])
        assert (stage.created("alpha"), stage.created("beta")) == (0, 1)


class TestLabels:
    async def test_idle_nodes_are_replaced_first(self, tmp_path, autojump_clock):
        """Another flavor: two serve all the time, and in the end they are of the new kind."""
        stage = staged(tmp_path, "alpha", top=", min-ready: 2")
        async with stage.running() as core:

            def idle() -> int:
                return len(core.fleet.idle.get(("alpha", "small"), {}))

            await until(lambda: idle() == 2)
            await stage.take_up(configuration("alpha", flavor="ci-2c-4g", top=", min-ready: 2"))

            fewest = idle()
            ends_at = trio.current_time() + 5 * MINUTE
            while trio.current_time() < ends_at:
                await trio.sleep(0.25)
                fewest = min(fewest, idle())
            assert fewest == 2
            assert idle() == 2
            names = {node.shape.flavor_name for node in core.fleet.nodes.values()}
            assert names == {"ci-2c-4g"}

    async def test_where_only_the_old_ones_fit_one_goes_first(self, tmp_path, autojump_clock):
        stage = staged(tmp_path, "alpha", most=1, top=", min-ready: 1")
        async with stage.running() as core:
            await until(lambda: len(core.fleet.idle.get(("alpha", "small"), {})) == 1)

            await stage.take_up(
                configuration("alpha", most=1, flavor="ci-2c-4g", top=", min-ready: 1")
            )

            def all_new() -> bool:
                nodes = core.fleet.idle.get(("alpha", "small"), {}).values()
                return [node.shape.flavor_name for node in nodes] == ["ci-2c-4g"]

            await until(all_new)

    async def test_leased_and_held_ones_stay(self, tmp_path, autojump_clock):
        stage = staged(tmp_path, "alpha")
        async with stage.running() as core:
            leased = await stage.served(await stage.ask())
            held = await stage.served(await stage.ask())
            await core.port.hold(held.nodes[0], by="ann", reason="to look at it")

            await stage.take_up(configuration("alpha", flavor="ci-2c-4g"))

            await trio.sleep(10 * MINUTE)
            assert core.fleet.nodes[leased.nodes[0]].state is NodeState.IN_USE
            assert core.fleet.nodes[held.nodes[0]].state is NodeState.HOLD
        assert stage.created("alpha") == 2

    async def test_a_restart_sees_the_change_too(self, tmp_path, autojump_clock):
        """What its nodes were made from is on record."""
        stage = staged(tmp_path, "alpha", top=", min-ready: 1")
        async with stage.running() as core:
            await until(lambda: len(core.fleet.idle.get(("alpha", "small"), {})) == 1)
        stage.configuration = configuration("alpha", flavor="ci-2c-4g", top=", min-ready: 1")
        async with stage.running() as core:

            def all_new() -> bool:
                nodes = core.fleet.idle.get(("alpha", "small"), {}).values()
                return [node.shape.flavor_name for node in nodes] == ["ci-2c-4g"]

            await until(all_new)


class TestTheRest:
    async def test_limits_hold_at_once(self, tmp_path, autojump_clock):
        stage = staged(tmp_path, "alpha", most=1)
        async with stage.running():
            await stage.served(await stage.ask())
            second = await stage.ask()

            await stage.take_up(configuration("alpha", most=2))

            await stage.served(second, within_s=2 * MINUTE)

    async def test_holds_end_by_the_new_age(self, tmp_path, autojump_clock):
        stage = staged(tmp_path, "alpha")
        async with stage.running() as core:
            request = await stage.served(await stage.ask())
            await core.port.hold(request.nodes[0], by="ann", reason="to look at it")
            await trio.sleep(15 * MINUTE)

            await stage.take_up("max-hold-age: 5m\n" + configuration("alpha"))

            await stage.gone(request.nodes[0])

    async def test_a_lease_lasts_as_configured(self, tmp_path, autojump_clock):
        stage = staged(tmp_path, "alpha")
        async with stage.running() as core:
            await stage.take_up("lease-ttl: 20m\n" + configuration("alpha"))
            began = trio.current_time()
            request = await stage.served(await stage.ask())
            await stage.gone(request.nodes[0], within_s=60 * MINUTE)
            assert 20 * MINUTE < trio.current_time() - began < 24 * MINUTE
            assert core.fleet.leases == {}

    async def test_a_repeated_ask_is_the_same_after_the_default_changed(
        self, tmp_path, autojump_clock
    ):
        """What a request leaves out is filled in once, and is no difference afterwards."""
        stage = staged(tmp_path, "alpha")
        ask = Ask(labels=("small",), requestor="test", idempotency_key="once")
        async with stage.running() as core:
            first = await core.port.submit(ask)
            await stage.take_up("lease-ttl: 20m\n" + configuration("alpha"))

            again = await core.port.submit(ask)

            assert again.id == first.id
            assert again.ask.lease_ttl_s == 3600
            with pytest.raises(KeyReusedError):
                await core.port.submit(attrs.evolve(ask, lease_ttl_s=60))

    async def test_a_working_provider_goes_another_way_when_told(self, tmp_path, autojump_clock):
        """clouds.yaml gives another address of the same cloud, which answers as well."""
        stage = staged(tmp_path, "alpha")
        async with stage.running() as core:
            request = await stage.served(await stage.ask())
            logins = len(stage.logins())
            assert stage.entry is not None
            stage.entry["auth"]["auth_url"] += "/"
            stage.write()

            await core.reread()

            await trio.sleep(30)
            assert stage.status().health is Health.AVAILABLE
            assert len(stage.logins()) > logins
            await stage.release(request)
            await stage.gone(request.nodes[0])

    async def test_nothing_is_disturbed_where_nothing_changed(self, tmp_path, autojump_clock):
        stage = staged(tmp_path, "alpha", "beta")
        async with stage.running() as core:
            await stage.becomes(Health.AVAILABLE)
            await trio.sleep(30)
            calls = len(stage.calls)

            await stage.take_up(stage.configuration)
            await core.reread()

            await trio.sleep(10)
            # A quota reading may fall into this time.
            assert len(stage.calls) - calls <= 4


async def test_a_drain_does_not_wait_for_boots_that_nobody_wants(tmp_path, autojump_clock):
    """Launches to keep some ready end at once; the one for a request goes on."""
    alpha = CloudSpec(name="alpha", boot=fixed(120.0))
    stage = staged(tmp_path, "alpha", alpha=alpha, top=", min-ready: 3")
    async with stage.running() as core:
        await until(lambda: len(stage.alpha.servers()) == 3)
        await core.operator.drain("alpha", by="ann", reason="closing")

        await until(lambda: not stage.alpha.servers(), within_s=30)
        assert core.operator.provider("alpha").pause is not None


async def test_a_drain_finishes_what_a_request_waits_for(tmp_path, autojump_clock):
    alpha = CloudSpec(name="alpha", boot=fixed(60.0))
    stage = staged(tmp_path, "alpha", alpha=alpha)
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        request_id = await stage.ask()
        await until(lambda: len(stage.alpha.servers()) == 1)

        await core.operator.drain("alpha", by="ann", reason="closing")

        request = await stage.served(request_id)
        assert stage.created("alpha") == 1
        await stage.release(request)
        await stage.gone(request.nodes[0])
