"""The SQLite file of a store: every statement that touches it, without a loop or a thread.

WAL with ``synchronous=FULL``: a commit is one fsync of the WAL, and durable when it returns
(https://www.sqlite.org/pragma.html#pragma_synchronous). A second, read-only connection
serves `StoreReader`, so that a long page of history never holds up a commit.
"""

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

from trellis.errors import FencedError, StoreFailedError
from trellis.model.records import Key
from trellis.store.lock import StoreLock
from trellis.store.log import ArchivedRow, Contents, Entry, EventRow, RecordRow, Retention
from trellis.store.schema import MIGRATIONS, Migration, migrate, sync_folder
from trellis.store.witness import Witness

PORTION: Final = 1000
"""Rows that one step of pruning takes, so that commits wait for milliseconds only."""

_BUSY_S: Final = 30.0
"""How long a commit waits for another program, an operator's `sqlite3` shell mostly."""


class StoreWriter:
    """The one connection that writes.

    Args:
        path: the file; made if it is not there.
        migrations: the steps that lead to this release's schema.

    Raises:
        StoreInUseError, StoreMismatchError, StoreFailedError, sqlite3.Error: as `Log.open`;
            nothing stays open.
    """

    def __init__(self, path: Path, migrations: Sequence[Migration] = MIGRATIONS) -> None:
        self._path = path
        self._lock = StoreLock(path)
        self._lock.take()
        with contextlib.ExitStack() as undo:
            undo.callback(self._lock.release)
            _make_private(path)
            self._connection = _connect(path.as_uri())
            undo.callback(self._connection.close)
            # WAL is a property of the file, but only after the version is known to be ours.
            migrate(self._connection, path, migrations)
            (mode,) = self._connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise StoreFailedError(
                    f"store {path}: its file system allows no write-ahead log (mode {mode!r}). "
                    f"Keep the store on a local disk"
                )
            self._connection.execute("PRAGMA synchronous = FULL")
            self._incarnation = self._next_incarnation()
            self._witness = Witness(path)
            undo.pop_all()

    def _next_incarnation(self) -> int:
        (number,) = self._connection.execute(
            "UPDATE state SET incarnation = incarnation + 1 RETURNING incarnation"
        ).fetchone()
        return int(number)

    def load(self) -> Contents:
        """Everything live, in the order of kinds and ids."""
        (revision, last_event) = self._connection.execute(
            "SELECT revision, last_event FROM state"
        ).fetchone()
        (last_at,) = self._connection.execute(
            "SELECT coalesce((SELECT at FROM event WHERE id = ?), 0.0)", (last_event,)
        ).fetchone()
        rows = self._connection.execute("SELECT kind, id, value FROM record ORDER BY kind, id")
        return Contents(
            incarnation=self._incarnation,
            revision=revision,
            last_event=last_event,
            records=tuple(RecordRow((kind, row_id), value) for kind, row_id, value in rows),
            last_at=last_at,
            lost=max(0, self._witness.seen - revision),
        )

    def append(self, entries: Sequence[Entry]) -> None:
        """Commit *entries* in one transaction; see `Log.append`."""
        # Only the last of several values of a record in this transaction is worth writing.
        final: dict[Key, str | None] = {}
        for entry in entries:
            for row in entry.puts:
                final[row.key] = row.value
            for key in entry.removals:
                final[key] = None
        events = [event for entry in entries for event in entry.events]
        archived = [row for entry in entries for row in entry.archived]
        with self._transaction() as execute:
            self._advance(entries[-1].revision, events[-1].id if events else None)
            execute(
                "INSERT INTO record (kind, id, value) VALUES (?, ?, ?) "
                "ON CONFLICT (kind, id) DO UPDATE SET value = excluded.value",
                [(*key, value) for key, value in final.items() if value is not None],
            )
            execute(
                "DELETE FROM record WHERE kind = ? AND id = ?",
                [key for key, value in final.items() if value is None],
            )
            execute(
                "INSERT INTO event (id, at, subjects, value) VALUES (?, ?, ?, ?)",
                [(e.id, e.at, json.dumps(e.subjects), e.value) for e in events],
            )
            execute(
                "INSERT INTO event_about (subject, event) VALUES (?, ?)",
                [(subject, event.id) for event in events for subject in event.subjects],
            )
            execute(
                "INSERT OR REPLACE INTO history (kind, id, at, lookup, value) "
                "VALUES (?, ?, ?, ?, ?)",
                [(*row.key, row.at, row.lookup, row.value) for row in archived],
            )
        self._witness.testify(entries[-1].revision)

    def _advance(self, revision: int, last_event: int | None) -> None:
        moved = self._connection.execute(
            "UPDATE state SET revision = ?, last_event = coalesce(?, last_event) "
            "WHERE incarnation = ?",
            (revision, last_event, self._incarnation),
        )
        if moved.rowcount != 1:
            # The lock's file was removed or the disk is shared: the lock alone did not hold.
            raise FencedError(
                f"store {self._path} was opened by another daemon since: this one must end"
            )

    def prune(self, retention: Retention) -> bool:
        """Forget one portion; see `Log.prune`."""
        with self._transaction():
            events = self._prune_events(retention)
            archived = self._prune_history(retention)
        return events or archived

    def _prune_events(self, retention: Retention) -> bool:
        (last,) = self._connection.execute("SELECT last_event FROM state").fetchone()
        rows = self._connection.execute(
            "SELECT id, at FROM event ORDER BY id LIMIT ?", (PORTION,)
        ).fetchall()
        due = _due(rows, retention.events_before, last - retention.events_kept)
        if due:
            self._connection.execute(
                "DELETE FROM event_about WHERE (subject, event) IN "
                "(SELECT s.value, e.id FROM event e, json_each(e.subjects) s WHERE e.id <= ?)",
                (due[-1],),
            )
            self._connection.execute("DELETE FROM event WHERE id <= ?", (due[-1],))
        return len(due) == PORTION

    def _prune_history(self, retention: Retention) -> bool:
        (last,) = self._connection.execute(
            "SELECT coalesce(max(position), 0) FROM history"
        ).fetchone()
        rows = self._connection.execute(
            "SELECT position, at FROM history ORDER BY position LIMIT ?", (PORTION,)
        ).fetchall()
        due = _due(rows, retention.archived_before, last - retention.archived_kept)
        if due:
            self._connection.execute("DELETE FROM history WHERE position <= ?", (due[-1],))
        return len(due) == PORTION

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Callable[[str, Iterable[tuple[Any, ...]]], object]]:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection.executemany
            connection.execute("COMMIT")
        finally:
            # On a full disk SQLite has rolled back by itself, and a second time is an error.
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def close(self) -> None:
        """Fold the WAL into the file and let go of both."""
        try:
            self._connection.close()
        finally:
            self._witness.close()
            self._lock.release()


class StoreReader:
    """A connection that can only read; sees what is committed."""

    def __init__(self, path: Path) -> None:
        self._connection = _connect(f"{path.as_uri()}?mode=ro")

    def events_after(self, event_id: int, limit: int) -> tuple[EventRow, ...]:
        """See `Log.events_after`."""
        return self._events(
            "SELECT id, at, subjects, value FROM event WHERE id > ? ORDER BY id LIMIT ?",
            (event_id, limit),
        )

    def events_about(self, subject: str, limit: int) -> tuple[EventRow, ...]:
        """See `Log.events_about`."""
        newest_first = self._events(
            "SELECT e.id, e.at, e.subjects, e.value FROM event_about a "
            "JOIN event e ON e.id = a.event WHERE a.subject = ? ORDER BY a.event DESC LIMIT ?",
            (subject, limit),
        )
        return newest_first[::-1]

    def _events(self, statement: str, values: tuple[object, ...]) -> tuple[EventRow, ...]:
        return tuple(
            EventRow(id=event_id, at=at, subjects=tuple(json.loads(subjects)), value=value)
            for event_id, at, subjects, value in self._connection.execute(statement, values)
        )

    def archived(self, key: Key) -> ArchivedRow | None:
        """See `Log.archived`."""
        return next(iter(self._history("kind = ? AND id = ?", *key, 1)), None)

    def archived_page(self, kind: str, limit: int, before: int | None) -> tuple[ArchivedRow, ...]:
        """See `Log.archived_page`."""
        if before is None:
            return self._history("kind = ?", kind, limit)
        return self._history("kind = ? AND position < ?", kind, before, limit)

    def archived_by_lookup(self, kind: str, lookup: str, since: float) -> ArchivedRow | None:
        """See `Log.archived_by_lookup`."""
        found = self._history("kind = ? AND lookup = ? AND at >= ?", kind, lookup, since, 1)
        return next(iter(found), None)

    def _history(self, condition: str, *values: object) -> tuple[ArchivedRow, ...]:
        rows = self._connection.execute(
            "SELECT kind, id, at, lookup, position, value FROM history "
            f"WHERE {condition} ORDER BY position DESC LIMIT ?",
            values,
        )
        return tuple(
            ArchivedRow(key=(kind, row_id), at=at, lookup=lookup, position=position, value=value)
            for kind, row_id, at, lookup, position, value in rows
        )

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def explained(error: sqlite3.Error, path: Path) -> StoreFailedError:
    """Say what an error of SQLite means for the operator, and what to do."""
    # The low byte is the class of the error: https://www.sqlite.org/rescode.html
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            words = "no room left on its disk. Free some and start the daemon again"
        case sqlite3.SQLITE_IOERR:
            words = "its disk fails. Look into the kernel's log before starting the daemon again"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            words = "it cannot be written. The daemon must own the file and be able to write in \
its folder"
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            words = "the file is damaged, or is no SQLite file. Restore it from a copy"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            words = "another program holds it, an open `sqlite3` shell perhaps. Close that"
        case _:
            words = "it cannot be used"
    return StoreFailedError(f"store {path}: {words} ({error})")


def _connect(uri: str) -> sqlite3.Connection:
    # Threads take turns with it: its owner lets one at a time in.
    return sqlite3.connect(
        uri, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
    )


def _make_private(path: Path) -> None:
    """Make an empty file that only its owner reads: whoever knows a lease's id may end it."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise StoreFailedError(f"store {path} cannot be made: {error.strerror}") from error
    sync_folder(path)


def _due(rows: Sequence[tuple[int, float]], before: float, up_to: int) -> list[int]:
    """Of rows in rising order, the numbers at the front that may be forgotten."""
    due = takewhile(lambda row: row[0] <= up_to or row[1] < before, rows)
    return [number for number, _ in due]
