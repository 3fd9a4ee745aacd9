"""A server that another launcher made is taken over, and deleted when it is released."""

from random import Random

import attrs
import pytest
import trio

from tests.daemon.stage import MINUTE, Stage, refused
from trellis.control.provider import RunningProvider
from trellis.errors import AlreadyDoneError, RefusedError
from trellis.model.node import NodeState, ResourceKind
from trellis.model.quota import Resources
from trellis.model.request import Ask, RequestState
from trellis.model.status import Health
from trellis.providers.rows import server_tag
from trellis.sim.cloud import CloudSpec, floating_networks
from trellis.spi.demand import ForeignServer
from trellis.spi.provider import Tag
from trellis.store.simulated import SimulatedLog

ASK = Ask(labels=("small",), requestor="nodepool", source="zuul", idempotency_key="np-1")
SIZE = Resources(instances=1, cores=1, ram_mib=1024)


@pytest.fixture
async def stage(tmp_path, autojump_clock):
    """A cloud with a server on it that bears no mark of Trellis, and a store that knows none."""
    stage = Stage(tmp_path)
    async with stage.running():
        await stage.served(await stage.ask("alpha"))
    mark(stage)
    stage.log = SimulatedLog(Random(9))
    return stage


def mark(stage, **metadata):
    """Have the cloud's one server bear this metadata and none else."""
    (server,) = stage.alpha.servers()
    region, known = stage.alpha._known(server.id)
    region.servers.set_metadata(known, metadata)


def foreign(stage, **parts):
    (server,) = stage.alpha.servers()
    given = {"pool": "main", "label": "small", "name": server.name, "external_id": server.id}
    return ForeignServer(**{"provider": "alpha", "resources": SIZE, **given, **parts})


async def test_it_is_a_node_in_use_and_counts(stage, autojump_clock):
    """Of a fulfilled request of its source, under the limits of its pool."""
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        node = await core.port.adopt(ASK, foreign(stage))

        assert node.state is NodeState.IN_USE
        (request,) = core.port.asked_by("zuul")
        assert (request.state, request.nodes) == (RequestState.FULFILLED, (node.id,))
        assert core.fleet.pool_used["alpha", "main"] == SIZE
        assert (await core.port.lease(request.lease_id)).expires_at is None


async def test_taken_over_again_it_is_the_same_node(stage, autojump_clock):
    """Also after a restart: who was cut off says it again."""
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        server = foreign(stage)
        first = await core.port.adopt(ASK, server)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(core.port.adopt, ASK, server)
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        again = await core.port.adopt(ASK, server)

        assert again.id == first.id
        assert len(core.fleet.nodes) == 1
        with pytest.raises(RefusedError, match=f"is node {first.id} already"):
            await core.port.adopt(attrs.evolve(ASK, idempotency_key="np-2"), server)


async def test_two_at_once_take_it_over_once(stage, autojump_clock):
    """While the cloud is asked, the other one asks too."""
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(core.port.adopt, ASK, foreign(stage))

        assert len(core.fleet.nodes) == 1


async def test_two_sources_at_once_take_it_over_once(stage, autojump_clock, monkeypatch):
    """Each has keys of its own; the server is one, and whoever released it would delete it."""
    refusals, look_at = [], RunningProvider.look_at

    async def look_until_both_have(running, external_id):
        found = await look_at(running, external_id)
        await trio.sleep_until(at)
        return found

    monkeypatch.setattr(RunningProvider, "look_at", look_until_both_have)

    async def adopt(core, source):
        try:
            await core.port.adopt(attrs.evolve(ASK, source=source), foreign(stage))
        except RefusedError as error:
            refusals.append(str(error))

    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        at = trio.current_time() + MINUTE
        async with trio.open_nursery() as nursery:
            for source in ("zuul", "zuul-two"):
                nursery.start_soon(adopt, core, source)

        assert len(core.fleet.nodes) == 1
        assert len(refusals) == 1


async def test_released_it_is_deleted(stage, autojump_clock):
    """By its id, as it bears no mark; after a hold as well."""
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        node = await core.port.adopt(ASK, foreign(stage))
        await core.port.hold(node.id, by="zuul", reason="autohold")
        await trio.sleep(10 * MINUTE)
        assert len(stage.alpha.servers()) == 1

        await core.port.release_nodes([node.id], why="it is used")

        await stage.gone(node.id)
        assert core.port.asked_by("zuul") == ()
    assert stage.alpha.servers() == ()


async def test_floating_ips_that_lead_to_it_are_deleted_with_it(tmp_path, autojump_clock):
    """As the other launcher does; one that leads elsewhere is none of ours."""
    stage = Stage(tmp_path, alpha=CloudSpec(name="alpha", networks=floating_networks()))
    async with stage.running():
        await stage.served(await stage.ask("alpha"))
    mark(stage)
    stage.log = SimulatedLog(Random(9))
    region, _server = stage.alpha._known(stage.alpha.servers()[0].id)
    network = region.servers.network
    (leading,) = network.floating_ips.values()
    leading.description = "made by another launcher"
    other = network.create_floating_ip(leading.net, None, who=leading.who)
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        node = await core.port.adopt(ASK, foreign(stage))
        kinds = [(one.kind, one.external_id) for one in node.resources]
        assert (ResourceKind.FLOATING_IP, leading.id) in kinds
        assert 2 == len(kinds)

        await core.port.release_nodes([node.id], why="it is used")

        await stage.gone(node.id)
    assert [other.id] == list(network.floating_ips)


async def test_servers_of_another_launcher_are_found_by_name_and_metadata(stage, autojump_clock):
    """Without those that a Trellis has tagged, and those that say something else."""
    name = stage.alpha.servers()[0].name
    marks = {"nodepool_node_id": "7", "nodepool_provider_name": "alpha"}
    mark(stage, **marks, groups="alpha")
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        search = core.port.foreign_servers
        (server,) = stage.alpha.servers()
        assert (server.id,) == await search("alpha", name=name, metadata=marks)
        assert () == await search("alpha", name=name, metadata=marks | {"groups": "beta"})
        assert () == await search("alpha", name="np7", metadata=marks)
        mark(stage, **marks, **server_tag(Tag(deployment="other", node_id="0000000004")))
        assert () == await search("alpha", name=name, metadata=marks)
        with pytest.raises(RefusedError, match="there is no provider 'gamma'"):
            await search("gamma", name=name, metadata=marks)
        stage.meddle = refused("/servers/detail")
        with pytest.raises(RefusedError, match="alpha cannot tell of servers called"):
            await search("alpha", name=name, metadata=marks)


async def test_one_that_is_gone_is_no_ones(stage, autojump_clock):
    """Nothing is recorded; the caller may clear away what speaks of it."""
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        with pytest.raises(AlreadyDoneError, match="is gone"):
            await core.port.adopt(ASK, foreign(stage, external_id="no-such-server"))
        assert not core.fleet.nodes


async def test_one_of_another_name_is_left_alone(stage, autojump_clock):
    """What is not ours is never touched: the record that leads there is wrong."""
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        with pytest.raises(RefusedError, match="not 'np0000000007': it is left alone"):
            await core.port.adopt(ASK, foreign(stage, name="np0000000007"))
        assert not core.fleet.nodes


async def test_one_with_a_mark_is_left_alone(stage, autojump_clock):
    """A Trellis has launched it, which sees to it itself."""
    mark(stage, **server_tag(Tag(deployment="other", node_id="0000000004")))
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        with pytest.raises(RefusedError, match="was launched by a Trellis, of deployment other"):
            await core.port.adopt(ASK, foreign(stage))


async def test_a_cloud_that_does_not_answer_is_asked_later(stage, autojump_clock):
    """No answer proves nothing."""
    async with stage.running() as core:
        await stage.becomes(Health.AVAILABLE)
        stage.meddle = refused("/servers")
        with pytest.raises(RefusedError, match="alpha cannot tell of server"):
            await core.port.adopt(ASK, foreign(stage))
        with pytest.raises(RefusedError, match="there is no provider 'gamma'"):
            await core.port.adopt(ASK, foreign(stage, provider="gamma"))
        assert not core.fleet.nodes
