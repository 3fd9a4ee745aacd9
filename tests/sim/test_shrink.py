"""A failing seed becomes a short story, which fails by the same bug and by nothing else."""

import attrs
import pytest

from tests.sim import bugs
from tests.sim.teeth_stories import UNDELETED
from trellis.sim.only import Only
from trellis.sim.oracle import Violation
from trellis.sim.scenario import rough
from trellis.sim.scenario_dump import dumped
from trellis.sim.scenario_file import load_scenario
from trellis.sim.shrink import NothingToShrinkError, kind_of, shrink
from trellis.sim.simulate import simulate

SEED = 3


@pytest.fixture
def long_story():
    """Twenty-four requests and four kills, in which some deletions end in ERROR."""
    return attrs.evolve(UNDELETED, kills=4, demand=attrs.evolve(UNDELETED.demand, requests=24))


@pytest.mark.slow
def test_a_failure_is_made_short(long_story, tmp_path):
    """It keeps one kill at most and a quarter of the requests, and only the bug makes it fail."""
    with pytest.MonkeyPatch.context() as patch:
        bugs.takes_an_accepted_delete_for_gone(patch)
        found = shrink(long_story, SEED, most_tries=60)
        (tmp_path / "short.yaml").write_text(dumped(found.scenario, comment="a story"))
        replayed = simulate(load_scenario(tmp_path / "short.yaml"), SEED)
    sound = simulate(found.scenario, SEED)

    only = found.scenario.only
    assert only is not None
    assert len(only.requests) <= 6
    assert len(only.kills) <= 1
    assert found.outcome.violations[0].promise == "P2"
    assert found.outcome.timeline
    assert replayed.trace == found.outcome.trace
    assert sound.violations == ()


@pytest.mark.slow
def test_no_more_is_tried_than_is_allowed(long_story):
    """Each try is told; where they end the shortest story so far is given, and says so."""
    told = []
    with pytest.MonkeyPatch.context() as patch:
        bugs.takes_an_accepted_delete_for_gone(patch)
        found = shrink(long_story, SEED, most_tries=3, told=lambda *x: told.append(x))

    assert [best.tries for best, _ in told] == sorted(best.tries for best, _ in told)
    assert len(told) == found.tries == 3
    assert not found.done


@pytest.mark.slow
def test_a_seed_that_breaks_nothing_is_refused(long_story):
    """There is nothing to shrink."""
    with pytest.raises(NothingToShrinkError, match="seed 3 of undeleted breaks no promise"):
        shrink(long_story, SEED)


@pytest.mark.parametrize(
    ("promise", "story", "kind"),
    [
        ("P2", "alpha still has server 1", "P2"),
        ("bug", "at 12.3: task_crashed provider='a'", "bug task_crashed"),
        ("bug", "at 99.0: task_crashed provider='b'", "bug task_crashed"),
    ],
)
def test_what_must_stay_the_same_of_a_violation(promise, story, kind):
    """Its promise; of a bug which one it is, and neither when nor where."""
    assert kind_of(Violation(promise=promise, story=story)) == kind


def test_a_scenario_is_written_as_it_can_be_read(tmp_path):
    """Everything of the roughest story there is comes back the same, but for its name."""
    story = attrs.evolve(rough(), only=Only(requests=("job-3",), kills=(), changes=(1,)))
    (tmp_path / "rough.yaml").write_text(dumped(story))

    again = load_scenario(tmp_path / "rough.yaml")

    assert attrs.evolve(again, configuration=story.configuration) == story
