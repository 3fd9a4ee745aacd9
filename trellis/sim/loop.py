"""Trio's loop in a simulation: its schedule comes from a seed, and nothing from outside."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from types import ModuleType
from typing import Any, Final

import trio
from trio._core import _run

from trellis.sim.clock import VirtualClock

_TURNS: Final = 256
"""After so many turns of the loop it is looked whether a signal came."""
_IO_OF_TRIO: Any = getattr(_run, "TheIOManager")  # noqa: B009 - each platform has its own


@contextmanager
def seeded_loop(seed: int, clock: VirtualClock) -> Iterator[None]:
    """Have Trio draw its schedule from the seed: another seed is another interleaving.

    A loop that begins in the block asks the operating system for events only when all tasks wait
    without a deadline, and now and then for the sake of signals: nothing there can become ready
    where no task has a socket and no thread works. Finalizers do not run at moments that the
    garbage collector chooses, which would be a second source of chance.

    Args:
        seed: of the schedule.
        clock: the loop's. It is read hundreds of times for each node, so directly: on its way
            through Trio it costs three times as much.
    """
    instead = {
        (_run, "_ALLOW_DETERMINISTIC_SCHEDULING"): True,
        (_run, "_r"): _Schedule(seed),
        (_run, "TheIOManager"): _StillIO,
        (_run, "current_time"): clock.current_time,
        (trio, "current_time"): clock.current_time,
    }
    before = {place: getattr(*place) for place in instead}
    _put_in_place(instead)
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
        _put_in_place(before)


def _put_in_place(those: dict[tuple[ModuleType, str], Any]) -> None:
    for (module, name), value in those.items():
        setattr(module, name, value)


class _Schedule(Random):
    """Shuffles as `Random` does, to the last bit, at less cost: most batches are of one task."""

    def shuffle(self, x: Any) -> None:
        """See `Random.shuffle`."""
        draw = self.getrandbits
        for last in range(len(x) - 1, 0, -1):
            bits = (last + 1).bit_length()
            chosen = draw(bits)
            while chosen > last:
                chosen = draw(bits)
            x[last], x[chosen] = x[chosen], x[last]


class _StillIO(_IO_OF_TRIO):  # type: ignore[misc]
    """Trio's own, that is seldom asked."""

    def __init__(self) -> None:
        super().__init__()
        self._turns = 0

    def get_events(self, timeout: float) -> Any:
        """What has become ready; at most turns nothing, without a look."""
        self._turns += 1
        if timeout > 0.0 or self._turns % _TURNS == 0:
            return super().get_events(timeout)
        return ()
