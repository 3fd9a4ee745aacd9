"""A node's life where the cloud makes it hard: each story was a fault of ours once."""

from random import Random
from typing import Any

import pytest
import trio

from tests.control.scripted_provider import ScriptedProvider
from tests.daemon.stage import MINUTE, Stage, answering
from trellis.control.health import ProviderHealth
from trellis.control.life import Life
from trellis.errors import MisconfiguredError
from trellis.model.node import NodeState
from trellis.sim.cloud.spec import CloudSpec, ImageSpec, fixed, floating_networks
from trellis.store.simulated import SimulatedLog
from trellis.testing.builders import a_home

SLOW = """
deployment: stage
labels: [{name: small}]
providers:
  - name: alpha
    type: openstack
    cloud: alpha
    launch-timeout: 90
    limits: {calls-per-second: 0.2, burst: 1}
    pools:
      - {name: main, labels: [{name: small, cloud-image: tiny, flavor-name: ci-1c-1g}]}
"""


async def test_waiting_for_a_turn_is_no_part_of_the_launch_timeout(tmp_path, autojump_clock):
    """Twenty launches at one call in five seconds outlast launch-timeout, and all come."""
    stage = Stage(tmp_path, configuration=SLOW)
    async with stage.running():
        await trio.sleep(2 * MINUTE)
        asked = [await stage.ask() for _ in range(20)]

        for request_id in asked:
            await stage.served(request_id, within_s=60 * MINUTE)

    assert stage.created() == 20


async def test_creates_that_keep_failing_close_their_provider(tmp_path, autojump_clock):
    """Reads work and every create is answered 500: a few tries, then the other cloud serves."""
    stage = Stage(tmp_path)
    async with stage.running():
        await trio.sleep(MINUTE)
        stage.meddle = answering(
            500, b'{"computeFault": {"message": "no", "code": 500}}', "/servers"
        )

        for request_id in [await stage.ask() for _ in range(5)]:
            await stage.served(request_id)
        await trio.sleep(30 * MINUTE)

    tries = [c for c in stage.calls if c[0] == "alpha" and c[1] == "POST" and "servers" in c[2]]
    assert len(tries) <= 15


async def test_a_leased_node_that_dies_is_said_to_be_lost(tmp_path, autojump_clock):
    """Its requestor keeps the lease and is told (rule 8)."""
    stage = Stage(tmp_path)
    async with stage.running() as core:
        request = await stage.served(await stage.ask("alpha"))
        (node,) = await core.port.nodes_of(request)
        stage.alpha.remove_server(node.external_id)

        await trio.sleep(6 * MINUTE)

        (node,) = await core.port.nodes_of(request)
    assert node.lost
    assert node.state is NodeState.IN_USE


async def test_a_lease_that_is_not_renewed_ends(tmp_path, autojump_clock):
    """Its nodes are deleted, and its request is closed."""
    stage = Stage(tmp_path)
    async with stage.running() as core:
        request = await stage.served(await stage.ask("alpha"))

        await trio.sleep(75 * MINUTE)

        assert core.fleet.leases == {}
        assert core.fleet.nodes == {}
        assert (await core.port.request(request.id)).state.value == "closed"
    assert stage.alpha.servers() == ()


async def test_the_same_host_key_on_two_nodes_fails_the_second(tmp_path, autojump_clock):
    """A key baked into the image, or a zombie on a recycled address, names both nodes (rule 11)."""
    baked = CloudSpec(name="alpha", images=(ImageSpec(name="tiny", baked_host_key=True),))
    stage = Stage(tmp_path, alpha=baked)
    async with stage.running() as core:
        first = await stage.served(await stage.ask("alpha"))
        second = await stage.ask("alpha")
        with trio.move_on_after(30 * MINUTE):
            await core.port.wait(second)

        ended = await core.port.request(second)
        history = (await core.port.explain_request(second)).history
    assert ended.state.value == "failed"
    assert any(f"same host key as node {first.nodes[0]}" in event.why for event in history)


async def test_an_empty_store_that_meets_our_servers_touches_nothing(tmp_path, autojump_clock):
    """Their node ids are never given again, and only a person's word deletes them (rule 1)."""
    stage = Stage(tmp_path)
    async with stage.running():
        await stage.served(await stage.ask("alpha"))
    (old,) = stage.alpha.servers()
    stage.log = SimulatedLog(Random(9))  # the store is lost

    async with stage.running() as core:
        request = await stage.served(await stage.ask("alpha"))
        await trio.sleep(20 * MINUTE)

        assert stage.status().sweep.startswith("stopped: ")
        (leak,) = core.operator.leaks()
        assert old.id in [server.id for server in stage.alpha.servers()]
        assert request.nodes[0] > old.metadata["trellis_node_id"]
        await core.operator.delete_leak(leak.id)
        await trio.sleep(10 * MINUTE)
        assert old.id not in [server.id for server in stage.alpha.servers()]
        assert stage.status().sweep == "report"


async def test_refusals_for_quota_after_the_create_do_not_go_on_for_ever(tmp_path, autojump_clock):
    """Every floating IP is refused: after a few servers the other cloud serves (P6, P7)."""
    alpha = CloudSpec(name="alpha", networks=floating_networks())
    stage = Stage(tmp_path, alpha=alpha)
    refusal = b'{"NeutronError": {"type": "OverQuota", "message": "Quota exceeded for resources"}}'
    async with stage.running():
        await trio.sleep(MINUTE)
        stage.meddle = answering(409, refusal, "/floatingips")

        for request_id in [await stage.ask() for _ in range(5)]:
            await stage.served(request_id)
        await trio.sleep(30 * MINUTE)

    assert 1 <= stage.created() <= 15


async def test_guests_are_looked_at_seldom_before_they_usually_answer(tmp_path, autojump_clock):
    """What the guests of a label take to answer is learnt, and half of it is not filled with looks.

    The first look is made at once all the same: after a restart it may have been up for long.
    """
    stage = Stage(tmp_path, alpha=CloudSpec(name="alpha", guest=fixed(20.0)))
    connect, looks = stage.alpha.connect, [0]

    async def counted(host: str, port: int) -> trio.abc.Stream:
        looks[-1] += 1
        return await connect(host, port)

    stage.alpha.connect = counted
    async with stage.running():
        for _ in range(30):
            await stage.release(await stage.served(await stage.ask("alpha")))
            looks.append(0)

    assert looks[0] > 38
    assert sum(looks[20:30]) / 10 < 26


async def test_nothing_is_made_where_no_record_speaks_of(autojump_clock):
    """One node recorded in a second place would close the provider once it leads home again.

    Met in a simulation whose endpoint moved for a while: a launch came before any list (rule 2).
    """
    provider = ScriptedProvider()
    health = ProviderHealth("alpha", lambda: 0.0, lambda: None)
    nobody: Any = None
    life = Life(
        config=nobody,
        deployment="test",
        provider=provider,
        store=nobody,
        world=nobody,
        watcher=nobody,
        health=health,
        quota=nobody,
        attached=nobody,
        twin_of=nobody,
        breakers=nobody,
        read_anew=nobody,
        stale=nobody,
        foreign=lambda home: "" if home == a_home() else "project changed: it is elsewhere",
    )

    assert await life._records.home() == a_home()
    provider.at_home = a_home(endpoint="http://elsewhere/v2.1")
    with pytest.raises(MisconfiguredError, match="project changed"):
        await life._records.home()
    assert "project changed" in health.closed
    provider.at_home = a_home()
    assert await life._records.home() == a_home()
