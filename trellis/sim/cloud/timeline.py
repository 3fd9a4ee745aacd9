"""Time in a simulated cloud: what is due happens in order when somebody looks, not before."""

import heapq
import itertools
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

DEFAULT_EPOCH: Final = 1_767_225_600.0
"""2026-01-01 00:00 UTC: when a simulated cloud is born unless it is told otherwise."""


class Timeline:
    """The clock and the agenda of one cloud.

    Nothing runs by itself: `settle` carries out, each at its own time, what has become due since
    it was last called. So the cloud needs no task, and its state is a function of the clock.

    Args:
        clock: monotonic seconds.
        wall: UTC seconds; read once, when time begins. A later jump of it does not move the cloud,
            which has a clock of its own.

    Attributes:
        now: the time of what is being carried out, in seconds of *clock*.
    """

    def __init__(self, clock: Callable[[], float], wall: Callable[[], float] | None) -> None:
        self._clock = clock
        self._wall = wall
        self._agenda: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._order = itertools.count()
        self._born: float | None = None
        self._offset = 0.0
        self._steps: list[tuple[float, float]] = []
        self.now = 0.0

    @property
    def age(self) -> float:
        """Seconds since time began, which is at the first `settle`."""
        return self.now - (self._born or 0.0)

    def settle(self) -> float:
        """Bring the cloud up to the clock; returns the time."""
        current = self._clock()
        if self._born is None:
            self._born = self.now = current
            self._offset = (DEFAULT_EPOCH if self._wall is None else self._wall()) - current
        agenda = self._agenda
        while agenda and agenda[0][0] <= current:
            due, _, act, arguments = heapq.heappop(agenda)
            self.now = max(self.now, due)
            act(*arguments)
        self.now = current
        return current

    def after(self, seconds: float, act: Callable[..., object], *arguments: Any) -> None:
        """Put something on the agenda. Things of the same moment happen in the order given."""
        due = self.now + seconds
        heapq.heappush(self._agenda, (due, next(self._order), act, arguments))

    def step(self, ahead_s: float) -> None:
        """Set the cloud's idea of UTC: from now on so far ahead; what is past keeps its stamps."""
        self._steps.append((self.now, ahead_s))

    def utc(self, at: float) -> float:
        """A time of the clock as UTC seconds, as the cloud had it then."""
        for since, ahead_s in reversed(self._steps):
            if since <= at:
                return self._offset + at + ahead_s
        return self._offset + at

    def seconds(self, at: float) -> int:
        """A time of the clock as whole UTC seconds, as databases of OpenStack keep them."""
        return int(self.utc(at) if self._steps else self._offset + at)

    def stamp(self, at: float) -> str:
        """As Nova, Neutron and Glance write a time: ``2026-01-01T00:00:00Z``."""
        return self._plain(at) + "Z"

    def long_stamp(self, at: float) -> str:
        """As Nova writes the time of launch: ``2026-01-01T00:00:00.000000``."""
        return self._plain(at) + ".000000"

    def _plain(self, at: float) -> str:
        return _written(self.seconds(at))


@lru_cache(maxsize=4096)
def _written(second: int) -> str:
    """Nova writes the same few times of a server again and again."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
