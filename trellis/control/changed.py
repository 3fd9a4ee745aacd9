"""Wait until a record changes, by its id: whoever waits for one costs the others nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import trio

K = TypeVar("K")


class Changed(Generic[K]):
    """Those who wait for a change of something, by what they wait for."""

    def __init__(self) -> None:
        self._waiters: dict[K, list[trio.Event]] = {}

    @contextmanager
    def watch(self, key: K) -> Iterator[trio.Event]:
        """An event that is set by the next change of *key* in the block.

        Look at the record in the block, before the wait: so no change is missed.
        """
        event = trio.Event()
        waiters = self._waiters.setdefault(key, [])
        waiters.append(event)
        try:
            yield event
        finally:
            waiters.remove(event)
            if not waiters:
                self._waiters.pop(key, None)

    def tell(self, key: K) -> None:
        """Note that *key* has changed."""
        for event in self._waiters.get(key, ()):
            event.set()
