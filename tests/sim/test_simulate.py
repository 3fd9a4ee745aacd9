"""The whole daemon on virtual time: same seed, same story; and stories that promises survive."""

import gc
import os
import shutil
import subprocess
import sys
import weakref
from pathlib import Path

import attrs
import pytest
import structlog

from trellis.sim.hunt import hunt
from trellis.sim.scenario import SCENARIOS, Scenario, rough
from trellis.sim.simulate import Outcome, simulate

ROOT = Path(__file__).parents[2]
TELL = """
import attrs
from trellis.sim.scenario import rough
from trellis.sim.simulate import simulate
story = rough()
story = attrs.evolve(story, demand=attrs.evolve(story.demand, requests=25))
print(simulate(story, 5).trace)
"""

pytestmark = pytest.mark.slow


def short() -> Scenario:
    """The rough story with fewer requests."""
    story = rough()
    return attrs.evolve(story, demand=attrs.evolve(story.demand, requests=25))


def trace_told_by(python: str, **environment: str) -> str:
    """The trace of seed 5 of the short story, from a process of its own."""
    done = subprocess.run(
        [python, "-c", TELL],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.strip()


def test_two_processes_tell_the_same_story():
    """Neither the order of sets nor anything else of a process is in the trace."""
    first = trace_told_by(sys.executable, PYTHONHASHSEED="1")
    second = trace_told_by(sys.executable, PYTHONHASHSEED="4242")

    assert first == second


def test_a_story_does_not_depend_on_those_told_before():
    """What other seeds leave in the process is in no later trace."""
    first = simulate(short(), 5).trace
    other = simulate(short(), 6).trace
    again = simulate(short(), 5).trace

    assert first == again
    assert first != other


def has_what_trellis_needs(python: str) -> bool:
    """Whether this interpreter runs, and has the dependencies."""
    needs = "import httpx, keystoneauth1, litestar, msgspec, structlog, trio"
    return not subprocess.run([python, "-c", needs], capture_output=True, timeout=60).returncode


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_another_python_tells_the_same_story(version):
    """The trace is the same under every Python we support, whatever the hashes."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        pytest.skip(f"Python {version} is the one that runs the tests")
    own = ROOT / f".venv-{version}" / "bin" / "python"
    known = [str(own) if own.exists() else None, shutil.which(f"python{version}")]
    python = next((x for x in known if x is not None and has_what_trellis_needs(x)), None)
    if python is None:
        pytest.skip(f"no Python {version} here that has what Trellis needs, as in .venv-{version}")

    ours = trace_told_by(sys.executable, PYTHONHASHSEED="7")

    assert trace_told_by(python, PYTHONHASHSEED="8") == ours


def test_a_hunt_gives_each_seed_as_if_it_were_alone():
    """Processes side by side tell what one process tells."""
    story = attrs.evolve(short(), demand=attrs.evolve(short().demand, requests=20))

    found = {x.seed: x.trace for x in hunt(story, first_seed=7, seeds=3, workers=2)}

    assert found == {seed: simulate(story, seed).trace for seed in (7, 8, 9)}


def test_a_hunt_keeps_no_outcome_that_it_has_given():
    """Thousands of seeds, each with its report, would fill the memory."""
    story = attrs.evolve(short(), kills=0, demand=attrs.evolve(short().demand, requests=2))
    given = list[weakref.ref[Outcome]]()

    for outcome in hunt(story, first_seed=1, seeds=4, workers=2):
        gc.collect()
        assert not any(one() is not None for one in given)
        given.append(weakref.ref(outcome))
        del outcome

    assert len(given) == 4


@pytest.mark.parametrize("seed", [1])
def test_a_rough_story_breaks_no_promise(seed):
    """A thousand lives on five clouds with every fault, and twenty kills; nothing broken."""
    outcome = simulate(rough(), seed)

    assert outcome.violations == ()
    assert outcome.lives >= 1000
    assert len(rough().clouds) == 5
    assert outcome.struck["kills"] >= 20
    assert sum(outcome.kill_points.values()) >= 20
    assert len(outcome.kill_points) >= 8


def test_a_calm_story_is_quick_and_spares_the_cloud():
    """Without faults all are served, one create a life, no refusal."""
    outcome = simulate(SCENARIOS["calm"](), 1)

    assert outcome.violations == ()
    assert outcome.figures["creates"] == outcome.lives
    assert outcome.figures["quota_refusals"] == 0
    assert outcome.figures["wait_p50_s"] < 40.0


def test_a_bug_that_ends_a_task_is_a_violation(monkeypatch):
    """What supervision would hide from the clouds and the requestors is told all the same."""

    def bad(*_args):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("trellis.control.provider.RunningProvider._furnish", bad)

    broken = simulate(attrs.evolve(short(), patience_s=60.0, settle_s=60.0), 1).violations

    assert any(x.promise == "bug" and "ZeroDivisionError" in x.story for x in broken)


def test_logging_is_as_it_was_afterwards():
    """A simulation silences its own daemon's log only."""
    before = structlog.get_config()

    simulate(attrs.evolve(short(), demand=attrs.evolve(short().demand, requests=1)), 1)

    assert structlog.get_config() == before
