"""Commits on their way: checked and in order, not durable yet."""

from collections.abc import Callable, Mapping, Sequence

import attrs
import trio

from trellis.errors import ConflictError, StoreFailedError
from trellis.model.records import Change, Event, Key, Record, event_of
from trellis.store.encoding import KIND_OF, encode_record, event_row, lookup_of, named
from trellis.store.log import ArchivedRow, Entry, RecordRow


@attrs.frozen(kw_only=True)
class Committed:
    """One commit that is durable, as listeners are told of it."""

    revision: int
    changes: tuple[Change, ...]
    events: tuple[Event, ...]


@attrs.frozen
class Staged:
    """One commit that waits to be written: what it means, and how the log writes it."""

    committed: Committed
    entry: Entry


class Batch:
    """The commits that will be written in one go, and those who wait for it."""

    def __init__(self) -> None:
        self.staged: list[Staged] = []
        self.filled = trio.Event()
        self.done = trio.Event()
        self.failure: StoreFailedError | None = None

    def add(self, staged: Staged) -> None:
        """Add a commit and wake the task that writes."""
        self.staged.append(staged)
        self.filled.set()


@attrs.frozen
class Pending:
    """A commit on its way to the disk."""

    _batch: Batch
    revision: int

    async def durable(self) -> int:
        """Wait until it is durable; return its revision.

        Cancelled, the commit goes on.

        Raises:
            StoreFailedError: it could not be made durable; the daemon is about to end.
        """
        await self._batch.done.wait()
        failure = self._batch.failure
        if failure is not None:
            raise type(failure)(str(failure)) from failure
        return self.revision


class Stage:
    """The records as the last staged commit leaves them, and the numbers given out so far.

    Args:
        durable: the durable records by class and id, changed by the store as commits settle.
        revision: of the last durable commit.
        last_event: id of the last durable event.
        wall: UTC seconds since the epoch.
    """

    def __init__(
        self,
        durable: Mapping[type[object], Mapping[str, Record]],
        revision: int,
        last_event: int,
        wall: Callable[[], float],
    ) -> None:
        self._durable = durable
        self._revision = revision
        self._last_event = last_event
        self._wall = wall
        # Only records of commits under way: the revision that left them so, and None for gone.
        self._heads: dict[Key, tuple[int, Record | None]] = {}

    def head(self, cls: type[object], record_id: str) -> Record | None:
        """The record as the last staged commit leaves it."""
        staged = self._heads.get((KIND_OF[cls], record_id))
        return staged[1] if staged is not None else self._durable[cls].get(record_id)

    def take(self, changes: Sequence[Change]) -> Staged:
        """Check *changes* against the heads and make them the heads.

        Raises:
            ConflictError: a record is not what its change says it was; nothing is taken.
            ValueError: a record cannot be written; likewise.
        """
        now = self._wall()
        revision = self._revision + 1
        heads: dict[Key, tuple[int, Record | None]] = {}
        rows: dict[Key, RecordRow | None] = {}
        archived: list[ArchivedRow] = []
        events: list[Event] = []
        for change in changes:
            key = change.key
            ours = heads.get(key)
            head = ours[1] if ours is not None else self.head(type(change.after), key[1])
            if change.before is not head and change.before != head:
                raise ConflictError(_difference(key, change.before, head))
            value = encode_record(change.after)
            if change.archive:
                heads[key] = (revision, None)
                rows[key] = None
                lookup = lookup_of(change.after)
                archived.append(ArchivedRow(key=key, at=now, value=value, lookup=lookup))
            else:
                heads[key] = (revision, change.after)
                rows[key] = RecordRow(key, value)
            event = event_of(change, self._last_event + len(events) + 1, now)
            if event is not None:
                events.append(event)
        entry = Entry(
            revision=revision,
            puts=tuple(row for row in rows.values() if row is not None),
            removals=tuple(key for key, row in rows.items() if row is None),
            archived=tuple(archived),
            events=tuple(map(event_row, events)),
        )
        self._heads.update(heads)
        self._revision = revision
        self._last_event += len(events)
        committed = Committed(revision=revision, changes=tuple(changes), events=tuple(events))
        return Staged(committed, entry)

    def settle(self, committed: Committed) -> None:
        """Let go of the heads that this commit, durable now, has left."""
        for change in committed.changes:
            staged = self._heads.get(change.key)
            if staged is not None and staged[0] == committed.revision:
                del self._heads[change.key]


def _difference(key: Key, before: Record | None, head: Record | None) -> str:
    name = named(key)
    if head is None:
        return f"{name} is not there: it was archived, or never made"
    if before is None:
        return f"{name} is there already"
    fields = [
        field.name
        for field in attrs.fields(type(head))
        if getattr(before, field.name, None) != getattr(head, field.name)
    ]
    return f"{name} has changed since it was read: {', '.join(fields)}"
