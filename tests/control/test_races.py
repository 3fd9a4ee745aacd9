"""What happens between a decision and its durability, where only the log is slow."""

import signal
from random import Random

import pytest
import trio

from tests.daemon.stage import MINUTE, Stage
from trellis.model.node import Node, NodeState
from trellis.model.request import Ask, NodeRequest, RequestState
from trellis.store.simulated import SimulatedLog

ASK = Ask(labels=("small",), requestor="test", idempotency_key="once")


@pytest.fixture(autouse=True)
def _nobody_spins():
    """A task that never lets others run would hang the test: it is broken off from outside."""

    def break_off(_number, _frame):
        raise AssertionError("a task spins without letting others run")

    before = signal.signal(signal.SIGALRM, break_off)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def stage(tmp_path):
    stage = Stage(tmp_path)
    stage.log = SimulatedLog(Random(3), fsync_s=0.4)
    return stage


async def staged_as(core, request_id, state):
    """Wait until a request is staged in a state, and not durable in it yet."""
    # Nothing tells of what is only staged.
    while core.store.head(NodeRequest, request_id).state is not state:  # noqa: ASYNC110
        await trio.sleep(0.01)
    assert core.store.get(NodeRequest, request_id).state is not state


async def until(core, fact):
    """Wait until something is so in the records, which is looked at after every commit."""
    while not fact():
        committed = trio.Event()
        unsubscribe = core.store.subscribe(lambda _batch, told=committed: told.set())
        await committed.wait()
        unsubscribe()


async def all_gone(core):
    """Wait until there is no node left."""
    with trio.fail_after(30 * MINUTE):
        await until(core, lambda: not core.fleet.nodes)


async def test_a_cancel_that_is_not_durable_yet_does_not_make_a_launch_spin(stage, autojump_clock):
    """The launch ends at once and its task waits for the log (found by seed 7 of rough)."""
    async with stage.running() as core:
        request = await core.port.submit(ASK)
        await until(core, lambda: core.fleet.nodes)
        for _ in range(40):
            await trio.sleep(0.1)
            if next(iter(core.fleet.nodes.values())).external_id is not None:
                break

        await core.port.cancel(request.id)

        await all_gone(core)


async def test_a_cancel_while_the_place_is_being_written_leaves_no_orphan(stage, autojump_clock):
    """The nodes that the place brings are deleted with it (P2, P4)."""
    async with stage.running() as core:
        await stage.served(await stage.ask())
        request = await core.port.submit(ASK)
        await staged_as(core, request.id, RequestState.PENDING)

        await core.port.cancel(request.id)

        standing = [n for n in core.fleet.nodes.values() if n.allocated_to == request.id]
        assert all(node.state is NodeState.DELETING for node in standing)


async def test_the_same_key_twice_at_once_is_one_request(stage, autojump_clock):
    """The second submit waits for the first to be durable and gets the same answer."""
    got = []
    async with stage.running() as core:

        async def submit():
            got.append((await core.port.submit(ASK)).id)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(submit)
            nursery.start_soon(submit)

    assert len(set(got)) == 1


async def test_a_changed_priority_does_not_make_it_another_request(stage, autojump_clock):
    """The same body again gets the same answer, whatever was revised meanwhile."""
    async with stage.running() as core:
        request = await core.port.submit(ASK)
        await core.port.reprioritise(request.id, 5)

        again = await core.port.submit(ASK)

    assert again.id == request.id


async def test_an_overtaken_decision_is_not_decided_again_at_once(stage, autojump_clock):
    """While a cancel is on its way to the disk the planner waits; no launch is counted."""
    async with stage.running() as core:
        await trio.sleep(5)
        request = await core.port.submit(ASK)
        await core.port.cancel(request.id)
        await trio.sleep(30)

    assert stage.created() == 0


async def test_two_providers_in_one_project_leave_each_others_nodes_alone(tmp_path, autojump_clock):
    """Each sees all servers of the project, and takes no other's for a leak (P1, rule 9)."""
    two = """
deployment: stage
labels: [{name: small}]
providers:
  - name: alpha
    type: openstack
    cloud: alpha
    sweep: delete
    pools: &pools
      - {name: main, labels: [{name: small, cloud-image: tiny, flavor-name: ci-1c-1g}]}
  - {name: twin, type: openstack, cloud: alpha, sweep: delete, pools: *pools}
"""
    stage = Stage(tmp_path, configuration=two)
    async with stage.running() as core:
        request = await stage.served(await stage.ask("alpha"))
        await trio.sleep(20 * MINUTE)

        assert core.operator.leaks() == ()
        (node,) = await core.port.nodes_of(request)
    assert node.state is NodeState.IN_USE
    assert stage.alpha.servers()[0].status == "ACTIVE"


async def test_a_held_node_is_not_deleted_by_a_deletion_about_to_begin(stage, autojump_clock):
    """A person's word counts from when it is acknowledged (P1)."""
    async with stage.running() as core:
        request = await stage.served(await stage.ask())
        (node,) = await core.port.nodes_of(request)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.release, request)
            # Nothing tells of what is only staged.
            while core.store.head(type(node), node.id).state is not NodeState.USED:  # noqa: ASYNC110
                await trio.sleep(0.01)
            await core.port.hold(node.id, by="ann", reason="look at it")
        await trio.sleep(10 * MINUTE)

        assert core.fleet.nodes[node.id].state is NodeState.HOLD
    assert len(stage.alpha.servers()) + len(stage.clouds["beta"].servers()) == 1


async def test_a_bug_in_one_launch_costs_that_node_only(stage, autojump_clock, monkeypatch):
    """The others go on, the node fails with the bug's name, its request gets another (P4)."""
    async with stage.running() as core:
        running = core.operator._providers["alpha"]
        await stage.served(await stage.ask("alpha"))
        life = running._works.life
        broken = []
        real = life._ensure_active

        async def once(node):
            if not broken:
                broken.append(node.id)
                raise ZeroDivisionError("planted")
            return await real(node)

        monkeypatch.setattr(type(life), "_ensure_active", lambda _self, node: once(node))
        request = await stage.served(await stage.ask("alpha"))

        (node,) = await core.port.nodes_of(request)
        events = (await core.port.explain_node(broken[0])).history
    assert node.id != broken[0]
    assert any("ZeroDivisionError" in event.why for event in events)


async def test_an_end_that_is_being_written_is_not_begun_again_by_a_restart(stage, autojump_clock):
    """A provider that connects anew has no task for a node whose end is on its way to the log.

    Found by seed 4 of rough with 60 requests: a slow disk, and a rotated password.
    """
    async with stage.running() as core:
        await stage.release(await stage.served(await stage.ask()))
        # Nothing tells of what is only staged.
        while any(core.store.head(Node, x) is not None for x in core.fleet.nodes):  # noqa: ASYNC110
            await trio.sleep(0.01)
        assert core.fleet.nodes

        for running in core._roster.running.values():
            await running.restart()
        await all_gone(core)
        await trio.sleep(2 * MINUTE)

    assert [x for x in stage.events if x["log_level"] == "error"] == []
