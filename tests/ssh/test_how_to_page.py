"""What docs/how-to/namespace-nodes.md tells a reader to type, typed."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ssh.place import PATIENCE_S, environment, namespaces, state_of, wait_for

PAGE = Path(__file__).parents[2] / "docs/how-to/namespace-nodes.md"


def commands(heading):
    """The command lines below a heading of the page; the test is root already."""
    section = PAGE.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    return [line.removeprefix("sudo ") for line in re.findall(r"^    (.+)$", section, re.M)]


@pytest.fixture
def shell(able, tmp_path):
    """Runs command lines in an empty folder; those that were left running are ended."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    options = {"cwd": tmp_path, "env": environment(PATH=path), "text": True, "shell": True}
    running = []

    def start(line):
        out = (tmp_path / f"{len(running)}.log").open("w")
        process = subprocess.Popen(f"exec {line}", stdout=out, stderr=out, **options)
        out.close()
        running.append(process)

        def log():
            return (tmp_path / f"{running.index(process)}.log").read_text()

        def until(words):
            wait_for(words, lambda: words in log() or process.poll() is not None, log=log)
            assert words in log(), log()

        return until

    def run(line):
        return subprocess.run(line, capture_output=True, timeout=PATIENCE_S, **options)

    yield start, run
    for process in reversed(running):
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_S)


def test_a_reader_logs_in_to_a_node(shell):
    """Line by line as they stand; and the lines for looking work on the node that is there then."""
    assert not state_of("trellis").exists(), "somebody uses the default prefix on this machine"
    start, run = shell
    cloud, serve, request, login = commands("Log in to a node")

    start(cloud)("Ctrl-C ends the clouds.")
    start(serve)("trellis listens at")
    asked = run(request)
    assert 0 == asked.returncode, asked.stderr
    done = run(login)

    assert (0, "tr0000000001") == (done.returncode, done.stdout.strip()), done.stderr
    looks = [run(line) for line in commands("When a node does not answer")]
    assert [0, 0, 0] == [look.returncode for look in looks], looks
    assert all(look.stdout for look in looks)


def test_a_reader_runs_a_second_world(shell):
    """It has the names that the page says, and leaves nothing."""
    start, _ = shell
    (line,) = commands("Several at once, and the end")

    start(line)("Ctrl-C ends the clouds.")

    assert {"blue-net"} == namespaces("blue")
    assert state_of("blue").exists()
