"""The clock of a simulation: time stands still while anybody works, and jumps when all wait."""

import heapq
import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Final

import trio

_OF_TRIO: Final = trio.sleep


@contextmanager
def light_sleep() -> Iterator[None]:
    """Have all that sleeps by ``trio.sleep`` do it as `sleep` does, for the block's duration."""
    setattr(trio, "sleep", sleep)  # noqa: B010
    try:
        yield
    finally:
        setattr(trio, "sleep", _OF_TRIO)  # noqa: B010


async def sleep(seconds: float, *, shield: bool = False) -> None:
    """Sleep as `trio.sleep` does; under a `VirtualClock` at a fraction of its cost.

    An answer under way, a sync of a disk, the next look of a loop: such waits are half of all
    there are. Trio makes a cancel scope for each sleep, and ends it by an exception. Cancellation
    leaves nothing.

    Args:
        seconds: for how long.
        shield: whether cancellation has to wait until it is over.
    """
    clock = trio.lowlevel.current_clock()
    if isinstance(clock, VirtualClock) and seconds > 0.0:
        await clock.sleep(seconds, shield=shield)
    elif shield:
        with trio.CancelScope(shield=True):
            await _OF_TRIO(seconds)
    else:
        await _OF_TRIO(seconds)


class VirtualClock(trio.abc.Clock):
    """Trio's clock where nothing but tasks and their deadlines exists.

    Trio asks how long it may sleep only when no task can run. Where there is neither thread nor
    socket nothing else can happen before the next deadline, so the clock goes there at once and
    lets Trio sleep not at all. `trio.testing.MockClock` does the same with two turns of Trio's
    loop for each jump, and makes room for I/O that a simulation does not have.

    It begins at 0. A program in which all tasks wait without a deadline waits for ever.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._alarms: list[tuple[float, int]] = []
        self._sleepers: dict[int, trio.lowlevel.Task] = {}
        self._numbers = count()

    async def sleep(self, seconds: float, *, shield: bool = False) -> None:
        """See `sleep`, which is how it is called."""
        number = next(self._numbers)
        self._sleepers[number] = trio.lowlevel.current_task()
        heapq.heappush(self._alarms, (self._now + seconds, number))

        def aborted(_: object) -> trio.lowlevel.Abort:
            if shield:
                return trio.lowlevel.Abort.FAILED
            del self._sleepers[number]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(aborted)

    def start_clock(self) -> None:
        """See `trio.abc.Clock`."""

    def current_time(self) -> float:
        """Seconds since the beginning."""
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Go to the next moment of all, *deadline* or an alarm, and sleep no longer."""
        alarms, sleepers = self._alarms, self._sleepers
        while alarms and alarms[0][1] not in sleepers:
            heapq.heappop(alarms)
        moment = min(deadline, alarms[0][0]) if alarms else deadline
        if moment == math.inf:
            return math.inf
        self._now = max(self._now, moment)
        while alarms and alarms[0][0] <= self._now:
            task = sleepers.pop(heapq.heappop(alarms)[1], None)
            if task is not None:
                trio.lowlevel.reschedule(task)
        return 0.0
