"""The port below the store: a log of commits that survives the daemon.

A log knows no record's meaning: it keeps texts by kind and id. An engine is production's
SQLite, the simulated one, and later ZooKeeper.
"""

from collections.abc import Sequence
from typing import Protocol

import attrs

from trellis.model.records import Key


@attrs.frozen
class RecordRow:
    """One live record as it is kept: the latest value only."""

    key: Key
    value: str


@attrs.frozen(kw_only=True)
class ArchivedRow:
    """One record that has left the live ones.

    Attributes:
        at: when it left, in UTC seconds.
        lookup: a second key by which it is found; None for none.
        position: its place in the history, rising; given by the log, 0 until then.
    """

    key: Key
    at: float
    value: str
    lookup: str | None = None
    position: int = 0


@attrs.frozen(kw_only=True)
class EventRow:
    """One event as it is kept.

    Attributes:
        id: one more than the event's before it, over all of the store's life.
        subjects: every id by which it is found, each once.
    """

    id: int
    at: float
    subjects: tuple[str, ...]
    value: str


@attrs.frozen(kw_only=True)
class Entry:
    """One commit as the log writes it: wholly, or not at all.

    Attributes:
        revision: one more than the commit's before it.
        puts: records as they are now.
        removals: records that are live no longer.
    """

    revision: int
    puts: tuple[RecordRow, ...] = ()
    removals: tuple[Key, ...] = ()
    archived: tuple[ArchivedRow, ...] = ()
    events: tuple[EventRow, ...] = ()


@attrs.frozen(kw_only=True)
class Contents:
    """What a log holds when it is opened.

    Attributes:
        incarnation: how often the store has been opened; the number that fences.
        revision: of the last commit, 0 in a new store.
        last_event: id of the last event ever, 0 if there was none.
        records: the live records.
        last_at: when the newest event that is kept was recorded, in UTC seconds; 0 for none.
        lost: at least so many commits were made durable after the newest one that is here: the
            log is an older copy of itself. 0 where nothing tells of such.
    """

    incarnation: int
    revision: int
    last_event: int
    records: tuple[RecordRow, ...]
    last_at: float = 0.0
    lost: int = 0


@attrs.frozen(kw_only=True)
class Retention:
    """What a log may forget: what is older than these times (UTC), and beyond these counts."""

    events_before: float
    events_kept: int
    archived_before: float
    archived_kept: int


class Log(Protocol):
    """A durable log of commits. It has one owner, who calls `append` from one task.

    Reads answer from what is durable. Cancelling any call leaves the log whole.
    """

    async def open(self) -> Contents:
        """Take the log for this process alone and load what it holds.

        Raises:
            StoreInUseError: another daemon has it.
            StoreMismatchError: it was written by a newer release, or is no store of ours.
            StoreFailedError: it cannot be read or written.
        """
        ...

    async def append(self, entries: Sequence[Entry]) -> None:
        """Make *entries* durable, in one step of the engine; durable on return.

        If the daemon dies in it, the log holds some of them, whole and in order.

        Raises:
            StoreFailedError: they could not be written; the log takes no more.
            FencedError: a later incarnation has the log; they never take effect.
        """
        ...

    async def events_after(self, event_id: int, limit: int) -> tuple[EventRow, ...]:
        """The first *limit* events after this id, oldest first."""
        ...

    async def events_about(self, subject: str, limit: int) -> tuple[EventRow, ...]:
        """The last *limit* events with *subject* among their subjects, oldest first."""
        ...

    async def archived(self, key: Key) -> ArchivedRow | None:
        """The archived record of this key."""
        ...

    async def archived_page(
        self, kind: str, *, limit: int, before: int | None
    ) -> tuple[ArchivedRow, ...]:
        """The newest *limit* archived records of a kind, newest first.

        Args:
            kind: the kind of record.
            limit: at most so many.
            before: only those of a lower position; None starts with the newest.
        """
        ...

    async def archived_by_lookup(
        self, kind: str, lookup: str, *, since: float
    ) -> ArchivedRow | None:
        """The newest record of a kind with this second key, archived no earlier than *since*."""
        ...

    async def prune(self, retention: Retention) -> bool:
        """Forget one portion of what may be forgotten; True means that there may be more.

        Raises:
            StoreFailedError: the log cannot be written.
        """
        ...

    async def close(self) -> None:
        """Give the log back; later calls fail. Fine on one that is closed or never was open."""
        ...
