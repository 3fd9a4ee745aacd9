"""A real ZooKeeper, for those tests that want one."""

import itertools
from contextlib import asynccontextmanager

import attrs
import pytest

from tests.zookeeper.real_server import RealZooKeeper
from trellis.zookeeper.opening import open_session
from trellis.zookeeper.session import Servers

_CHROOTS = itertools.count()


@pytest.fixture(scope="session")
def running_zookeeper(tmp_path_factory):
    """One server for all tests that let it be."""
    server = RealZooKeeper(tmp_path_factory.mktemp("zookeeper"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def zookeeper(tmp_path):
    """A server of the test's own."""
    server = RealZooKeeper(tmp_path / "zookeeper")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def real_servers(running_zookeeper):
    """The way to an empty chroot of the running server."""
    return Servers(hosts=(running_zookeeper.host,), chroot=f"/tests/{next(_CHROOTS)}/below")


@pytest.fixture
def real_sessions(real_servers):
    """Called: a new session below the test's chroot."""

    @asynccontextmanager
    async def open_one(**changes):
        async with open_session(attrs.evolve(real_servers, **changes)) as session:
            yield session

    return open_one
