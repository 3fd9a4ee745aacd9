"""Nodes that boot from volumes: how they live and die, and clouds that forget what they made."""

import attrs
import pytest
import trio

from tests.daemon.stage import MINUTE, Stage
from trellis.model.node import NodeState, ResourceKind
from trellis.model.status import Health
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.spec import CloudSpec, Faults, Quota, Strangers, fixed

BOOTING = """
deployment: stage
labels: [{name: small}]
providers:
  - name: alpha
    type: openstack
    cloud: alpha
    sweep: delete
    pools:
      - name: main
        max-servers: 10
        labels:
          - name: small
            cloud-image: tiny
            flavor-name: ci-1c-1g
            boot-from-volume: true
            volume-size: 20
"""
ALPHA = CloudSpec(name="alpha", boot=fixed(20.0))


def a_stage(tmp_path, **changes):
    return Stage(tmp_path, alpha=attrs.evolve(ALPHA, **changes), configuration=BOOTING)


def volume_calls(stage):
    """Calls about single volumes: method and id."""
    about = [(method, path.rpartition("/volumes/")[2]) for _, method, path in stage.calls]
    return [(method, id) for method, id in about if len(id) == 36]


def recorded(node):
    return [x.external_id for x in node.resources if x.kind is ResourceKind.VOLUME]


async def test_node_that_boots_from_a_volume_lives_and_leaves_nothing(tmp_path, autojump_clock):
    """Its volume is on record when it is ready, and one or two looks prove it gone."""
    stage = a_stage(tmp_path)
    async with stage.running() as core:
        request = await stage.served(await stage.ask())
        (node,) = await core.port.nodes_of(request)
        (volume,) = stage.alpha.volumes()
        assert recorded(node) == [volume.id]
        assert volume.server_id == node.external_id
        assert node.shape.disk_gib == 20
        assert volume_calls(stage) == []  # seen in the server's row, which costs no call

        await stage.release(request)
        await stage.gone(node.id)

    assert stage.alpha.volumes() == ()
    assert stage.alpha.servers() == ()
    assert set(volume_calls(stage)) == {("GET", volume.id)}
    assert len(volume_calls(stage)) <= 2


async def test_volume_that_the_cloud_leaves_goes_with_its_node(tmp_path, autojump_clock):
    """delete_on_termination was lost: the node is not gone before its volume is (P2)."""
    stage = a_stage(tmp_path, faults=Faults(leak_volume=1.0))
    async with stage.running() as core:
        request = await stage.served(await stage.ask())
        (node,) = await core.port.nodes_of(request)
        (volume,) = stage.alpha.volumes()

        await stage.release(request)
        await stage.gone(node.id)

    assert stage.alpha.volumes() == ()
    assert volume_calls(stage).count(("DELETE", volume.id)) == 1
    gone = stage.alpha.ledger.of(What.SERVER_DELETED, What.VOLUME_DELETED)
    assert [fact.what for fact in gone] == [What.SERVER_DELETED, What.VOLUME_DELETED]


async def test_volume_left_while_nobody_ran_goes_at_the_next_start(tmp_path, autojump_clock):
    """It is on record, so the next process knows of it however the last one ended."""
    stage = a_stage(tmp_path, faults=Faults(leak_volume=1.0), delete=fixed(30.0))
    async with stage.running() as core:
        request = await stage.served(await stage.ask())
        await stage.release(request)
        await trio.sleep(2.0)
        assert core.fleet.nodes[request.nodes[0]].state is NodeState.DELETING
    await trio.sleep(10 * MINUTE)
    assert stage.alpha.servers() == ()
    assert len(stage.alpha.volumes()) == 1
    stage.log = stage.log.reopen()

    async with stage.running():
        await stage.gone(request.nodes[0])

    assert stage.alpha.volumes() == ()


@pytest.mark.parametrize("after_s", [0.2, 5.0, 12.0, 19.0])
async def test_cancelled_launch_leaves_no_volume(tmp_path, autojump_clock, after_s):
    """Before, while and after its volume is made; a list may not have shown it yet."""
    stage = a_stage(tmp_path, faults=Faults(leak_volume=1.0))
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        asked = await stage.ask()
        while not stage.alpha.servers():  # noqa: ASYNC110 - a simulated cloud tells nobody
            await trio.sleep(0.05)
        await trio.sleep(after_s)

        await core.port.cancel(asked)
        await trio.sleep(10 * MINUTE)

        assert core.fleet.nodes == {}
    assert stage.alpha.servers() == ()
    assert stage.alpha.volumes() == ()


async def test_volume_that_no_list_has_shown_is_looked_for_before_the_delete(
    tmp_path, autojump_clock
):
    """Lists lag behind and the server goes at once: afterwards nobody could tell whose it was."""
    faults = Faults(leak_volume=1.0, list_lag_s=15.0)
    stage = a_stage(tmp_path, faults=faults, delete=fixed(0.2))
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        asked = await stage.ask()
        await trio.sleep(12.0)
        assert len(stage.alpha.volumes()) == 1

        await core.port.cancel(asked)
        await trio.sleep(10 * MINUTE)

        assert core.fleet.nodes == {}
    assert stage.alpha.volumes() == ()


async def test_volume_that_cannot_be_deleted_is_said_and_tried_until_it_can(
    tmp_path, autojump_clock
):
    """Cinder puts it in error_deleting: an operator of the cloud has to help, and hears of it."""
    faults = Faults(leak_volume=1.0, stuck_volume=1.0, stuck_volume_s=30 * MINUTE)
    stage = a_stage(tmp_path, faults=faults)
    async with stage.running() as core:
        request = await stage.served(await stage.ask())
        (volume,) = stage.alpha.volumes()
        await stage.release(request)
        await trio.sleep(25 * MINUTE)

        words = (await core.port.explain_node(request.nodes[0])).words
        assert f"volume {volume.id}" in words
        assert "Volume status must be available" in words
        await stage.gone(request.nodes[0])

    assert stage.alpha.volumes() == ()
    assert [e["event"] for e in stage.events].count("deletion_stuck") == 1


async def test_volume_quota_is_known_before_it_is_asked_for(tmp_path, autojump_clock):
    """Room for two volumes beside a stranger's: the third request waits, and says for what."""
    stage = a_stage(
        tmp_path,
        quota=Quota(gigabytes=59),
        strangers=Strangers(volumes_at_start=1),
    )
    async with stage.running() as core:
        first, second, third = [await stage.ask() for _ in range(3)]
        served = await stage.served(first)
        await stage.served(second)
        assert "volume" in (await core.port.explain_request(third)).words
        quota = stage.status().quota
        assert (quota.limits.volume_gib, quota.ours.volume_gib, quota.others.volume_gib) == (
            59,
            40,
            10,
        )

        await stage.release(served)
        await stage.served(third)

    assert stage.alpha.ledger.of(What.QUOTA_REFUSED) == []


async def test_cloud_without_block_storage_says_so_once(tmp_path, autojump_clock):
    """The label is missing with the reason; the provider works, and no call fails for it."""
    stage = a_stage(tmp_path, block_storage="")
    async with stage.running():
        status = await stage.becomes(Health.AVAILABLE)
        await trio.sleep(60 * MINUTE)
        (pool,) = status.pools

        assert "needs block storage" in pool.missing["small"]
        assert stage.status().health is Health.AVAILABLE
    assert [e["event"] for e in stage.events].count("block_storage_missing") == 1
    assert [path for _, _, path in stage.calls if "/volume" in path] == []


async def test_volumes_of_strangers_are_reported_and_never_touched(tmp_path, autojump_clock):
    """They look as if nova had made them for us, and nothing says that it did."""
    stage = a_stage(tmp_path, strangers=Strangers(volumes_at_start=2))
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        await trio.sleep(60 * MINUTE)

        notes = [leak.note for leak in core.operator.leaks()]
        assert len(notes) == 2
        assert all("nobody can tell whose it is" in note for note in notes)
    assert len(stage.alpha.volumes()) == 2
    assert stage.alpha.ledger.violations == []


async def test_volume_of_a_leaked_server_goes_after_it(tmp_path, autojump_clock):
    """No record claims the server: what it had is recorded before it is deleted."""
    stage = a_stage(tmp_path, faults=Faults(leak_volume=1.0))
    async with stage.running() as core:
        (node_id,) = (await stage.served(await stage.ask())).nodes
        # Somebody copies the tag onto a server of his: a twin, as of a create carried out twice.
        region = stage.alpha._regions["RegionOne"]
        (ours,) = region.servers.live.values()
        twin = region.servers.create(
            name=ours.name,
            flavor=ours.flavor,
            image=ours.image,
            nets=region.servers.network.attachable(),
            metadata=dict(ours.metadata),
            who=ours.who,
            volume_gib=20,
        )
        await trio.sleep(40 * MINUTE)

        assert core.fleet.nodes[node_id].state is NodeState.IN_USE
        assert [server.id for server in stage.alpha.servers()] == [ours.id]
        (volume,) = stage.alpha.volumes()
        assert volume.server_id == ours.id
    assert twin.gone


async def test_port_left_behind_is_known_over_a_restart(tmp_path, autojump_clock):
    """Its server is in the history: whose a leftover was is never forgotten within 7 days."""
    stage = a_stage(tmp_path)
    async with stage.running() as core:
        request = await stage.served(await stage.ask())
        (node,) = await core.port.nodes_of(request)
        await stage.release(request)
        await stage.gone(node.id)
    network = stage.alpha._regions["RegionOne"].servers.network
    for device in (node.external_id, "f49e6cff-ea70-41fd-8426-b25291f558ea"):
        network.create_port(
            network.attachable()[0], who="ci", device_id=device, device_owner="compute:nova"
        )
    stage.log = stage.log.reopen()

    async with stage.running():
        await trio.sleep(40 * MINUTE)

    # The other one's server was never ours, as far as anybody can tell.
    assert [port.server_id for port in stage.alpha.ports()] == [
        "f49e6cff-ea70-41fd-8426-b25291f558ea"
    ]
