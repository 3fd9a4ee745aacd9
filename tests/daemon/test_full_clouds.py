"""Clouds that are full all the time: whoever waits is served in the end, large sets too (P9)."""

import pytest
import trio

from tests.daemon.stage import MINUTE, Stage
from trellis.model.request import RequestState
from trellis.model.status import Health

pytestmark = pytest.mark.slow

STARVE_AFTER = 5 * MINUTE
USE_S = 40.0
TEXT = """
deployment: stage
starve-after: 5m
labels: [{name: small}]
providers:
  - name: alpha
    type: openstack
    cloud: alpha
    pools: &pools
      - name: main
        max-servers: 5
        labels: [{name: small, cloud-image: tiny, flavor-name: ci-1c-1g}]
  - {name: beta, type: openstack, cloud: beta, pools: *pools}
"""


class Crowd:
    """Twice as many requestors as there is room for, each with one node at a time, for ever.

    Attributes:
        served: when each of their requests was fulfilled.
    """

    def __init__(self, stage):
        self.stage, self.served = stage, []

    async def run(self):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(self._one)

    async def _one(self):
        while True:
            mine = await self.stage.served(await self.stage.ask(), within_s=60 * MINUTE)
            self.served.append(trio.current_time())
            await trio.sleep(USE_S)
            await self.stage.release(mine)


@pytest.mark.parametrize("size", [2, 4, 5], ids=lambda n: f"{n} nodes")
async def test_a_set_is_served_where_there_is_never_room_for_it(size, tmp_path, autojump_clock):
    """Room is kept for it once it has waited `starve-after`; the others are served meanwhile."""
    stage = Stage(tmp_path, configuration=TEXT)
    crowd = Crowd(stage)
    async with stage.running(), trio.open_nursery() as nursery:
        await stage.becomes(Health.AVAILABLE)
        await stage.becomes(Health.AVAILABLE, name="beta")
        nursery.start_soon(crowd.run)
        await trio.sleep(10 * MINUTE)
        in_ten_minutes = len(crowd.served)

        asked_at = trio.current_time()
        served = await stage.served(await stage.ask(labels=("small",) * size), within_s=60 * MINUTE)
        took = trio.current_time() - asked_at
        meanwhile = [at for at in crowd.served if at > asked_at]

        assert served.state is RequestState.FULFILLED
        assert len(served.nodes) == size
        # A use, a deletion and a boot of the slowest node after the room began to be kept.
        assert took < STARVE_AFTER + USE_S + 3 * MINUTE, took
        # Half of all room may be kept free for it, and for no longer than that.
        assert len(meanwhile) / took > 0.5 * in_ten_minutes / (10 * MINUTE)
        nursery.cancel_scope.cancel()
