"""The whole daemon between simulated clouds and a simulated ZooKeeper, as an operator sees it."""

import json
from contextlib import asynccontextmanager
from random import Random

import attrs
import pytest
import trio
from trellis_zuul.paths import NODES, POOLS, REQUEST_LOCKS, REQUESTS, node_path
from trellis_zuul.plugin import trellis_register_demand_sources

from tests.daemon.stage import Stage
from tests.daemon.stage import wall as daemon_wall
from tests.zuul.node_stage import HOSTS
from tests.zuul.request_stage import RequestPort, RequestStage, wait_for
from trellis.control import scheduling
from trellis.model.node import NodeState
from trellis.model.records import Change
from trellis.model.request import RequestState
from trellis.model.status import Health, SourceState
from trellis.sim.zookeeper import Latency, fake_zookeeper
from trellis.spi.registry import DemandSourceRegistry

pytestmark = pytest.mark.slow

CONFIGURATION = """
deployment: stage
labels: [{name: small}, {name: large, max-servers: 0}]
providers:
  - name: alpha
    type: openstack
    cloud: alpha
    pools:
      - name: main
        max-servers: 5
        labels:
          - {name: small, cloud-image: tiny, flavor-name: ci-1c-1g}
          - {name: large, cloud-image: tiny, flavor-name: ci-1c-1g}
"""
ZUUL = "demand-sources: [{name: zuul, type: zuul, zookeeper-servers: [{host: zk}]}]\n"


class Site:
    """A daemon and what Zuul does in its tree."""

    def __init__(self, stage: Stage, zuul: RequestStage) -> None:
        self.stage, self.zuul = stage, zuul

    @property
    def zookeeper(self):
        return self.zuul.zookeeper

    def source(self):
        return next(iter(self.stage.core.operator.demand_sources()), None)

    async def find(self, word):
        return await self.stage.core.operator.find_requests(word, 10)

    async def explained(self, word):
        (found,) = await self.find(word)
        return (await self.stage.core.port.explain_request(found.id)).words


@asynccontextmanager
async def the_site(tmp_path):
    """Both are there, and the daemon does not run yet."""
    registry = DemandSourceRegistry()
    trellis_register_demand_sources(registry)
    stage = Stage(tmp_path, configuration=CONFIGURATION + ZUUL, sources=registry)
    async with (
        fake_zookeeper(wall=daemon_wall, random=Random(5), latency=Latency()) as zookeeper,
        zookeeper.opener("zuul")(HOSTS) as session,
        trio.open_nursery() as nursery,
    ):
        for path in (REQUESTS, REQUEST_LOCKS, NODES, POOLS):
            await session.make_path(path)
        stage.zookeeper = zookeeper.opener("trellis")
        yield Site(stage, RequestStage(zookeeper, RequestPort(nursery), session))
        nursery.cancel_scope.cancel()


async def test_a_job_has_its_nodes_and_they_are_deleted_after_it(tmp_path, autojump_clock):
    async with the_site(tmp_path) as site, site.stage.running() as core:
        await site.stage.becomes(Health.AVAILABLE)
        request = await site.zuul.ask("small", "small", event_id="e" * 32)

        answered = await site.zuul.becomes(request, "fulfilled", within_s=300)
        (mine,) = await site.find(request)
        assert {core.fleet.nodes[one].state for one in mine.nodes} == {NodeState.READY}
        await site.zuul.use(request, *answered["nodes"], for_s=60)

        await wait_for(lambda: not site.stage.alpha.servers(), within_s=600)
        await wait_for(lambda: not core.fleet.nodes, within_s=600)
        assert await site.zuul.nodes() == []
        (found,) = await site.find("e" * 32)
        assert found.state is RequestState.CLOSED


@pytest.mark.parametrize("held", [False, True], ids=["deleted", "held-then-deleted"])
async def test_nothing_is_left_of_a_node_that_a_person_deletes(held, tmp_path, autojump_clock):
    """Its lease has no end of its own: it ends with the job, not only at the next start."""
    async with the_site(tmp_path) as site, site.stage.running() as core:
        await site.stage.becomes(Health.AVAILABLE)
        request = await site.zuul.ask("small")
        answered = await site.zuul.becomes(request, "fulfilled", within_s=300)
        (mine,) = await site.find(request)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(site.zuul.use, request, *answered["nodes"])
            await trio.sleep(5)
            if held:
                await core.port.hold(mine.nodes[0], by="ada", reason="why?")
                await trio.sleep(60)
            await core.operator.delete_node(mine.nodes[0], "ada")

        await wait_for(lambda: not core.fleet.nodes, within_s=600)
        await trio.sleep(60)
        assert await site.zuul.nodes() == []
        assert core.port.asked_by("zuul") == ()
        assert not core.fleet.leases


def set_apart(node):
    return attrs.evolve(node, set_apart=True, allocated_to=None, slot=None)


@pytest.mark.parametrize("shown", [False, True], ids=["before-its-znode", "after"])
async def test_a_node_that_is_set_apart_is_given_to_nobody_more(
    shown, tmp_path, autojump_clock, monkeypatch
):
    """It may have been handed out by a later state of the store: a person decides of it."""
    leased, apart = scheduling._leased, []

    def leased_and_set_apart(node, lease, now):
        if apart or shown:
            return leased(node, lease, now)
        apart.append(node.id)
        return set_apart(leased(node, lease, now))

    monkeypatch.setattr(scheduling, "_leased", leased_and_set_apart)
    async with the_site(tmp_path) as site, site.stage.running() as core:
        await site.stage.becomes(Health.AVAILABLE)
        request = await site.zuul.ask("small")
        answered = await site.zuul.becomes(request, "fulfilled", within_s=300)
        if shown:
            (node,) = core.fleet.nodes.values()
            await core.store.commit([Change(node, set_apart(node))])
            apart.append(node.id)
        (znode,) = answered["nodes"]
        data, _ = await site.zuul.session.get(node_path(znode))
        document = json.loads(data)
        await site.zuul.use(request, znode)

        await trio.sleep(600)
        assert (document["driver_data"]["trellis"]["node"] in apart) is shown
        assert list(core.fleet.nodes) == apart
        assert core.port.asked_by("zuul") == ()
        assert not core.fleet.leases
        assert await site.zuul.nodes() == []


async def test_a_request_that_waits_is_explained_by_every_id_of_zuul(tmp_path, autojump_clock):
    async with the_site(tmp_path) as site, site.stage.running():
        await site.stage.becomes(Health.AVAILABLE)
        request = await site.zuul.ask("large", event_id="e" * 32)
        await trio.sleep(60)

        for word in (request, "e" * 32, "b" * 32, "acme", "check", "job"):
            words = await site.explained(word)
            assert "max-servers" in words
            assert "It is for job job, pipeline check, tenant acme." in words
        assert await site.zuul.state(request) == "requested"
        assert site.source().requests == {"requested": 1}


@pytest.mark.parametrize(
    "zero", ["max-servers: 0", "max-cores: 0", "max-ram: 0", "label"], ids=lambda x: x.split(":")[0]
)
async def test_one_that_may_not_be_launched_anywhere_fails_and_is_explained(
    zero, tmp_path, autojump_clock
):
    """By limits of 0 in the pools, as with Nodepool; it is served as soon as they are lifted."""
    shut = CONFIGURATION.replace("max-servers: 5", zero)
    if zero == "label":
        shut = CONFIGURATION.replace("{name: small, cloud", "{name: small, max-servers: 0, cloud")
    async with the_site(tmp_path) as site, site.stage.running():
        await site.stage.becomes(Health.AVAILABLE)
        await site.stage.take_up(shut + ZUUL)
        await trio.sleep(60)
        request = await site.zuul.ask("small")

        await site.zuul.becomes(request, "failed", within_s=3)

        assert "limits are 0 (small in alpha/main)" in await site.explained(request)
        await site.stage.take_up(CONFIGURATION + ZUUL)
        again = await site.zuul.ask("small")
        await site.zuul.becomes(again, "pending", within_s=5)


async def test_one_whose_provider_is_paused_waits_for_the_end_of_it(tmp_path, autojump_clock):
    """A pause is for a while; what failed for it would have failed for good."""
    async with the_site(tmp_path) as site, site.stage.running() as core:
        await site.stage.becomes(Health.AVAILABLE)
        await core.operator.pause("alpha", "ada", "new switches", 7200.0)
        await trio.sleep(1)
        request = await site.zuul.ask("small")
        await trio.sleep(7000)

        assert "paused by ada: new switches" in await site.explained(request)
        assert await site.zuul.state(request) == "requested"
        assert [True] == [pool["paused"] for pool in await site.zuul.pools()]
        await site.zuul.becomes(request, "fulfilled", within_s=400)
        assert [False] == [pool["paused"] for pool in await site.zuul.pools()]


async def test_one_that_failed_for_a_label_nobody_has_is_explained(tmp_path, autojump_clock):
    async with the_site(tmp_path) as site, site.stage.running():
        request = await site.zuul.ask("smal")

        await site.zuul.becomes(request, "failed", within_s=60)
        await site.zuul.cancel(request)
        await trio.sleep(60)

        words = await site.explained(request)
        assert "there is no label 'smal'" in words


async def test_a_zookeeper_that_is_away_is_said_and_all_else_goes_on(tmp_path, autojump_clock):
    async with the_site(tmp_path) as site, site.stage.running() as core:
        await site.stage.becomes(Health.AVAILABLE)
        assert site.source().state is SourceState.RUNNING

        site.zookeeper.restart(down_s=600)
        await wait_for(lambda: site.source().state is SourceState.TROUBLED)

        ready, detail = core.operator.ready()
        assert ready
        assert "demand source zuul is in trouble" in detail
        await site.stage.served(await site.stage.ask())
        await wait_for(lambda: site.source().state is SourceState.RUNNING, within_s=700)
        assert core.operator.ready() == (True, "")


async def test_what_a_source_asked_for_outlives_a_slip_in_the_file(tmp_path, autojump_clock):
    """Its job runs on; when the source is back, its end is seen."""
    async with the_site(tmp_path) as site, site.stage.running() as core:
        await site.stage.becomes(Health.AVAILABLE)
        request = await site.zuul.ask()
        answered = await site.zuul.becomes(request, "fulfilled", within_s=300)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(site.zuul.use, request, answered["nodes"][0])
            await trio.sleep(5)

            await site.stage.take_up(CONFIGURATION)
            assert site.source().state is SourceState.DROPPED
            assert await site.zuul.pools() == []
            await trio.sleep(600)
            assert len(core.fleet.nodes) == 1
            await site.stage.take_up(CONFIGURATION + ZUUL)

            await wait_for(lambda: not core.fleet.nodes, within_s=600)
        assert await site.zuul.nodes() == []


async def test_what_a_dropped_source_left_can_be_ended(tmp_path, autojump_clock):
    async with the_site(tmp_path) as site, site.stage.running() as core:
        await site.stage.becomes(Health.AVAILABLE)
        fulfilled, waiting = await site.zuul.ask("small"), await site.zuul.ask("large")
        await site.zuul.becomes(fulfilled, "fulfilled", within_s=300)
        await site.stage.take_up(CONFIGURATION)

        assert await core.operator.end_demand("zuul", "me") == 2

        await wait_for(lambda: not core.fleet.nodes, within_s=600)
        assert site.source() is None
        await site.stage.take_up(CONFIGURATION + ZUUL)
        await wait_for(lambda: site.source().requests == {"requested": 1})
        (again,) = [one for one in await site.find(waiting) if one.state is RequestState.REQUESTED]
        assert again.ask.metadata["zuul_request"] == waiting
