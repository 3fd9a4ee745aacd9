"""The seams to the outside: every way in which Trellis touches time, chance, files and wires.

Production and simulation differ in the `World` they are given and in nothing else.
"""

import time
from collections.abc import Awaitable, Callable
from random import Random, SystemRandom

import attrs
import trio

from trellis.http.transport import TransportFactory


@attrs.frozen(kw_only=True)
class World:
    """What the daemon is given of the outside.

    Attributes:
        wall: UTC seconds since the epoch. Monotonic time is `trio.current_time` always.
        random: the one source of chance; ids of requests and leases come from it too.
        connect: open a stream to a node; raises OSError.
        transport: makes the HTTP transport of one account.
    """

    wall: Callable[[], float] = time.time
    random: Random = attrs.field(factory=SystemRandom)
    connect: Callable[[str, int], Awaitable[trio.abc.Stream]] = trio.open_tcp_stream
    transport: TransportFactory
