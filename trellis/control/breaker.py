"""One breaker: opens after failures in a row, then lets one launch through as a probe.

It neither reads a clock nor acts: the moment is an argument, in seconds of Trio's clock, which
no jump of the wall clock moves.
"""

import math
from collections.abc import Callable
from typing import Final

import attrs

from trellis.model.breaker import BreakerState, Stage
from trellis.model.names import NodeId

JITTER: Final = 0.2
"""Share of a wait by which it may be shorter: what broke for many is not tried by all at once."""


@attrs.frozen(kw_only=True)
class Rule:
    """When a breaker opens, and for how long.

    Attributes:
        after: so many failures in a row open it.
        first_s: seconds it is open for at first; twice as long after each probe that fails.
        most_s: never longer than this.
    """

    after: int
    first_s: float
    most_s: float


@attrs.define(eq=False, kw_only=True)
class Breaker:
    """Counts failures, opens, and gives one launch at a time its turn as the probe.

    A launch that was sent before it opened tells this much: its failure is of the same occasion
    and changes nothing. Its success closes the breaker if it was sent after all that failed, which
    then was chance; if some that were sent after it failed, it lets the next probe go at once.

    Attributes:
        failures: in a row.
        stage: the furthest at which one of them failed; a success short of it ends no row.
        last: the latest launch that failed: ids rise in the order of launches.
        wait_s: how long it is, or was last, open for; 0.0 while it is closed.
        due_at: when it lets a probe through.
        probe: the launch whose turn it is.
        probe_until: when the turn ends, whatever became of that launch.
        reason: the last failure.
    """

    rule: Rule
    chance: Callable[[], float] = attrs.field(default=lambda: 0.0)
    failures: int = 0
    stage: Stage = Stage.CREATED
    last: str = ""
    wait_s: float = 0.0
    due_at: float = -math.inf
    probe: NodeId | None = None
    probe_until: float = -math.inf
    reason: str = ""

    @property
    def closed(self) -> bool:
        """Whether launches go through."""
        return self.wait_s == 0.0

    @property
    def idle(self) -> bool:
        """Whether there is nothing to remember of it."""
        return self.closed and self.failures == 0

    def state(self, now: float) -> BreakerState:
        """Whether launches go through now."""
        if self.closed:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self.due_at else BreakerState.HALF_OPEN

    def holder(self, now: float) -> NodeId | None:
        """The launch whose turn it is, if there is one."""
        return self.probe if now < self.probe_until else None

    def turn(self, now: float, *, later_s: float = 0.0) -> bool:
        """Whether a launch may go now; while it is not closed, as its probe.

        Args:
            later_s: whoever asks lets others go first for so long.
        """
        if self.closed:
            return True
        return now >= self.due_at + later_s and self.holder(now) is None

    def take(self, now: float, node: NodeId, at_most_s: float) -> bool:
        """Make a launch the probe, if it is a probe's turn; returns whether it is."""
        if self.closed or not self.turn(now):
            return False
        self.probe, self.probe_until = node, now + at_most_s
        return True

    def give_back(self, node: NodeId) -> bool:
        """The probe ended and proved nothing: the next launch has its turn."""
        if self.probe != node:
            return False
        self.probe, self.probe_until = None, -math.inf
        return True

    def failed(self, now: float, node: NodeId, stage: Stage, reason: str) -> bool:
        """Count a failure; returns whether it is open anew because of it."""
        self.last = max(self.last, node)
        if self.closed:
            self.failures += 1
            self.stage = max(self.stage, stage)
            self.reason = reason
            if self.failures < self.rule.after:
                return False
        elif self.probe == node:
            self.failures += 1
            # A probe that fails sooner than the others did says nothing of what comes later.
            self.stage = max(self.stage, stage)
            self.reason = reason
        else:
            return False
        self._open(now)
        return True

    def trip(self, now: float, failures: int, node: NodeId, stage: Stage, reason: str) -> None:
        """Open it for failures that were counted elsewhere, the latest that of *node*."""
        self.failures, self.stage, self.reason = failures, stage, reason
        self.last = max(self.last, node)
        self._open(now)

    def passed(self, now: float, node: NodeId, stage: Stage) -> bool:
        """A launch came this far; returns whether it is closed because of it."""
        if stage < self.stage:
            return False
        if self.closed:
            self.failures, self.stage = 0, Stage.CREATED
            return False
        if self.probe == node or node > self.last:
            self.reset()
            return True
        self.due_at = min(self.due_at, now)
        return False

    def reset(self) -> None:
        """Forget all of it, as if nothing had ever failed."""
        self.failures, self.stage, self.reason = 0, Stage.CREATED, ""
        self.last = ""
        self.wait_s, self.due_at = 0.0, -math.inf
        self.probe, self.probe_until = None, -math.inf

    def _open(self, now: float) -> None:
        self.wait_s = min(self.rule.most_s, max(self.rule.first_s, self.wait_s * 2))
        self.due_at = now + self.wait_s * (1.0 - JITTER * self.chance())
        self.probe, self.probe_until = None, -math.inf


class Row:
    """Launches that failed since one last worked, by what they were of."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def failed(self, kind: str) -> None:
        """Count one."""
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def clear(self) -> None:
        """One has worked."""
        self.counts.clear()

    def forget(self, kind: str) -> None:
        """Its failures had another cause."""
        self.counts.pop(kind, None)

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.counts.values())

    def shared(self, after: int) -> bool:
        """Whether so many of them failed that no single kind explains it.

        Two failures of kinds other than the worst are asked for: one alone may be chance.
        """
        if len(self.counts) < 2:
            return False
        return self.total >= after and self.total - max(self.counts.values()) >= 2
