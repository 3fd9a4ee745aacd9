"""Fixtures of the store's tests."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from store_builders import WallClock

from trellis.store.log import Log
from trellis.store.simulated import SimulatedLog
from trellis.store.sqlite import SqliteLog


@pytest.fixture
def wall() -> WallClock:
    return WallClock()


@pytest.fixture(params=["simulated", "sqlite"])
def next_log(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Log]:
    """Makes a log on the same contents, each time for the next incarnation."""
    if request.param == "sqlite":
        return lambda: SqliteLog(tmp_path / "trellis.db")
    handles = [SimulatedLog(random.Random(7), fsync_s=0.0)]

    def reopened() -> Log:
        handles.append(handles[-1].reopen())
        return handles[-1]

    return reopened
