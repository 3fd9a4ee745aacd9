"""What nova makes for our servers is recorded when first seen attached, and known when gone."""

from contextlib import asynccontextmanager
from random import Random

import attrs
import pytest

from tests.control.scripted_provider import a_row
from trellis.control.attached import KEPT_S, Attached
from trellis.model.node import Node, NodeState, Resource, ResourceKind
from trellis.model.provider import ProviderRecord
from trellis.model.quota import Resources
from trellis.model.records import Change
from trellis.spi.provider import InstanceState, Tag
from trellis.store.simulated import SimulatedLog
from trellis.store.store import Store
from trellis.testing.builders import NOW, a_node, a_server, a_shape


class Registry:
    """A store with one node, and what is attached."""

    def __init__(self, store, now):
        self.store, self.now = store, now
        self.attached = Attached(
            provider="alpha", deployment="test", store=store, wall=lambda: self.now
        )

    async def put(self, before, after, archive=False):
        await self.store.commit([Change(before, after, archive=archive)])
        return after

    def volumes(self, node_id="0000000001"):
        node = self.store.head(Node, node_id)
        return [x.external_id for x in node.resources if x.kind is ResourceKind.VOLUME]


@asynccontextmanager
async def registry(log, now=NOW):
    async with Store.open(log, deployment="test", wall=lambda: now) as store:
        yield Registry(store, now)


def building(volumes=1):
    shape = a_shape(resources=Resources(instances=1, volumes=volumes, volume_gib=20 * volumes))
    return a_node(1, state=NodeState.BUILDING, shape=shape, resources=(a_server(),))


@pytest.fixture
def log():
    return SimulatedLog(Random(1))


async def test_volume_is_recorded_when_its_server_first_shows_it(log, autojump_clock):
    """Once, however many lists show it, and beside the server it is of."""
    async with registry(log) as at:
        await at.put(None, building())

        for _ in range(3):
            at.attached.see(a_row(state=InstanceState.BUILDING, volumes=("v1",)))

        assert at.volumes() == ["v1"]
        assert at.store.head(Node, "0000000001").external_id == "server-1"


async def test_several_volumes_are_all_recorded(log, autojump_clock):
    """A provider of a plugin may boot servers with more than one."""
    async with registry(log) as at:
        await at.put(None, building(volumes=2))

        at.attached.see(a_row(volumes=("v1", "v2")))

        assert at.volumes() == ["v1", "v2"]


@pytest.mark.parametrize(
    ("node", "row"),
    [
        (a_node(1), a_row(volumes=("v1",))),
        (building(), a_row(external_id="twin", volumes=("v1",))),
        (building(), a_row(tag=Tag(deployment="theirs", node_id="0000000001"), volumes=("v1",))),
        (building(), a_row(tag=None, volumes=("v1",))),
        (building(volumes=0), a_row(volumes=("v1",))),
        (building(), a_row(volumes=("v1", "v2"))),
    ],
    ids=["ready before", "another server", "another deployment", "no tag", "none", "too many"],
)
async def test_what_others_attach_is_never_ours(log, autojump_clock, node, row):
    """Who uses a node may attach a volume of his own to it: it is not deleted with the node."""
    async with registry(log) as at:
        await at.put(None, node)

        at.attached.see(row)

        assert at.volumes() == []


async def test_a_volume_that_comes_later_is_not_ours(log, autojump_clock):
    """What nova made is on record: a person may attach more while the node still boots."""
    async with registry(log) as at:
        await at.put(None, building())
        at.attached.see(a_row(volumes=("v1",)))

        at.attached.see(a_row(volumes=("v1", "theirs")))

        assert at.volumes() == ["v1"]


@pytest.mark.parametrize(("made", "known"), [(0, None), (1, None), (2, "0000000001")])
async def test_a_leaked_server_is_given_no_more_than_it_was_to_have(
    log, autojump_clock, made, known
):
    """A volume that a person attached to it is left alone when it has gone."""
    async with registry(log) as at:
        node = await at.put(None, building(volumes=made))
        node = await at.put(node, node.became(NodeState.FAILED, NOW))
        node = await at.put(node, node.became(NodeState.DELETING, NOW))
        await at.put(node, node.became(NodeState.GONE, NOW), archive=True)

        await at.attached.bury(node.id, "leak", "v1", "v2")

        assert await at.attached.whose("v1") == known
        assert await at.attached.whose("v2") == known
        assert await at.attached.whose("leak") == "0000000001"


async def test_history_tells_whose_server_and_volume_it_was(log, autojump_clock):
    """Over a restart too: the records of what is gone are the tombstones (rule 4)."""
    async with registry(log) as at:
        node = await at.put(None, building())
        at.attached.see(a_row(volumes=("v1",)))
        node = at.store.head(Node, node.id)
        node = await at.put(node, node.became(NodeState.DELETING, NOW))
        assert await at.attached.whose("server-1") is None
        await at.put(node, node.became(NodeState.GONE, NOW), archive=True)

    async with registry(log.reopen()) as at:
        assert await at.attached.whose("server-1") == "0000000001"
        assert await at.attached.whose("v1") == "0000000001"
        assert await at.attached.whose("v2") is None


async def test_history_tells_whose_floating_ip_it_was(log, autojump_clock):
    """Where it carries no mark of ours, its id is all that there is."""
    floating = Resource(kind=ResourceKind.FLOATING_IP, sent_at=NOW, external_id="fip-1")
    async with registry(log) as at:
        node = await at.put(None, building().with_resource(floating))
        node = await at.put(node, node.became(NodeState.DELETING, NOW))
        await at.put(node, node.became(NodeState.GONE, NOW), archive=True)

        assert await at.attached.whose("fip-1") == "0000000001"


async def test_what_a_leaked_server_had_is_known_for_seven_days(log, autojump_clock):
    """No record of a node names it, so the provider's does."""
    async with registry(log) as at:
        await at.attached.bury("0000000007", "leak", "v7")

    log = log.reopen()
    async with registry(log, NOW + KEPT_S - 1) as at:
        assert await at.attached.whose("v7") == "0000000007"
    async with registry(log.reopen(), NOW + KEPT_S + 1) as at:
        assert await at.attached.whose("v7") is None
        await at.attached.bury("0000000008", "leak-2")
        (grave,) = at.store.get(ProviderRecord, "alpha").tombstones

    assert grave.external_id == "leak-2"


async def test_a_grave_keeps_what_the_record_says_besides(log, autojump_clock):
    """A pause or a person's word about a leak is not lost with it."""
    async with registry(log) as at:
        await at.put(None, ProviderRecord(name="alpha", condemned=("leak",)))

        await at.attached.bury("0000000007", "leak")

        record = at.store.get(ProviderRecord, "alpha")
        assert attrs.evolve(record, tombstones=()) == ProviderRecord(
            name="alpha", condemned=("leak",)
        )
