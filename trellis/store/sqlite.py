"""The log in production: a SQLite file, its writes and its reads each on a thread of their own."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import attrs
import outcome
import trio

from trellis.errors import StoreFailedError
from trellis.model.records import Key
from trellis.store.log import ArchivedRow, Contents, Entry, EventRow, Retention
from trellis.store.schema import MIGRATIONS, Migration
from trellis.store.sqlite_file import StoreReader, StoreWriter, explained

T = TypeVar("T")


@attrs.define(eq=False)
class _Read:
    """A read that waits for its turn, and what came of it."""

    work: Callable[[StoreReader], Any]
    came_of_it: outcome.Outcome[Any] | None = None


class SqliteLog:
    """A `Log` on a local disk.

    A call that has begun goes on when it is cancelled, as a thread cannot be taken back, but
    nobody waits for it any more; the next call of its kind does. So a disk that hangs does not
    hang who has stopped waiting, but for `open`.

    Args:
        path: the file; ``<file>.lock``, ``-wal``, ``-shm`` and copies made before a migration
            (``.v<N>.bak``) lie beside it.
        migrations: the steps that lead to this release's schema.
    """

    def __init__(self, path: str | Path, *, migrations: Sequence[Migration] = MIGRATIONS) -> None:
        self._path = Path(path)
        self._migrations = migrations
        self._writer: StoreWriter | None = None
        self._reader: StoreReader | None = None
        self._write_turn: Final = trio.CapacityLimiter(1)
        self._reading: Final = trio.CapacityLimiter(1)
        self._read_turn: Final = trio.Lock()
        self._reads: list[_Read] = []
        self._failure: StoreFailedError | None = None

    async def open(self) -> Contents:
        """See `Log.open`."""
        # Not left alone: what it opens must be closed.
        return await self._call(self._open, self._write_turn, abandon=False)

    def _open(self) -> Contents:
        # One file has one lock, by whichever name and link it is reached.
        self._path = self._path.resolve()
        writer = StoreWriter(self._path, self._migrations)
        try:
            contents = writer.load()
            self._reader = StoreReader(self._path)
        except BaseException:
            writer.close()
            raise
        self._writer = writer
        return contents

    async def append(self, entries: Sequence[Entry]) -> None:
        """See `Log.append`."""
        if self._failure is not None:
            raise StoreFailedError(str(self._failure)) from self._failure
        try:
            await self._write(lambda writer: writer.append(entries))
        except StoreFailedError as failure:
            # After a failed fsync nobody knows what the disk has: only a new start tells.
            self._failure = failure
            raise

    async def prune(self, retention: Retention) -> bool:
        """See `Log.prune`."""
        return await self._write(lambda writer: writer.prune(retention))

    async def events_after(self, event_id: int, limit: int) -> tuple[EventRow, ...]:
        """See `Log.events_after`."""
        return await self._read(lambda reader: reader.events_after(event_id, limit))

    async def events_about(self, subject: str, limit: int) -> tuple[EventRow, ...]:
        """See `Log.events_about`."""
        return await self._read(lambda reader: reader.events_about(subject, limit))

    async def archived(self, key: Key) -> ArchivedRow | None:
        """See `Log.archived`."""
        return await self._read(lambda reader: reader.archived(key))

    async def archived_page(
        self, kind: str, *, limit: int, before: int | None
    ) -> tuple[ArchivedRow, ...]:
        """See `Log.archived_page`."""
        return await self._read(lambda reader: reader.archived_page(kind, limit, before))

    async def archived_by_lookup(
        self, kind: str, lookup: str, *, since: float
    ) -> ArchivedRow | None:
        """See `Log.archived_by_lookup`."""
        return await self._read(lambda reader: reader.archived_by_lookup(kind, lookup, since))

    async def close(self) -> None:
        """See `Log.close`."""
        reader, self._reader = self._reader, None
        if reader is not None:
            await self._call(reader.close, self._reading)
        writer, self._writer = self._writer, None
        if writer is not None:
            await self._call(writer.close, self._write_turn)

    async def _write(self, work: Callable[[StoreWriter], T]) -> T:
        writer = self._writer
        if writer is None:
            raise StoreFailedError(f"store {self._path} is closed")
        return await self._call(lambda: work(writer), self._write_turn)

    async def _read(self, work: Callable[[StoreReader], T]) -> T:
        """Read in the thread, together with all reads that came while it was busy.

        A hop to a thread costs many times a read while the loop is busy: each waits for the
        interpreter's lock anew. Cancelled before its turn, a read is left for the next hop.
        """
        if self._reader is None:
            raise StoreFailedError(f"store {self._path} is closed")
        mine = _Read(work)
        self._reads.append(mine)
        async with self._read_turn:
            if mine.came_of_it is None:
                await self._call(self._read_all, self._reading)
        assert mine.came_of_it is not None
        try:
            return cast(T, mine.came_of_it.unwrap())
        except sqlite3.Error as error:
            raise explained(error, self._path) from error

    def _read_all(self) -> None:
        reads, self._reads = self._reads, []
        # Closing takes it away at any moment, and then waits until this has come to its end.
        reader = self._reader
        for read in reads:
            if reader is None:
                closed = StoreFailedError(f"store {self._path} is closed")
                read.came_of_it = outcome.Error(closed)
            else:
                read.came_of_it = outcome.capture(read.work, reader)

    async def _call(
        self, work: Callable[[], T], turn: trio.CapacityLimiter, *, abandon: bool = True
    ) -> T:
        try:
            return await trio.to_thread.run_sync(work, limiter=turn, abandon_on_cancel=abandon)
        except sqlite3.Error as error:
            raise explained(error, self._path) from error
        except OSError as error:
            raise StoreFailedError(f"store {self._path}: {error}") from error
