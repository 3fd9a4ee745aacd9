"""What of ours surely is in the cloud during a reading of the quota, and what may be."""

from contextlib import asynccontextmanager
from random import Random

import attrs
import trio

from trellis.control.fleet import Fleet
from trellis.control.health import ProviderHealth
from trellis.control.nudge import Nudge
from trellis.control.quota import Quota
from trellis.control.quota_book import QuotaBook
from trellis.control.quota_watch import EVERY_S, QuotaWatch
from trellis.model.node import NodeState, Resource, ResourceKind
from trellis.model.quota import Limits, QuotaReading, Resources
from trellis.store.simulated import SimulatedLog
from trellis.store.store import Store
from trellis.testing.builders import NOW, a_node, a_server, a_shape

SHAPE = a_shape(resources=Resources(instances=1, volumes=1, volume_gib=20))
VOLUME = Resource(kind=ResourceKind.VOLUME, sent_at=NOW, external_id="v1")
NOTHING, SPACE = Resources(), Resources(volumes=1, volume_gib=20)
OURS = Resources(instances=1, volumes=1, volume_gib=20)


class Used:
    """A provider whose project uses this much."""

    def __init__(self, used):
        self.used = used
        self.readings = 0

    async def limits(self):
        await trio.lowlevel.checkpoint()
        self.readings += 1
        return QuotaReading(limits=Limits(), used=self.used, read_at=0.0)


@asynccontextmanager
async def watching(provider, nudge=lambda: None):
    """The watch of a quota in which there is nothing of ours."""
    async with Store.open(SimulatedLog(Random(1)), deployment="test", wall=lambda: NOW) as store:
        yield QuotaWatch(
            provider=provider,
            quota=Quota("q", lambda: NOW, now=trio.current_time),
            fleet=Fleet(quota_of=lambda node: "q"),
            health=ProviderHealth("alpha", lambda: NOW, lambda: None),
            nudge=nudge,
            book=QuotaBook(provider="alpha", store=store),
            wanted=Nudge(),
        )


async def others_beside(node, used, before=NOTHING):
    """What others are reckoned to use after one reading, and what was thought before."""
    async with watching(Used(used)) as watch:
        watch.fleet.load([node])
        watch.quota.others = before
        await watch.read()
    return watch.quota.others


async def test_volume_of_ours_is_not_taken_for_a_strangers(autojump_clock):
    """Made or not made yet: it may be ours."""
    node = a_node(1, state=NodeState.BUILDING, shape=SHAPE, resources=(a_server(),))

    assert await others_beside(node, OURS) == NOTHING


async def test_volume_that_nobody_has_seen_yet_is_not_surely_there(autojump_clock):
    """Nova makes it after the server: until then the space may be a stranger's."""
    node = a_node(1, state=NodeState.BUILDING, shape=SHAPE, resources=(a_server(),))
    seen = attrs.evolve(node, resources=(a_server(), VOLUME))

    assert await others_beside(node, OURS, before=SPACE) == SPACE
    assert await others_beside(seen, OURS, before=SPACE) == NOTHING


async def test_volume_that_outlives_its_server_is_ours_until_it_is_gone(autojump_clock):
    """The server has gone from what the cloud counts; its volume has not."""
    gone = a_server(gone_at=NOW)
    node = a_node(1, state=NodeState.DELETING, shape=SHAPE, resources=(gone, VOLUME))

    assert await others_beside(node, OURS) == Resources(instances=1)


async def test_a_reading_that_says_the_same_costs_no_pass_of_the_planner(autojump_clock, nursery):
    """And one that says something else makes one."""
    nudges = []
    provider = Used(Resources(instances=3))
    async with watching(provider, lambda: nudges.append(provider.readings)) as watch:
        nursery.start_soon(watch.run)
        await trio.sleep(5.5 * EVERY_S)
        provider.used = Resources(instances=4)
        await trio.sleep(3 * EVERY_S)
        nursery.cancel_scope.cancel()

    assert nudges == [1, 6]
