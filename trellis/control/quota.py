"""What a project may still use: the cloud's reading, our records, and what others take.

A reading counts everybody's things at a moment when some of ours are on their way in or out,
so what others use is known only between two bounds. The estimate stays where it was while the
bounds allow it and moves to the nearer bound when they do not: it follows a stranger at once
and does not flicker with our own traffic. A volume is made some time after its server's create,
so its bounds stay wide as long as launches are under way: there a refusal, which shows that the
estimate was too low, moves it to the upper one.
"""

from collections.abc import Callable

import attrs

from trellis.model.quota import RESOURCE_NAMES, Limits, QuotaReading, Resources
from trellis.scheduler.snapshot import QuotaView

_WIDE = frozenset({"volumes", "volume_gib"})
FIRST_REFUSAL_S = 10.0
MOST_REFUSAL_S = 300.0


class Quota:
    """The quota of one project in one region, shared by all providers that draw on it.

    Attributes:
        refusals: creates that the cloud refused for it since the start.
        wakers: called when it should be read anew at once.
    """

    def __init__(self, name: str, wall: Callable[[], float]) -> None:
        self.name = name
        self._wall = wall
        self.reading: QuotaReading | None = None
        self.others = Resources()
        self.refusals = 0
        self._refused_until = 0.0
        self._too_low = False
        self._refusal_s = FIRST_REFUSAL_S / 2
        self.wakers: list[Callable[[], None]] = []

    def learn(self, reading: QuotaReading, *, certain: Resources, possible: Resources) -> None:
        """Take in a reading.

        Args:
            reading: what the cloud said.
            certain: what ours surely used all through the reading.
            possible: the most that ours may have used during it.
        """
        self.reading = attrs.evolve(reading, read_at=self._wall())
        low = (reading.used - possible).at_least_zero()
        high = (reading.used - certain).at_least_zero()
        floor = self.others
        if self._too_low:
            floor = attrs.evolve(floor, **{name: getattr(high, name) for name in _WIDE})
            self._too_low = False
        self.others = Resources(
            **{
                name: min(max(getattr(floor, name), getattr(low, name)), getattr(high, name))
                for name in RESOURCE_NAMES
            }
        )

    def refused(self) -> None:
        """The cloud refused a create for quota: hold it to be full, and read it anew."""
        self.refusals += 1
        self._too_low = True
        for wake in self.wakers:
            wake()
        now = self._wall()
        if now >= self._refused_until:
            self._refusal_s = min(MOST_REFUSAL_S, self._refusal_s * 2)
            self._refused_until = now + self._refusal_s

    def accepted(self) -> None:
        """A create went through: whatever was refused before, there is room again."""
        self._refusal_s = FIRST_REFUSAL_S / 2
        self._refused_until = 0.0

    def view(self, *, ours: Resources, freeing: Resources) -> QuotaView:
        """The quota as the planner reckons with it."""
        now = self._wall()
        refused = ""
        if now < self._refused_until:
            left_s = self._refused_until - now
            refused = f"the cloud refused a create for quota; next try in {left_s:.0f} s"
        return QuotaView(
            limits=self.limits, used=ours + self.others, freeing=freeing, refused=refused
        )

    @property
    def limits(self) -> Limits:
        """The limits as last read; all unknown before."""
        return self.reading.limits if self.reading is not None else Limits()
