"""``trellis simulate``: outcomes on stdout, what is wrong on stderr, and the exit code."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.sim.stories import CONFIGURATION, runner
from trellis.sim.oracle import Violation
from trellis.sim.scenario_file import load_scenario
from trellis.sim.simulate import Outcome

ROOT = Path(__file__).parents[2]

SMALL = (
    """
clouds:
  - name: one
    quota: {instances: 20}
    boot: {median: 10, p95: 20}
    faults: {boot-error: 0.1}
    fault-windows:
      - {start: 5, end: 60, faults: {lose-answer: 0.2}}
    outages: [{start: 30, end: 40, kind: refuse}]
    rate-limits: [{calls: 20, status: 413}]
    strangers: {servers-at-start: 1}
demand: {requests: 5, every-s: 10, labels: [small], cancel: 0}
kills: 1
faults-end: 60
"""
    + CONFIGURATION
)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs ``trellis simulate`` with these arguments in a folder that has ``small.yaml``."""
    return runner(SMALL, "small.yaml", tmp_path, monkeypatch)


@pytest.fixture
def broken(monkeypatch):
    """Every seed breaks a promise."""

    def hunt(scenario, *, first_seed, seeds, workers):
        for seed in range(first_seed, first_seed + seeds):
            yield Outcome(
                seed=seed,
                scenario=scenario.name,
                trace="abc",
                violations=(Violation(promise="P1", story="twice"),),
                lives=3,
                figures={
                    "kills": 0, "calls_per_life": 4.0, "quota_refusals": 0, "real_s": 1.0,
                    "wait_p50_s": 1.0, "wait_p95_s": 2.0,
                },
            )  # fmt: skip

    monkeypatch.setattr("trellis.sim.hunt.hunt", hunt)


@pytest.mark.slow
def test_a_seed_of_a_file_is_told_as_json(run):
    """One object with the seed, the trace, no violations, and the figures."""
    done = run("small.yaml", "--seed", "3", "-o", "json")

    found = json.loads(done.stdout)
    assert done.exit_code == 0
    assert (found["scenario"], found["seed"], found["violations"]) == ("small", 3, [])
    assert len(found["trace"]) == 32
    assert found["figures"]["fulfilled"] == 5
    assert found["schema_version"] == 1
    assert found["report"]["requests"]["fulfilled"] == 5
    assert found["report"]["series"][0]["cloud"] == "one"


@pytest.mark.slow
def test_several_seeds_have_a_line_each(run):
    """In the table there is a line a seed with its trace, and then the figures."""
    done = run("small.yaml", "--seeds", "2", "--first-seed", "8", "--workers", "1")

    lines = done.stdout.splitlines()
    assert done.exit_code == 0
    assert [line.split()[1] for line in lines[:2]] == ["8", "9"]
    assert all(line.split()[6:8] == ["1", "kill"] for line in lines[:2])
    assert lines[2].startswith("2 seeds, 0 with violations; ")
    assert " lives, 2 kills, " in lines[2]
    assert "10 requests: 10 fulfilled; promises held: P1 P2 P3 P6 P9 P10 progress" in lines
    assert any(line.split()[:2] == ["all", "10"] for line in lines)


def test_a_violation_is_told_with_how_to_replay_it(run, broken):
    """The exit code is 1; stderr has the story and the command."""
    done = run("calm", "--seeds", "1", "--first-seed", "12")

    assert done.exit_code == 1
    assert "seed 12: P1: twice" in done.stderr
    assert "trellis simulate calm --seed 12" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["--seeds", "0"],
        ["--seed", "1", "--seeds", "2"],
        ["--seed", "x"],
        ["--workers", "0"],
    ],
)
def test_bad_usage_is_exit_code_2(run, arguments):
    """Nothing is run."""
    assert run(*arguments).exit_code == 2


def test_all_faults_of_a_file_are_told_with_their_places(run, tmp_path):
    """Unknown keys, wrong types, impossible numbers and dangling names, in one go."""
    text = SMALL.replace("boot-error: 0.1", "boot-error: 1.5, boot-eror: 0.1")
    text = text.replace("kills: 1", "kills: many").replace("cloud: one", "cloud: two")
    text = text.replace("p95: 20", "p95: 2").replace("labels: [small],", "labels: [smal],")
    (tmp_path / "bad.yaml").write_text(textwrap.dedent(text))

    done = run("bad.yaml")

    assert done.exit_code == 1
    for fault in (
        "bad.yaml:5:11: clouds.0.boot: p95 must be at least the median, 10, not 2",
        "bad.yaml:6:26: clouds.0.faults.boot-error: is a probability: must be from 0 to 1, not 1.5",
        "bad.yaml:6:31: clouds.0.faults.boot-eror: unknown key, did you mean 'boot-error'?",
        "bad.yaml:12:45: demand.labels.0: the configuration has no label 'smal'",
        "bad.yaml:13:8: kills: expected a whole number, got 'many'",
        "bad.yaml:21:14: configuration.providers.0.cloud: the scenario has no cloud 'two'",
    ):
        assert fault in done.stderr


def test_the_configuration_may_be_a_file_of_its_own(run, tmp_path):
    """A path is relative to the scenario; faults in it have its name."""
    head, _, settings = SMALL.partition("configuration:\n")
    (tmp_path / "own.yaml").write_text(textwrap.dedent(settings))
    (tmp_path / "split.yaml").write_text(head + "configuration: own.yaml\n")

    scenario = load_scenario(tmp_path / "split.yaml")
    (tmp_path / "own.yaml").write_text(textwrap.dedent(settings) + "wrong: 1\n")
    done = run("split.yaml")

    assert "deployment: sim" in scenario.configuration
    assert done.exit_code == 1
    assert "own.yaml:12:1: wrong: unknown key" in done.stderr


@pytest.mark.slow
def test_ctrl_c_ends_it_clean(tmp_path):
    """No traceback; what was found until then is printed, and no process is left."""
    (tmp_path / "small.yaml").write_text(SMALL)
    arguments = [sys.executable, "-m", "trellis.cli.main", "simulate", "small.yaml"]
    with subprocess.Popen(
        [*arguments, "--seeds", "5000", "--workers", "2"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the first seed is done
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "interrupted after" in errors
    assert "Traceback" not in errors
