"""The breakers of one owner, and their record: each that is not closed outlives the process.

That spares a cloud after a restart, which would else send it the whole queue again; and each
step of a breaker is an event, as every change of a record is.
"""

import time
import zlib
from collections.abc import Callable, Collection, Iterator
from random import Random

import attrs
import structlog
import trio

from trellis.control.breaker import Breaker, Rule
from trellis.model.breaker import BreakerRecord, BreakerState, BreakerStatus, Scope
from trellis.model.names import NodeId
from trellis.model.provider import ProviderRecord
from trellis.model.records import Change
from trellis.scheduler.snapshot import Held
from trellis.store.store import Store

log = structlog.get_logger()

RULES = {
    Scope.ACCOUNT: Rule(after=1, first_s=5.0, most_s=300.0),
    Scope.REGION: Rule(after=3, first_s=30.0, most_s=600.0),
    Scope.EVERYWHERE: Rule(after=4, first_s=30.0, most_s=600.0),
    Scope.IMAGE: Rule(after=3, first_s=30.0, most_s=600.0),
    Scope.LABEL: Rule(after=3, first_s=30.0, most_s=600.0),
    Scope.CAPACITY: Rule(after=2, first_s=30.0, most_s=600.0),
}
"""When each kind opens and for how long.

A single *No valid host* opens nothing: refusals come at once and successes a boot later, so where
two launches in a hundred find no host, a breaker after each cost a seventh of all nodes (measured
in simulation).
"""


@attrs.frozen
class Key:
    """What tells a breaker from the others of its owner.

    Attributes:
        parts: ids; a zone that is not named is "".
        subject: what it is about, in words.
    """

    scope: Scope
    parts: tuple[str, ...] = ()
    subject: str = attrs.field(default="", eq=False)

    @property
    def about_reading(self) -> bool:
        """Whether it is about reading the cloud, and not about launches."""
        return self.scope is Scope.ACCOUNT or (self.scope is Scope.REGION and len(self.parts) > 0)

    def id_of(self, owner: str) -> str:
        """A text that is stable and fit for a URL."""
        first = f"{owner}:{self.scope.value}" if owner else self.scope.value
        if not self.parts:
            return first
        return f"{first}:{zlib.crc32(chr(0).join(self.parts).encode()):08x}"


@attrs.define(eq=False)
class Entry:
    """One breaker and what it is about.

    Attributes:
        since: when it opened first, in UTC seconds.
        next_at: when it was to let a probe through, as it last opened, in UTC seconds.
        record: as it was last recorded; None while it is closed.
    """

    key: Key
    breaker: Breaker
    since: float = 0.0
    next_at: float = 0.0
    record: BreakerRecord | None = None


class Book:
    """The breakers of a provider, or of all of them.

    Args:
        owner: the provider; "" for what is about all of them.
        building: whether a node is still being launched: none else can be a probe.
    """

    def __init__(
        self,
        owner: str,
        *,
        store: Store,
        wall: Callable[[], float],
        random: Random,
        building: Callable[[NodeId], bool],
    ) -> None:
        self.owner = owner
        self._store, self._wall, self._random = store, wall, random
        self._entries: dict[Key, Entry] = {}
        self._open: dict[Key, Entry] = {}
        record = store.head(ProviderRecord, self.owner)
        for known in record.breakers if record is not None else ():
            self._recall(known, building)

    def _recall(self, known: BreakerRecord, building: Callable[[NodeId], bool]) -> None:
        entry = self.at(Key(known.scope, known.key, known.subject))
        breaker, now = entry.breaker, trio.current_time()
        breaker.failures, breaker.stage, breaker.reason = known.failures, known.stage, known.reason
        breaker.wait_s, breaker.last = known.wait_s, known.last
        # The clock may have been set while nobody looked: never longer than it was meant.
        breaker.due_at = now + min(known.wait_s, max(0.0, known.next_at - self._wall()))
        if known.probe is not None and building(known.probe):
            breaker.probe, breaker.probe_until = known.probe, now + breaker.rule.most_s
        entry.since, entry.next_at, entry.record = known.since, known.next_at, known
        self._open[entry.key] = entry

    # --------------------------------------------------------------------------- looking

    def find(self, key: Key) -> Entry | None:
        """The breaker of a key, if anything is known of it."""
        return self._entries.get(key)

    def at(self, key: Key) -> Entry:
        """The breaker of a key."""
        entry = self._entries.get(key)
        if entry is None:
            breaker = Breaker(rule=RULES[key.scope], chance=self._random.random)
            entry = self._entries[key] = Entry(key, breaker)
        return entry

    @property
    def knows_any(self) -> bool:
        """Whether anything has failed at all."""
        return len(self._entries) > 0

    def entries(self) -> Collection[Entry]:
        """All of which anything is remembered."""
        return self._entries.values()

    def open_ones(self) -> Collection[Entry]:
        """Those that are not closed."""
        return self._open.values()

    def named(self, breaker_id: str) -> Entry | None:
        """The one of this id, if it is not closed."""
        return next((x for x in self._open.values() if self.id_of(x) == breaker_id), None)

    def id_of(self, entry: Entry) -> str:
        """What people call it by."""
        return entry.key.id_of(self.owner)

    def held(self, entry: Entry, *, later_s: float = 0.0) -> Held:
        """How the planner has to keep to one that is not closed.

        Args:
            later_s: launches of this kind let others go first for so long.
        """
        now, breaker = trio.current_time(), entry.breaker
        return Held(
            key=self.id_of(entry),
            reason=self.words(entry),
            turn=breaker.turn(now, later_s=later_s),
            # What nobody waits for does not take the turn of what somebody does.
            shelf_turn=breaker.turn(now, later_s=later_s + breaker.wait_s),
            left_s=max(0.0, breaker.due_at + later_s - now),
        )

    def words(self, entry: Entry) -> str:
        """All that is to be said of one that is not closed."""
        now, breaker = trio.current_time(), entry.breaker
        since = time.strftime("%H:%M:%SZ", time.gmtime(entry.since))
        if entry.key.about_reading:
            next_s = max(0.0, breaker.due_at - now)
            said = f"{entry.key.subject}: {breaker.reason} (since {since})"
            return f"{said}; it is tried again in {next_s:.0f} s"
        many = f"{breaker.failures} launches failed in a row"
        if breaker.failures == 1:
            many = "a launch failed"
        said = f"{entry.key.subject}: {many}, left alone since {since} ({breaker.reason})"
        if (probe := breaker.holder(now)) is not None:
            return f"{said}; node {probe} is the probe, the others wait for how it ends"
        if now < breaker.due_at:
            return f"{said}; one is tried again in {breaker.due_at - now:.0f} s"
        return f"{said}; the next launch is tried alone, as the probe"

    def statuses(self) -> Iterator[BreakerStatus]:
        """Those that are not closed, as people see them."""
        now = trio.current_time()
        for entry in self._open.values():
            breaker = entry.breaker
            probe = breaker.holder(now)
            yield BreakerStatus(
                id=self.id_of(entry),
                provider=self.owner,
                scope=entry.key.scope,
                subject=entry.key.subject,
                state=breaker.state(now),
                since=entry.since,
                failures=breaker.failures,
                reason=breaker.reason,
                next_probe_s=None if probe is not None else max(0.0, breaker.due_at - now),
                probe=probe,
                words=self.words(entry),
            )

    # ----------------------------------------------------------------------------- acting

    def opened(self, entry: Entry) -> None:
        """Record that one is open, or open anew."""
        now = self._wall()
        if entry.key not in self._open:
            entry.since = now
            self._open[entry.key] = entry
        entry.next_at = now + max(0.0, entry.breaker.due_at - trio.current_time())
        self._write(entry, "breaker_opened", self.words(entry))

    def probing(self, entry: Entry) -> None:
        """Record that one has its probe."""
        self._write(entry, "breaker_half_open", self.words(entry))

    def closed(self, entry: Entry, why: str) -> None:
        """Record that one is closed."""
        entry.breaker.reset()
        del self._open[entry.key]
        self._write(entry, "breaker_closed", f"{entry.key.subject}: {why}")

    def forget(self, entry: Entry, *, anyway: bool = False) -> None:
        """Drop one of which nothing is to be remembered.

        Args:
            anyway: also if launches of it have failed, unless it is open.
        """
        if entry.breaker.idle or (anyway and entry.breaker.closed):
            self._entries.pop(entry.key, None)

    def _write(self, entry: Entry, event: str, why: str) -> None:
        before = self._store.head(ProviderRecord, self.owner)
        known = before or ProviderRecord(name=self.owner)
        # The others stay as they were recorded: a change is the step of one breaker.
        entry.record = self._record(entry) if entry.key in self._open else None
        records = (one.record for one in self._open.values())
        after = attrs.evolve(known, breakers=tuple(one for one in records if one is not None))
        if after != known:
            log.info(event, breaker=self.id_of(entry), why=why)
            self._store.stage([Change(before, after, why=why)])

    def _record(self, entry: Entry) -> BreakerRecord:
        breaker = entry.breaker
        return BreakerRecord(
            id=self.id_of(entry),
            scope=entry.key.scope,
            key=entry.key.parts,
            subject=entry.key.subject,
            failures=breaker.failures,
            stage=breaker.stage,
            wait_s=breaker.wait_s,
            since=entry.since,
            next_at=entry.next_at,
            reason=breaker.reason,
            probe=breaker.probe,
            last=breaker.last,
        )


def is_open(entry: Entry) -> bool:
    """Whether nothing may go at all now."""
    return entry.breaker.state(trio.current_time()) is BreakerState.OPEN
