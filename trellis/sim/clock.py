"""The clock of a simulation: time stands still while anybody works, and jumps when all wait."""

import heapq
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, Final

import trio

_OF_TRIO: Final = trio.sleep

_Alarm = list[Any]
"""When, its number, and the task it wakes: None once that has been cancelled."""


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
        # Waited for here: a coroutine between would be passed through at each waking.
        await trio.lowlevel.wait_task_rescheduled(clock.set_alarm(seconds, shield=shield))
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
        self._alarms: list[_Alarm] = []
        self._numbers = count()

    def set_alarm(self, seconds: float, *, shield: bool) -> Callable[[object], trio.lowlevel.Abort]:
        """Wake the task that calls this so much later; returns how its wait is aborted."""
        alarm: _Alarm = [self._now + seconds, next(self._numbers), trio.lowlevel.current_task()]
        heapq.heappush(self._alarms, alarm)

        def aborted(_: object) -> trio.lowlevel.Abort:
            if shield:
                return trio.lowlevel.Abort.FAILED
            alarm[2] = None
            return trio.lowlevel.Abort.SUCCEEDED

        return aborted

    def start_clock(self) -> None:
        """See `trio.abc.Clock`."""

    def current_time(self) -> float:
        """Seconds since the beginning."""
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Go to the next moment of all, *deadline* or an alarm, and sleep no longer."""
        alarms = self._alarms
        while alarms and alarms[0][2] is None:
            heapq.heappop(alarms)
        moment = deadline
        if alarms and alarms[0][0] < moment:
            moment = alarms[0][0]
        if moment == math.inf:
            return math.inf
        if moment > self._now:
            self._now = moment
        while alarms and alarms[0][0] <= self._now:
            task = heapq.heappop(alarms)[2]
            if task is not None:
                trio.lowlevel.reschedule(task)
        return 0.0
