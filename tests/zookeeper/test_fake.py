"""The simulated ZooKeeper keeps the contract of a session."""

from contextlib import asynccontextmanager
from random import Random

import pytest
import trio

from tests.zookeeper.contract import SessionContract
from trellis.sim.zookeeper import Latency, fake_zookeeper
from trellis.zookeeper.session import Servers

HOSTS = Servers(hosts=("zk:2181",), chroot="/below/this")


def wall() -> float:
    """UTC of a simulation."""
    return 1_767_225_600.0 + trio.current_time() % 1000.0


@pytest.fixture(params=[None, Latency()], ids=["at-once", "with-latency"])
async def opened(request):
    """Sessions on one simulated ZooKeeper."""
    async with fake_zookeeper(wall=wall, random=Random(1), latency=request.param) as zookeeper:

        @asynccontextmanager
        async def open_one():
            async with zookeeper.open_session(HOSTS) as session:
                yield session

        yield open_one


class TestFakeZooKeeper(SessionContract):
    """On the simulated one."""
