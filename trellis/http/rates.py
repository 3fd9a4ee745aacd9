"""Whose turn it is: the calls of one account wait here for the buckets of their service.

Each service has a bucket for all its calls and one for each class of them (`Verb`). Within a
class turns come in the order in which they were asked for, but for the list of servers, which
goes before other reads. Between classes that wait at once they are dealt out by weight,
deletions first, so that a queue of creates holds up neither the deletions that make room nor the
reads that say what is going on, and none of them starves: of ten turns deletions have four,
reads three, changes two and creates one, and where a class has nothing to do the others share
its turns alike. So whatever else waits, at one call a second a list is sent within five seconds.

A turn is dealt only when a connection can be had for the call: who waited behind the turn, for
the connection, could neither be overtaken by a deletion nor stopped when the cloud asks for quiet.
"""

import math
from collections import deque
from collections.abc import Iterable
from typing import Final

import attrs
import trio

from trellis.http.buckets import Bucket, Limit, RatePlan
from trellis.http.message import Verb

_WEIGHTS: Final = {Verb.DELETE: 4.0, Verb.READ: 3.0, Verb.CHANGE: 2.0, Verb.CREATE: 1.0}

_SHARED_WITHIN_S: Final = 10.0
"""Refusals of two classes within this time show a limit that all classes share."""

_PROMISED_FOR_S: Final = 5.0
"""How long a connection is kept for a turn that was taken ahead of its call."""


@attrs.frozen
class _Promise:
    """A turn that was taken ahead of its call."""

    verb: Verb
    taken_at: float

    @property
    def lapses_at(self) -> float:
        return self.taken_at + _PROMISED_FOR_S


@attrs.define(eq=False)
class _Ticket:
    verb: Verb
    called: trio.Event = attrs.field(factory=trio.Event)
    granted: bool = False
    granted_at: float = -math.inf


class Buckets:
    """The buckets of a plan, made when first asked for.

    Gates of several accounts share one, where a cloud counts their calls together. Each gate has
    its own queues and connections: those of an account whose calls hang hold up no other.
    """

    def __init__(self, plan: RatePlan) -> None:
        self._plan = plan
        self._made: dict[tuple[str, Verb | None], Bucket] = {}

    def of(self, service: str, verb: Verb | None = None) -> Bucket:
        """The bucket of one class of calls at a service; of all together if it is None."""
        if (service, verb) not in self._made:
            bucket = Bucket(self._limit(service, verb), trio.current_time())
            self._made[service, verb] = bucket
        return self._made[service, verb]

    def replan(self, plan: RatePlan) -> None:
        """Keep to other limits from now on; what refusals taught stays."""
        self._plan = plan
        for (service, verb), bucket in self._made.items():
            bucket.change_limit(self._limit(service, verb), trio.current_time())

    def _limit(self, service: str, verb: Verb | None) -> Limit:
        return self._plan.shared(service) if verb is None else self._plan.verb(service, verb)


class Gate:
    """The turns at one service of one account.

    A call *enters*, is in flight, and *leaves*. A turn may also be taken ahead of the call
    (`turn`, then `enter_promised`), so that something durable can be written in between. One
    whose call does not come lapses, and counts against no limit of a day.

    No task runs behind it: one of those who wait (the *keeper*) sleeps until the next token and
    deals it out; who leaves as keeper appoints another.
    """

    def __init__(self, service: str, buckets: Buckets, at_once: int) -> None:
        self.service = service
        self._shared = buckets.of(service)
        self._buckets = {verb: buckets.of(service, verb) for verb in Verb}
        self._waiting: dict[Verb, deque[_Ticket]] = {verb: deque() for verb in Verb}
        self._served = dict.fromkeys(Verb, 0.0)  # turns dealt, divided by the weight
        self._keeper: _Ticket | None = None
        self._keeper_wakes = math.inf
        self._refused_at = dict.fromkeys(Verb, -math.inf)
        self._at_once = at_once
        self._in_flight = 0
        self._promised: deque[_Promise] = deque()  # the oldest first

    def reconsider(self) -> None:
        """The buckets' limits are others now: those who wait are served by them too."""
        self._deal()
        self._rouse_keeper()

    def delay(self, verb: Verb) -> float:
        """Seconds until a turn of this class comes if nobody else waits; 0.0 if one is there."""
        now = trio.current_time()
        self._lapse(now)
        return max(self._shared.delay(now), self._buckets[verb].delay(now))

    def within(self, verb: Verb, span_s: float) -> float:
        """About how many turns of this class come in the next *span_s* seconds; inf: no limit.

        Of what all classes share, it takes what the others, as they wait now, leave. A limit of
        a day is left aside.
        """
        now = trio.current_time()
        own, shared = self._buckets[verb].within(now, span_s), self._shared.within(now, span_s)
        if shared == math.inf:
            return own
        others = self.waiting - len(self._waiting[verb])
        return min(own, max(0.0, shared - others))

    def in_line(self, verb: Verb) -> int:
        """How many calls of this class wait for their turn."""
        return len(self._waiting[verb])

    @property
    def waiting(self) -> int:
        """How many calls wait for their turn."""
        return sum(len(line) for line in self._waiting.values())

    def rate(self, verb: Verb) -> float:
        """Calls per second that this class may make now; inf if nothing limits it."""
        now = trio.current_time()
        return min(self._shared.rate(now), self._buckets[verb].rate(now))

    @property
    def slowest(self) -> float:
        """Calls per second of the class that is limited most; inf if nothing limits any."""
        now = trio.current_time()
        return min(self._shared.rate(now), *[one.rate(now) for one in self._buckets.values()])

    def left_today(self, verb: Verb) -> int | None:
        """How many calls of this class a limit of a day still allows; None if there is none."""
        if not (self._shared.counts_days or self._buckets[verb].counts_days):
            return None  # as nearly always, and it is asked in each pass of the planner
        now = trio.current_time()
        self._lapse(now)
        left, shared = self._buckets[verb].left_today(now), self._shared.left_today(now)
        if left is None or shared is None:
            return shared if left is None else left
        return min(left, shared)

    async def turn(self, verb: Verb) -> None:
        """Take a turn now for a call that will enter with `enter_promised`.

        Cancelled, it takes none. A call that comes later than 5 s, or never, blocks nobody.
        """
        taken_at = await self.enter(verb)
        self._in_flight -= 1
        self._promised.append(_Promise(verb, taken_at))

    def enter_promised(self, verb: Verb) -> None:
        """Enter with a turn that was taken before."""
        now = trio.current_time()
        self._lapse(now)
        promise = next((one for one in self._promised if one.verb is verb), None)
        if promise is not None:
            self._promised.remove(promise)
        else:
            for bucket in (self._shared, self._buckets[verb]):
                bucket.count_today(now)
        self._in_flight += 1

    def enter_at_once(self, verb: Verb) -> bool:
        """Enter if a turn is there now and nobody waits; else False, and nothing has happened."""
        now = trio.current_time()
        bucket = self._buckets[verb]
        if (
            any(self._waiting.values())
            or self._full_until(now) > now
            or self._shared.delay(now) > 0.0
            or bucket.delay(now) > 0.0
        ):
            return False
        self._shared.take(now)
        bucket.take(now)
        self._in_flight += 1
        return True

    def leave(self) -> None:
        """The call is over, however it went: another may enter."""
        self._in_flight -= 1
        if any(self._waiting.values()):
            self._deal()
            self._rouse_keeper()

    async def enter(self, verb: Verb, *, ahead: bool = False) -> float:
        """Wait for a turn and enter; `leave` must follow. Cancelled, it takes none.

        Args:
            ahead: go before those of the class that wait already.

        Returns:
            When the turn was dealt, on Trio's clock.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        ticket = _Ticket(verb)
        self._join(ticket, ahead)
        self._deal()
        if ticket.granted:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return ticket.granted_at
        self._rouse_keeper()
        try:
            await self._wait(ticket)
        except BaseException:
            self._renounce(ticket)
            raise
        finally:
            self._pass_on(ticket)
        return ticket.granted_at

    def note_past(self, verb: Verb, times: Iterable[float]) -> None:
        """Count earlier calls, at times of Trio's clock, against the limits of a day."""
        past = list(times)
        self._shared.note_past(past)
        self._buckets[verb].note_past(past)

    def refused(self, verb: Verb, *, sent_at: float, pause_s: float | None) -> None:
        """A call of this class was refused for its rate; see `Bucket.refused`."""
        now = trio.current_time()
        self._refused_at[verb] = now
        others = (at for other, at in self._refused_at.items() if other is not verb)
        if max(others) > now - _SHARED_WITHIN_S:
            self._buckets[verb].not_taken(now)
            self._shared.refused(now, sent_at=sent_at, pause_s=pause_s)
            for bucket in self._buckets.values():
                bucket.unlearn()
            return
        self._shared.not_taken(now)
        # It may be the calls of all classes that were too many, and its own only a few of them.
        total = max(1.0, self._shared.recent_rate(now))
        self._buckets[verb].refused(now, sent_at=sent_at, pause_s=pause_s, at_least=total)

    def accepted(self, verb: Verb, *, sent_at: float) -> None:
        """A call of this class was not refused for its rate."""
        self._shared.accepted(sent_at=sent_at)
        self._buckets[verb].accepted(sent_at=sent_at)

    async def _wait(self, ticket: _Ticket) -> None:
        while not ticket.granted:
            if self._keeper is None:
                self._keeper = ticket
            if self._keeper is ticket:
                self._keeper_wakes = self._next_at()
                with trio.move_on_at(self._keeper_wakes):
                    await ticket.called.wait()
                self._deal()
            else:
                await ticket.called.wait()
            ticket.called = trio.Event()

    def _join(self, ticket: _Ticket, ahead: bool) -> None:
        line = self._waiting[ticket.verb]
        if not line:
            # Who comes to the queue anew has no claim from the time when nobody had to wait.
            busy = [self._served[verb] for verb, others in self._waiting.items() if others]
            if busy:
                self._served[ticket.verb] = max(self._served[ticket.verb], min(busy))
            else:
                self._served = dict.fromkeys(Verb, 0.0)
        if ahead:
            line.appendleft(ticket)
        else:
            line.append(ticket)

    def _deal(self) -> None:
        """Grant as many turns as there are tokens and connections for."""
        now = trio.current_time()
        while self._full_until(now) <= now and self._shared.delay(now) <= 0.0:
            ready = [
                verb
                for verb, line in self._waiting.items()
                if line and self._buckets[verb].delay(now) <= 0.0
            ]
            if not ready:
                return
            verb = min(ready, key=self._served.__getitem__)  # equal: DELETE is first in Verb
            ticket = self._waiting[verb].popleft()
            self._served[verb] += 1.0 / _WEIGHTS[verb]
            self._shared.take(now)
            self._buckets[verb].take(now)
            self._in_flight += 1
            ticket.granted = True
            ticket.granted_at = now
            ticket.called.set()

    def _next_at(self) -> float:
        """When the next turn can be dealt; inf if nobody waits."""
        now = trio.current_time()
        self._lapse(now)  # before what it gives back is reckoned
        delays = [self._buckets[verb].delay(now) for verb, line in self._waiting.items() if line]
        wait = max(self._shared.delay(now), min(delays, default=math.inf))
        at = max(now + wait, self._full_until(now))
        # A promise that lapses gives its turn of the day to who waits for the next day.
        return min(at, self._promised[0].lapses_at) if self._promised and delays else at

    def _full_until(self, now: float) -> float:
        """Until when no connection is free, unless a call leaves; -inf if one is."""
        if self._promised:
            self._lapse(now)
        if self._in_flight + len(self._promised) < self._at_once:
            return -math.inf
        return self._promised[0].lapses_at if self._promised else math.inf

    def _lapse(self, now: float) -> None:
        """Forget the promises whose calls have not come."""
        while self._promised and self._promised[0].lapses_at <= now:
            promise = self._promised.popleft()
            for bucket in (self._shared, self._buckets[promise.verb]):
                bucket.uncount_today(promise.taken_at)

    def _rouse_keeper(self) -> None:
        """Wake the keeper if a turn may come sooner than it knows."""
        if self._keeper is not None and self._next_at() < self._keeper_wakes:
            self._keeper.called.set()

    def _renounce(self, ticket: _Ticket) -> None:
        """Leave the queue, or return the turn that was dealt as the cancellation came."""
        if ticket.granted:
            self._shared.give_back()
            self._buckets[ticket.verb].give_back()
            self.leave()
        else:
            self._waiting[ticket.verb].remove(ticket)

    def _pass_on(self, ticket: _Ticket) -> None:
        if self._keeper is not ticket:
            return
        # The next one is appointed at once, not when it runs: it may be cancelled before that.
        self._keeper = next((line[0] for line in self._waiting.values() if line), None)
        self._keeper_wakes = -math.inf
        if self._keeper is not None:
            self._keeper.called.set()


class Rates:
    """The gates of one account, made when a service is first called.

    Args:
        plan: what is known of the cloud's limits.
        at_once: how many calls to one service may be in flight.
        buckets: shared with other accounts, in place of *plan*.
    """

    def __init__(self, plan: RatePlan, at_once: int, buckets: Buckets | None = None) -> None:
        self._buckets = Buckets(plan) if buckets is None else buckets
        self._at_once = at_once
        self._gates: dict[str, Gate] = {}

    def gate(self, service: str) -> Gate:
        """The turns at one service."""
        gate = self._gates.get(service)
        if gate is None:
            gate = self._gates[service] = Gate(service, self._buckets, self._at_once)
        return gate

    def replan(self, plan: RatePlan) -> None:
        """Keep to other limits from now on."""
        self._buckets.replan(plan)
        for gate in self._gates.values():
            gate.reconsider()
