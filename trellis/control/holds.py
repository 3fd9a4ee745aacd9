"""Leave a thing alone for a while after it failed, longer each time."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from trellis.scheduler.snapshot import Held

K = TypeVar("K", bound=Hashable)


class Holds(Generic[K]):
    """Exponential back-off by key. Held in memory only: a restart tries again at once.

    Attributes:
        held: what is held now or was; `Held.until` tells.
    """

    def __init__(self, wall: Callable[[], float], *, first_s: float, most_s: float) -> None:
        self._wall, self._first_s, self._most_s = wall, first_s, most_s
        self._last: dict[K, float] = {}
        self.held: dict[K, Held] = {}

    def hold(self, key: K, reason: str) -> None:
        """Leave *key* alone, twice as long as the last time in a row.

        Refusals that come in while it is held already are of the same occasion.
        """
        now = self._wall()
        held = self.held.get(key)
        if held is not None and now < held.until:
            return
        wait_s = min(self._most_s, self._last.get(key, self._first_s / 2) * 2)
        self._last[key] = wait_s
        self.held[key] = Held(until=now + wait_s, reason=reason)

    def release(self, key: K) -> None:
        """It worked: forget its past."""
        self.held.pop(key, None)
        self._last.pop(key, None)

    def clear(self) -> None:
        """Forget everything, by a person's word."""
        self.held.clear()
        self._last.clear()
