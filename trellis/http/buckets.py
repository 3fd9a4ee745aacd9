"""Token buckets: how fast calls may go, what a refusal teaches, and what a day allows."""

import math
from collections import deque
from typing import Final

import attrs

from trellis.http.message import Verb

DAY_S: Final = 86400.0
_RECOVER_S: Final = 60.0
"""Seconds in which a halved rate comes back to what it was before."""
_KEPT_SHARE: Final = 0.95
"""Share of the rate that was refused at which it stays, so as not to be refused again."""
_KEPT_FOR_S: Final = 600.0
"""So long it stays there before it tries whether the cloud takes more by now."""
_MEMORY_S: Final = 1.0
"""Span over which the actual rate is measured, for buckets that were given none."""
_SLOWEST: Final = 1 / 60
"""Calls per second below which refusals push no rate."""
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0
_NEARLY: Final = 1e-6
"""Tokens that may be missing: sums of floats would make us wait for the last 1e-16."""


@attrs.frozen(kw_only=True)
class Limit:
    """What one service allows for one class of calls, or for all of them together.

    Attributes:
        per_s: calls per second in the long run; inf if nothing is known.
        burst: calls that may go at once after a quiet time.
        per_day: calls in any 24 hours; None for no such limit.
    """

    per_s: float = math.inf
    burst: float = 10.0
    per_day: int | None = None

    def __attrs_post_init__(self) -> None:
        if not self.per_s > 0:
            raise ValueError(f"a rate must be above 0 calls per second, not {self.per_s}")
        if not self.burst >= 1:
            raise ValueError(f"a burst must be at least 1 call, not {self.burst}")

    def __str__(self) -> str:
        """As people are shown it: ``0.75 calls a second, 15 at once; 1000 a day``."""
        rate = f"{self.per_s:g} calls a second, {self.burst:g} at once"
        day = "" if self.per_day is None else f"{self.per_day} a day"
        return "; ".join(part for part in ("" if self.per_s == math.inf else rate, day) if part)


@attrs.frozen(kw_only=True)
class RatePlan:
    """What is known of a cloud's rate limits before the first call.

    Attributes:
        every: the limit for all calls of a service together, unless ``services`` has one.
        services: limits of single services, all their calls together.
        verbs: limits of a class of calls at a service, under the service's own.
    """

    every: Limit = Limit()
    services: dict[str, Limit] = attrs.field(factory=dict)
    verbs: dict[tuple[str, Verb], Limit] = attrs.field(factory=dict)

    def shared(self, service: str) -> Limit:
        """The limit for all calls of a service together."""
        return self.services.get(service, self.every)

    def verb(self, service: str, verb: Verb) -> Limit:
        """The limit for a class of calls at a service."""
        return self.verbs.get((service, verb), Limit())


class Bucket:
    """One token bucket that learns: a refusal pauses and halves it, time brings it back.

    It comes back to a little less than what was refused, and stays there for long: a rate that
    went on rising would be refused, and halved, again and again.

    All times are `trio.current_time`; the bucket reads no clock itself.
    """

    def __init__(self, limit: Limit, now: float) -> None:
        self._limit = limit
        self._tokens = limit.burst
        self._filled_at = now
        self._paused_until = -math.inf
        self._slowed_at = -math.inf
        self._before = limit.per_s
        self._guessed = False
        self._refusals = 0
        self._seen = 0.0
        self._seen_at = now
        self._today: deque[float] = deque()

    def change_limit(self, limit: Limit, now: float) -> None:
        """Keep to another limit from now on; what refusals taught stays."""
        self._fill(now)
        self._limit = limit
        self._tokens = min(self._tokens, limit.burst)

    @property
    def counts_days(self) -> bool:
        """Whether it has a limit of a day."""
        return self._limit.per_day is not None

    def rate(self, now: float) -> float:
        """Calls per second at this moment; inf if nothing limits them."""
        if self._slowed_at == -math.inf:
            return self._limit.per_s
        since = max(0.0, now - max(self._slowed_at, self._paused_until))
        kept_from = (2 * _KEPT_SHARE - 1) * _RECOVER_S
        rises_for = since if since < kept_from else max(kept_from, since - _KEPT_FOR_S)
        risen = self._before / 2 * (1 + rises_for / _RECOVER_S)
        return min(self._limit.per_s, max(_SLOWEST, risen))

    def is_open(self, now: float) -> bool:
        """Whether nothing limits the calls now: no limit is known, and no refusal taught one."""
        return (
            self._slowed_at == -math.inf
            and self._paused_until <= now
            and self._limit.per_s == math.inf
            and self._limit.per_day is None
        )

    def delay(self, now: float) -> float:
        """Seconds until a token is there; 0.0 if one is."""
        if self.is_open(now):
            return 0.0
        self._fill(now)
        wait = max(0.0, self._paused_until - now)
        missing = 1.0 - self._tokens
        if missing > _NEARLY:
            wait = max(wait, wait + missing / self.rate(now + wait))
        if (most := self._limit.per_day) is not None:
            self._forget_yesterday(now)
            if most <= 0:
                return math.inf
            if len(self._today) >= most:
                wait = max(wait, self._today[len(self._today) - most] + DAY_S - now)
        return wait

    def within(self, now: float, span_s: float) -> float:
        """About how many tokens there will be in the next *span_s* seconds; inf without a limit.

        A limit of a day is left aside: see `left_today`.
        """
        if span_s > 0.0 and self.is_open(now):
            return math.inf
        self._fill(now)
        begin, end = max(now, self._paused_until), now + span_s
        if begin >= end:
            return 0.0
        return self._tokens + (end - begin) * (self.rate(begin) + self.rate(end)) / 2

    def take(self, now: float) -> None:
        """Take a token; `delay` has just said 0."""
        self._fill(now)
        self._tokens -= 1.0
        self._seen = self._recent(now) + 1.0
        self._seen_at = now
        if self._limit.per_day is not None:
            self._today.append(now)

    def give_back(self) -> None:
        """Return the token that was taken last: its call was not made."""
        self._tokens = min(self._limit.burst, self._tokens + 1.0)
        self._seen = max(0.0, self._seen - 1.0)
        if self._today:
            self._today.pop()

    def count_today(self, now: float) -> None:
        """Count a call against the limit of a day, which `take` had counted and was given back."""
        if self._limit.per_day is not None:
            self._today.append(now)

    def uncount_today(self, taken_at: float) -> None:
        """Count a token that was taken then no longer: its call is not made."""
        if taken_at in self._today:
            self._today.remove(taken_at)

    def left_today(self, now: float) -> int | None:
        """How many tokens the limit of a day has left; None without such a limit."""
        if (most := self._limit.per_day) is None:
            return None
        self._forget_yesterday(now)
        return max(0, most - len(self._today))

    def note_past(self, times: list[float]) -> None:
        """Count calls of an earlier process against the day; *times* may lie before the clock."""
        if self._limit.per_day is not None:
            self._today = deque(sorted([*self._today, *times]))

    def refused(
        self, now: float, *, sent_at: float, pause_s: float | None, at_least: float = 1.0
    ) -> None:
        """The cloud said that it was too fast.

        Args:
            at_least: calls per second that the first guess of a rate is not to be below.
            sent_at: when the refused call was sent. Calls that were under way when the bucket
                slowed down say nothing about the new rate: they prolong the pause only.
            pause_s: how long the cloud wants to be left alone; None if it did not say, then
                pauses double with each refusal in a row. More than a minute is believed by and
                by, twice as much with each refusal in a row: what is senseless costs a minute,
                and what is true a few calls.
        """
        news = sent_at > self._slowed_at
        self.not_taken(now)
        if news:
            before = self.rate(now)
            self._guessed = math.isinf(before)
            self._before = max(at_least, self.recent_rate(now)) if self._guessed else before
            self._refusals += 1
            self._slowed_at = now
        elif self._guessed:
            # It was under way when the rate was guessed, as one that the cloud would take.
            self._before = max(1.0, self._before - 1.0 / _MEMORY_S)
        # No more doublings than it takes: 2.0 ** 1024 is an error.
        doublings = min(10, max(1, self._refusals) - 1)
        if pause_s is None:
            pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0**doublings) if news else 0.0
        pause_s = min(pause_s, _LONGEST_PAUSE_S * 2.0**doublings)
        self._paused_until = max(self._paused_until, now + pause_s)
        self._tokens = min(self._tokens, 1.0)

    def unlearn(self) -> None:
        """Forget what refusals taught, but for the pause: another bucket was too fast."""
        self._slowed_at = -math.inf

    def recent_rate(self, now: float) -> float:
        """Calls per second of late, as far as the cloud took them."""
        return self._recent(now) / _MEMORY_S

    def accepted(self, *, sent_at: float) -> None:
        """The cloud took a call; a later refusal starts with a short pause again."""
        if sent_at > self._slowed_at:
            self._refusals = 0

    def not_taken(self, now: float) -> None:
        """A call was refused, be it for another bucket: it says nothing of what the cloud takes."""
        self._seen = max(0.0, self._recent(now) - 1.0)
        self._seen_at = now

    def _fill(self, now: float) -> None:
        rate = self.rate(now)
        if rate == math.inf:
            self._tokens = self._limit.burst
        else:
            since = max(0.0, now - max(self._filled_at, self._paused_until))
            self._tokens = min(self._limit.burst, self._tokens + since * rate)
        self._filled_at = now

    def _recent(self, now: float) -> float:
        """Calls of the last seconds, older ones fading."""
        return self._seen * math.exp(-(now - self._seen_at) / _MEMORY_S)

    def _forget_yesterday(self, now: float) -> None:
        while self._today and self._today[0] <= now - DAY_S:
            self._today.popleft()
