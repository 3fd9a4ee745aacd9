"""What the seeds of a hunt met with together: which faults struck, and where kills landed."""

import enum
from collections.abc import Iterable
from typing import Any, Final

import attrs

from trellis.sim.catalogue import CATALOGUE, Struck
from trellis.sim.points import Passes
from trellis.sim.scenario import Scenario
from trellis.sim.scenario_dump import default_of
from trellis.sim.simulate import Outcome

OFTEN: Final = 40
"""A point that so many seeds have passed must have had a kill."""


@attrs.define
class Coverage:
    """The sums over the seeds so far.

    Attributes:
        seeds: how many there were.
        struck: how often each fault took effect.
        kills: how many kills landed at each point.
        passed_in: how many seeds passed each point.
    """

    scenario: Scenario
    seeds: int = 0
    struck: Struck = attrs.field(factory=Struck)
    kills: Passes = attrs.field(factory=Passes)
    passed_in: Passes = attrs.field(factory=Passes)

    def add(self, outcome: Outcome) -> None:
        """Take in one seed."""
        self.seeds += 1
        self.struck.update(outcome.struck)
        self.kills.update(outcome.kill_points)
        self.passed_in.update(dict.fromkeys(outcome.passed, 1))

    def faults(self) -> list[tuple[str, int]]:
        """The faults that the scenario contains or that struck, with how often they did."""
        names = contained(self.scenario) | self.struck.keys()
        return [(name, self.struck[name]) for name in sorted(names)]

    def points(self) -> list[tuple[str, int, int]]:
        """The kill points, with how many seeds passed each and how many kills landed there."""
        names = self.passed_in.keys() | self.kills.keys()
        return [(name, self.passed_in[name], self.kills[name]) for name in sorted(names)]

    def missed(self) -> list[str]:
        """What should have been met with and was not, in words; empty if nothing."""
        faults = [f"the fault {name} never struck" for name, times in self.faults() if not times]
        if not self.scenario.kills:
            return faults
        return faults + [
            f"no kill landed at '{name}', which {seeds} seeds passed"
            for name, seeds, kills in self.points()
            if not kills and seeds >= OFTEN
        ]


def contained(scenario: Scenario) -> set[str]:
    """The faults of the catalogue that a scenario asks for, by their names.

    A fault is asked for by a setting of its name that is not what it is when left out, or by
    a word: the kind of an outage.
    """
    return CATALOGUE.keys() & set(_settings(scenario))


def _settings(value: Any) -> Iterable[str]:
    if isinstance(value, enum.Enum):
        yield str(value.value)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _settings(item)
    elif attrs.has(type(value)):
        for field in attrs.fields(type(value)):
            given = getattr(value, field.name)
            # What has no usual value, as the kills, is asked for unless there are none of it.
            if given and given != default_of(field, value):
                yield field.name.replace("_", "-")
                yield from _settings(given)
