"""The store: the records in memory, and every change of them durable before it is seen."""

import contextlib
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Generic, Self, TypeVar, cast

import attrs
import structlog
import trio

from trellis.errors import FencedError, StoreFailedError, StoreMismatchError
from trellis.model.provider import StoreMeta
from trellis.model.records import Change, Event, Record
from trellis.store.encoding import KIND_OF, decode_event, decode_record, lookup_text
from trellis.store.log import ArchivedRow, Contents, Log, Retention
from trellis.store.staging import Batch, Committed, Pending, Stage
from trellis.store.watch import EventTail, Watch

R = TypeVar("R", bound=Record)
Listener = Callable[[Committed], None]

_DAY_S: Final = 24 * 3600.0
CLOSE_AT_MOST_S: Final = 30.0
"""So long a disk that hangs may hold up the daemon's end, once for writing, once for closing."""
SLOW_S: Final = 5.0
"""A write that takes so long is told in the log: everything waits for it."""

log = structlog.get_logger()


@attrs.frozen(kw_only=True)
class Keeping:
    """For how long, and how much of it, the store remembers what is over.

    Attributes:
        history_age_s: archived records, and events for `explain`.
        history_count: archived records at most.
        event_count: events at most.
        stream_age_s: how far back a reader of the stream may resume.
        lookup_age_s: how long an idempotency key counts after its request is archived.
    """

    history_age_s: float = 7 * _DAY_S
    history_count: int = 200_000
    event_count: int = 2_000_000
    stream_age_s: float = _DAY_S
    lookup_age_s: float = _DAY_S


@attrs.frozen(kw_only=True)
class Fence:
    """The right to write what *key* stands for, as this incarnation of the daemon."""

    key: str
    incarnation: int


@attrs.frozen(kw_only=True)
class Archived(Generic[R]):
    """A record in the history.

    Attributes:
        position: its place; ``before=position`` continues a page.
        at: when it was archived.
    """

    position: int
    at: float
    record: R


class Store:
    """All records of one deployment. Made by `Store.open`.

    What `get` and `all` show is durable. What has been committed and is not durable yet is
    seen by `head` only, against which the next commit is checked.

    Attributes:
        incarnation: how often the store has been opened.
        recorded_until: when an earlier process last recorded an event, in UTC; 0 for never.
        lost_commits: so many commits at least are known to be missing, as the file is an older
            copy of the store; 0 where nothing tells of such.
    """

    def __init__(
        self, log: Log, contents: Contents, wall: Callable[[], float], keeping: Keeping
    ) -> None:
        self.incarnation: Final = contents.incarnation
        self.recorded_until: Final = contents.last_at
        self._log = log
        self._wall = wall
        self._keeping = keeping
        self._records: dict[type[object], dict[str, Record]] = {cls: {} for cls in KIND_OF}
        for row in contents.records:
            record = decode_record(row.key, row.value)
            self._records[type(record)][row.key[1]] = record
        meta = self.get(StoreMeta, "store")
        self.lost_commits: Final = max(contents.lost, meta.lost if meta is not None else 0)
        self._stage = Stage(self._records, contents.revision, contents.last_event, wall)
        self._revision = contents.revision
        self._tail = EventTail(contents.last_event)
        self._batch = Batch()
        self._listeners: tuple[Listener, ...] = ()
        self._last: Pending | None = None
        self._closing = False
        self._writing: trio.CancelScope | None = None
        self._watching = trio.CancelScope()
        self._write_began = math.inf
        self._failure: StoreFailedError | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        log: Log,
        *,
        deployment: str,
        wall: Callable[[], float],
        keeping: Keeping = Keeping(),
    ) -> AsyncIterator[Self]:
        """Open the store for as long as the block lasts.

        Leaving the block, also by cancellation, first writes what is still staged, for which a
        disk that hangs is given 30 s: what it has not written then, nobody was told of. The body
        runs in a nursery with the task that writes: if the log fails, the body is cancelled
        and the failure leaves the block, in a group as from any nursery. What goes wrong
        while opening is raised plainly.

        Args:
            log: the log, not opened yet; closed with the store.
            deployment: whose store it must be; a new store becomes theirs.
            wall: UTC seconds since the epoch.
            keeping: what to remember of what is over.

        Raises:
            StoreInUseError: another daemon has the store.
            StoreMismatchError: another deployment's store, or one of a newer release.
            StoreFailedError: the log cannot be read or written.
        """
        try:
            store = cls(log, await log.open(), wall, keeping)
            await store._claim(deployment)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store._write_batches)
                nursery.start_soon(store._watch_disk)
                try:
                    yield store
                finally:
                    store._close()
        finally:
            with trio.move_on_after(CLOSE_AT_MOST_S, shield=True):
                await log.close()

    async def _claim(self, deployment: str) -> None:
        meta = self.get(StoreMeta, "store")
        if meta is None and self._revision == 0:
            # What the log has found out it forgets with this very commit.
            first = Change(None, StoreMeta(deployment=deployment, lost=self.lost_commits))
            self._batch.add(self._stage.take([first]))
            await self._write_batch()
        elif meta is None:
            raise StoreMismatchError(
                "the store does not say whose it is: its record `meta store` is missing. "
                "Restore it from a copy"
            )
        elif meta.deployment != deployment:
            raise StoreMismatchError(
                f"the store belongs to deployment {meta.deployment!r} and the configuration "
                f"says {deployment!r}: correct `deployment:`, or name another `store:`"
            )

    # ------------------------------------------------------------------- what there is

    @property
    def revision(self) -> int:
        """Of the last durable commit."""
        return self._revision

    @property
    def last_event(self) -> int:
        """Id of the last durable event; 0 if there never was one."""
        return self._tail.last_id

    def get(self, cls: type[R], record_id: str) -> R | None:
        """The durable record of this id, if there is one."""
        return cast("R | None", self._records[cls].get(record_id))

    def all(self, cls: type[R]) -> Mapping[str, R]:
        """A live view of all durable records of a class, by id, oldest first.

        It changes at commits: copy it to iterate over an await.
        """
        return MappingProxyType(cast("dict[str, R]", self._records[cls]))

    def head(self, cls: type[R], record_id: str) -> R | None:
        """The record as the last commit staged leaves it, durable or not yet."""
        return cast("R | None", self._stage.head(cls, record_id))

    def own(self, key: str) -> Fence:
        """Own *key* against every earlier incarnation. Here the lock on the store gives it all."""
        return Fence(key=key, incarnation=self.incarnation)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Have *listener* called after every commit, in their order; returns what ends it.

        Views show the commit already; its writer has not been told yet. The listener must
        neither block nor raise: an error of it is a bug and ends the daemon.
        """
        self._listeners = (*self._listeners, listener)

        def unsubscribe() -> None:
            self._listeners = tuple(x for x in self._listeners if x is not listener)

        return unsubscribe

    # -------------------------------------------------------------------- what changes

    async def commit(self, changes: Sequence[Change], *, fence: Fence | None = None) -> int:
        """Make *changes* durable, all or none, and return their revision: `stage`, then wait.

        A cancelled caller's commit becomes durable all the same.

        Raises:
            ConflictError, ValueError, FencedError, StoreFailedError: as `stage`.
            StoreFailedError: it could not be made durable; the daemon is about to end.
        """
        pending = self.stage(changes, fence=fence)
        if pending is None:
            await trio.lowlevel.checkpoint()
            return self._revision
        return await pending.durable()

    def stage(self, changes: Sequence[Change], *, fence: Fence | None = None) -> Pending | None:
        """Check *changes* and put them on their way, without waiting until they are durable.

        Nothing can come between a record just read and this, so a caller writes what he read.
        Commits staged in the same moment are written in one go.

        Args:
            changes: in order; a record may change more than once. None: nothing happens.
            fence: refuse unless its incarnation is this one.

        Raises:
            ConflictError: a record is not what its change says it was; nothing is staged.
            ValueError: a record cannot be written so that it reads back the same; likewise.
            FencedError: a later incarnation has the store.
            StoreFailedError: the store has failed, or is closed.
        """
        if self._failure is not None:
            raise type(self._failure)(str(self._failure)) from self._failure
        if self._closing:
            raise StoreFailedError("the store is closed")
        if fence is not None and fence.incarnation != self.incarnation:
            raise FencedError(f"{fence.key} is owned by another incarnation of the daemon")
        if not changes:
            return None
        staged = self._stage.take(changes)
        self._batch.add(staged)
        self._last = Pending(self._batch, staged.entry.revision)
        return self._last

    async def settled(self) -> None:
        """Wait until all that has been staged so far is durable, and so is seen by `get`.

        Raises:
            StoreFailedError: it could not be made durable.
        """
        if self._last is not None:
            await self._last.durable()

    def _close(self) -> None:
        self._closing = True
        self._batch.filled.set()
        self._watching.cancel()
        if self._writing is not None:
            self._writing.deadline = trio.current_time() + CLOSE_AT_MOST_S

    async def _write_batches(self) -> None:
        try:
            # Shielded: others' commits must not be lost because the body is being cancelled.
            # It ends when the body does, by _close, which gives it a deadline.
            with trio.CancelScope(shield=True) as self._writing:
                if self._closing:
                    self._writing.deadline = trio.current_time() + CLOSE_AT_MOST_S
                await self._batch.filled.wait()
                while self._batch.staged:
                    await self._write_batch()
                    await self._batch.filled.wait()
            if self._writing.cancelled_caught:
                raise StoreFailedError(
                    f"the store's disk has not answered for {CLOSE_AT_MOST_S:g} s: the daemon ends "
                    "without its last commits, of which nobody was told. Look into the kernel's "
                    "log before starting it again"
                )
        except FencedError:
            # A daemon that is being ended has nobody left to tell.
            if not self._closing and trio.current_effective_deadline() > -math.inf:
                raise
        self._tail.end(self._failure)

    async def _watch_disk(self) -> None:
        """Tell of a write that takes long, while it does: nothing goes on without it (P8)."""
        told = math.inf
        with self._watching:
            while True:
                await trio.sleep(SLOW_S)
                began = self._write_began
                waits_s = trio.current_time() - began
                if waits_s >= SLOW_S and began != told:
                    told = began
                    log.warning(
                        "store_slow",
                        waits_s=round(waits_s),
                        remedy="every step waits for the store's disk: see what else uses it",
                    )

    async def _write_batch(self) -> None:
        batch, self._batch = self._batch, Batch()
        if self._closing:
            self._batch.filled.set()
        try:
            self._write_began = trio.current_time()
            await self._log.append([staged.entry for staged in batch.staged])
            self._write_began = math.inf
            if self._closing and self._writing is not None:
                # Slow is not hung: each write has its time.
                self._writing.deadline = trio.current_time() + CLOSE_AT_MOST_S
            for staged in batch.staged:
                self._publish(staged.committed)
        except BaseException as error:
            self._fail(error, batch)
            raise
        finally:
            batch.done.set()

    def _publish(self, committed: Committed) -> None:
        for change in committed.changes:
            records = self._records[type(change.after)]
            record_id = change.key[1]
            if change.archive:
                records.pop(record_id, None)
            else:
                records[record_id] = change.after
        self._stage.settle(committed)
        self._revision = committed.revision
        self._tail.extend(committed.events)
        for listener in self._listeners:
            listener(committed)

    def _fail(self, error: BaseException, batch: Batch) -> None:
        if isinstance(error, StoreFailedError):
            failure = error
        elif isinstance(error, trio.Cancelled):
            failure = StoreFailedError(
                "the store's disk does not answer: whether this was written, the next start tells"
            )
        else:
            failure = StoreFailedError(f"the store has ended by a bug: {error!r}")
        self._failure = batch.failure = self._batch.failure = failure
        self._batch.done.set()
        self._tail.end(failure)

    # ---------------------------------------------------------------------- what was

    def watch(self, after: int | None = None) -> Watch:
        """Read the event stream.

        Args:
            after: the id of the last event seen; None starts with the next one. If what
                follows it is no longer kept (24 h), or it was never issued, the first event
                is of type ``reset`` and the stream goes on from its id.
        """
        return Watch(
            self._tail,
            self._log,
            after=after,
            wall=self._wall,
            stream_age_s=self._keeping.stream_age_s,
        )

    async def events_about(self, subject: str, limit: int) -> tuple[Event, ...]:
        """The last *limit* events about this id, oldest first, as far back as history goes."""
        rows = await self._log.events_about(subject, limit)
        return tuple(decode_event(row) for row in rows if row.id <= self._tail.last_id)

    async def history(self, cls: type[R], record_id: str) -> R | None:
        """The archived record of this id."""
        row = await self._log.archived((KIND_OF[cls], record_id))
        return None if row is None else self._archived(cls, row).record

    async def history_page(
        self, cls: type[R], *, limit: int, before: int | None = None
    ) -> tuple[Archived[R], ...]:
        """The newest *limit* archived records of a class, newest first.

        Args:
            cls: the class of record.
            limit: at most so many.
            before: the position of the last one seen, to go on from there.
        """
        rows = await self._log.archived_page(KIND_OF[cls], limit=limit, before=before)
        return tuple(self._archived(cls, row) for row in rows)

    async def history_lookup(self, cls: type[R], lookup: tuple[str, str]) -> R | None:
        """The newest record with this second key that was archived in the last 24 hours.

        Args:
            cls: the class of record; requests are the ones that have a second key.
            lookup: for a request, its requestor and idempotency key.
        """
        row = await self._log.archived_by_lookup(
            KIND_OF[cls],
            lookup_text(lookup),
            since=self._wall() - self._keeping.lookup_age_s,
        )
        return None if row is None else self._archived(cls, row).record

    def _archived(self, cls: type[R], row: ArchivedRow) -> Archived[R]:
        record = decode_record(row.key, row.value)
        assert isinstance(record, cls)
        return Archived(position=row.position, at=row.at, record=record)

    async def prune(self, now: float) -> None:
        """Forget what is older or more than is to be kept. To be called about hourly.

        Works in portions, between which commits go on. Cancelling it leaves the rest for the
        next time.

        Args:
            now: UTC seconds since the epoch.

        Raises:
            StoreFailedError: the log cannot be written.
        """
        oldest = now - self._keeping.history_age_s
        retention = Retention(
            events_before=oldest,
            events_kept=self._keeping.event_count,
            archived_before=oldest,
            archived_kept=self._keeping.history_count,
        )
        while await self._log.prune(retention):
            pass
