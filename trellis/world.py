"""The seams to the outside: every way in which Trellis touches time, chance, files and wires.

Production and simulation differ in the `World` they are given and in nothing else.
"""

import math
import time
from collections.abc import Awaitable, Callable
from random import Random, SystemRandom
from typing import Final

import attrs
import trio

from trellis.http.transport import TransportFactory
from trellis.spi.image import ImageSource
from trellis.zookeeper.opening import open_session
from trellis.zookeeper.session import OpenSession

CATCH_UP: Final = 0.05
"""Seconds by which UTC catches up with a wall clock that has jumped, in each second."""


class SteadyClock:
    """UTC that passes as monotonic time does: a jump of the wall clock moves no deadline.

    Deadlines are recorded in UTC, and a jump by a day would end every lease, settle every doubt
    and wear out every ready node at once, or none of them for a day. So UTC is the wall clock's
    only while both run alike. After a jump (a person's, NTP's, a virtual machine that was
    suspended) this clock goes on as if nothing had happened, and follows the wall clock by a
    twentieth at most: what is 600 s off is right again after 200 minutes, and no wait meanwhile
    is more than a twentieth too long or too short. It never goes back.

    Args:
        wall: the wall clock, in UTC seconds since the epoch.
    """

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._mono = math.nan
        self._now = math.nan
        self._began_at = math.nan

    def __call__(self) -> float:
        """UTC seconds since the epoch. To be called inside of Trio."""
        mono = trio.current_time()
        if mono == self._mono:
            return self._now
        wall, passed = self._wall(), mono - self._mono
        if math.isnan(self._now):
            self._mono, self._now = mono, wall
            self._began_at = wall
            return wall
        if passed > 0.0:
            now, most = self._now + passed, passed * CATCH_UP
            off = wall - now
            # The very wall clock where it can be: sums of small differences would drift.
            self._now = wall if abs(off) <= most else now + math.copysign(most, off)
            self._mono = mono
        return self._now

    def begin(self, not_before: float) -> None:
        """Begin no earlier than what an earlier process has recorded.

        So a clock that was set back while the daemon was down makes no recorded wait longer. Nor
        does one that was ahead once and is right again, which looks the same: times that are shown
        stay ahead, over restarts too, until the wall clock has caught up. The time a daemon is
        down counts for that in full.
        """
        self._now = self._began_at = max(self(), not_before)

    @property
    def began_at(self) -> float:
        """When this process began; whether a time before it is as long ago as it seems is unknown.

        A clock that was set while the daemon was down looks like a long absence.
        """
        self()
        return self._began_at

    @property
    def off_s(self) -> float:
        """How far the wall clock is ahead of this one, in seconds."""
        return self._wall() - self()


def _steady(wall: Callable[[], float]) -> SteadyClock:
    return wall if isinstance(wall, SteadyClock) else SteadyClock(wall)


@attrs.frozen(kw_only=True)
class World:
    """What the daemon is given of the outside.

    Attributes:
        wall: UTC seconds since the epoch; any clock that is given is made steady. Monotonic
            time is `trio.current_time` always.
        random: the one source of chance; ids of requests and leases come from it too.
        connect: open a stream to a node; raises OSError.
        transport: makes the HTTP transport of one account.
        image_source: the file of an image, by its path and size; None reads files of this host.
        zookeeper: opens a session with ZooKeeper, for the demand sources that want one.
    """

    wall: SteadyClock = attrs.field(factory=SteadyClock, converter=_steady)
    random: Random = attrs.field(factory=SystemRandom)
    connect: Callable[[str, int], Awaitable[trio.abc.Stream]] = trio.open_tcp_stream
    transport: TransportFactory
    image_source: Callable[[str, int], ImageSource] | None = None
    zookeeper: OpenSession = open_session
