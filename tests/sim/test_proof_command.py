"""``trellis simulate``: replays of known versions, coverage, and failures made short."""

import pytest

from tests.sim import bugs
from tests.sim.stories import CONFIGURATION, runner
from trellis.sim.coverage import contained
from trellis.sim.points import Passes
from trellis.sim.scenario import calm, rough
from trellis.sim.simulate import Outcome
from trellis.sim.version import simulation_version

STORY = (
    """
clouds:
  - name: one
    quota: {instances: 20}
    boot: {median: 10, p95: 20}
    fault-windows: [{start: 0, end: 300, faults: {delete-error: 0.5, no-ssh: 0.1}}]
demand: {requests: 8, every-s: 6, labels: [small], cancel: 0, use: {median: 20, p95: 30}}
kills: 2
faults-end: 120
patience-s: 600
settle-s: 900
"""
    + CONFIGURATION
)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs ``trellis simulate`` with these arguments in a folder that has ``story.yaml``."""
    return runner(STORY, "story.yaml", tmp_path, monkeypatch)


def test_a_story_without_kills_asks_for_none():
    """Else a calm one would never have met with all that it asks for."""
    assert contained(calm()) == set()
    assert {"kills", "changes", "lose-answer", "disk-full", "refuse"} <= contained(rough())


@pytest.fixture
def played(monkeypatch):
    """Each seed meets with one fault of two, and is killed at one point."""

    def hunt(_scenario, *, first_seed, seeds, workers):
        for seed in range(first_seed, first_seed + seeds):
            yield Outcome(
                seed=seed,
                scenario="story",
                trace="abc",
                violations=(),
                lives=3,
                figures={
                    "kills": 2, "calls_per_life": 4.0, "quota_refusals": 0, "real_s": 1.0,
                    "wait_p50_s": 1.0, "wait_p95_s": 2.0,
                },
                struck=Passes({"delete-error": 2, "kills": 2}),
                kill_points=Passes({"at a moment": 2}),
            )  # fmt: skip

    monkeypatch.setattr("trellis.sim.hunt.hunt", hunt)


@pytest.mark.slow
def test_a_failure_is_made_a_short_story_that_replays(run, tmp_path, monkeypatch):
    """A file is left and told of, with what happened to the server; the file fails as well."""
    bugs.takes_an_accepted_delete_for_gone(monkeypatch)

    done = run("story.yaml", "--seed", "3", "--shrink")
    again = run("story-3.yaml", "--seed", "3")

    assert done.exit_code == 1
    assert "story-3.yaml: 1 cloud, " in done.stdout
    assert "P2: one still has server" in done.stdout
    assert "server-created" in done.stdout
    assert "trellis simulate story-3.yaml --seed 3" in done.stdout
    assert simulation_version() in (tmp_path / "story-3.yaml").read_text()
    assert again.exit_code == 1
    assert "seed 3: P2: one still has server" in again.stderr


@pytest.mark.slow
def test_a_sound_seed_has_nothing_to_shrink(run, tmp_path):
    """It says so, and leaves no file."""
    done = run("story.yaml", "--seed", "3", "--shrink")

    assert done.exit_code == 0
    assert "breaks no promise: there is nothing to shrink" in done.stderr
    assert not (tmp_path / "story-3.yaml").exists()


def test_a_fault_that_no_seed_met_with_fails_the_run(run, played):
    """It is named; without being asked for, the run passes."""
    asked = run("story.yaml", "--seeds", "2", "--all-struck")
    shown = run("story.yaml", "--seeds", "2", "--coverage")

    assert asked.exit_code == 1
    assert "the fault no-ssh never struck in 2 seeds" in asked.stderr
    assert shown.exit_code == 0
    assert ["delete-error", "4"] in [line.split() for line in shown.stdout.splitlines()]
    assert ["at", "a", "moment", "0", "4"] in [line.split() for line in shown.stdout.splitlines()]


def test_a_seed_of_another_version_may_not_replay(run, played):
    """It runs, and says so."""
    other = run("story.yaml", "--replay", "0.0.1+0badc0de:7")
    same = run("story.yaml", "--replay", f"{simulation_version()}:7")

    assert other.exit_code == same.exit_code == 0
    assert "seed 7 was found by version 0.0.1+0badc0de" in other.stderr
    assert "may not replay" in other.stderr
    assert "may not replay" not in same.stderr
    assert other.stdout == same.stdout
    assert "seed 7 " in same.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--shrink"],
        ["--replay", "105"],
        ["--replay", "0.1.0+12345678:1", "--seed", "1"],
        ["--replay", "0.1.0+12345678:1", "--seeds", "2"],
    ],
)
def test_bad_usage_is_exit_code_2(run, arguments):
    """Nothing is run."""
    assert run("story.yaml", *arguments).exit_code == 2
