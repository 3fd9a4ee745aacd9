"""``trellis node ssh``: log in to a node with the host keys that Trellis read, and no others."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from trellis.cli.shape import Command
from trellis.cli.talk import client, complete_names, node_id
from trellis.errors import RefusedError

_ENTERED: Final = ("ready", "in-use", "used", "hold")
"""States in which a node answers."""
_KILLED: Final = 128
"""Shells tell the death by signal N as 128 + N."""


@click.command(
    cls=Command,
    examples=[
        "trellis node ssh 42",
        "trellis node ssh 42 -- uname -a",
        "trellis node ssh 42 -i ~/.ssh/ci_ed25519 --user zuul -- journalctl -n 50",
    ],
)
@click.argument("node", metavar="ID", shell_complete=complete_names("nodes"))
@click.argument("command", nargs=-1, metavar="[-- COMMAND...]", type=click.UNPROCESSED)
@click.option("-i", "identity", metavar="FILE", help="The private key to log in with, as for ssh.")
@click.option("--user", help="Log in as this user instead of the label's.")
@click.option(
    "--ssh-option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="Handed to ssh as -o, such as ProxyJump=bastion.",
)
def ssh(
    node: str,
    command: tuple[str, ...],
    identity: str | None,
    user: str | None,
    options: tuple[str, ...],
) -> None:
    """Log in to a node, or run a command on it, by the system's ssh.

    The node must show one of the host keys that Trellis read before it was ready; any other ends
    the connection. The exit code is that of ssh: the command's own, or 255 if ssh failed.
    """
    with client() as face:
        shown = face.get("nodes", node_id(node))
    check(shown)
    program = shutil.which("ssh")
    if program is None:
        raise RefusedError(
            "there is no program ssh on the PATH",
            remedy="Install OpenSSH's client; on Debian: apt-get install openssh-client.",
        )
    with tempfile.TemporaryDirectory(prefix="trellis-ssh-") as folder:
        known = Path(folder) / "known_hosts"
        known.write_text(known_hosts(shown), encoding="ascii")
        arguments = [program, *strict(shown, known)]
        arguments += [x for option in options for x in ("-o", option)]
        arguments += ["-i", identity] if identity else []
        arguments += ["-p", str(shown["connection_port"])]
        login = user or shown["username"]
        arguments += ["-l", login] if login else []
        code = _run([*arguments, "--", shown["interface_ip"], *command])
    raise SystemExit(code if code >= 0 else _KILLED - code)


def check(node: Any) -> None:
    """See whether it makes sense to try.

    Args:
        node: as the face shows it.

    Raises:
        RefusedError: nobody answers there, not over SSH, or nothing would prove that it is
            this node.
    """
    name, state = f"node {node['id']}", node["state"]
    why = f"`trellis node explain {node['id']}` says more."
    if node["lost"]:
        raise RefusedError(
            f"{name} died under its lease; its address may be another machine's by now", remedy=why
        )
    if state == "building":
        raise RefusedError(f"{name} is building: it is not ready yet", remedy=why)
    if state not in _ENTERED:
        raise RefusedError(f"{name} is {state}: there is nothing to log in to", remedy=why)
    kind, port = node["connection_type"], node["connection_port"]
    if kind != "ssh":
        raise RefusedError(
            f"{name} is reached by {kind} and not by ssh",
            remedy=f"Use a client of {kind}, at {node['interface_ip']} port {port}.",
        )
    if not node["interface_ip"]:
        raise RefusedError(f"{name} has no address", remedy=why)
    if not node["host_keys"]:
        login = f"{node['username']}@" if node["username"] else ""
        raise RefusedError(
            f"no host keys of {name} are known: host-key-checking is off for its label, so "
            "nothing proves that what answers is this node",
            remedy="Set host-key-checking for the label; or take the risk with "
            f"`ssh -p {port} {login}{node['interface_ip']}`.",
        )


def known_hosts(node: Any) -> str:
    """The lines of OpenSSH's ``known_hosts`` for a node (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""
    return "".join(f"{_alias(node)} {key}\n" for key in node["host_keys"])


def _alias(node: Any) -> str:
    """The name the keys stand under: of the node, since addresses come back to others."""
    return f"trellis-node-{node['id']}"


def strict(node: Any, known: Path) -> list[str]:
    """Options of ssh that make a node's host keys, in this file, the only ones that count."""
    settings = {
        "HostKeyAlias": _alias(node),
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(known),
        "GlobalKnownHostsFile": "/dev/null",
        # A node's key in the DNS, or told by the node itself, proves nothing to us.
        "VerifyHostKeyDNS": "no",
        "UpdateHostKeys": "no",
    }
    return [x for name, value in settings.items() for x in ("-o", f"{name}={value}")]


def _run(arguments: Sequence[str]) -> int:
    """Run it on our terminal; Ctrl-C is for the program, which gets it too."""
    with subprocess.Popen(arguments) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue
