"""The launch budget of a minute: what bounds any bug that launches and launches (P7)."""

from collections import deque

import trio

from trellis.control.past import nodes_since
from trellis.store.store import Store
from trellis.world import World

MINUTE_S = 60.0


class LaunchBudget:
    """Launches of the last minute, those of earlier processes too.

    Without those a daemon that crashes and is started again, over and over, would have a whole
    budget each time. It is kept in monotonic time: a clock that is set neither fills it nor
    keeps it empty.
    """

    def __init__(self) -> None:
        self._at: deque[float] = deque()

    async def load(self, store: Store, world: World) -> None:
        """Count what was launched before this process: nodes that live, and that are gone.

        Raises:
            StoreFailedError: the history cannot be read.
        """
        now = world.wall()
        nodes = await nodes_since(store, now - MINUTE_S)
        ages = (max(0.0, now - node.created_at) for node in nodes)
        past = [trio.current_time() - age for age in ages if age < MINUTE_S]
        self._at = deque(sorted([*past, *self._at]))

    def spend(self, launches: int) -> None:
        """Count launches that are decided upon now."""
        self._at.extend([trio.current_time()] * launches)

    def used(self) -> int:
        """How many launches there were in the last minute."""
        since = trio.current_time() - MINUTE_S
        while self._at and self._at[0] <= since:
            self._at.popleft()
        return len(self._at)

    def left_s(self) -> float:
        """Seconds until the oldest of them no longer counts; 0.0 if there are none."""
        return max(0.0, self._at[0] + MINUTE_S - trio.current_time()) if self.used() else 0.0
