"""A real ZooKeeper server of a test's own: Debian's package, on loopback, in a folder of the test.

It is started, killed, paused and started again on the same folder; nothing of it outlives the test.
"""

import datetime
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Final

import attrs

from tests.ports import free_port
from tests.zookeeper.certificates import HOUR, Authority

JAVA: Final = Path("/usr/share/java")
JAR: Final = JAVA / "zookeeper.jar"
_NETTY: Final = ("netty-codec", "netty-resolver", "netty-transport-native-unix-common")
CLASSES: Final = tuple(JAVA / f"{name}.jar" for name in ("zookeeper", *_NETTY, "slf4j-simple"))
"""ZooKeeper's jar names most that it needs; not all that TLS needs, nor a log."""
START_S: Final = 30.0


def missing() -> str | None:
    """What is to be installed first; None is nothing."""
    wanting = [
        *(["default-jre-headless"] if shutil.which("java") is None else []),
        *(["zookeeper"] if not JAR.exists() else []),
    ]
    return f"apt-get install {' '.join(wanting)}" if wanting else None


@attrs.define(eq=False)
class RealZooKeeper:
    """One server: where it listens, and its process while it runs.

    Attributes:
        secure_port: for TLS; only with an authority.
        address: of loopback.
    """

    folder: Path
    authority: Authority | None = None
    address: str = "127.0.0.1"
    certificate_lasts: datetime.timedelta = HOUR
    port: int = attrs.field(factory=free_port)
    secure_port: int = attrs.field(factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """As a client is given it."""
        return self._host(self.port)

    @property
    def secure_host(self) -> str:
        """The same, for TLS, by the name in its certificate."""
        return f"localhost:{self.secure_port}"

    def start(self) -> None:
        """Start it and wait until it serves."""
        if (command := missing()) is not None:
            raise RuntimeError(f"no ZooKeeper to test with: {command}")
        self.folder.mkdir(exist_ok=True, parents=True)
        configuration = self.folder / "zoo.cfg"
        configuration.write_text("".join(f"{line}\n" for line in self._settings()))
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    "java",
                    *("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
                    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                    *("-cp", ":".join(map(str, CLASSES))),
                    "org.apache.zookeeper.server.quorum.QuorumPeerMain",
                    str(configuration),
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
            )
        until = time.monotonic() + START_S
        while self.ask("srvr") is None:
            if self.process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError(
                    f"ZooKeeper did not start: {(self.folder / 'log').read_text()[-2000:]}"
                )
            time.sleep(0.05)

    def ask(self, word: str) -> str | None:
        """The answer to one of ZooKeeper's four-letter words; None if it does not serve."""
        try:
            with socket.create_connection((self.address, self.port), timeout=2) as sock:
                sock.sendall(word.encode())
                answer = b""
                while piece := sock.recv(65536):
                    answer += piece
        except OSError:
            return None
        return answer.decode() if b"not currently serving" not in answer and answer else None

    def counted(self, key: str) -> int:
        """One of the server's own counts, by its name in the answer to ``mntr``."""
        rows = dict(line.split("\t") for line in (self.ask("mntr") or "").splitlines())
        return int(float(rows[key]))

    def pause(self) -> None:
        """Let it hang."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it without a word; what it has written stays."""
        self.stop()

    def stop(self) -> None:
        """End it, whatever its state."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _signal(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def _host(self, port: int) -> str:
        return f"[{self.address}]:{port}" if ":" in self.address else f"{self.address}:{port}"

    def _settings(self) -> list[str]:
        settings = [
            f"dataDir={self.folder / 'data'}",
            f"clientPort={self.port}",
            f"clientPortAddress={self.address}",
            "tickTime=400",
            "minSessionTimeout=800",
            "maxSessionTimeout=60000",
            "maxClientCnxns=0",
            "admin.enableServer=false",
            "4lw.commands.whitelist=*",
        ]
        if self.authority is not None:
            issued = self.authority.issue(
                "server", names=["localhost"], lasts=self.certificate_lasts
            )
            settings += [
                "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
                f"secureClientPort={self.secure_port}",
                f"secureClientPortAddress={self.address}",
                f"ssl.keyStore.location={issued.both}",
                "ssl.keyStore.type=PEM",
                f"ssl.trustStore.location={self.authority.ca}",
                "ssl.trustStore.type=PEM",
                "ssl.clientAuth=need",
            ]
        return settings
