"""What may be under way at the very moment the configuration changes."""

import httpx
import pytest
import trio

from tests.daemon.stage import MINUTE, Carry, Stage
from tests.daemon.test_change import configuration, staged, until
from trellis.control.watcher import Watcher
from trellis.model.provider import ProviderRecord
from trellis.model.quota import Resources
from trellis.model.request import RequestState
from trellis.model.status import Health
from trellis.sim.cloud.spec import CloudSpec, Latency, fixed

pytestmark = pytest.mark.slow


def limited(text: str, limits: str) -> str:
    return text.replace("    cloud: alpha\n", f"    cloud: alpha\n    limits: {{{limits}}}\n")


def creates_left(core, name="alpha"):
    return core._roster.running[name].view().launches_left


async def refuse_creates(request: httpx.Request, carry: Carry) -> httpx.Response:
    if request.method == "POST" and request.url.path.endswith("/servers"):
        return httpx.Response(429, headers={"Retry-After": "30"}, request=request)
    return await carry(request)


async def test_nodes_count_against_the_quota_that_their_provider_has_now(tmp_path, autojump_clock):
    """The region is named from now on: it is the same project, so nothing is counted anew, and in
    the end nothing is counted at all."""
    stage = staged(tmp_path, "alpha")
    project = f"{stage.alpha.project_id}/RegionOne"
    async with stage.running() as core:
        request = await stage.served(await stage.ask())
        one = core.fleet.quota_used[project]
        assert one.instances == 1

        text = stage.configuration
        await stage.take_up(
            text.replace("    cloud: alpha\n", "    cloud: alpha\n    region-name: RegionOne\n")
        )

        assert core.fleet.quota_used[project] == one
        await until(lambda: stage.status().quota.ours == one)
        assert stage.status().quota.others == Resources()
        await stage.release(request)
        await stage.gone(request.nodes[0])
        assert set(core.fleet.quota_used.values()) == {Resources()}


async def test_a_quota_that_nobody_draws_on_is_forgotten(tmp_path, autojump_clock):
    """A reading of long ago must not be believed when a provider draws on it again."""
    stage = staged(tmp_path, "alpha")
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)

        await stage.take_up(configuration("beta"))

        beta = f"{stage.clouds['beta'].project_id}/RegionOne"
        await until(lambda: set(core._roster.quotas) == {beta})


async def test_a_dropped_provider_keeps_to_its_limits(tmp_path, autojump_clock):
    """It ends what it has by its last configuration: its calls are limited as before (P6)."""
    stage = staged(tmp_path, "alpha", most=12)
    slow = limited(stage.configuration, "calls-per-second: 0.5, burst: 1")
    stage.configuration = limited(stage.configuration, "calls-per-second: 50")
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        requests = [await stage.served(await stage.ask()) for _ in range(10)]
        await stage.take_up(slow)
        await stage.becomes(Health.AVAILABLE)

        await stage.take_up(configuration("beta"))

        began = trio.current_time()
        for request in requests:
            await stage.release(request)
        await until(lambda: len(_deletes(stage)) >= 10)
        assert trio.current_time() - began > 15
        for request in requests:
            await stage.gone(request.nodes[0])
        assert "alpha" not in core.fleet.by_provider or not core.fleet.by_provider["alpha"]


def _deletes(stage):
    return [c for c in stage.calls if c[0] == "alpha" and c[1] == "DELETE"]


async def test_and_after_a_restart_too(tmp_path, autojump_clock):
    stage = staged(tmp_path, "alpha")
    stage.configuration = limited(stage.configuration, "creates-per-day: 7")
    async with stage.running() as core:
        request = await stage.served(await stage.ask())
        assert creates_left(core) == 6
    stage.configuration = configuration("beta")
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        assert creates_left(core) == 6
        await stage.release(request)
        await stage.gone(request.nodes[0])


async def test_a_dropped_provider_sends_no_create_that_still_waits(tmp_path, autojump_clock):
    """Its cloud asks for patience: the request does not wait for it, but goes elsewhere."""
    stage = staged(tmp_path, "alpha")
    stage.meddle = refuse_creates
    async with stage.running():
        await stage.becomes(Health.AVAILABLE)
        request_id = await stage.ask()
        await trio.sleep(20)

        await stage.take_up(configuration("beta"))
        stage.meddle = None

        request = await stage.served(request_id, within_s=2 * MINUTE)
        await stage.release(request)
        await stage.gone(request.nodes[0])
    assert (stage.created("alpha"), stage.created("beta")) == (0, 1)


async def test_what_is_read_by_the_old_configuration_is_not_launched(tmp_path, autojump_clock):
    """An inventory that was being read when the flavor changed is of no use any more: a node made
    by it would pass for one of the new kind."""
    alpha = CloudSpec(name="alpha", latency=Latency.of(fixed(0.4)))
    stage = staged(tmp_path, "alpha", alpha=alpha)
    slow = False

    async def slowly(request: httpx.Request, carry: Carry) -> httpx.Response:
        create = request.method == "POST" and request.url.path.endswith("/servers")
        if slow and (create or "/flavors" in request.url.path):
            await trio.sleep(6 if create else 3)
        return await carry(request)

    stage.meddle = slowly
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        await trio.sleep(30)
        slow = True
        core._roster.running["alpha"]._inventory_wanted()
        await trio.sleep(4.5)  # it begins after 5 s
        first = await stage.ask()
        await trio.sleep(1.5)  # its create is under way, and so is the reading

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.take_up, configuration("alpha", flavor="ci-2c-4g"))
            await trio.sleep(0.5)
            second = await stage.ask()
        slow = False

        await stage.served(first)
        (node_id,) = (await stage.served(second)).nodes
        assert core.fleet.nodes[node_id].shape.flavor_name == "ci-2c-4g"


async def test_idle_nodes_that_nobody_can_be_given_are_let_go(tmp_path, autojump_clock):
    """A provider offers the label no longer: what it has ready keeps no fresh one from coming."""
    stage = staged(tmp_path, "alpha", top=", min-ready: 1")
    async with stage.running() as core:
        await until(lambda: len(core.fleet.idle.get(("alpha", "small"), {})) == 1)

        text = configuration("alpha", "beta", top=", min-ready: 1")
        first = "[{name: small, cloud-image: tiny, flavor-name: ci-1c-1g}]"
        await stage.take_up(text.replace(first, "[]", 1))

        await until(lambda: len(core.fleet.idle.get(("beta", "small"), {})) == 1)
        await until(lambda: stage.alpha.servers() == ())


async def test_what_a_new_provider_is_configured_with_is_on_record_first(tmp_path, autojump_clock):
    """It launches while another still waits for a create; whoever is killed then, and started
    without it, has to know it."""
    stage = staged(tmp_path, "alpha")
    hanging = False

    async def hang(request: httpx.Request, carry: Carry) -> httpx.Response:
        if hanging and request.method == "POST" and request.url.path.endswith("/servers"):
            await trio.sleep(60)
        return await carry(request)

    stage.meddle = hang
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        hanging = True
        await stage.ask("alpha")
        await trio.sleep(2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.take_up, configuration("alpha", "beta", most=9))
            await trio.sleep(0.5)
            record = core.store.get(ProviderRecord, "beta")
            assert record is not None
            assert record.configuration


async def test_two_changes_while_the_cloud_cannot_be_reached(tmp_path, autojump_clock):
    """It has stopped its creates for the first, and never came to begin anew before the second."""
    stage = staged(tmp_path, "alpha")
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        entry, stage.entry = stage.entry, None
        stage.write()
        await stage.take_up(configuration("alpha", most=8))
        await stage.becomes(Health.UNAVAILABLE)

        await stage.take_up(configuration("alpha", most=9))

        stage.entry = entry
        stage.write()
        await stage.served(await stage.ask())
        assert core.operator.provider("alpha").pools[0].limits.instances == 9


async def test_a_change_ends_the_wait_after_a_crash(tmp_path, autojump_clock, monkeypatch):
    """What made its task crash again and again may be what was changed: it is tried at once."""
    crashing = True
    sees = Watcher._take

    def take(watcher, row):
        if crashing and watcher._health._provider == "alpha":
            raise ZeroDivisionError
        sees(watcher, row)

    stage = staged(tmp_path, "alpha")
    async with stage.running() as core:
        await stage.served(await stage.ask())
        monkeypatch.setattr(Watcher, "_take", take)
        await until(lambda: len([e for e in stage.events if e["event"] == "task_crashed"]) > 8, 9e3)
        crashing = False

        await stage.take_up(configuration("alpha", most=9))

        await stage.becomes(Health.AVAILABLE, within_s=20)
        await trio.sleep(10 * MINUTE)
        assert stage.status().health is Health.AVAILABLE
        starts = [e for e in stage.events if e["event"] == "task_crashed"]
        await trio.sleep(10 * MINUTE)
        assert [e for e in stage.events if e["event"] == "task_crashed"] == starts
        assert core.operator.provider("alpha").pools[0].limits.instances == 9


async def test_leaks_that_are_being_deleted_keep_a_dropped_provider(tmp_path, autojump_clock):
    """Its last node is gone, and a server of ours is known to be left: it is deleted first."""
    stage = Stage(tmp_path, configuration=_sweeping(configuration("alpha")))
    async with stage.running() as core:
        request = await stage.served(await stage.ask())
        region = stage.alpha._regions["RegionOne"]
        (ours,) = region.servers.live.values()
        region.servers.create(
            name=ours.name,
            flavor=ours.flavor,
            image=ours.image,
            nets=region.servers.network.attachable(),
            metadata=dict(ours.metadata),
            who=ours.who,
        )
        await until(lambda: core.operator.leaks() != ())
        await stage.release(request)

        await stage.take_up(configuration("beta"))

        await until(lambda: [p.name for p in core.operator.providers()] == ["beta"])
    assert stage.alpha.servers() == ()


def _sweeping(text: str) -> str:
    return text.replace("    cloud: alpha\n", "    cloud: alpha\n    sweep: delete\n")


async def test_who_waits_for_a_dropped_provider_is_not_forgotten(tmp_path, autojump_clock):
    """Dropped and put back at once, twice: its request is served, once."""
    stage = staged(tmp_path, "alpha")
    async with stage.running() as core:
        request_id = await stage.ask()
        for _ in range(2):
            await stage.take_up(configuration("beta"))
            await stage.take_up(configuration("alpha"))
        request = await core.port.request(request_id)
        if request.state is not RequestState.FAILED:
            await stage.served(request_id)
