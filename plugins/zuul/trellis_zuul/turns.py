"""Requests that are found together are asked for in their order, not in that of the scheduler."""

import heapq
from itertools import count

import trio

_Key = tuple[int, int, str]


class Turns:
    """Lets one task after the other go on, in the order of their keys.

    Whoever has his turn runs to his next checkpoint before the next one has his: so what is asked
    for first is the older one in Trellis too, though the answers are not waited for.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[_Key, int, trio.Event]] = []
        self._numbers = count()
        self._some = trio.Event()

    async def wait(self, key: _Key) -> None:
        """Wait for one's turn: precedence, rank and id of a request, the lower first."""
        turn = trio.Event()
        heapq.heappush(self._waiting, (key, next(self._numbers), turn))
        self._some.set()
        await turn.wait()

    async def run(self) -> None:
        """Give turns until cancelled."""
        while True:
            await self._some.wait()
            while self._waiting:
                heapq.heappop(self._waiting)[2].set()
                # The woken task runs in the next round of Trio's scheduler, and so does this one,
                # which wakes the one after it only for the round after that.
                await trio.lowlevel.checkpoint()
            self._some = trio.Event()
