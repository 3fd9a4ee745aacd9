"""Somebody else in the same project, with names and tags like ours: nothing of his is touched."""

import attrs
import pytest
import trio

from tests.faults.cloud_stage import MINUTE, Health, NodeState, a_stage
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.site import STRANGER
from trellis.sim.cloud.spec import Quota, Strangers

BUSY = Strangers(every_s=20.0, stay_s=120.0)


def theirs(stage):
    """Servers of the stranger that there were, and how many he has deleted himself."""
    return [f for f in stage.alpha.ledger.of(What.SERVER_CREATED) if f.who == STRANGER]


@pytest.mark.parametrize("habit", ["same_name", "other_deployment"])
async def test_servers_like_ours_are_not_ours(tmp_path, autojump_clock, habit):
    """The tag of this deployment alone makes a server ours, and it is looked for by all of it."""
    strangers = attrs.evolve(BUSY, **{habit: 1.0})
    stage = a_stage(tmp_path, strangers=strangers, faults={"lose_answer": 0.2})
    async with stage.running():
        await stage.becomes(Health.AVAILABLE)
        for _ in range(8):
            request = await stage.served(await stage.ask())
            await trio.sleep(60.0)
            await stage.release(request)
        stage.alpha.change(strangers=Strangers(), faults=attrs.evolve(stage.alpha.spec.faults))
        await stage.nothing_left()

    assert stage.struck(habit.replace("_", "-")) > 0
    assert len(theirs(stage)) > 5
    assert stage.told("leak_deleted") == []
    assert stage.was_made_once()


async def test_server_with_a_node_id_never_issued_stops_the_sweep_until_a_person_decides(
    tmp_path, autojump_clock
):
    """It may be another daemon's of the same deployment: its machines must not be deleted."""
    stage = a_stage(tmp_path, min_ready=1)
    async with stage.running() as core:
        request, over = await stage.a_lease()
        await stage.release(request)
        await stage.gone(over.id)
        await trio.sleep(3 * MINUTE)
        region = stage.alpha._regions["RegionOne"].servers
        (ours,) = region.live.values()
        strange = region.create(
            name="tr0900000001",
            flavor=ours.flavor,
            image=ours.image,
            nets=region.network.attachable(),
            metadata={**ours.metadata, "trellis_node_id": "0900000001"},
            who=STRANGER,
        )
        leaked = region.create(
            name="tr-leaked",
            flavor=ours.flavor,
            image=ours.image,
            nets=region.network.attachable(),
            metadata={**ours.metadata, "trellis_node_id": over.id},
            who=ours.who,
        )
        await trio.sleep(30 * MINUTE)

        assert not strange.gone
        assert not leaked.gone
        notes = [leak.note for leak in core.operator.leaks()]
        assert all("the sweep has stopped" in note for note in notes)
        # Work goes on meanwhile.
        request = await stage.served(await stage.ask())
        await stage.release(request)
        await stage.gone(request.nodes[0])

        region.remove(strange)  # its owner took it away
        await trio.sleep(30 * MINUTE)
        assert leaked.gone
    assert stage.alpha.ledger.violations == []


async def test_strangers_that_come_and_go_quickly_cost_no_refusals_in_a_row(
    tmp_path, autojump_clock
):
    """Each may surprise once: what they take is read again, and nobody waits for ever."""
    stage = a_stage(
        tmp_path,
        strangers=Strangers(every_s=5.0, stay_s=10.0),
        quota=Quota(instances=6, cores=6),
    )
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        for _ in range(10):
            request = await stage.served(await stage.ask(), within_s=10 * MINUTE)
            await stage.release(request)
        stage.alpha.change(strangers=Strangers())
        await stage.nothing_left()
        assert not [n for n in core.fleet.nodes.values() if n.state is NodeState.FAILED]

    refused = len(stage.alpha.ledger.of(What.QUOTA_REFUSED))
    assert refused <= len(theirs(stage)) / 5
