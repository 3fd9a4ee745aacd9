"""How many servers there were over time, by state; and calls by the minute."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import attrs

MOST_STEPS: Final = 240
_STEPS_S: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 86_400)
_MINUTE_S: Final = 60


@attrs.frozen(kw_only=True)
class Span:
    """The life of one server, in times of the clouds' clock.

    Attributes:
        up_at: when its guest answered, or its delete was called if that came first.
        leased_at: when a requestor got it; None is never.
        free_at: when he gave it back.
        going_at: when its delete was called.
        gone_at: when it was gone, or the end of the story.
        gone: whether it was.
    """

    stranger: bool
    flavor: str
    made_at: float
    up_at: float
    leased_at: float | None
    free_at: float | None
    going_at: float
    gone_at: float
    gone: bool

    @property
    def lasted(self) -> float:
        """How long it was there, in seconds."""
        return self.gone_at - self.made_at


@attrs.frozen(kw_only=True)
class Series:
    """Counts at equal distances of time, the first at 0.

    Attributes:
        step_s: distance of two counts of servers.
        building: servers of ours whose guest does not answer yet.
        ready: those that answer and that nobody has.
        in_use: those that a requestor has.
        deleting: those that are on their way out.
        strangers: servers of somebody else in the project.
        calls_step_s: length of the time in which calls are counted.
        calls: API calls in each such time.
    """

    step_s: float
    building: tuple[int, ...]
    ready: tuple[int, ...]
    in_use: tuple[int, ...]
    deleting: tuple[int, ...]
    strangers: tuple[int, ...]
    calls_step_s: float
    calls: tuple[int, ...]

    @classmethod
    def of(
        cls, spans: Sequence[Span], calls_by_minute: Mapping[int, int], end: float, step_s: float
    ) -> "Series":
        """Count what there was from 0 until *end*."""
        ours = [one for one in spans if not one.stranger]
        minutes = max(1, math.ceil(step_s / _MINUTE_S))
        calls = [0] * (max(1, math.ceil(end / _MINUTE_S / minutes)))
        for minute, many in calls_by_minute.items():
            # Those after the end look whether anything is left.
            if minute // minutes < len(calls):
                calls[minute // minutes] += many

        def count(intervals: Iterable[tuple[float, float]]) -> tuple[int, ...]:
            return _covering(intervals, step_s, int(end // step_s) + 1)

        return cls(
            step_s=step_s,
            building=count((x.made_at, x.up_at) for x in ours),
            ready=count((x.up_at, x.going_at if x.leased_at is None else x.leased_at)
                        for x in ours),
            in_use=count((x.leased_at, x.free_at) for x in ours
                         if x.leased_at is not None and x.free_at is not None),
            deleting=count((x.going_at if x.free_at is None else x.free_at, x.gone_at)
                           for x in ours),
            strangers=count((x.made_at, x.gone_at) for x in spans if x.stranger),
            calls_step_s=float(minutes * _MINUTE_S),
            calls=tuple(calls),
        )  # fmt: skip

    @property
    def ours(self) -> tuple[int, ...]:
        """All servers of ours."""
        states = (self.building, self.ready, self.in_use, self.deleting)
        return tuple(map(sum, zip(*states, strict=True)))


def step_for(end: float) -> float:
    """A round distance that gives a story so long 240 steps at most."""
    return float(next((step for step in _STEPS_S if end / step <= MOST_STEPS), _STEPS_S[-1]))


def _covering(
    intervals: Iterable[tuple[float, float]], step_s: float, steps: int
) -> tuple[int, ...]:
    """How many intervals cover each moment; the last moment of one is not in it."""
    changes = [0] * (steps + 1)
    for begin, end in intervals:
        if begin < end:
            changes[min(steps, math.ceil(begin / step_s))] += 1
            changes[min(steps, math.ceil(end / step_s))] -= 1
    found, now = [], 0
    for change in changes[:steps]:
        now += change
        found.append(now)
    return tuple(found)
