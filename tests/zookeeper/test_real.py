"""A real ZooKeeper through kazoo keeps the contract of a session."""

import pytest

from tests.zookeeper.contract import SessionContract
from tests.zookeeper.lock_contract import LockContract


@pytest.fixture
def opened(real_sessions):
    """Sessions on a real server."""
    return real_sessions


@pytest.mark.zuul
class TestRealZooKeeper(SessionContract):
    """On Debian's."""


@pytest.mark.zuul
class TestLockOnARealZooKeeper(LockContract):
    """On Debian's."""
