"""The clock of a simulation: time stands still while anybody works, and jumps when all wait."""

import math

import trio


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

    def start_clock(self) -> None:
        """See `trio.abc.Clock`."""

    def current_time(self) -> float:
        """Seconds since the beginning."""
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Go to *deadline*, the next of all, and sleep no longer."""
        if deadline == math.inf:
            return math.inf
        self._now = max(self._now, deadline)
        return 0.0
