"""The event stream: what is durable, from any point of the last day on, and then live.

A reader holds a place, not a buffer: recent events are shared in memory and older ones are
read from the log a page at a time. So a slow reader costs nothing, however slow it is; one
that falls behind by more than the stream keeps is told so by a ``reset``.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import trio

from trellis.errors import StoreFailedError
from trellis.model.records import Event
from trellis.store.encoding import decode_event
from trellis.store.log import Log

RECENT: Final = 4096
"""Events kept in memory for the readers that keep up."""

PAGE: Final = 500
"""Events that a reader takes at once."""

RESET: Final = "reset"
"""Type of the event that says: read everything again, then go on from here."""


class EventTail:
    """The most recent durable events, and the wish to hear of the next."""

    def __init__(self, last_id: int) -> None:
        self.last_id = last_id
        self.ended = False
        self.failure: StoreFailedError | None = None
        self._recent: list[Event] = []
        self._more = trio.Event()

    def extend(self, events: Sequence[Event]) -> None:
        """Add events that have become durable."""
        if not events:
            return
        self._recent.extend(events)
        self.last_id = events[-1].id
        if len(self._recent) > 2 * RECENT:
            del self._recent[:-RECENT]
        self._wake()

    def after(self, event_id: int) -> Sequence[Event] | None:
        """The next page after this id; None if it goes back beyond what is in memory."""
        # Ids have no gaps, so that a place in the list is an id.
        start = event_id + 1 - (self.last_id + 1 - len(self._recent))
        return self._recent[start : start + PAGE] if start >= 0 else None

    def end(self, failure: StoreFailedError | None = None) -> None:
        """Nothing will follow: readers end once they have read all, or fail."""
        self.ended = True
        self.failure = failure
        self._wake()

    async def more(self) -> None:
        """Wait for the next events, or the end."""
        await self._more.wait()

    def _wake(self) -> None:
        self._more.set()
        self._more = trio.Event()


class Watch:
    """One reader of the stream: ``async for event in store.watch(after)``.

    It may be left at any moment; there is nothing to close. It ends when the store closes.

    Raises:
        StoreFailedError: (while iterating) the store has failed.
    """

    def __init__(
        self,
        tail: EventTail,
        log: Log,
        *,
        after: int | None,
        wall: Callable[[], float],
        stream_age_s: float,
    ) -> None:
        self._tail = tail
        self._log = log
        self._place = tail.last_id if after is None else after
        self._wall = wall
        self._stream_age_s = stream_age_s
        self._page: deque[Event] = deque()

    def __aiter__(self) -> "Watch":
        return self

    async def __anext__(self) -> Event:
        await trio.lowlevel.checkpoint()
        while not self._page:
            await self._turn_page()
        event = self._page.popleft()
        self._place = event.id
        return event

    async def _turn_page(self) -> None:
        tail = self._tail
        if tail.failure is not None:
            raise StoreFailedError(str(tail.failure)) from tail.failure
        if self._place == tail.last_id:
            if tail.ended:
                raise StopAsyncIteration
            await tail.more()
            return
        events = tail.after(self._place)
        if events is None and self._place <= tail.last_id:
            rows = await self._log.events_after(self._place, PAGE)
            # Durable is not yet published: an event must not overtake the record it tells of.
            events = [decode_event(row) for row in rows if row.id <= tail.last_id]
        if not events or self._is_lost(events[0]):
            events = [self._reset()]
        self._page.extend(events)

    def _is_lost(self, next_event: Event) -> bool:
        forgotten = next_event.id != self._place + 1
        return forgotten or next_event.at < self._wall() - self._stream_age_s

    def _reset(self) -> Event:
        return Event(
            id=self._tail.last_id,
            at=self._wall(),
            type=RESET,
            subject="",
            why="the events after the id asked for are not kept: read all again, then go on",
        )
