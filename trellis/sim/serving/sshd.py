"""A real sshd with a folder, host keys and namespaces of its own, as what a node runs.

The folder is the node's ``/run``, and there is nothing else in it: sshd's own empty folder, and
what it reads. Its host keys are made by ``ssh-keygen``: Ed25519 and ECDSA, 5 ms of CPU each; an RSA
key would cost 0.7 s.
"""

import os
import re
import subprocess
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs
import trio

from trellis.errors import ConfigError
from trellis.sim.serving.netns import program, run

KINDS: Final = ("ed25519", "ecdsa")
_MOST_KEYS: Final = 4096
_FOLDER: Final = "/run/node"
_HOME: Final = f"{_FOLDER}/home"
"""Not that of this machine's root, whose shell's start-up files are not meant for a node: a lock
that one of them takes would outlive a node that is deleted meanwhile."""
_HOSTNAME: Final = re.compile(r"[^A-Za-z0-9.-]+")

_CONFIG: Final = f"""\
Port 22
{"".join(f"HostKey {_FOLDER}/ssh_host_{kind}_key{chr(10)}" for kind in KINDS)}\
AuthorizedKeysFile {_FOLDER}/authorized_keys
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
UseDNS no
StrictModes no
PrintMotd no
MaxStartups 100
Subsystem sftp internal-sftp
SetEnv HOME={_HOME}
"""

# Run as the first process of the node, in namespaces of its own: $0 is its hostname, $1 its folder.
_INIT: Final = (
    'echo "$0" > /proc/sys/kernel/hostname && mount --bind "$1" /run && '
    f'exec "$2" -D -f {_FOLDER}/sshd_config -E {_FOLDER}/sshd.log'
)


def hostname_of(server_name: str) -> str:
    """A server's name as a hostname; Linux allows 64 characters."""
    return _HOSTNAME.sub("-", server_name).strip("-.")[:64] or "node"


def init_command(namespace: str, server_name: str, folder: Path) -> list[str]:
    """What starts a node: one process, with whose death by SIGKILL all of the node ends.

    It has the network of *namespace*, and a hostname, mounts and process ids of its own.
    """
    return [
        program("ip") or "ip", "netns", "exec", namespace,
        "unshare", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
        "sh", "-c", _INIT, hostname_of(server_name), str(folder), program("sshd") or "sshd",
    ]  # fmt: skip


@attrs.define
class HostKeys:
    """Host keys by the 32 bytes that stand for them in the simulator.

    New bytes mean new keys; the same again (a server that was stopped and started, an image with a
    key baked in) the same keys. The latest few thousand are remembered.
    """

    _made: OrderedDict[bytes, Mapping[str, bytes]] = attrs.field(factory=OrderedDict, init=False)

    async def put(self, seed: bytes, folder: Path) -> None:
        """Write the keys that go with *seed* into a folder.

        Raises:
            CommandFailedError: ``ssh-keygen`` failed.
        """
        known = self._made.get(seed)
        if known is None:
            # Entered at once below, without a checkpoint between: two of one seed share one pair.
            known = await self._make(folder)
            known = self._made.setdefault(seed, known)
        self._made.move_to_end(seed)
        if len(self._made) > _MOST_KEYS:
            self._made.popitem(last=False)
        for name, content in known.items():
            _write(folder / name, content, 0o600)

    async def _make(self, folder: Path) -> Mapping[str, bytes]:
        async with trio.open_nursery() as nursery:
            for kind in KINDS:
                path = str(folder / f"ssh_host_{kind}_key")
                nursery.start_soon(_keygen, kind, path)
        names = [f"ssh_host_{kind}_key{end}" for kind in KINDS for end in ("", ".pub")]
        return {name: (folder / name).read_bytes() for name in names}


async def _keygen(kind: str, path: str) -> None:
    await run("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", path)


def furnish(folder: Path, public_keys: Sequence[str]) -> None:
    """Make a node's folder, which becomes its ``/run``; only the host keys are wanting.

    Args:
        folder: is made here.
        public_keys: whose owners may log in, as root.

    Raises:
        OSError: the folder cannot be written.
    """
    node = folder / "node"
    # sshd and, once somebody has logged in, processes without root's rights look into them.
    for path in (folder, folder / "sshd", node):
        path.mkdir(mode=0o755)
    (node / "home").mkdir(mode=0o700)
    _write(node / "sshd_config", _CONFIG.encode(), 0o644)
    _write(node / "authorized_keys", "\n".join(public_keys).encode() + b"\n", 0o644)


def login_key(path: Path) -> str:
    """The public half of a private key, which is made if it is not there.

    Raises:
        ConfigError: it cannot be read or made.
    """
    public = path.with_name(path.name + ".pub")
    try:
        if not public.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)]
            subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
            )
        return public.read_text(encoding="utf-8").strip()
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", "") or error
        raise ConfigError(
            [f"{path}: the key for logging in cannot be had: {reason}; give another --folder"]
        ) from None


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with open(descriptor, "wb") as file:
        file.write(content)
