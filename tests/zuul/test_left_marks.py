"""A deployment that was given another name: what it left in the tree is said, and not touched."""

import json

import pytest
import structlog
import trio
from trellis_zuul import left_marks
from trellis_zuul.node_wire import read_node

from tests.zuul.node_stage import DEPLOYMENT
from tests.zuul.request_stage import a_pool, the_request_stage
from trellis.sim.zookeeper import Latency

NODES = "/nodepool/nodes"


async def put_node(stage, *, deployment, provider="alpha", state="in-use"):
    """A node as a daemon of that name makes it."""
    mark = {"deployment": deployment, "source": "zuul", "node": "0000000007", "request": "a" * 32}
    document = {
        "state": state,
        "provider": provider,
        "allocated_to": "200-0000000009",
        "driver_data": {"trellis": mark},
    }
    data = json.dumps(document).encode()
    return await stage.session.create(f"{NODES}/", data, sequence=True)


@pytest.fixture
def logged():
    with structlog.testing.capture_logs() as entries:
        yield entries


def errors(logged):
    return [one for one in logged if one["event"] == "zuul_nodes_of_another_deployment"]


async def test_nodes_of_an_earlier_name_are_said_once_with_a_remedy_and_left(
    logged, autojump_clock
):
    """Also over a lost session; it is shown until they are gone."""
    async with the_request_stage(latency=Latency()) as stage:
        paths = [await put_node(stage, deployment="old") for _ in range(7)]
        async with stage.serving():
            await trio.sleep(15)
            stage.zookeeper.expire(*(s for s in stage.zookeeper.sessions if s.who == "trellis"))
            await trio.sleep(3600)

            (said,) = errors(logged)
            assert ("error", "old", 7) == (said["log_level"], said["deployment"], said["nodes"])
            assert "run one with it and its store" in said["remedy"]
            assert "(7: 0000000000, 0000000001" in stage.reports[-1]
            assert "nodes of deployment 'old'" in stage.reports[-1]
            writes = [path for _what, path in stage.writes_of_trellis() if path.startswith(NODES)]
            assert [] == writes
            assert 7 == len(await stage.nodes())

            for path in paths:
                await stage.session.delete(path)
            await trio.sleep(120)
            assert "" == stage.reports[-1]


async def test_nodes_of_daemons_that_are_here_are_theirs(logged, autojump_clock):
    """Or of providers that are not ours: whoever runs those may be away for a moment."""
    async with the_request_stage() as stage, stage.another("trellis two") as other:
        document = {"id": "two-1", "hostname": "two", "kind": "pool", "supported_labels": []}
        name = "/nodepool/components/pool/two"
        await other.create(name, json.dumps(document).encode(), ephemeral=True, sequence=True)
        await put_node(stage, deployment="two")
        await put_node(stage, deployment="three", provider="theirs")
        await put_node(stage, deployment=DEPLOYMENT)
        async with stage.serving():
            await trio.sleep(3600)

            assert [] == errors(logged)
            assert [""] == stage.reports


async def test_trouble_with_zookeeper_is_said_beside(autojump_clock):
    async with the_request_stage() as stage:
        stage.port.pools = (a_pool("small"), a_pool("x", provider="beta"))
        await put_node(stage, deployment="old", provider="beta")
        async with stage.serving():
            await trio.sleep(60)
            stage.zookeeper.restart(down_s=600)
            await trio.sleep(300)

            assert "ZooKeeper does not answer" in stage.reports[-1]
            assert "(1: 0000000000)" in stage.reports[-1]


async def test_a_node_is_read_once_however_often_it_is_written(monkeypatch, autojump_clock):
    """Every write of every node in the tree is told of, and most of them are others'."""
    read = []

    def counted(data):
        read.append(data)
        return read_node(data)

    monkeypatch.setattr(left_marks, "read_node", counted)
    async with the_request_stage(latency=Latency()) as stage, stage.serving():
        await trio.sleep(15)
        path = await put_node(stage, deployment="old")
        for state in ("used", "deleting", "deleting"):
            data, stat = await stage.session.get(path)
            changed = {**json.loads(data), "state": state}
            await stage.session.write(path, json.dumps(changed).encode(), version=stat.version)
            await trio.sleep(5)

        await trio.sleep(60)
        assert 1 == len(read)
        assert "nodes of deployment 'old'" in stage.reports[-1]
