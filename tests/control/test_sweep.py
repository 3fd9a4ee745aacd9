"""Leaks: two sightings, ours alone, and a stop at what the store cannot explain."""

import attrs
import pytest
import trio

from tests.control.scripted_provider import ScriptedProvider, a_row
from trellis.control.health import ProviderHealth
from trellis.control.sweep import (
    AGAIN_AFTER_S,
    LEFTOVERS_EVERY_S,
    LOOK_EVERY_S,
    MOST_LOOKED_FOR,
    Sweep,
)
from trellis.model.node import NodeState, Resource, ResourceKind
from trellis.model.provider import ProviderRecord
from trellis.model.quota import Resources
from trellis.spi.provider import InstanceState, Leftover, Listing, Tag
from trellis.testing.builders import a_home, a_node, a_server, a_shape


class Graves:
    """Knows one server that is gone, and what the sweep buries."""

    def __init__(self):
        self.node_of = {"gone-server": "0000000007"}
        self.buried = []

    async def whose(self, external_id):
        await trio.lowlevel.checkpoint()
        return self.node_of.get(external_id)

    async def bury(self, node_id, *external_ids):
        await trio.lowlevel.checkpoint()
        self.buried.append((node_id, *external_ids))
        self.node_of.update(dict.fromkeys(external_ids, node_id))


class Swept:
    def __init__(self, mode="delete", nodes=(), issued=1000):
        self.provider = ScriptedProvider()
        self.attached = Graves()
        self.now = 0.0
        self.estranged, self.gone = {}, []
        self.words = ProviderRecord(name="alpha")
        self.sweep = Sweep(
            name="alpha",
            deployment="test",
            provider=self.provider,
            health=ProviderHealth("alpha", lambda: self.now, lambda: None),
            mode=mode,
            wall=lambda: self.now,
            issued=lambda tag: int(tag.node_id) < issued,
            nodes=lambda: {node.id: node for node in nodes},
            attached=self.attached,
            estrange=self.estranged.update,
            let_go=self.gone.append,
            words=lambda: self.words,
        )

    def see(self, *rows):
        self.provider.rows = rows
        self.sweep.see(Listing(instances=rows, newest=None, home=a_home(), full=True))
        self.now += AGAIN_AFTER_S

    async def see_left(self, *things):
        await self.sweep.see_leftovers(things)
        self.provider.leftovers = things
        self.now += AGAIN_AFTER_S

    async def act(self):
        with trio.move_on_after(35):
            await self.sweep.run()


async def test_two_sightings_delete_a_leak(autojump_clock):
    """A server of ours that no record claims goes after it was seen twice."""
    swept = Swept()
    swept.see(a_row())
    swept.see(a_row())

    await swept.act()

    assert swept.provider.deleted == ["server-1"]
    assert swept.sweep.leaks() == ()


async def test_leak_that_turns_up_between_two_looks_at_leftovers_goes_at_once(autojump_clock):
    """A sweep without a suspect sleeps until its next look; the list of servers ends that."""
    swept = Swept()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(swept.sweep.run)
        await trio.sleep(LEFTOVERS_EVERY_S / 2)
        swept.see(a_row())
        swept.see(a_row())
        await trio.sleep(3 * LOOK_EVERY_S)
        nursery.cancel_scope.cancel()

    assert swept.provider.deleted == ["server-1"]


async def test_one_sighting_deletes_nothing(autojump_clock):
    """A list may lag behind a record that has just gone."""
    swept = Swept()
    swept.see(a_row())

    await swept.act()

    assert swept.provider.deleted == []
    assert "second sighting" in swept.sweep.leaks()[0].note


async def test_two_looks_at_once_are_one_sighting(autojump_clock):
    """Sightings must be some time apart to count."""
    swept = Swept()
    swept.see(a_row())
    swept.now -= AGAIN_AFTER_S
    swept.see(a_row())

    await swept.act()

    assert swept.provider.deleted == []


async def test_what_disappears_between_sightings_was_no_leak():
    """A suspect that is not seen again is forgotten."""
    swept = Swept()
    swept.see(a_row())
    swept.see()

    assert swept.sweep.leaks() == ()


@pytest.mark.parametrize(
    "row",
    [
        a_row(tag=None),
        a_row(tag=Tag(deployment="theirs", node_id="0000000001")),
        a_row(state=InstanceState.GONE),
        a_row(state=InstanceState.UNKNOWN),
    ],
)
async def test_what_is_not_ours_or_not_there_is_never_touched(row, autojump_clock):
    """Only the tag of this deployment on a server that exists makes a suspect (P2)."""
    swept = Swept()
    swept.see(row)
    swept.see(row)

    await swept.act()

    assert swept.provider.deleted == []
    assert swept.sweep.leaks() == ()


async def test_a_claimed_server_is_no_leak():
    """The record's own server, and whatever turns up for a create in doubt, are claimed."""
    known = a_node(1)
    doubtful = a_node(2, state=NodeState.BUILDING, resources=(a_server(external_id=None),))
    swept = Swept(nodes=(known, doubtful))

    swept.see(a_row(), a_row("0000000002", "server-2"))

    assert swept.sweep.leaks() == ()


async def test_a_twin_of_a_claimed_server_is_a_leak():
    """A create that was carried out twice leaves a second server with the same tag."""
    swept = Swept(nodes=(a_node(1),))

    swept.see(a_row(), a_row(external_id="twin"))

    assert [leak.external_id for leak in swept.sweep.leaks()] == ["twin"]


async def test_a_node_id_never_issued_stops_the_sweep(autojump_clock):
    """Another daemon of the same deployment, or an old copy of the store (rule 1)."""
    swept = Swept(issued=1)
    swept.see(a_row())
    swept.see(a_row())

    await swept.act()

    assert swept.provider.deleted == []
    assert "never issued" in swept.sweep.alarm
    assert swept.estranged == {"server-1": Tag(deployment="test", node_id="0000000001")}


async def test_what_was_strange_stays_strange(autojump_clock):
    """Our own numbers have risen past its id since: still only a person decides."""
    swept = Swept(issued=1000)
    swept.words = ProviderRecord(name="alpha", strange=("server-1",))
    swept.see(a_row())
    swept.see(a_row())

    await swept.act()

    assert swept.provider.deleted == []
    assert swept.sweep.alarm


async def test_what_is_proved_gone_is_remembered_no_longer(autojump_clock):
    """A list that does not show it proves nothing; asked twice for that very server, it does."""
    swept = Swept()
    swept.words = ProviderRecord(
        name="alpha", strange=("there", "gone", "hidden"), condemned=("deleted",)
    )
    swept.see(a_row(external_id="there"))
    gone = InstanceState.GONE
    swept.provider.rows = [
        a_row(external_id="hidden"),
        a_row(external_id="gone", state=gone),
        a_row(external_id="deleted", state=gone),
    ]

    await swept.act()
    assert swept.gone == []
    await swept.act()

    assert swept.gone == ["gone", "deleted"]
    assert swept.provider.gets == ["gone", "hidden", "deleted"] * 2


async def test_what_comes_back_is_not_gone(autojump_clock):
    """Denied once, shown again, denied once: that makes no two looks in a row."""
    swept = Swept()
    swept.words = ProviderRecord(name="alpha", strange=("zombie",))
    swept.see()
    for state in (InstanceState.GONE, InstanceState.ACTIVE, InstanceState.GONE):
        swept.provider.rows = [a_row(external_id="zombie", state=state)]
        await swept.act()

    assert swept.gone == []


async def test_what_is_there_keeps_nobody_from_seeing_what_is_gone(autojump_clock):
    """Each round asks for a few of them, and the next one for those that come after."""
    swept = Swept()
    hidden = [f"hidden-{number}" for number in range(MOST_LOOKED_FOR)]
    swept.words = ProviderRecord(name="alpha", strange=(*hidden, "gone"))
    swept.see()
    swept.provider.rows = [
        *(a_row(external_id=one) for one in hidden),
        a_row(external_id="gone", state=InstanceState.GONE),
    ]

    with trio.move_on_after(3 * LEFTOVERS_EVERY_S + 60.0):
        await swept.sweep.run()

    assert swept.gone == ["gone"]


async def test_gone_from_another_project_proves_nothing(autojump_clock):
    """The credentials may lead elsewhere by now, where nobody has heard of it (rule 2)."""
    swept = Swept()
    swept.words = ProviderRecord(name="alpha", strange=("gone",))
    swept.see()
    swept.provider.rows = [a_row(external_id="gone", state=InstanceState.GONE)]
    swept.provider.at_home = attrs.evolve(a_home(), project_id="another")

    await swept.act()

    assert swept.gone == []


async def test_a_person_can_adopt_what_is_strange(autojump_clock):
    """After 'leak adopt' it is a leak of ours like any other, and the sweep goes on."""
    swept = Swept(issued=1)
    swept.see(a_row())
    swept.see(a_row())

    swept.words = ProviderRecord(name="alpha", adopted=("server-1",))
    await swept.act()

    assert swept.sweep.alarm == ""
    assert swept.provider.deleted == ["server-1"]


async def test_report_reports_until_a_person_says_delete(autojump_clock):
    """In mode report nothing is deleted but by a person's word."""
    swept = Swept(mode="report")
    swept.see(a_row())
    swept.see(a_row())
    await swept.act()
    assert swept.provider.deleted == []

    swept.words = ProviderRecord(name="alpha", condemned=("server-1",))
    await swept.act()

    assert swept.provider.deleted == ["server-1"]


async def test_floating_ips_of_ours_without_a_record_are_leaks(autojump_clock):
    """Their description is the tag (rule 4); a stranger's without one is not seen at all."""
    swept = Swept()
    ours = Tag(deployment="test", node_id="0000000001")
    await swept.see_left(
        Leftover(kind=ResourceKind.FLOATING_IP, external_id="fip-1", tag=ours),
        Leftover(kind=ResourceKind.FLOATING_IP, external_id="fip-2", tag=None),
    )

    assert [leak.external_id for leak in swept.sweep.leaks()] == ["fip-1"]


async def test_a_floating_ip_without_a_mark_is_known_by_its_record():
    """Old neutrons take no description; the history knows the ids of what nodes had."""
    swept = Swept()
    swept.attached.node_of["fip-1"] = "0000000007"
    await swept.see_left(
        Leftover(kind=ResourceKind.FLOATING_IP, external_id="fip-1", tag=None),
        Leftover(kind=ResourceKind.FLOATING_IP, external_id="a stranger's", tag=None),
    )

    assert [(x.external_id, x.node_id) for x in swept.sweep.leaks()] == [("fip-1", "0000000007")]


@pytest.mark.parametrize("stays", [True, False])
async def test_what_was_left_once_is_soon_looked_at_again(stays, nursery, autojump_clock):
    """It is a leak and goes, or was on its way out and is suspected no longer."""
    swept = Swept()
    ours = Tag(deployment="test", node_id="0000000001")
    thing = Leftover(kind=ResourceKind.FLOATING_IP, external_id="fip-1", tag=ours)
    swept.provider.leftovers = (thing,)
    swept.sweep.wall = trio.current_time
    nursery.start_soon(swept.sweep.run)
    await trio.sleep(5.0)
    assert [leak.sightings for leak in swept.sweep.leaks()] == [1]

    swept.provider.leftovers = (thing,) if stays else ()
    await trio.sleep(AGAIN_AFTER_S + 20.0)

    assert swept.provider.deleted == (["fip-1"] if stays else [])
    assert list(swept.sweep.leaks()) == []
    nursery.cancel_scope.cancel()


async def test_a_port_left_behind_is_known_by_its_server():
    """Nova's ports have no tag: the server they were of says whose they are (rule 4)."""
    swept = Swept()
    ports = [
        Leftover(kind=ResourceKind.PORT, external_id="p1", tag=None, server_id="gone-server"),
        Leftover(kind=ResourceKind.PORT, external_id="p2", tag=None, server_id="a stranger's"),
    ]

    await swept.see_left(*ports)

    assert [leak.external_id for leak in swept.sweep.leaks()] == ["p1"]


def a_volume(external_id, server_id=None):
    return Leftover(
        kind=ResourceKind.VOLUME, external_id=external_id, tag=None, server_id=server_id
    )


async def test_a_leaked_servers_volume_goes_after_it(autojump_clock):
    """What it had is recorded before it is deleted: nothing on the volume says whose it is."""
    swept = Swept()
    swept.see(a_row(volumes=("v1",)))
    swept.see(a_row(volumes=("v1",)))
    await swept.act()
    swept.see()

    await swept.see_left(a_volume("v1"))
    await swept.see_left(a_volume("v1"))
    await swept.act()

    assert swept.attached.buried == [("0000000001", "server-1", "v1")]
    assert swept.provider.deleted == ["server-1", "v1"]


async def test_volume_of_a_server_that_is_gone_is_a_leak(autojump_clock):
    """Cinder still names the server, and the history knows whose that was."""
    swept = Swept()

    await swept.see_left(a_volume("v1", "gone-server"))

    assert [(x.external_id, x.node_id) for x in swept.sweep.leaks()] == [("v1", "0000000007")]


async def test_volumes_of_living_nodes_and_of_strangers_servers_are_no_leaks(autojump_clock):
    """One is claimed by its record, one by its server, and one is attached to nobody of ours."""
    kept = Resource(kind=ResourceKind.VOLUME, sent_at=0.0, external_id="v1")
    shape = a_shape(resources=Resources(instances=1, volumes=1, volume_gib=20))
    node = a_node(1, shape=shape, resources=(a_server(), kept))
    swept = Swept(nodes=(node,))

    await swept.see_left(a_volume("v1"), a_volume("v2", "server-1"), a_volume("v3", "a stranger's"))

    assert swept.sweep.leaks() == ()


async def test_volume_that_nobody_can_attribute_is_reported_and_not_deleted(autojump_clock):
    """It looks like one of nova's, and may be anybody's (rule 4): only a person's word counts."""
    swept = Swept()
    await swept.see_left(a_volume("v1"))
    await swept.see_left(a_volume("v1"))
    await swept.act()
    (leak,) = swept.sweep.leaks()
    assert swept.provider.deleted == []
    assert leak.node_id is None
    assert "nobody can tell whose it is" in leak.note

    swept.words = ProviderRecord(name="alpha", condemned=("v1",))
    await swept.act()

    assert swept.provider.deleted == ["v1"]
