"""Leave a thing alone for a while after it failed, longer each time."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from trellis.scheduler.snapshot import Held

K = TypeVar("K", bound=Hashable)


class Breaker:
    """Opens after some failures in a row, for a while that grows; one success closes it."""

    def __init__(
        self, wall: Callable[[], float], *, after: int, first_s: float, most_s: float
    ) -> None:
        self._wall, self._after, self._first_s, self._most_s = wall, after, first_s, most_s
        self._failures = 0
        self._open_s = first_s / 2
        self._open_until = 0.0
        self._reason = ""

    def failed(self, reason: str) -> None:
        """Count a failure. Those that come in while it is open are of the same occasion."""
        now = self._wall()
        if now < self._open_until:
            return
        self._failures += 1
        self._reason = reason
        if self._failures >= self._after:
            self._open_s = min(self._most_s, self._open_s * 2)
            self._open_until = now + self._open_s

    def worked(self) -> None:
        """It works: forget its past."""
        self._failures = 0
        self._open_s = self._first_s / 2
        self._open_until = 0.0

    @property
    def reason(self) -> str:
        """Why it is open; "" while it is closed, or open for one more try."""
        if self._wall() >= self._open_until:
            return ""
        left_s = self._open_until - self._wall()
        return (
            f"{self._failures} creates failed in a row, next try in {left_s:.0f} s: {self._reason}"
        )


class Holds(Generic[K]):
    """Exponential back-off by key. Held in memory only: a restart tries again at once.

    Attributes:
        held: what is held now or was; `Held.until` tells.
    """

    def __init__(
        self, wall: Callable[[], float], *, first_s: float, most_s: float, after: int = 1
    ) -> None:
        self._wall, self._first_s, self._most_s, self._after = wall, first_s, most_s, after
        self._failures: dict[K, int] = {}
        self._last: dict[K, float] = {}
        self.held: dict[K, Held] = {}

    def hold(self, key: K, reason: str) -> None:
        """Leave *key* alone, twice as long as the last time in a row, if it failed often enough.

        Refusals that come in while it is held already are of the same occasion.
        """
        now = self._wall()
        held = self.held.get(key)
        if held is not None and now < held.until:
            return
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        if failures < self._after:
            return
        wait_s = min(self._most_s, self._last.get(key, self._first_s / 2) * 2)
        self._last[key] = wait_s
        self.held[key] = Held(until=now + wait_s, reason=reason)

    def release(self, key: K) -> None:
        """It worked: forget its past."""
        self.held.pop(key, None)
        self._last.pop(key, None)
        self._failures.pop(key, None)

    def clear(self) -> None:
        """Forget everything, by a person's word."""
        self.held.clear()
        self._last.clear()
        self._failures.clear()
