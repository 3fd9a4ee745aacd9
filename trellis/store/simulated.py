"""The log in simulation: no thread and no file; a disk that takes its time, and crashes."""

import random
from collections.abc import Callable, Sequence
from typing import Final

import attrs
import trio

from trellis.errors import FencedError, StoreFailedError
from trellis.model.records import Key
from trellis.store.log import ArchivedRow, Contents, Entry, EventRow, RecordRow, Retention

BUSY_AT_MOST_S: Final = 30.0
"""So long a write waits for another program that holds the store, as with SQLite."""


@attrs.define
class SimulatedDisk:
    """What survives a crash: everything synced; and what may be wrong with the disk itself.

    Attributes:
        seen: the revision that was made durable last, as the witness beside the store says.
        refuses: why nothing can be written; "" if it can.
        slow_s: seconds that each sync takes beyond its usual time.
        busy_until: another program holds the store until then, by Trio's clock.
    """

    incarnation: int = 0
    revision: int = 0
    last_event: int = 0
    last_position: int = 0
    records: dict[Key, str] = attrs.field(factory=dict)
    events: dict[int, EventRow] = attrs.field(factory=dict)
    about: dict[str, list[int]] = attrs.field(factory=dict)
    history: dict[int, ArchivedRow] = attrs.field(factory=dict)
    position_of: dict[Key, int] = attrs.field(factory=dict)
    position_by_lookup: dict[Key, int] = attrs.field(factory=dict)
    seen: int = 0
    refuses: str = ""
    slow_s: float = 0.0
    busy_until: float = 0.0
    troubled: Callable[[str], None] = lambda _trouble: None
    """Told by which of the three a write was met: ``refuses``, ``slow``, ``busy``."""

    def copied(self) -> "SimulatedDisk":
        """What a backup of it holds."""
        return attrs.evolve(
            self,
            records=dict(self.records),
            events=dict(self.events),
            about={subject: list(ids) for subject, ids in self.about.items()},
            history=dict(self.history),
            position_of=dict(self.position_of),
            position_by_lookup=dict(self.position_by_lookup),
        )

    def set_back(self, copy: "SimulatedDisk", *, witness: bool) -> None:
        """Put an older copy of the store in its place.

        Args:
            copy: as `copied` made it.
            witness: what lies beside the store is left there, and tells that it is older.
        """
        fresh = copy.copied()
        for name in (
            "incarnation", "revision", "last_event", "last_position", "records", "events",
            "about", "history", "position_of", "position_by_lookup",
        ):  # fmt: skip
            setattr(self, name, getattr(fresh, name))
        if not witness:
            self.seen = fresh.seen

    def write(self, entry: Entry) -> None:
        """Make one commit durable."""
        for row in entry.puts:
            self.records[row.key] = row.value
        for key in entry.removals:
            self.records.pop(key, None)
        for event in entry.events:
            self.events[event.id] = event
            self.last_event = event.id
            for subject in event.subjects:
                self.about.setdefault(subject, []).append(event.id)
        for archived in entry.archived:
            self.archive(archived)
        self.revision = self.seen = entry.revision

    def archive(self, row: ArchivedRow) -> None:
        """Put a record into the history, in the place of an earlier one of its key."""
        if row.key in self.position_of:
            self.forget_archived(self.history[self.position_of[row.key]])
        self.last_position += 1
        self.history[self.last_position] = attrs.evolve(row, position=self.last_position)
        self.position_of[row.key] = self.last_position
        if row.lookup is not None:
            self.position_by_lookup[row.key[0], row.lookup] = self.last_position

    @property
    def last_at(self) -> float:
        """When the last event was recorded; 0 if there is none."""
        return self.events[self.last_event].at if self.last_event in self.events else 0.0

    def forget_event(self, event: EventRow) -> None:
        """Forget one event."""
        del self.events[event.id]
        for subject in event.subjects:
            self.about[subject].remove(event.id)
            if not self.about[subject]:
                del self.about[subject]

    def forget_archived(self, row: ArchivedRow) -> None:
        """Forget one record of the history."""
        del self.history[row.position]
        del self.position_of[row.key]
        if row.lookup is not None:
            lookup = (row.key[0], row.lookup)
            if self.position_by_lookup.get(lookup) == row.position:
                del self.position_by_lookup[lookup]


class SimulatedLog:
    """A `Log` on a disk that is played: one handle is one incarnation of the daemon.

    Args:
        rng: decides how long each sync takes and what a crash leaves of one under way.
        fsync_s: seconds (of Trio's clock) that a sync takes in the mean, between half and
            one and a half of it; 0 is at once.
    """

    def __init__(self, rng: random.Random, *, fsync_s: float = 0.002) -> None:
        self._random = rng
        self._fsync_s = fsync_s
        self._disk = SimulatedDisk()
        self._unsynced: Sequence[Entry] = ()
        self._ended = trio.Event()
        self.appends = 0
        """Syncs finished by this handle."""

    # ------------------------------------------------------------------- what is played

    def crash(self) -> None:
        """Die as by ``kill -9`` or loss of power: this handle is fenced.

        Of an append under way the first few commits survive: none, some or all, by chance.
        """
        if not self._ended.is_set():
            survivors = self._random.randint(0, len(self._unsynced))
            for entry in self._unsynced[:survivors]:
                self._disk.write(entry)
        self.fence()

    def fence(self) -> None:
        """Let nothing of this handle take effect any more, an append under way included."""
        self._unsynced = ()
        self._ended.set()

    def reopen(self) -> "SimulatedLog":
        """The next incarnation's handle, on what survives; this one is fenced."""
        self.fence()
        heir = SimulatedLog(self._random, fsync_s=self._fsync_s)
        heir._disk = self._disk
        return heir

    @property
    def disk(self) -> SimulatedDisk:
        """The disk, which outlives this handle."""
        return self._disk

    # ------------------------------------------------------------------------- the port

    async def open(self) -> Contents:
        """See `Log.open`."""
        await trio.lowlevel.checkpoint()
        self._check()
        disk = self._disk
        await self._wait_for_disk()
        disk.incarnation += 1
        return Contents(
            incarnation=disk.incarnation,
            revision=disk.revision,
            last_event=disk.last_event,
            records=tuple(RecordRow(key, disk.records[key]) for key in sorted(disk.records)),
            last_at=disk.last_at,
            lost=max(0, disk.seen - disk.revision),
        )

    async def append(self, entries: Sequence[Entry]) -> None:
        """See `Log.append`."""
        self._check()
        await self._wait_for_disk()
        self._unsynced = tuple(entries)
        if self._fsync_s or self._disk.slow_s:
            latency = self._fsync_s * self._random.uniform(0.5, 1.5) + self._disk.slow_s
            if self._disk.slow_s:
                self._disk.troubled("slow")
            await self._sync(latency)
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()
        self._check()
        for entry in entries:
            self._disk.write(entry)
        self._unsynced = ()
        self.appends += 1

    async def _sync(self, seconds: float) -> None:
        """Take this long, whoever is cancelled meanwhile; the end of this handle ends it."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + seconds):
            await self._ended.wait()

    async def events_after(self, event_id: int, limit: int) -> tuple[EventRow, ...]:
        """See `Log.events_after`."""
        await self._turn()
        events = self._disk.events
        first = max(event_id + 1, next(iter(events), 1))
        last = min(first + limit - 1, self._disk.last_event)
        return tuple(events[number] for number in range(first, last + 1))

    async def events_about(self, subject: str, limit: int) -> tuple[EventRow, ...]:
        """See `Log.events_about`."""
        await self._turn()
        numbers = self._disk.about.get(subject, [])
        return tuple(self._disk.events[number] for number in numbers[-limit:])

    async def archived(self, key: Key) -> ArchivedRow | None:
        """See `Log.archived`."""
        await self._turn()
        position = self._disk.position_of.get(key)
        return None if position is None else self._disk.history[position]

    async def archived_page(
        self, kind: str, *, limit: int, before: int | None
    ) -> tuple[ArchivedRow, ...]:
        """See `Log.archived_page`."""
        await self._turn()
        page: list[ArchivedRow] = []
        for position in reversed(self._disk.history):
            if len(page) == limit:
                break
            row = self._disk.history[position]
            if row.key[0] == kind and (before is None or position < before):
                page.append(row)
        return tuple(page)

    async def archived_by_lookup(
        self, kind: str, lookup: str, *, since: float
    ) -> ArchivedRow | None:
        """See `Log.archived_by_lookup`."""
        await self._turn()
        position = self._disk.position_by_lookup.get((kind, lookup))
        row = None if position is None else self._disk.history[position]
        return row if row is not None and row.at >= since else None

    async def prune(self, retention: Retention) -> bool:
        """See `Log.prune`."""
        await self._turn()
        disk = self._disk
        for event in tuple(disk.events.values()):
            if (
                event.at >= retention.events_before
                and event.id > disk.last_event - retention.events_kept
            ):
                break
            disk.forget_event(event)
        for row in tuple(disk.history.values()):
            if (
                row.at >= retention.archived_before
                and row.position > disk.last_position - retention.archived_kept
            ):
                break
            disk.forget_archived(row)
        return False

    async def close(self) -> None:
        """See `Log.close`."""
        self.fence()
        await trio.lowlevel.checkpoint()

    async def _wait_for_disk(self) -> None:
        """Wait as long as another program holds the store.

        Raises:
            StoreFailedError: it is held for too long, or cannot be written.
        """
        disk = self._disk
        left_s = disk.busy_until - trio.current_time()
        if left_s > 0.0:
            disk.troubled("busy")
            with trio.CancelScope(shield=True), trio.move_on_after(min(left_s, BUSY_AT_MOST_S)):
                await self._ended.wait()
            self._check()
            if left_s > BUSY_AT_MOST_S:
                raise StoreFailedError("the simulated store is held by another program")
        if disk.refuses:
            disk.troubled("refuses")
            raise StoreFailedError(f"the simulated store: {disk.refuses}")

    async def _turn(self) -> None:
        await trio.lowlevel.checkpoint()
        self._check()

    def _check(self) -> None:
        if self._ended.is_set():
            raise FencedError("the simulated daemon of this log has ended: nothing takes effect")
