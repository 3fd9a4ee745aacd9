"""The seams to the outside: every way in which Trellis touches time, chance, files and wires.

Production and simulation differ in the `World` they are given and in nothing else.
"""

import random
import time
from collections.abc import Awaitable, Callable

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
    random: random.Random = attrs.field(factory=random.SystemRandom)
    connect: Callable[[str, int], Awaitable[trio.abc.Stream]] = trio.open_tcp_stream
    transport: TransportFactory
