"""What will happen at which moment, done by one task in the order of time."""

import heapq
import math
from collections.abc import Callable
from itertools import count

import trio


class Agenda:
    """Does things at their time; those of one moment in the order in which they were put down."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = count()
        self._sooner = trio.Event()
        self._running = self._over = False

    def at(self, when: float, do: Callable[[], object]) -> None:
        """Have something done; at once, in this very call, never."""
        if self._over:
            return  # whoever closes a session now closes it with nobody
        if not self._running:
            raise RuntimeError("the simulated ZooKeeper is not running: start its run() first")
        if not self._entries or when < self._entries[0][0]:
            self._sooner.set()
        heapq.heappush(self._entries, (when, next(self._numbers), do))

    async def run(  # noqa: ASYNC114
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Do what is due, until cancelled."""
        self._running = True
        task_status.started()
        try:
            while True:
                self._sooner = trio.Event()
                now = trio.current_time()
                while self._entries and self._entries[0][0] <= now:
                    heapq.heappop(self._entries)[2]()
                next_at = self._entries[0][0] if self._entries else math.inf
                with trio.move_on_at(next_at):
                    await self._sooner.wait()
        finally:
            self._over = True
