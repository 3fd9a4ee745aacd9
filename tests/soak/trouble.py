"""What befalls the clouds beside their own faults: one of them is down now and then."""

from random import Random
from typing import Final

import trio

from tests.bench.stand import Stand

_KINDS: Final = ("hang", "refuse", "gateway")


async def outages(running: Stand, chance: Random) -> None:
    """Have one cloud after the other down for a while, until cancelled.

    Cancelled, it may leave one down: `calm` ends that.
    """
    names = [cloud.name for cloud in running.setup.clouds]
    while True:
        await trio.sleep(chance.uniform(5.0, 20.0))
        name = chance.choice(names)
        await running.tell(name, "outage", {"kind": chance.choice(_KINDS)})
        await trio.sleep(chance.uniform(3.0, 15.0))
        await running.tell(name, "outage", {"kind": "none"})


async def calm(running: Stand) -> None:
    """From now on every cloud does what it should."""
    for cloud in running.setup.clouds:
        await running.tell(cloud.name, "outage", {"kind": "none"})
        await running.tell(cloud.name, "faults", {})
