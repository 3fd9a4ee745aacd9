"""The end of the web face, told to all who wait in it."""

from collections.abc import Iterator
from contextlib import contextmanager

import trio


class Closing:
    """Lets long polls and event streams end at once when the face closes.

    Without it the server's graceful shutdown waits out its whole grace for each of them.
    """

    def __init__(self) -> None:
        self._scopes: dict[int, trio.CancelScope] = {}
        self._next = 0
        self.begun = False

    @contextmanager
    def wait_scope(self, *, deadline: float) -> Iterator[trio.CancelScope]:
        """A cancel scope that ends at *deadline* (Trio's clock), or when the face closes."""
        key, self._next = self._next, self._next + 1
        with trio.CancelScope(deadline=deadline) as scope:
            self._scopes[key] = scope
            try:
                if self.begun:
                    scope.cancel()
                yield scope
            finally:
                del self._scopes[key]

    @property
    def waiting(self) -> int:
        """How many long polls and event streams are open."""
        return len(self._scopes)

    def begin(self) -> None:
        """End every wait that is under way, and each later one as it begins."""
        self.begun = True
        for scope in list(self._scopes.values()):
            scope.cancel()
