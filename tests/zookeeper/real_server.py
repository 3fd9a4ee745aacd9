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
from trellis.zookeeper.session import Tls
from trellis.zookeeper.unreachable import mode_of

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


@attrs.frozen
class Quorum:
    """Servers that are one ZooKeeper together, as long as most of them run.

    Attributes:
        ports: of each, those by which the others reach it: for data, and for elections.
        read_only: whether one that is without the others serves those who only want to read.
    """

    ports: tuple[tuple[int, int], ...]
    read_only: bool = True

    @classmethod
    def of(cls, count: int, *, read_only: bool = True) -> "Quorum":
        """As many servers, at ports that are free."""
        return cls(tuple((free_port(), free_port()) for _ in range(count)), read_only)


@attrs.define(eq=False)
class RealZooKeeper:
    """One server: where it listens, and its process while it runs.

    Attributes:
        quorum: which it is part of, as number *member*; None is a server that stands alone.
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
    quorum: Quorum | None = None
    member: int = 1

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
        self.launch()
        self.wait_serves()

    def launch(self) -> None:
        """Start it, without waiting for it."""
        if (command := missing()) is not None:
            raise RuntimeError(f"no ZooKeeper to test with: {command}")
        self.folder.mkdir(exist_ok=True, parents=True)
        configuration = self.folder / "zoo.cfg"
        configuration.write_text("".join(f"{line}\n" for line in self._settings()))
        if self.quorum is not None:
            (self.folder / "data").mkdir(exist_ok=True)
            (self.folder / "data" / "myid").write_text(str(self.member))
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    "java",
                    *("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
                    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                    f"-Dreadonlymode.enabled={self._is_read_only_alone}",
                    *("-cp", ":".join(map(str, CLASSES))),
                    "org.apache.zookeeper.server.quorum.QuorumPeerMain",
                    str(configuration),
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
            )

    def wait_serves(self) -> None:
        """Wait until it serves, if only those who read."""
        until = time.monotonic() + START_S
        while self.ask("srvr") is None:
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError(
                    f"ZooKeeper did not start: {(self.folder / 'log').read_text()[-2000:]}"
                )
            time.sleep(0.05)

    def wait_secure(self, tls: Tls) -> None:
        """Wait until it serves by TLS, whose first handshake may take it seconds.

        Args:
            tls: as a client would have it.
        """
        until = time.monotonic() + START_S
        while not mode_of("localhost", self.secure_port, tls):
            if time.monotonic() > until:
                raise RuntimeError(f"ZooKeeper does not serve by TLS within {START_S:g} s")

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

    @property
    def _is_read_only_alone(self) -> str:
        return str(self.quorum is not None and self.quorum.read_only).lower()

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
        if self.quorum is not None:
            settings += ["initLimit=10", "syncLimit=10"]
            settings += [
                f"server.{number}={self.address}:{data}:{election}"
                for number, (data, election) in enumerate(self.quorum.ports, 1)
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
