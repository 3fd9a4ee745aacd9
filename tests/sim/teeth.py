"""Whether the judge sees what a bug does."""

import re
from collections.abc import Sequence

import pytest

from trellis.sim.scenario import Scenario
from trellis.sim.simulate import simulate

_MISFIT = re.compile(r"(Attribute|Type|Name|Key|Import)Error\(")


def seed_that_shows(promise: str, scenario: Scenario, seeds: Sequence[int]) -> int:
    """The first of these seeds in which the judge finds that a promise is broken.

    A daemon that trips over the patch itself breaks promises too, which shows nothing.
    """
    for seed in seeds:
        found = simulate(scenario, seed).violations
        misfits = [x.story for x in found if _MISFIT.search(x.story)]
        assert not misfits, "the bug does not fit the code any more"
        if promise in {x.promise for x in found}:
            return seed
    return pytest.fail(f"{promise} was broken in none of {len(seeds)} seeds")
