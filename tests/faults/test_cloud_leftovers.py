"""What a cloud leaves lying of a node: ports, floating IPs, volumes. Nothing of it stays (P2)."""

import pytest
import trio

from tests.faults.cloud_stage import MINUTE, Health, NodeState, a_stage, used_once
from trellis.sim.cloud.spec import Faults, FaultWindow, NetworkSpec, fixed

PRIVATE = NetworkSpec(name="ci-net")


async def test_port_that_nova_leaves_is_swept(tmp_path, autojump_clock):
    """It names its server, which the history knows as ours."""
    async with used_once(tmp_path, faults={"leak_port": 1.0}) as (stage, node):
        await stage.release(await stage.core.port.request(node.allocated_to))
        await stage.gone(node.id)
        assert [port.server_id for port in stage.alpha.ports()] == [node.external_id]
    assert stage.struck("leak-port") == 1


@pytest.mark.parametrize(
    "fault",
    ["floating_ip_delete_lies", "floating_ip_delete_missing", "floating_ip_delete_conflict"],
)
@pytest.mark.parametrize("lasting", [True, False])
async def test_floating_ip_that_does_not_go_is_swept(tmp_path, autojump_clock, fault, lasting):
    """Its description says whose it is, whatever its deletes were answered."""
    stage = a_stage(tmp_path, floating=True, faults={fault: 1.0})
    async with stage.running():
        await stage.becomes(Health.AVAILABLE)
        request, node = await stage.a_lease()
        await stage.release(request)
        if lasting:
            await trio.sleep(30 * MINUTE)
            assert [ip.server_id for ip in stage.alpha.floating_ips()] in (
                [None],
                [node.external_id],
            )
        else:
            while not stage.struck(fault.replace("_", "-")):  # noqa: ASYNC110
                await trio.sleep(0.1)
        stage.now()
        await stage.nothing_left()


async def test_node_whose_floating_ip_will_not_go_says_so(tmp_path, autojump_clock):
    """409 for ever: its server waits too, and a person hears of both (P4)."""
    stage = a_stage(tmp_path, floating=True, faults={"floating_ip_delete_conflict": 1.0})
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        request, node = await stage.a_lease()
        await stage.release(request)
        await trio.sleep(20 * MINUTE)

        words = (await core.port.explain_node(node.id)).words
        assert "floating-ip" in words
        assert "in use by another operation" in words
        stage.now()
        await stage.nothing_left()


async def test_floating_ip_that_a_person_deletes_is_no_trouble_at_the_end(tmp_path, autojump_clock):
    faults = {"floating_ip_deleted_by_person": 1.0, "mishap_s": (60.0, 60.0)}
    async with used_once(tmp_path, floating=True, faults=faults) as (stage, _):
        await trio.sleep(5 * MINUTE)
        assert stage.struck("floating-ip-deleted-by-person") == 1


async def test_port_that_a_person_deletes_is_no_trouble_at_the_end(tmp_path, autojump_clock):
    faults = {"port_deleted_by_person": 1.0, "mishap_s": (60.0, 60.0)}
    async with used_once(tmp_path, faults=faults) as (stage, _):
        await trio.sleep(5 * MINUTE)
        assert stage.struck("port-deleted-by-person") == 1


async def test_unseen_volume_is_reported_and_never_deleted(tmp_path, autojump_clock):
    """No answer ever said whose it is: it may be anybody's, so a person has to decide (rule 4)."""
    stage = a_stage(
        tmp_path,
        boots_from_volume=True,
        boot=fixed(20.0),
        faults={"leak_unseen_volume": 1.0},
    )
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        asked = await stage.ask()
        while not stage.alpha.volumes():  # noqa: ASYNC110
            await trio.sleep(0.1)
        await core.port.cancel(asked)
        await trio.sleep(40 * MINUTE)
        assert core.fleet.nodes == {}
        assert stage.ours() == []

        left = {volume.id for volume in stage.alpha.volumes()}
        assert left
        assert left == stage.alpha.ledger.unattributable
        leaks = {leak.external_id: leak.note for leak in core.operator.leaks()}
        assert left == set(leaks)
        assert all("nobody can tell whose it is" in note for note in leaks.values())


async def test_volume_that_its_server_showed_is_never_left(tmp_path, autojump_clock):
    """What was shown for more than two seconds is ours by its record, so it is deleted."""
    faults = {"leak_volume": 1.0, "leak_unseen_volume": 1.0}
    async with used_once(tmp_path, boots_from_volume=True, faults=faults) as (stage, _):
        pass
    assert stage.struck("leak-volume") == 1
    assert stage.struck("leak-unseen-volume") == 0


@pytest.mark.parametrize("what", ["floating_ip_deleted_by_person", "port_deleted_by_person"])
async def test_address_that_leads_to_another_machine_is_nobodys_any_more(
    tmp_path, autojump_clock, what
):
    """A person takes an idle node's address away, and the cloud gives it to another of ours.

    Handed out, the idle node would lead its requestor to a machine that somebody else has (P1).
    """
    floating = what.startswith("floating")
    name = "public"
    # Three addresses in all: the next server gets the one that was freed.
    small = NetworkSpec(name=name, external=True, attachable=not floating, cidr="100.64.0.0/29")
    faults = Faults(**{what: 1.0, "mishap_s": (30.0, 30.0)})
    networks = (PRIVATE, small) if floating else (small,)
    stage = _with_networks(tmp_path, networks, floating, faults)
    async with stage.running() as core:
        await trio.sleep(60.0)
        (robbed,) = core.fleet.nodes.values()
        assert robbed.state is NodeState.READY
        assert stage.struck(what.replace("_", "-")) == 1
        region = stage.alpha._regions["RegionOne"].servers.network
        pool = next(net for net in region.nets.values() if net.spec.name == name).pool
        pool._next = int(robbed.addresses.interface_ip.rpartition(".")[2])

        await stage.take_up(stage.configuration.replace("min-ready: 1", "min-ready: 2"))
        await trio.sleep(3 * MINUTE)

        holders = [
            node.id
            for node in core.fleet.nodes.values()
            if node.state is NodeState.READY
            and node.addresses.interface_ip == robbed.addresses.interface_ip
        ]
        assert len(holders) == 1
        assert robbed.id not in holders


def _with_networks(tmp_path, networks, floating, faults):
    window = FaultWindow(start=0.0, end=50.0, faults=faults)
    stage = a_stage(
        tmp_path, min_ready=1, networks=networks, fault_windows=(window,), boot=fixed(10.0)
    )
    if floating:
        stage.configuration = stage.configuration.replace("[public]", "[ci-net]")
    return stage
