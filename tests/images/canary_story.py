"""A canary beside the image before it, launch by launch: what a bad one costs."""

from collections import deque
from random import Random

import attrs

from trellis.images.canary import Rule, Step, judge, may_try
from trellis.model.image import Trial


@attrs.define(kw_only=True)
class Story:
    """Launches of one image at one provider, of which so many are under way at a time.

    Attributes:
        bad: share of the canary's launches that fail.
        good: share of the others' that do.
        tried: launches from the canary, and *failed* of them.
        most_in_flight: launches from the canary that were under way at one time.
        worst_share: of all launches so far that were from the canary, at its highest.
        step: what became of it.
    """

    rule: Rule
    bad: float
    good: float
    random: Random
    flights: int = 20
    trial: Trial = attrs.field(factory=lambda: Trial(since=0.0))
    launched: int = 0
    tried: int = 0
    failed: int = 0
    most_in_flight: int = 0
    worst_share: float = 0.0
    step: Step = Step.WAIT
    _flying: deque[bool] = attrs.field(factory=deque)

    def run(self, launches: int) -> "Story":
        """Launch so many, one after the other, and end the oldest where all slots are taken."""
        for _ in range(launches):
            if len(self._flying) == self.flights:
                self._end()
            self._launch()
        while self._flying:
            self._end()
        return self

    def _launch(self) -> None:
        canary = self.step is Step.WAIT and may_try(
            self.rule,
            tried=self.tried,
            launched=self.launched,
            tried_in_flight=sum(self._flying),
            in_flight=len(self._flying),
        )
        self.launched += 1
        self.tried += canary
        self._flying.append(canary)
        self.most_in_flight = max(self.most_in_flight, sum(self._flying))
        self.worst_share = max(self.worst_share, self.tried / self.launched)

    def _end(self) -> None:
        canary = self._flying.popleft()
        fails = self.random.random() < (self.bad if canary else self.good)
        name = ("" if canary else "before_") + ("failed" if fails else "ready")
        self.failed += canary and fails
        if self.step is not Step.WAIT:
            return
        self.trial = attrs.evolve(self.trial, **{name: getattr(self.trial, name) + 1})
        found = judge(self.trial, self.rule, has_previous=True, now=0.0)
        if found.step in (Step.PROMOTE, Step.WITHDRAW):
            self.step = found.step
