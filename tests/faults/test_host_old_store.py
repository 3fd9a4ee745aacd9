"""The store is not the latest, or not the only one: nothing is used twice, none deleted unsaid."""

from random import Random

import attrs
import pytest
import trio

from tests.daemon.stage import CONFIGURATION, MINUTE, Stage
from trellis.errors import UnknownIdError
from trellis.model.node import NodeState
from trellis.model.provider import Lineage, StoreMeta
from trellis.model.records import Change
from trellis.model.status import Health
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.spec import CloudSpec, Faults, FaultWindow
from trellis.store.simulated import SimulatedLog

pytestmark = pytest.mark.slow

HALF_AN_HOUR = 30 * MINUTE
"""The sweep has looked several times by then."""
KEEPING = (
    CONFIGURATION.replace("[{name: small}]", "[{name: small, min-ready: 2}]")
    .replace("    type: openstack\n", "    type: openstack\n    sweep: delete\n")
    .replace("name: beta, type: openstack,", "name: beta, type: openstack, sweep: delete,")
)


def servers(stage: Stage) -> set[str]:
    """Ids of all servers that are there."""
    return {server.id for cloud in stage.clouds.values() for server in cloud.servers()}


def server_of(stage: Stage, node_id: str) -> str:
    assert stage.core is not None
    external_id = stage.core.fleet.nodes[node_id].external_id
    assert external_id is not None
    return external_id


async def settled(stage: Stage, ready: int = 2) -> None:
    """Wait until so many nodes are ready for whoever asks."""
    assert stage.core is not None
    with trio.fail_after(20 * MINUTE):  # noqa: ASYNC912
        while sum(node.idle for node in stage.core.fleet.nodes.values()) < ready:  # noqa: ASYNC110
            await trio.sleep(1.0)


@pytest.mark.parametrize("witness", [True, False])
async def test_a_store_set_back_uses_nothing_twice(witness, tmp_path, autojump_clock):
    """Two nodes were ready in the copy; since then one was handed out, and a third launched."""
    stage = Stage(tmp_path, configuration=KEEPING)
    async with stage.running():
        await settled(stage)
        copy = stage.log.disk.copied()
        request = await stage.served(await stage.ask())
        await settled(stage)
        leased = [server_of(stage, node_id) for node_id in request.nodes]
        launched_since = servers(stage)
        issued = set(stage.core.fleet.nodes)
    stage.seed = 6
    stage.log.disk.set_back(copy, witness=witness)

    async with stage.running() as core:
        again = await stage.served(await stage.ask())
        got = [server_of(stage, node_id) for node_id in again.nodes]
        assert not set(got) & launched_since, "nobody is given what may be another's"
        assert not set(again.nodes) & issued, "and no node id is issued twice"
        await trio.sleep(HALF_AN_HOUR)

        assert launched_since <= servers(stage), "nothing of it is deleted without a word"
        apart = [node for node in core.fleet.nodes.values() if node.set_apart]
        assert sorted(["0000000001", "0000000002"]) == sorted(node.id for node in apart)
        assert all("set apart" in (node.fault or "") for node in apart)
        told = [e["event"] for e in stage.events if e["log_level"] == "error"]
        assert "sweep_stopped" in told
        assert witness is ("store_is_an_older_copy" in told)
        shown = any("set apart" in notice for notice in core.operator.overview(1).notices)
        assert shown is witness
        assert set(leased) <= {server_of(stage, node.id) for node in apart}


async def test_a_person_ends_what_was_set_apart(tmp_path, autojump_clock):
    """By deleting each node that is free; afterwards all is as it was."""
    stage = Stage(tmp_path, configuration=KEEPING)
    async with stage.running():
        await settled(stage)
        copy = stage.log.disk.copied()
        request = await stage.served(await stage.ask())
        await settled(stage)
    stage.seed = 6
    stage.log.disk.set_back(copy, witness=True)
    async with stage.running() as core:
        with pytest.raises(UnknownIdError):
            await core.port.request(request.id)
        await settled(stage)
        await trio.sleep(15 * MINUTE)
        for node in list(core.fleet.nodes.values()):
            if node.set_apart:
                await core.operator.delete_node(node.id, by="ops")
        for leak in core.operator.leaks():
            await core.operator.delete_leak(leak.id)
        await trio.sleep(30 * MINUTE)

        assert servers(stage) == {n.external_id for n in core.fleet.nodes.values()}
        assert 2 == sum(node.idle for node in core.fleet.nodes.values())
        assert "delete" == core.operator.provider("alpha").sweep


@pytest.mark.parametrize("witness", [True, False])
async def test_a_launch_in_the_copy_is_not_repeated(witness, tmp_path, autojump_clock):
    """It was building in the copy; by now somebody may work on it."""
    stage = Stage(tmp_path, configuration=KEEPING)
    async with stage.running() as core:
        while not core.fleet.nodes:  # noqa: ASYNC110
            await trio.sleep(0.01)
        copy = stage.log.disk.copied()
        assert all(n.state is NodeState.BUILDING for n in core.fleet.nodes.values())
        await settled(stage)
        request = await stage.served(await stage.ask())
        leased = {server_of(stage, node_id) for node_id in request.nodes}
        await settled(stage)
    stage.seed = 6
    stage.log.disk.set_back(copy, witness=witness)
    async with stage.running() as core:
        await settled(stage)
        again = await stage.served(await stage.ask())
        got = {server_of(stage, node_id) for node_id in again.nodes}
        await trio.sleep(HALF_AN_HOUR)

        assert leased <= servers(stage)
        assert not got & leased


async def test_an_empty_store_leaves_what_it_finds_alone(tmp_path, autojump_clock):
    """The store was lost: its servers are another's until a person has decided."""
    stage = Stage(tmp_path, configuration=KEEPING)
    async with stage.running():
        await stage.served(await stage.ask())
        await settled(stage)
        before = servers(stage)
    stage.log, stage.seed = SimulatedLog(Random(8)), 7
    async with stage.running():
        request = await stage.served(await stage.ask())
        assert not {server_of(stage, node_id) for node_id in request.nodes} & before
        await trio.sleep(HALF_AN_HOUR)

        assert before <= servers(stage)
        assert "sweep_stopped" in [e["event"] for e in stage.events]


async def test_two_daemons_of_one_deployment_keep_out_of_each_others_way(tmp_path, autojump_clock):
    """Each with a store of its own, both from node 1 on: neither uses or deletes the other's."""
    stage = Stage(tmp_path, configuration=KEEPING)
    (tmp_path / "second").mkdir()
    other = Stage(tmp_path / "second", configuration=KEEPING)
    other.clouds = stage.clouds
    other.log, other.seed = SimulatedLog(Random(9)), 5
    async with stage.running() as one, other.running() as two:
        mine, theirs = [], []
        for _ in range(3):
            for at, got in ((stage, mine), (other, theirs)):
                request = await at.served(await at.ask())
                got += [server_of(at, node_id) for node_id in request.nodes]
            await trio.sleep(20 * MINUTE)
            for at in (stage, other):
                for lease in list(at.core.fleet.leases):
                    await at.core.port.renew(lease)
        await trio.sleep(20 * MINUTE)

        assert 6 == len({*mine, *theirs})
        assert {*mine, *theirs} <= servers(stage)
        alarms = [core.operator.provider("alpha").sweep for core in (one, two)]
        assert all("another daemon" in alarm for alarm in alarms), alarms


async def test_a_copy_of_the_store_that_another_daemon_works_on(tmp_path, autojump_clock):
    """Each sees what the other launches, and lets it be; and neither runs away.

    What both have on record from before, either may still use: nothing tells them of each other
    until one has launched something.
    """
    stage = Stage(tmp_path, configuration=KEEPING)
    async with stage.running():
        await settled(stage)
    (tmp_path / "second").mkdir()
    other = Stage(tmp_path / "second", configuration=KEEPING)
    other.clouds = stage.clouds
    other.log, other.seed, stage.seed = SimulatedLog(Random(9)), 5, 6
    other.log.disk.set_back(stage.log.disk.copied(), witness=False)
    async with stage.running(), other.running():
        await trio.sleep(HALF_AN_HOUR)
        got = []
        for at in (stage, other):
            request = await at.served(await at.ask())
            got += [server_of(at, node_id) for node_id in request.nodes]
        await trio.sleep(HALF_AN_HOUR)

        assert 2 == len(set(got))
        assert set(got) <= servers(stage)
        assert 8 >= len(servers(stage)), "at most two of before, three for each"


async def test_a_create_in_doubt_is_not_taken_for_another_daemons(tmp_path, autojump_clock):
    """The server found under our node's id and name is another store's: it is not ours."""
    lost = FaultWindow(start=100.0, end=115.0, faults=Faults(lose_request=1.0))
    stage = Stage(tmp_path, alpha=CloudSpec(name="alpha", fault_windows=(lost,)))
    (tmp_path / "second").mkdir()
    other = Stage(tmp_path / "second")
    other.clouds = stage.clouds
    other.log, other.seed = SimulatedLog(Random(9)), 5
    async with stage.running():
        first = await stage.served(await stage.ask("alpha"))
        held = server_of(stage, first.nodes[0])
        async with other.running() as core:
            await other.becomes(Health.AVAILABLE)
            # As if the other's servers had not been in its first list.
            meta = core.store.get(StoreMeta, "store")
            await core.store.commit([Change(meta, attrs.evolve(meta, next_node=1))])
            await trio.sleep_until(101.0)
            request_id = await other.ask("alpha")
            await trio.sleep(30.0)
            assert first.nodes == ("0000000001",) == tuple(core.fleet.nodes)[:1]
            request = await other.served(request_id)

            assert held not in [server_of(other, node_id) for node_id in request.nodes]


async def test_each_opening_has_a_mark_and_idle_ones_leave_none(tmp_path, autojump_clock):
    """A crash loop does not fill the record."""
    stage = Stage(tmp_path)
    async with stage.running():
        await stage.served(await stage.ask())
    for _ in range(20):
        async with stage.running() as core:
            lineage = core.store.get(Lineage, "store")
            meta = core.store.get(StoreMeta, "store")

    assert 2 == len(lineage.openings)
    assert [1, meta.next_node] == [opening.first_node for opening in lineage.openings]
    made = stage.alpha.ledger.of(What.SERVER_CREATED) + stage.clouds["beta"].ledger.of(
        What.SERVER_CREATED
    )
    marks = {dict(fact.metadata)["trellis_origin"] for fact in made}
    assert {lineage.openings[0].mark} == marks
