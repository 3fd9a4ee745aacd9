"""Who asks for what, and when: the streams of demand of a scenario.

A stream's requests come evenly by chance, with the rhythm of days and weeks, in bursts, or as
they were recorded. What a request is (its moment, labels, use and end) is drawn from the
stream's own chance alone: however the clouds fare, the same seed asks for the same.
"""

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from pathlib import Path
from random import Random
from typing import Any, Final

import attrs

from trellis.sim.cloud.spec import Lognormal

DEFAULT_LABELS: Final = ("small", "large")
FIRST_CANCEL_S: Final = 90.0
"""A requestor that cancels does so within so many seconds."""
HOUR_S: Final = 3600.0
DAY_S: Final = 24 * HOUR_S
WEEK_S: Final = 7 * DAY_S
_YEAR_S: Final = 366 * DAY_S
_MOST_REQUESTS: Final = 1_000_000
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def between(least: float, most: float) -> Callable[[Any, Any, Any], None]:
    """Refuse a number outside of these bounds; None passes."""

    def check(_instance: object, _field: object, value: float | None) -> None:
        if value is not None and not least <= value <= most:
            raise ValueError(f"must be from {least:g} to {most:g}, not {value:g}")

    return check


def _sizes(_instance: object, _field: object, value: tuple[float, ...]) -> None:
    if not 1 <= len(value) <= 100 or not all(0.0 <= x < math.inf for x in value) or not sum(value):
        raise ValueError("must be the chances of one, two, three … nodes, one at least above 0")


def _weights(count: int, what: str) -> Callable[[Any, Any, Any], None]:
    def check(_instance: object, _field: object, value: tuple[float, ...]) -> None:
        if len(value) != count or not all(0.0 <= x < math.inf for x in value) or not sum(value):
            raise ValueError(f"must be {count} numbers, one for each {what}, one at least above 0")

    return check


def _priorities(_instance: object, _field: object, value: tuple[int, ...]) -> None:
    if not value or not all(0 <= priority <= 999 for priority in value):
        raise ValueError("must be one or more priorities from 0 (served first) to 999")


def _texts(_instance: object, _field: object, value: tuple[str, ...]) -> None:
    if not all(text.strip() for text in value):
        raise ValueError("must be names, none of them empty")


def _some_texts(instance: object, field: object, value: tuple[str, ...]) -> None:
    if not value:
        raise ValueError("must name one at least")
    _texts(instance, field, value)


def _day(_instance: object, _field: object, value: str) -> None:
    if value not in _DAYS:
        raise ValueError(f"must be one of {', '.join(_DAYS)}, not {value[:60]!r}")


@attrs.frozen(kw_only=True)
class Rhythm:
    """How busy the hours of a day and the days of a week are, against each other.

    Attributes:
        hours: 24 weights, from midnight on.
        weekdays: seven weights, from Monday on.
        begins_on: weekday on which the simulation begins.
        begins_at: hour of that day at which it begins, as 8.5 for half past eight.
    """

    hours: tuple[float, ...] = attrs.field(default=(1.0,) * 24, validator=_weights(24, "hour"))
    weekdays: tuple[float, ...] = attrs.field(default=(1.0,) * 7, validator=_weights(7, "weekday"))
    begins_on: str = attrs.field(default=_DAYS[0], validator=_day)
    begins_at: float = attrs.field(default=0.0, validator=between(0.0, 24.0))

    def weight(self, at: float) -> float:
        """How busy it is *at* so many seconds, by its weights as they stand."""
        seconds = _DAYS.index(self.begins_on) * DAY_S + self.begins_at * HOUR_S + at
        weekday, second = divmod(seconds % WEEK_S, DAY_S)
        return self.weekdays[int(weekday)] * self.hours[min(23, int(second // HOUR_S))]

    @property
    def mean(self) -> float:
        """The weight of an average hour of the week."""
        return sum(self.hours) / 24 * sum(self.weekdays) / 7

    @property
    def peak(self) -> float:
        """The weight of the busiest hour."""
        return max(self.hours) * max(self.weekdays)


@attrs.frozen(kw_only=True)
class Burst:
    """Many requests at one moment, as when the gate of a CI system is reset.

    At a reset all of them end at once, those that wait by being cancelled and those that run by
    giving back their nodes, and all are filed anew.

    Attributes:
        size: requests filed at the same moment.
        resets: how often each burst is reset.
        reset_after: from the filing to the reset.
    """

    size: int = attrs.field(validator=between(1, 100_000))
    resets: int = attrs.field(default=0, validator=between(0, 100))
    reset_after: Lognormal = attrs.field(factory=lambda: Lognormal(300.0, 900.0))


@attrs.frozen(kw_only=True)
class Arrival:
    """One request as it was recorded.

    Attributes:
        time: when it was filed, in seconds from the beginning.
        labels: what it asked for, one label for each node.
        use_s: how long its nodes were used; drawn as the stream says if left out.
        priority: its priority; drawn as the stream says if left out.
        tenant: its tenant; drawn as the stream says if left out.
        provider: the one provider that it insisted on.
    """

    time: float = attrs.field(validator=between(0.0, _YEAR_S))
    labels: tuple[str, ...] = attrs.field(validator=_some_texts)
    use_s: float | None = attrs.field(default=None, validator=between(0.0, _YEAR_S))
    priority: int | None = attrs.field(default=None, validator=between(0, 999))
    tenant: str | None = None
    provider: str | None = None


@attrs.frozen(kw_only=True)
class DemandSpec:
    """One stream of requests; times in seconds.

    Attributes:
        name: what reports call the stream.
        requests: how many are filed in all, those that a reset files anew not counted; of
            recorded ones 0 is all.
        every_s: mean time between two of them, or between two bursts.
        arrivals: requests as they were recorded: the path of a file (CSV or JSON lines), or a
            list. Replaces ``requests`` and ``every-s``.
        starts_at: when the stream begins.
        factor: so many times as much of it, over the same time.
        rhythm: the hours and days at which more of it comes; ``every-s`` is the mean of a week.
        burst: it comes in bursts.
        labels: labels to choose from; one named twice is chosen twice as often.
        mixed: the nodes of one request may have different labels.
        sizes: chances of one, two, three … nodes in a request.
        use: how long its nodes are used.
        priorities: priorities to choose from.
        tenants: tenants to choose from; none is no tenant.
        provider: the one provider that all its requests insist on.
        cancel: chance that a request is cancelled, at a moment drawn from its first 90 seconds.
        expire: chance that the requestor dies and its lease runs out.
    """

    name: str = "demand"
    requests: int = attrs.field(default=0, validator=between(0, _MOST_REQUESTS))
    every_s: float = attrs.field(default=0.0, validator=between(0.0, 31 * DAY_S))
    arrivals: tuple[Arrival, ...] | Path | None = None
    starts_at: float = attrs.field(default=0.0, validator=between(0.0, _YEAR_S))
    factor: float = attrs.field(default=1.0, validator=between(0.001, 1000.0))
    rhythm: Rhythm | None = None
    burst: Burst | None = None
    labels: tuple[str, ...] = attrs.field(default=DEFAULT_LABELS, validator=_some_texts)
    mixed: bool = True
    sizes: tuple[float, ...] = attrs.field(default=(0.7, 0.2, 0.1), validator=_sizes)
    use: Lognormal = attrs.field(factory=lambda: Lognormal(120.0, 600.0))
    priorities: tuple[int, ...] = attrs.field(default=(100, 200, 200, 300), validator=_priorities)
    tenants: tuple[str, ...] = attrs.field(default=(), validator=_texts)
    provider: str | None = None
    cancel: float = attrs.field(default=0.08, validator=between(0.0, 1.0))
    expire: float = attrs.field(default=0.03, validator=between(0.0, 1.0))

    def __attrs_post_init__(self) -> None:
        """Refuse what does not fit together."""
        if self.arrivals is not None:
            if self.rhythm or self.burst or self.every_s:
                raise ValueError("recorded arrivals have no every-s, rhythm or burst")
        elif not self.requests or not self.every_s:
            raise ValueError("needs requests and every-s, both above 0, or arrivals")
        if self.rhythm and self.burst:
            raise ValueError("has a rhythm or comes in bursts: make two streams of it")


@attrs.frozen(kw_only=True)
class Wanted:
    """One request as its requestor means it.

    Attributes:
        at: when it is filed.
        requestor: who files it; no two have the same name.
        cancel_after_s: it is cancelled if it is not fulfilled by then; None is never.
        expires: the requestor dies as soon as he is served.
        ends_at: when it is cancelled, or its nodes are given back, whatever they do; None is never.
    """

    at: float
    requestor: str
    stream: str
    labels: tuple[str, ...]
    use_s: float
    priority: int = 200
    tenant: str | None = None
    provider: str | None = None
    cancel_after_s: float | None = None
    expires: bool = False
    ends_at: float | None = None


def wanted(streams: Sequence[DemandSpec], random: Random) -> Iterator[Wanted]:
    """All requests of all streams, in the order of time, drawn as they are asked for.

    Args:
        streams: each draws from a chance of its own: one more leaves the others as they are.
        random: where these chances come from.
    """
    chances = [Random(random.getrandbits(64)) for _ in streams]
    only = len(streams) == 1
    each = [
        _stream(spec, "job" if only else f"{spec.name}-{number}", chance)
        for number, (spec, chance) in enumerate(zip(streams, chances, strict=True))
    ]
    return each[0] if only else heapq.merge(*each, key=attrgetter("at"))


def _stream(spec: DemandSpec, prefix: str, chance: Random) -> Iterator[Wanted]:
    if spec.arrivals is not None:
        return _recorded(spec, prefix, chance)
    if spec.burst is not None:
        return _bursts(spec, spec.burst, prefix, chance)
    times = _rhythmic(spec, spec.rhythm, chance) if spec.rhythm else _even(spec, chance)
    count = _times(spec.requests, spec.factor)
    return (
        _drawn(spec, at, f"{prefix}-{number}", chance)
        for number, at in enumerate(islice(times, count))
    )


def _even(spec: DemandSpec, chance: Random) -> Iterator[float]:
    at, rate = spec.starts_at, spec.factor / spec.every_s
    while True:
        at += chance.expovariate(rate)
        yield at


def _rhythmic(spec: DemandSpec, rhythm: Rhythm, chance: Random) -> Iterator[float]:
    """Draws at the rate of the busiest hour, and keeps as many as the hour has."""
    peak = rhythm.peak
    rate = spec.factor / spec.every_s * peak / rhythm.mean
    at = spec.starts_at
    while True:
        at += chance.expovariate(rate)
        if chance.random() * peak < rhythm.weight(at):
            yield at


def _bursts(spec: DemandSpec, burst: Burst, prefix: str, chance: Random) -> Iterator[Wanted]:
    left, size = _times(spec.requests, spec.factor), _times(burst.size, spec.factor)
    waiting: list[tuple[float, int, Wanted]] = []
    at, number = spec.starts_at, 0
    while left or waiting:
        if left:
            at += chance.expovariate(1 / spec.every_s)
        while waiting and (not left or waiting[0][0] <= at):
            yield heapq.heappop(waiting)[2]
        if not left:
            continue
        ends = [at]
        for _ in range(burst.resets):
            ends.append(ends[-1] + burst.reset_after.draw(chance))
        for _ in range(min(size, left)):
            first = _drawn(spec, at, f"{prefix}-{number}", chance)
            for again, filed_at in enumerate(ends):
                last = again == len(ends) - 1
                one = attrs.evolve(
                    first,
                    at=filed_at,
                    requestor=first.requestor if not again else f"{first.requestor}-again-{again}",
                    ends_at=None if last else ends[again + 1],
                )
                heapq.heappush(waiting, (filed_at, number * 128 + again, one))
            number += 1
        left -= min(size, left)


def _recorded(spec: DemandSpec, prefix: str, chance: Random) -> Iterator[Wanted]:
    assert isinstance(spec.arrivals, tuple), "a path is read when the scenario is"
    number = 0
    ordered = sorted(spec.arrivals, key=attrgetter("time"))
    for arrival in ordered[: spec.requests or len(ordered)]:
        # So many whole copies, and one more by chance.
        copies = int(spec.factor) + (chance.random() < spec.factor % 1.0)
        for _ in range(copies):
            one = _drawn(spec, spec.starts_at + arrival.time, f"{prefix}-{number}", chance)
            yield attrs.evolve(
                one,
                labels=arrival.labels,
                use_s=one.use_s if arrival.use_s is None else arrival.use_s,
                priority=one.priority if arrival.priority is None else arrival.priority,
                tenant=arrival.tenant or one.tenant,
                provider=arrival.provider or one.provider,
            )
            number += 1


def _drawn(spec: DemandSpec, at: float, requestor: str, chance: Random) -> Wanted:
    count = chance.choices(range(1, len(spec.sizes) + 1), weights=spec.sizes)[0]
    if spec.mixed:
        labels = tuple(chance.choice(spec.labels) for _ in range(count))
    else:
        labels = (chance.choice(spec.labels),) * count
    return Wanted(
        at=at,
        requestor=requestor,
        stream=spec.name,
        labels=labels,
        use_s=spec.use.draw(chance),
        priority=chance.choice(spec.priorities),
        tenant=chance.choice(spec.tenants) if spec.tenants else None,
        provider=spec.provider,
        cancel_after_s=(
            chance.uniform(0.0, FIRST_CANCEL_S) if chance.random() < spec.cancel else None
        ),
        expires=chance.random() < spec.expire,
    )


def _times(count: int, factor: float) -> int:
    return max(1, round(count * factor))
