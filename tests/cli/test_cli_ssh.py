"""`trellis node ssh`: what the system's ssh is told, and what is refused before."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from face_fakes import a_node
from terminal import Terminal, environment

from trellis.model.node import Addresses, Login, NodeState

pytestmark = pytest.mark.slow

FAKE = """\
#!{python}
import json, os, sys
told = dict(x.split("=", 1) for at, x in enumerate(sys.argv) if sys.argv[at - 1] == "-o")
with open(told["UserKnownHostsFile"]) as file:
    known = file.read()
print(json.dumps({{"args": sys.argv[1:], "options": told, "known": known,
                  "file": told["UserKnownHostsFile"], "mode": os.stat(
                  os.path.dirname(told["UserKnownHostsFile"])).st_mode & 0o777}}), flush=True)
{then}
"""
ADDRESS = Addresses(interface_ip="192.0.2.7")


def with_nodes(daemon, *nodes):
    daemon.port.nodes = {node.id: node for node in nodes}


def program(folder: Path, then: str = "sys.exit(0)") -> dict[str, str]:
    """A folder for the PATH with an ssh in it that tells how it was called."""
    file = folder / "ssh"
    file.write_text(FAKE.format(python=sys.executable, then=then))
    file.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def ssh(daemon, *args, **variables):
    """Run it as its own process, which inherits stdout to ssh."""
    return subprocess.run(
        [sys.executable, "-m", "trellis.cli.main", "node", "ssh", *args],
        env=environment({"TRELLIS_URL": daemon.url, **variables}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_ssh_is_told_the_nodes_keys_port_and_user(daemon, tmp_path):
    """And that no other key counts, from wherever it may come."""
    login = Login(username="zuul", connection_port=2022)
    keys = ("ssh-ed25519 AAAA", "ecdsa-sha2-nistp256 BBBB")
    with_nodes(daemon, a_node(42, addresses=ADDRESS, login=login, host_keys=keys))

    done = ssh(daemon, "42", **program(tmp_path))

    told = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert told["known"].splitlines() == [f"trellis-node-0000000042 {key}" for key in keys]
    assert told["args"][-2:] == ["--", "192.0.2.7"]
    assert told["args"][-6:-2] == ["-p", "2022", "-l", "zuul"]
    assert told["options"] == {
        "HostKeyAlias": "trellis-node-0000000042", "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": told["file"], "GlobalKnownHostsFile": "/dev/null",
        "VerifyHostKeyDNS": "no", "UpdateHostKeys": "no",
    }  # fmt: skip
    assert told["mode"] == 0o700
    assert not Path(told["file"]).parent.exists()


def test_key_user_options_and_command_are_handed_on(daemon, tmp_path):
    """The command as it stands, whatever options it has."""
    with_nodes(daemon, a_node(1, addresses=ADDRESS))

    done = ssh(
        daemon, "1", "-i", "/k", "--user", "root", "--ssh-option", "ProxyJump=b", "--",
        "ls", "-l", "a b", **program(tmp_path),
    )  # fmt: skip

    args = json.loads(done.stdout)["args"]
    assert args[args.index("-i") + 1] == "/k"
    assert args[args.index("-l") + 1] == "root"
    assert "ProxyJump=b" in args
    assert args[-5:] == ["--", "192.0.2.7", "ls", "-l", "a b"]


@pytest.mark.parametrize(
    ("then", "code"),
    [("sys.exit(7)", 7), ("sys.exit(255)", 255), ("os.kill(os.getpid(), 15)", 143)],
)
def test_exit_code_is_that_of_ssh(daemon, tmp_path, then, code):
    """Of the command on the node, or 255; death by a signal as shells tell it."""
    with_nodes(daemon, a_node(1, addresses=ADDRESS))

    assert ssh(daemon, "1", **program(tmp_path, then)).returncode == code


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": NodeState.BUILDING}, "is building: it is not ready yet"),
        ({"state": NodeState.DELETING}, "is deleting: there is nothing"),
        ({"state": NodeState.IN_USE, "lost": True}, "died under its lease"),
        ({"addresses": None}, "has no address"),
        ({"host_keys": ()}, "no host keys"),
        ({"login": Login(connection_type="winrm", connection_port=5986)}, "by winrm and not"),
    ],
)
def test_node_that_cannot_be_entered_is_refused(daemon, run, monkeypatch, tmp_path, changes, words):
    """In words, with what to do now, and ssh is not started."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with_nodes(daemon, a_node(1, **changes))

    result = run("node", "ssh", "1")

    assert (result.exit_code, result.stdout) == (1, "")
    assert words in result.stderr
    assert "→" in result.stderr


def test_missing_program_says_how_to_get_it(daemon, run, monkeypatch, tmp_path):
    """No traceback."""
    with_nodes(daemon, a_node(1, addresses=ADDRESS))
    monkeypatch.setenv("PATH", str(tmp_path))

    result = run("node", "ssh", "1")

    assert result.exit_code == 1
    assert "openssh-client" in result.stderr


def test_ctrl_c_is_for_the_program_on_the_node(daemon, tmp_path):
    """It decides what that means; its exit code counts, and nothing is left behind."""
    with_nodes(daemon, a_node(1, addresses=ADDRESS))
    then = (
        "import signal, time\n"
        "signal.signal(signal.SIGINT, lambda *_: (print('caught', flush=True), sys.exit(9)))\n"
        "print('listening', flush=True)\n"
        "time.sleep(30)"
    )
    with Terminal(["node", "ssh", "1"], daemon.url, **program(tmp_path, then)) as terminal:
        terminal.until("listening")
        os.killpg(terminal.process.pid, signal.SIGINT)

        assert terminal.end() == 9
        assert "caught" in terminal.text
        assert "Traceback" not in terminal.text


def test_the_systems_ssh_understands_what_it_is_told(daemon, tmp_path):
    """Its own reading of the options (ssh -G)."""
    program = shutil.which("ssh")
    if program is None:
        pytest.skip("needs OpenSSH's client: apt-get install openssh-client")
    with_nodes(daemon, a_node(7, addresses=ADDRESS, login=Login(connection_port=2022)))
    wrapper = tmp_path / "ssh"
    wrapper.write_text(f'#!/bin/sh\nexec {program} -G "$@"\n')
    wrapper.chmod(0o755)

    done = ssh(daemon, "7", PATH=f"{tmp_path}:{os.environ['PATH']}")

    settings = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    assert settings["hostname"] == "192.0.2.7"
    assert settings["port"] == "2022"
    assert settings["stricthostkeychecking"] in ("true", "yes")
    assert settings["hostkeyalias"] == "trellis-node-0000000007"
    assert settings["globalknownhostsfile"] == "/dev/null"
