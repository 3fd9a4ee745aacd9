"""Completion, by the protocol of each shell, with a daemon, without one, and with a bad one."""

import os
import socket
import subprocess
import sys
import threading
import time

import attrs
import pytest
from face_fakes import a_node, a_provider

pytestmark = pytest.mark.slow

PROGRAM = "from trellis.cli.main import main; main(prog_name='trellis')"


def complete(shell, line, url):
    """What the shell is told may follow, as its lines."""
    words = line.split(" ")
    variables = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    if shell == "fish":
        variables["COMP_CWORD"] = words[-1]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={
            **os.environ,
            **variables,
            "TRELLIS_URL": url,
            "_TRELLIS_COMPLETE": f"{shell}_complete",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("shell", "expected"),
    [
        ("bash", ["plain,0000000001", "plain,0000000002"]),
        ("zsh", ["plain", "0000000001", "ready debian-12 at ovh-bhs1",
                 "plain", "0000000002", "ready debian-12 at ovh-bhs1"]),
        ("fish", ["plain,0000000001", "ready debian-12 at ovh-bhs1",
                  "plain,0000000002", "ready debian-12 at ovh-bhs1"]),
    ],
)  # fmt: skip
def test_node_ids_are_completed_in_each_shell(daemon, shell, expected):
    """zsh and fish show beside an id what it is."""
    daemon.port.nodes = {node.id: node for node in (a_node(1), a_node(2))}

    told = complete(shell, "trellis node show 00", daemon.url)

    assert "\n".join(told).replace("\t", "\n").splitlines() == expected


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("trellis re", "request"),
        ("trellis node ss", "ssh"),
        ("trellis request create deb", "debian-12"),
        ("trellis request create x --provider ov", "ovh-bhs1"),
        ("trellis request show 000", f"{0xABC000:032x}"),
        ("trellis provider pause ", "ovh-bhs1"),
        ("trellis leak adopt ", "ovh-bhs1:server:u9"),
        ("trellis node list --state re", "ready"),
        ("trellis request list --state pe", "pending"),
        ("trellis node list -o ", "yaml"),
    ],
)
def test_word_is_completed(daemon, run, line, word):
    """Commands, options' values, and the names of what there is."""
    assert run("request", "create", "debian-12").exit_code == 0

    assert f"plain,{word}" in complete("bash", line, daemon.url)


def test_names_that_are_no_words_are_left_out(daemon):
    """A name from elsewhere must not become a command of the shell."""
    evil = attrs.evolve(a_provider(), name="x\nrm -rf")
    daemon.board.status = {"x\nrm -rf": evil, "ovh-bhs1": a_provider()}

    assert complete("bash", "trellis provider show ", daemon.url) == ["plain,ovh-bhs1"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_no_daemon_completes_nothing(shell):
    """And says nothing: the shell would show it in the middle of the line."""
    assert complete(shell, "trellis node show ", "http://127.0.0.1:9") == []


def test_daemon_that_hangs_does_not_hang_the_shell():
    """It takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        begun = time.monotonic()

        told = complete("bash", "trellis node show ", f"http://127.0.0.1:{server.getsockname()[1]}")

    assert told == []
    assert time.monotonic() - begun < 10


def test_something_else_that_answers_completes_nothing():
    """Its answer is no list of ours."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[1,2]")

        thread = threading.Thread(target=answer)
        thread.start()
        told = complete("bash", "trellis node show ", f"http://127.0.0.1:{server.getsockname()[1]}")
        thread.join(10)

    assert told == []
