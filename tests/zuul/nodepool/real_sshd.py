"""OpenSSH's own sshd at the addresses of simulated servers: Nodepool checks what it says.

The sshd of the clouds' stub nodes has no cryptography: its host key proves nothing, and Nodepool's
library minds. Here a real one, with host keys of the address, answers wherever a stub would. It
needs root, for a `/run` of its own.
"""

import shutil
import socket
import struct
from pathlib import Path
from typing import Final

import attrs
import trio

KINDS: Final = ("ed25519", "ecdsa")
_SSHD: Final = "/usr/sbin/sshd"
_PROGRAMS: Final = {
    _SSHD: "openssh-server",
    "ssh-keygen": "openssh-client",
    "unshare": "util-linux",
}
_RESET: Final = struct.pack("ii", 1, 0)
_STUB_S: Final = 5.0


def missing() -> str | None:
    """What is to be installed first; None is nothing."""
    packages = [package for program, package in _PROGRAMS.items() if shutil.which(program) is None]
    return f"apt-get install {' '.join(packages)}" if packages else None


@attrs.define(eq=False)
class RealSshd:
    """One port at every address of the clouds, behind which is a real sshd.

    Attributes:
        folder: of the host keys, and of what sshd says.
        stub_port: where the stub nodes answer.
        port: where this does; 0 before it is started.
    """

    folder: Path
    stub_port: int
    port: int = 0
    _making: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    async def run(  # noqa: ASYNC114 - it is started by `both_sites` alone
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Answer until cancelled, which ends every sshd.

        Raises:
            RuntimeError: a program is not there.
        """
        if (command := missing()) is not None:
            raise RuntimeError(f"no sshd to test with: {command}")
        (self.folder / "run" / "sshd").mkdir(parents=True)
        listener = socket.socket()
        # At every address of loopback, and at no other interface.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo\0")
        listener.bind(("0.0.0.0", 0))
        listener.listen()
        self.port = listener.getsockname()[1]
        async with trio.SocketListener(trio.socket.from_stdlib_socket(listener)) as bound:
            task_status.started()
            await trio.serve_listeners(self._answer, [bound])

    def host_keys(self, address: str) -> list[str]:
        """The public keys of an address, as `known_hosts` has them, sorted."""
        files = (Path(f"{self._key(address, kind)}.pub") for kind in KINDS)
        return sorted(" ".join(file.read_text().split()[:2]) for file in files)

    def _key(self, address: str, kind: str) -> Path:
        return self.folder / f"{address}-{kind}"

    async def _answer(self, stream: trio.SocketStream) -> None:
        address = stream.socket.getsockname()[0]
        async with stream:
            if not await self._is_up(address):
                # As a closed port answers.
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                return
            async with self._making:
                await self._make_keys(address)
            with (self.folder / "log").open("ab") as log:
                await trio.run_process(
                    self._command(address), stdin=stream.socket.fileno(),
                    stdout=stream.socket.fileno(), stderr=log, check=False,
                )  # fmt: skip

    async def _make_keys(self, address: str) -> None:
        for kind in KINDS:
            key = self._key(address, kind)
            if not key.exists():
                await trio.run_process(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(key)])

    async def _is_up(self, address: str) -> bool:
        """Whether a server has this address, and its guest answers."""
        try:
            with trio.fail_after(_STUB_S):
                async with await trio.open_tcp_stream(address, self.stub_port) as stub:
                    return (await stub.receive_some()).startswith(b"SSH-")
        except (OSError, trio.BrokenResourceError, trio.TooSlowError):
            return False

    def _command(self, address: str) -> list[str]:
        """One sshd for one connection: its standard input and output."""
        options = ["HostKey=" + str(self._key(address, kind)) for kind in KINDS]
        options += ["UsePAM=no", "UseDNS=no", "PidFile=none"]
        return [
            *("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /run && exec "$@"'),
            *(str(self.folder / "run"), _SSHD, "-i", "-e", "-f", "/dev/null"),
            *(word for option in options for word in ("-o", option)),
        ]
