"""Nodes that Nodepool launched, of providers that are Trellis's now, are seen to their end."""

import json
from contextlib import asynccontextmanager

import pytest
import trio
from trellis_zuul.foreign import AGAIN_S, ForeignNodes, has_ended, is_taken_over
from trellis_zuul.node_wire import read_node
from trellis_zuul.paths import NODES, POOLS, node_lock_path, node_path
from trellis_zuul.sweeps import EVERY_S, TWICE_S

from tests.zuul.node_stage import (
    HOSTS,
    SOURCE,
    ScriptedPort,
    a_fit_node,
    a_ground,
    an_executor,
    the_stage,
)
from trellis.errors import AlreadyDoneError, RefusedError
from trellis.model.node import NodeState
from trellis.spi.demand import OfferedPool
from trellis.testing.builders import NOW, a_request

REQUEST = "200-0000000001"
LONG_S = TWICE_S + 3 * EVERY_S


class AdoptingPort(ScriptedPort):
    """Takes over what it is asked to, unless it is told what to raise."""

    def __init__(self, nursery):
        super().__init__(nursery)
        self.error = None
        self.servers = {}
        self.others = ()
        self.adopted = trio.Event()
        self.may_answer = trio.Event()
        self.may_answer.set()

    def offers(self):
        return (
            OfferedPool(
                provider="alpha",
                pool="main",
                labels=frozenset({"small"}),
                priority=100,
                paused=False,
                max_servers=None,
            ),
        )

    async def foreign_servers(self, provider, *, name, metadata):
        await trio.lowlevel.checkpoint()
        assert metadata == {
            "nodepool_node_id": name.removeprefix("np"),
            "nodepool_provider_name": provider,
        }
        return self.others

    async def adopt(self, ask, server):
        await self._say("adopt", [server.external_id])
        if self.error is not None:
            raise self.error
        self.adopted.set()
        await self.may_answer.wait()
        if ask.idempotency_key not in self.servers:
            assert is_taken_over(ask.context)
            number = len(self.servers) + 1
            request = a_request(
                number,
                source=ask.source,
                context=ask.context,
                nodes=(a_fit_node(number).id,),
            )
            self.requests[request.id] = request
            node = a_fit_node(number, state=NodeState.IN_USE, allocated_to=request.id, lease_id="l")
            self.nodes[node.id] = node
            self.servers[ask.idempotency_key] = (server, node.id)
        return self.nodes[self.servers[ask.idempotency_key][1]]


@asynccontextmanager
async def handing_over():
    async with (
        the_stage() as stage,
        stage.zookeeper.opener("trellis")(HOSTS) as session,
        trio.open_nursery() as nursery,
    ):
        stage.port = AdoptingPort(nursery)
        ground = a_ground(stage, session)
        foreign = ForeignNodes(ground, lambda: ["ours"])
        for mirror in ground.mirrors:
            await nursery.start(mirror.run)
        nursery.start_soon(foreign.run)
        yield stage
        nursery.cancel_scope.cancel()


async def nodepools(stage, state="used", **keys):
    document = {
        "state": state,
        "state_time": 1.0,
        "provider": "alpha",
        "pool": "main",
        "type": ["small"],
        "external_id": "server-9",
        "hostname": "np0000000000",
        "allocated_to": REQUEST,
        "resources": {"cores": 2, "ram": 2048, "instances": 1},
        "odd": 2**100,
        **keys,
    }
    path = await stage.session.create(f"{NODES}/", json.dumps(document).encode(), sequence=True)
    return path.rpartition("/")[2]


@pytest.mark.parametrize("state", ["used", "in-use", "deleting", "failed", "building"])
async def test_a_node_that_was_let_go_of_is_deleted(state, autojump_clock):
    async with handing_over() as stage:
        await nodepools(stage, state)
        await trio.sleep(LONG_S)

        assert set() == await stage.folders()
        assert ["adopt", "release"] == [what for what, _one in stage.port.said]
        [(server, _node)] = stage.port.servers.values()
        assert ("alpha", "main", "server-9", "np0000000000") == (
            server.provider,
            server.pool,
            server.external_id,
            server.name,
        )
        assert (1, 2, 2048) == (
            server.resources.instances,
            server.resources.cores,
            server.resources.ram_mib,
        )


async def test_a_node_in_use_is_used_to_its_end(autojump_clock):
    async with handing_over() as stage, an_executor(stage) as executor:
        await stage.ask(REQUEST, state="fulfilled", nodes=["0000000000"])
        znode = await nodepools(stage, "ready")
        await executor.accept(REQUEST, znode)
        await executor.store(znode, "in-use")
        await trio.sleep(1000)
        assert [] == stage.port.said

        await executor.store(znode, "used")
        await executor.unlock(znode)
        await trio.sleep(LONG_S)
        assert set() == await stage.folders()


@pytest.mark.parametrize(
    ("keys", "is_left"),
    [
        ({"state": "ready"}, True),
        ({"state": "hold"}, True),
        ({"state": "hold", "hold_expiration": 10}, False),
        ({"state": "ready", "allocated_to": None}, False),
        ({"state": "ready", "allocated_to": "200-0000000007"}, False),
        ({"state": "used", "provider": "beta"}, True),
        ({"state": "used", "provider": None}, True),
        ({"state": "hibernating"}, True),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else str(value),
)
async def test_what_is_still_wanted_or_not_ours_stays(keys, is_left, autojump_clock):
    async with handing_over() as stage:
        await stage.ask(REQUEST, state="fulfilled", nodes=["0000000000"])
        znode = await nodepools(stage, **keys)
        await trio.sleep(LONG_S)

        assert is_left is (await stage.document(znode) is not None)


async def test_a_provider_that_a_launcher_still_serves_is_left_to_it(autojump_clock):
    async with handing_over() as stage:
        await nodepools(stage)
        await stage.session.make_path(POOLS)
        data = json.dumps({"id": "theirs", "provider_name": "alpha"}).encode()
        pool = await stage.session.create(f"{POOLS}/np", data, ephemeral=True, sequence=True)
        await trio.sleep(1000)
        assert [] == stage.port.said
        assert 0 == stage.zookeeper.counts["trellis"].writes

        await stage.session.delete(pool)
        await trio.sleep(LONG_S)
        assert set() == await stage.folders()


@pytest.mark.parametrize("data", [b"not JSON", b"{}", b'{"provider_name": 7, "id": "x"}'])
async def test_a_launcher_whose_registration_says_nothing_may_serve_any_provider(
    data, autojump_clock
):
    """A later release of it may register otherwise; its nodes are in use all the same."""
    async with handing_over() as stage:
        await nodepools(stage)
        await stage.session.make_path(POOLS)
        pool = await stage.session.create(f"{POOLS}/np", data, ephemeral=True, sequence=True)
        await trio.sleep(1000)
        assert [] == stage.port.said

        await stage.session.delete(pool)
        await trio.sleep(LONG_S)
        assert set() == await stage.folders()


async def test_servers_of_tries_that_the_launcher_lost_sight_of_go_too(autojump_clock):
    """Of a create whose answer was lost it knows no id, and tries again."""
    async with handing_over() as stage:
        stage.port.others = ("server-8", "server-9")
        await nodepools(stage)
        await trio.sleep(LONG_S)

        assert set() == await stage.folders()
        assert {"server-8", "server-9"} == {x.external_id for x, _ in stage.port.servers.values()}
        released = [ids for what, ids in stage.port.said if what == "release"]
        assert [node for _, node in stage.port.servers.values()] == released


async def test_a_launch_that_was_cut_off_has_its_time_to_appear(autojump_clock):
    """Its server is made though nobody heard of it, and found by its mark."""
    async with handing_over() as stage:
        znode = await nodepools(stage, "building", external_id=None)
        await trio.sleep(LONG_S)
        assert (await stage.document(znode))["state"] == "building"
        stage.port.others = ("server-8",)
        await trio.sleep(AGAIN_S + LONG_S)

        assert set() == await stage.folders()
        assert ["adopt", "release"] == [what for what, _one in stage.port.said]


async def test_one_whose_znode_goes_while_it_is_taken_over_is_released(autojump_clock):
    """By a person's hand, or by Nodepool's own clean-up: nobody else would delete the server."""
    async with handing_over() as stage:
        stage.port.may_answer = trio.Event()
        znode = await nodepools(stage)
        await stage.port.adopted.wait()
        for contender in await stage.session.children(node_lock_path(znode)):
            await stage.session.delete(f"{node_lock_path(znode)}/{contender}")
        await stage.session.delete(node_lock_path(znode))
        await stage.session.delete(node_path(znode))
        stage.port.may_answer.set()
        await trio.sleep(LONG_S)

        assert ["adopt", "release"] == [what for what, _one in stage.port.said]


async def test_a_node_whose_server_is_gone_leaves_the_tree(autojump_clock):
    async with handing_over() as stage:
        stage.port.error = AlreadyDoneError("gone")
        await nodepools(stage)
        await nodepools(stage, external_id=None)
        await trio.sleep(LONG_S)

        assert set() == await stage.folders()
        assert ["adopt"] == [what for what, _one in stage.port.said]


async def test_a_server_that_is_another_one_is_left_and_tried_again(autojump_clock):
    async with handing_over() as stage:
        stage.port.error = RefusedError("it is another one")
        znode = await nodepools(stage)
        await trio.sleep(LONG_S)
        before = await stage.document(znode)
        assert "used" == before["state"]
        assert 2**100 == before["odd"]

        stage.port.error = None
        await trio.sleep(AGAIN_S + LONG_S)
        assert set() == await stage.folders()


async def test_a_daemon_that_ended_in_between_goes_on_with_the_same_node(autojump_clock):
    async with handing_over() as stage:
        stage.port.deletion_s = 500.0
        await nodepools(stage)
        await trio.sleep(LONG_S)
        [session] = [one for one in stage.zookeeper.sessions if one.who == "trellis"]
        said = list(stage.port.said)
        assert ["adopt", "release"] == [what for what, _one in said]
        port = stage.port
        async with (
            stage.zookeeper.opener("trellis")(HOSTS) as again,
            trio.open_nursery() as nursery,
        ):
            stage.zookeeper.cut(session, away_s=10_000.0)
            ground = a_ground(stage, again)
            foreign = ForeignNodes(ground, lambda: ["ours"])
            for mirror in ground.mirrors:
                await nursery.start(mirror.run)
            nursery.start_soon(foreign.run)
            await trio.sleep(1000)

            assert set() == await stage.folders()
            assert 1 == len(port.servers)
            nursery.cancel_scope.cancel()


async def test_what_was_taken_over_and_has_no_znode_any_more_is_released(autojump_clock):
    """Killed between taking it over and its release, and then its znode was deleted by hand."""
    async with (
        the_stage() as stage,
        stage.zookeeper.opener("trellis")(HOSTS) as session,
        trio.open_nursery() as nursery,
    ):
        port = stage.port = AdoptingPort(nursery)
        context = json.dumps({"taken_over": "0000000009"}).encode()
        request = a_request(1, source=SOURCE, context=context, nodes=(a_fit_node(1).id,))
        port.requests[request.id] = request
        node = a_fit_node(1, state=NodeState.IN_USE, allocated_to=request.id, lease_id="l")
        port.nodes[node.id] = node
        ground = a_ground(stage, session)
        foreign = ForeignNodes(ground, lambda: ["ours"])
        for mirror in ground.mirrors:
            await nursery.start(mirror.run)
        nursery.start_soon(foreign.run)
        await trio.sleep(10)

        assert ["release"] == port.words()
        nursery.cancel_scope.cancel()


def test_a_hold_that_does_not_end_never_ends():
    document = read_node(b'{"state": "hold"}')

    assert not has_ended(document, request_there=False, written_at=0.0, now=NOW)
