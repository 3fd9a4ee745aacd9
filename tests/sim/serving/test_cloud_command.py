"""`trellis cloud` as people meet it: what it prints, how it ends, how it refuses."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from trellis.cli.main import main

ROOT = Path(__file__).parents[3]
SMALL = """
clouds:
  - name: one
    boot: {median: 1, p95: 2}
demand: {requests: 5, every-s: 10}
kills: 1
faults-end: 60
configuration:
  deployment: sim
  labels: [{name: small}, {name: large}]
  providers: []
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs ``trellis cloud`` in a folder of its own; for what fails before it serves."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, ["cloud", *arguments])


@pytest.mark.slow
@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_everything_is_and_ends_clean(tmp_path, by):
    """One line of JSON once it listens; a scenario of `trellis simulate` will do; exit code 0."""
    (tmp_path / "small.yaml").write_text(SMALL)
    command = [sys.executable, "-m", "trellis.cli.main", "cloud", "small.yaml", "-o", "json"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        with urllib.request.urlopen(f"{told['control']}/clouds", timeout=10) as answered:
            (cloud,) = json.load(answered)["clouds"]
        process.send_signal(by)
        rest, errors = process.communicate(timeout=30)

    assert told["clouds"] == ["one"]
    assert Path(told["clouds_yaml"]).is_absolute()
    assert Path(told["configuration"]).exists()
    assert told["ssh_port"] > 0
    assert told["configuration"] in told["next_command"]
    assert cloud["auth_url"] == f"{told['url']}/one/identity/v3"
    assert (process.returncode, rest) == (0, "")
    assert "Traceback" not in errors


def test_every_fault_of_a_scenario_has_its_place(run, tmp_path):
    """`file:line:column`, all at once, and exit code 1."""
    bad = SMALL.replace("p95: 2}", "p95: 0}\n    qouta: {}\n    regions: [a/b]")
    (tmp_path / "bad.yaml").write_text(bad.replace("providers: []", "providers: {}"))

    done = run("bad.yaml")

    assert done.exit_code == 1
    for fault in (
        "bad.yaml:4:11: clouds.0.boot: p95 must be at least the median, 1, not 0",
        "bad.yaml:5:5: clouds.0.qouta: unknown key, did you mean 'quota'?",
        "bad.yaml:6:14: clouds.0.regions: 'a/b' is no name of a region",
        "bad.yaml:13:14: configuration.providers: expected a list",
    ):
        assert fault in done.stderr
    assert not (tmp_path / "trellis-clouds").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nothing.yaml"], 1, "nothing.yaml: there is no such file"),
        (["--listen", "0.0.0.0:80"], 2, "is no loopback address"),
        (["--listen", "somewhere"], 2, "is no address and port"),
        (["--nodes", "robots"], 2, "robots"),
        (["--folder", "file/sub"], 1, "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_refused(run, tmp_path, arguments, code, words):
    """With the reason, and no traceback."""
    (tmp_path / "file").write_text("")

    done = run(*arguments)

    assert done.exit_code == code
    assert words in done.stderr


def test_a_cloud_may_not_take_the_name_of_the_control_face(run, tmp_path):
    """Its calls would never arrive."""
    (tmp_path / "bad.yaml").write_text(SMALL.replace("name: one", "name: _sim"))

    done = run("bad.yaml")

    assert done.exit_code == 1
    assert "no cloud can be called '_sim'" in done.stderr
