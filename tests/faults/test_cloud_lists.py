"""Lists that lag, lie, skip or refuse, and wrong clocks: nothing is concluded wrongly."""

import pytest
import trio

from tests.daemon.stage import hanging
from tests.faults.cloud_stage import MINUTE, Health, NodeState, a_stage
from trellis.openstack.compute import ServerRow
from trellis.providers.openstack import OpenStackProvider
from trellis.sim.cloud.spec import Faults, FaultWindow, OutageKind, fixed

LYING = [
    {"list_lag_s": 20.0},
    {"updated_back": 1.0, "updated_back_s": 120.0},
    {"changes_since_ignored": True},
    {"changes_since_refused": True},
    {"deleted_row_archived": 1.0},
    {"down_cell_skipped": True},
    {"clock_skew_s": 600.0},
    {"clock_skew_s": -600.0},
]


@pytest.mark.parametrize("faults", LYING, ids=lambda faults: next(iter(faults)))
async def test_nodes_live_and_die_though_lists_lie(tmp_path, autojump_clock, faults):
    """Each is served, none is made twice, nothing is left, and no calls are wasted."""
    stage = a_stage(tmp_path, faults=faults)
    async with stage.running():
        await stage.becomes(Health.AVAILABLE)
        for _ in range(4):
            request = await stage.served(await stage.ask())
            await stage.release(request)
        await stage.nothing_left(within_s=15 * MINUTE)
    assert stage.was_made_once()
    assert stage.created() == 4
    # A life costs some calls more where lists help less; none is asked for in a loop.
    assert stage.alpha.ledger.total_calls < 300


@pytest.mark.parametrize("jump_s", [600.0, -600.0])
async def test_clock_of_the_cloud_that_is_set_under_way_costs_a_minute_at_most(
    tmp_path, autojump_clock, jump_s
):
    """Set back, it stamps what is new as older than what is known: whole lists find it (rule 3)."""
    stage = a_stage(tmp_path, boot=fixed(20.0))
    async with stage.running():
        for _ in range(2):
            await stage.release(await stage.served(await stage.ask()))
        stage.now(clock_skew_s=jump_s)

        took = []
        for _ in range(4):
            began = trio.current_time()
            request = await stage.served(await stage.ask())
            took.append(trio.current_time() - began)
            await stage.release(request)
        await stage.nothing_left()

    assert stage.struck("clock-skew-s") == 1
    assert took[0] < 100.0
    assert all(seconds < 35.0 for seconds in took[1:]), took


@pytest.mark.parametrize("fault", ["down_cell_skipped", "down_cell_unknown"])
async def test_cell_that_is_down_concludes_nothing(tmp_path, autojump_clock, fault):
    """Ready and leased nodes that are out of sight stay what they were."""
    stage = a_stage(tmp_path, min_ready=3)
    async with stage.running() as core:
        await trio.sleep(5 * MINUTE)
        leased = [await stage.a_lease() for _ in range(2)]
        await trio.sleep(5 * MINUTE)
        before = set(core.fleet.nodes)
        stage.now(**{fault: True})

        await trio.sleep(40 * MINUTE)

        assert stage.struck(fault.replace("_", "-")) > 0
        assert set(core.fleet.nodes) == before
        assert stage.told("node_died") == []
        assert {core.fleet.nodes[node.id].state for _, node in leased} == {NodeState.IN_USE}
        assert not any(core.fleet.nodes[node.id].lost for _, node in leased)
        stage.now()
        for request, _ in leased:
            await stage.release(request)
            await stage.gone(request.nodes[0])
    assert stage.was_made_once()


@pytest.mark.parametrize("fault", ["down_cell_skipped", "down_cell_unknown"])
async def test_node_whose_cell_is_down_is_deleted_when_it_is_up_again(
    tmp_path, autojump_clock, fault
):
    """Deletes are answered 500 and lists show nothing: that is no proof that it is gone."""
    stage = a_stage(tmp_path)
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        leased = [await stage.a_lease() for _ in range(2)]
        away = [s.id for s in stage.ours()]
        stage.now(**{fault: True})
        for request, _ in leased:
            await stage.release(request)

        await trio.sleep(30 * MINUTE)

        (left,) = core.fleet.nodes.values()
        assert left.external_id in away
        assert left.state is NodeState.DELETING
        assert "the deletion is stuck" in (await core.port.explain_node(left.id)).words
        stage.now()
        await stage.nothing_left(within_s=10 * MINUTE)


async def test_server_in_doubt_that_a_down_cell_hides_is_not_left(tmp_path, autojump_clock):
    """It was looked for by its name, which a down cell does not show; the sweep finds it later."""
    stage = a_stage(tmp_path, faults={"lose_answer": 1.0})
    async with stage.running():
        await stage.becomes(Health.AVAILABLE)
        # Of two servers one is in the cell that goes down.
        asked = [await stage.ask() for _ in range(2)]
        with trio.fail_after(10 * MINUTE):
            while True:
                await trio.sleep(0.05)
                servers = stage.alpha._regions["RegionOne"].servers.live.values()
                if any(server.second_cell for server in servers):
                    break
        stage.now(down_cell_skipped=True)

        requests = [await stage.served(one, within_s=30 * MINUTE) for one in asked]
        await trio.sleep(10 * MINUTE)
        stage.now()
        for request in requests:
            await stage.release(request)

        await stage.nothing_left()
    assert stage.was_made_once()


async def test_cloud_that_refuses_to_list_changes_is_listed_in_full(tmp_path, autojump_clock):
    """It was blind for five minutes out of five: the refusal repeated until a full list came."""
    stage = a_stage(tmp_path, faults={"changes_since_refused": True}, boot=fixed(20.0))
    async with stage.running():
        await stage.becomes(Health.AVAILABLE)
        await stage.release(await stage.served(await stage.ask()))
        began = trio.current_time()
        request = await stage.served(await stage.ask())

        assert trio.current_time() - began < 40.0
        assert stage.struck("changes-since-refused") == 1
        assert len(stage.told("changes_since_refused")) == 1
        assert len(stage.health_told(Health.UNAVAILABLE)) == 0
        await stage.release(request)
        await stage.nothing_left()


async def test_dead_node_is_noticed_though_its_time_of_change_moved_back(tmp_path, autojump_clock):
    """No list of changes shows it; a whole list does, within minutes."""
    faults = Faults(updated_back=1.0, updated_back_s=900.0)
    stage = a_stage(
        tmp_path,
        min_ready=1,
        fault_windows=(FaultWindow(start=10 * MINUTE, end=10 * MINUTE + 1, faults=faults),),
    )
    async with stage.running() as core:
        await trio.sleep(10 * MINUTE + 0.5)
        (node,) = core.fleet.nodes.values()
        stage.alpha.stop_server(node.external_id)
        await trio.sleep(8 * MINUTE)

        (other,) = core.fleet.nodes.values()
        assert other.id != node.id
        assert other.state is NodeState.READY
    assert stage.struck("updated-back") == 1


def test_lists_are_asked_from_what_changed_last():
    """Old rows of a clock that was ahead do not keep the question in the future."""
    provider = OpenStackProvider.__new__(OpenStackProvider)
    provider._stamps, provider._stamps_before = {}, {}

    def row(id, updated):
        return ServerRow(id=id, updated=updated)

    newest = provider._newest_change
    ahead = row("a", "2026-01-01T00:20:00Z")
    assert newest([ahead], full=True) == "2026-01-01T00:20:00Z"
    assert newest([], full=False) is None
    fresh = row("b", "2026-01-01T00:11:00Z")
    assert newest([ahead, fresh], full=True) == "2026-01-01T00:11:00Z"
    assert newest([ahead, fresh], full=False) is None


@pytest.mark.parametrize("skew_s", [600.0, -600.0])
async def test_wrong_clock_of_a_cloud_does_not_make_logins_pile_up(
    tmp_path, autojump_clock, skew_s
):
    """By its clock its tokens seem to be over when they are given out, or to last for longer."""
    stage = a_stage(tmp_path, faults={"clock_skew_s": skew_s}, token_lifetime_s=600.0)
    async with stage.running():
        await stage.becomes(Health.AVAILABLE)
        began = trio.current_time()
        for _ in range(6):
            await stage.release(await stage.served(await stage.ask()))
            await trio.sleep(5 * MINUTE)
        await stage.nothing_left()
        lifetimes = (trio.current_time() - began) / 600.0

    assert len(stage.logins()) <= 3 * lifetimes + 3


async def test_endpoint_that_moves_away_and_back_leaves_nobody_behind(tmp_path, autojump_clock):
    """While it is elsewhere nothing is launched there, and requests wait with the reason."""
    stage = a_stage(tmp_path, boot=fixed(5.0))
    async with stage.running() as core:
        kept, _ = await stage.a_lease()
        # No list tells of it, and the next call that does come through logs in anew.
        stage.meddle = hanging("/servers/detail")
        stage.alpha.set_outage(OutageKind.MOVED)
        stage.alpha.revoke_all()
        await trio.sleep(70.0)
        asked = [await stage.ask() for _ in range(3)]
        await trio.sleep(5.0)
        stage.meddle = None
        await trio.sleep(10 * MINUTE)

        assert stage.status().health is Health.UNAVAILABLE
        assert len({node.home.endpoint for node in core.fleet.nodes.values() if node.home}) == 1
        assert "project changed" in (await core.port.explain_request(asked[0])).words
        stage.alpha.set_outage(None)
        stage.alpha.revoke_all()
        for request_id in asked:
            await stage.release(await stage.served(request_id, within_s=30 * MINUTE))
        await stage.release(kept)
        await stage.nothing_left()
