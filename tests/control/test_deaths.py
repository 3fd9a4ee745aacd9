"""Nodes that die at rest: what a list or another node's address tells, and over a restart."""

from contextlib import asynccontextmanager
from random import Random

import attrs
import pytest
import trio

from tests.control.scripted_provider import ScriptedProvider, a_row
from trellis.control.deaths import Deaths
from trellis.control.health import ProviderHealth
from trellis.model.node import Addresses, Node, NodeState
from trellis.model.records import Change
from trellis.spi.provider import InstanceState
from trellis.store.simulated import SimulatedLog
from trellis.store.store import Store
from trellis.testing.builders import NOW, a_home, a_node, a_server


@asynccontextmanager
async def bench(*nodes):
    """A store with these nodes, and deaths at work on it."""
    async with Store.open(SimulatedLog(Random(1)), deployment="test", wall=lambda: NOW) as store:
        await store.commit([Change(None, node) for node in nodes])

        def known():
            return store.all(Node)

        deaths = Deaths(
            provider=ScriptedProvider(),
            store=store,
            health=ProviderHealth("alpha", lambda: NOW, lambda: None),
            wall=lambda: NOW,
            nodes=known,
            everybody=known,
            at_address=lambda address: [
                x.id for x in known().values() if x.addresses.interface_ip == address
            ],
            node_of=lambda id: next((x.id for x in known().values() if x.external_id == id), None),
        )
        yield store, deaths


def at_rest(number, address="100.64.0.9", state=NodeState.READY, **parts):
    return a_node(
        number,
        state=state,
        ready_at=NOW + number,
        home=a_home(),
        resources=(a_server(number),),
        addresses=Addresses(interface_ip=address),
        **parts,
    )


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        (NodeState.READY, InstanceState.ERROR),
        (NodeState.READY, InstanceState.STOPPED),
        (NodeState.READY, InstanceState.GONE),
        (NodeState.IN_USE, InstanceState.GONE),
        (NodeState.HOLD, InstanceState.ERROR),
    ],
)
async def test_dead_node_is_deleted_or_lost(autojump_clock, nursery, state, shown):
    """An idle one goes; of a leased one its requestor hears (rule 8)."""
    node = at_rest(1, state=state)
    async with bench(node) as (store, deaths):
        nursery.start_soon(deaths.run)
        deaths.see_row(a_row(external_id=node.external_id, state=shown))
        await trio.sleep(1)

        after = store.head(Node, node.id)
        assert after.fault == f"died: the cloud shows it as {shown.value}"
        assert after.lost is (state is not NodeState.READY)
        assert (after.state is NodeState.DELETING) is (state is NodeState.READY)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "shown", [InstanceState.UNKNOWN, InstanceState.BUILDING, InstanceState.ACTIVE]
)
async def test_what_says_nothing_kills_nobody(autojump_clock, nursery, shown):
    node = at_rest(1)
    async with bench(node) as (store, deaths):
        nursery.start_soon(deaths.run)
        deaths.see_row(a_row(external_id=node.external_id, state=shown))
        await trio.sleep(1)

        assert store.head(Node, node.id) == node
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("state", [NodeState.READY, NodeState.IN_USE])
async def test_address_belongs_to_the_one_that_became_ready_there_last(
    autojump_clock, nursery, state
):
    """Whoever had it before would lead its requestor to another's machine (P1)."""
    robbed, owner = at_rest(1, state=state), at_rest(2)
    async with bench(robbed, at_rest(3, "100.64.0.7")) as (store, deaths):
        nursery.start_soon(deaths.run)
        await trio.sleep(1)
        await store.commit([Change(None, owner)])
        deaths.see_ready(owner)
        await trio.sleep(1)

        after = store.head(Node, robbed.id)
        assert after.fault == "died: its address 100.64.0.9 leads to node 0000000002 now"
        assert after.lost is (state is NodeState.IN_USE)
        assert store.head(Node, owner.id) == owner
        assert store.head(Node, "0000000003").state is NodeState.READY
        nursery.cancel_scope.cancel()


async def test_address_that_went_to_another_just_before_a_kill_is_noticed_at_the_start(
    autojump_clock, nursery
):
    robbed, owner = at_rest(1), at_rest(2)
    elsewhere = attrs.evolve(at_rest(3), home=a_home(project_id="other"))
    async with bench(owner, robbed, elsewhere) as (store, deaths):
        nursery.start_soon(deaths.run)
        await trio.sleep(1)

        assert store.head(Node, robbed.id).state is NodeState.DELETING
        assert store.head(Node, owner.id) == owner
        assert store.head(Node, elsewhere.id) == elsewhere
        nursery.cancel_scope.cancel()


async def test_one_that_is_given_is_lost_and_stays(autojump_clock, nursery):
    """It may be in somebody's hands: its source says when it can go."""
    node = at_rest(1, allocated_to="r1", lease_id="l1")
    async with bench(node) as (store, deaths):
        nursery.start_soon(deaths.run)
        deaths.see_row(a_row(external_id=node.external_id, state=InstanceState.GONE))
        await trio.sleep(1)

        after = store.head(Node, node.id)
        assert (after.state, after.lost) == (NodeState.READY, True)
