"""Servers that a cloud builds badly, loses, or will not delete: what becomes of their nodes."""

import pytest
import trio

from tests.faults.cloud_stage import MINUTE, Health, NodeState, a_stage, used_once
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.spec import Faults, FaultWindow, fixed

BUILD_FAULTS = [
    ("boot-error", "aborted"),
    ("image-error", "is unacceptable"),
    ("flavor-error", "disk is too small"),
    ("zone-error", "No valid host"),
    ("no-valid-host", "No valid host"),
    ("stuck-build", "launch-timeout"),
    ("no-ssh", "does not answer by SSH"),
    ("no-address", "launch-timeout"),
]


@pytest.mark.parametrize(("fault", "words"), BUILD_FAULTS)
async def test_build_that_fails_is_replaced_and_leaves_nothing(
    tmp_path, autojump_clock, fault, words
):
    """The request waits, its reason is told, and it is served when the cloud builds again."""
    stage = a_stage(tmp_path, faults={fault.replace("-", "_"): 1.0})
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        asked = await stage.ask()
        while not stage.struck(fault):  # noqa: ASYNC110 - a simulated cloud tells nobody
            await trio.sleep(0.5)
        stage.now()

        request = await stage.served(asked, within_s=30 * MINUTE)

        ended = [str(entry["fault"]) for entry in stage.told("launch_ended")]
        assert any(words in fault for fault in ended) or fault == "boot-error"
        assert ended
        await stage.release(request)
        await stage.nothing_left()
        assert stage.was_made_once()
        assert core.fleet.nodes == {}


async def test_address_that_shows_late_is_waited_for(tmp_path, autojump_clock):
    """ACTIVE is not ready, and costs no new server."""
    async with used_once(tmp_path, faults={"late_address": 1.0, "late_address_s": 90.0}) as (
        stage,
        _,
    ):
        assert stage.created() == 1
        assert stage.struck("late-address") == 1


async def test_fault_that_shows_late_still_tells_whose_it_is(tmp_path, autojump_clock):
    """For want of capacity no launch has failed; it says so though the row did not at first."""
    stage = a_stage(tmp_path, faults={"no_valid_host": 1.0, "late_fault": 1.0})
    async with stage.running():
        await stage.becomes(Health.AVAILABLE)
        asked = await stage.ask()
        while not stage.told("launch_ended"):  # noqa: ASYNC110
            await trio.sleep(1.0)
        stage.now()

        (ended,) = stage.told("launch_ended")
        assert ended["state"] == "aborted"
        assert "No valid host" in ended["fault"]
        await stage.release(await stage.served(asked, within_s=30 * MINUTE))
        await stage.nothing_left()
    assert stage.struck("late-fault") >= 1


@pytest.mark.parametrize(
    "fault",
    ["active-error", "active-stop", "deleted-by-person"],
)
async def test_idle_node_that_dies_is_replaced(tmp_path, autojump_clock, fault):
    """Nobody is given a dead machine (rule 8)."""
    end = 10 * MINUTE
    faults = Faults(**{fault.replace("-", "_"): 1.0, "mishap_s": (60.0, 60.0)})
    stage = a_stage(
        tmp_path, min_ready=2, fault_windows=(FaultWindow(start=0.0, end=60.0, faults=faults),)
    )
    async with stage.running() as core:
        await trio.sleep(end)

        assert stage.struck(fault) == 2
        idle = [n for n in core.fleet.nodes.values() if n.state is NodeState.READY]
        assert len(idle) == 2
        alive = {s.id for s in stage.ours() if s.status == "ACTIVE"}
        assert {node.external_id for node in idle} == alive
        assert stage.created() == 4


@pytest.mark.parametrize("fault", ["active_error", "active_stop", "deleted_by_person"])
async def test_leased_node_that_dies_is_said_to_be_lost(tmp_path, autojump_clock, fault):
    """Its requestor keeps it until he gives it back; it is nobody else's."""
    faults = {fault: 1.0, "mishap_s": (60.0, 60.0)}
    async with used_once(tmp_path, faults=faults) as (stage, node):
        await trio.sleep(10 * MINUTE)

        now = stage.core.fleet.nodes[node.id]
        assert now.state is NodeState.IN_USE
        assert now.lost
        assert "died" in (now.fault or "")


async def test_renamed_server_is_still_ours(tmp_path, autojump_clock):
    """It is known by its id and its tag."""
    async with used_once(tmp_path, faults={"renamed_by_person": 1.0, "mishap_s": (1.0, 1.0)}) as (
        stage,
        _,
    ):
        await trio.sleep(60.0)
        assert stage.struck("renamed-by-person") == 1


async def test_server_that_is_renamed_before_its_create_is_answered_is_found_by_its_tag(
    tmp_path, autojump_clock
):
    """Its name was all that it could be looked up by; the lists show its tag, and the sweep."""
    stage = a_stage(tmp_path, faults={"lose_answer": 1.0})
    async with stage.running():
        await stage.becomes(Health.AVAILABLE)
        asked = await stage.ask()
        while not stage.ours():  # noqa: ASYNC110
            await trio.sleep(0.05)
        stage.now()
        (server,) = stage.ours()
        stage.alpha.rename_server(server.id, "keep-me")

        await stage.release(await stage.served(asked))

        await stage.nothing_left()
    assert stage.was_made_once()


async def test_rebuilt_server_is_not_handed_out_as_the_one_that_was_ready(tmp_path, autojump_clock):
    """After ten minutes its host key is read again: it is another machine (rule 8)."""
    faults = Faults(rebuilt_by_person=1.0, mishap_s=(60.0, 60.0))
    stage = a_stage(
        tmp_path, min_ready=1, fault_windows=(FaultWindow(start=0.0, end=60.0, faults=faults),)
    )
    async with stage.running() as core:
        await trio.sleep(15 * MINUTE)
        (rebuilt,) = core.fleet.nodes.values()
        assert stage.struck("rebuilt-by-person") == 1

        _, node = await stage.a_lease()

        assert node.external_id != rebuilt.external_id


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ({"delete_error": 1.0}, ""),
        ({"delete_conflict": 1.0, "delete_conflict_s": 1800.0}, "is locked"),
        ({"stuck_delete": 1.0, "stuck_delete_s": 1800.0}, "still shows it"),
        ({"endless_delete": 1.0, "endless_delete_s": 3600.0}, "still shows it"),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
async def test_delete_that_the_cloud_does_not_carry_out_is_asked_for_until_it_does(
    tmp_path, autojump_clock, faults, words
):
    """No stall but an alarm by age: its owner is the cloud, and a person hears of it (P4)."""
    (fault,) = (name for name in faults if not name.endswith("_s"))
    async with used_once(tmp_path, faults=faults) as (stage, node):
        request = await stage.core.port.request(node.allocated_to)
        await stage.release(request)
        if words:
            await trio.sleep(20 * MINUTE)
            explained = (await stage.core.port.explain_node(node.id)).words
            assert "the deletion is stuck" in explained
            assert words in explained
            # What is stuck holds its place: nobody else waits for it.
            await stage.release(await stage.served(await stage.ask()))
        await stage.gone(node.id, within_s=120 * MINUTE)
        stage.now()
    assert stage.struck(fault.replace("_", "-")) >= 1
    assert len(stage.told("deletion_stuck")) <= 2


@pytest.mark.parametrize("away_s", [60.0, 15 * MINUTE])
async def test_server_that_was_not_there_and_is_there_again_goes_in_the_end(
    tmp_path, autojump_clock, away_s
):
    """A 404 in the recorded project is all the proof there is; what comes back is still ours."""
    faults = {"delete_vanish": 1.0, "delete_vanish_s": away_s}
    async with used_once(tmp_path, faults=faults) as (stage, node):
        await stage.release(await stage.core.port.request(node.allocated_to))
        await stage.gone(node.id)
        assert [server.id for server in stage.ours()] == [node.external_id]
        await trio.sleep(away_s)
        # It is nobody's any more, and it is never handed out again.
        _, other = await stage.a_lease()
        assert other.external_id != node.external_id
        await stage.release(await stage.core.port.request(other.allocated_to))
    assert stage.struck("delete-vanish") >= 1


async def test_server_that_comes_back_from_the_dead_is_deleted_again(tmp_path, autojump_clock):
    async with used_once(tmp_path, faults={"come_back": 1.0, "come_back_s": 600.0}) as (
        stage,
        node,
    ):
        await stage.release(await stage.core.port.request(node.allocated_to))
        await stage.gone(node.id)
        await trio.sleep(11 * MINUTE)
        assert [server.id for server in stage.ours()] == [node.external_id]
    assert stage.struck("come-back") == 1


@pytest.mark.parametrize("fault", ["deleted_row_archived", "deleted_row_never"])
async def test_deleted_server_without_a_row_is_proved_gone_by_a_404(
    tmp_path, autojump_clock, fault
):
    """No list ever shows that it went, and no list without it proves anything."""
    stage = a_stage(tmp_path, faults={fault: 1.0}, boot=fixed(30.0))
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        asked = await stage.ask()
        while not stage.ours():  # noqa: ASYNC110
            await trio.sleep(0.05)
        await core.port.cancel(asked)

        began = trio.current_time()
        await stage.nothing_left(within_s=5 * MINUTE)
        assert trio.current_time() - began < 2 * MINUTE
    assert stage.struck(fault.replace("_", "-")) == 1


async def test_zone_without_power_is_not_where_nodes_come_from(tmp_path, autojump_clock):
    """Its idle nodes do not answer and are replaced from the other zone before a hand-out."""
    stage = a_stage(tmp_path, min_ready=2, zones=("az1", "az2"))
    async with stage.running() as core:
        await trio.sleep(15 * MINUTE)
        assert {node.az for node in core.fleet.nodes.values()} == {"az1", "az2"}
        stage.now(zone_dead=("az1",))

        first = await stage.served(await stage.ask(), within_s=60 * MINUTE)
        second = await stage.served(await stage.ask(), within_s=60 * MINUTE)

        nodes = [*await core.port.nodes_of(first), *await core.port.nodes_of(second)]
        assert {node.az for node in nodes} == {"az2"}
    assert stage.struck("zone-dead") >= 1


async def test_server_that_a_person_deletes_while_it_is_built_is_made_anew(
    tmp_path, autojump_clock
):
    stage = a_stage(tmp_path, boot=fixed(60.0))
    async with stage.running():
        await stage.becomes(Health.AVAILABLE)
        asked = await stage.ask()
        while not stage.ours():  # noqa: ASYNC110
            await trio.sleep(0.05)
        await trio.sleep(20.0)
        (server,) = stage.ours()
        stage.alpha.remove_server(server.id)

        await stage.release(await stage.served(asked))

        await stage.nothing_left()
        assert len(stage.alpha.ledger.of(What.SERVER_CREATED)) == 2


async def test_dead_flavor_does_not_use_up_launches(tmp_path, autojump_clock):
    """Nothing can be placed for an hour: few creates, a reason, and service afterwards (P7)."""
    stage = a_stage(tmp_path)
    stage.now(no_valid_host=1.0)
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        asked = await stage.ask()
        await trio.sleep(60 * MINUTE)

        assert stage.created() <= 20
        words = []
        for _ in range(20):
            words.append((await core.port.explain_request(asked)).words)
            await trio.sleep(30.0)
        assert any("No valid host" in one for one in words), words
        stage.now()
        await stage.release(await stage.served(asked, within_s=30 * MINUTE))
        await stage.nothing_left()
