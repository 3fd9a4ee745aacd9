"""A whole site in a network of its own: clouds with namespace nodes, Trellis, ZooKeeper, Zuul.

Each is a process that is started here and ended by its id.
"""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml
from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from tests.ssh.place import PATIENCE_S, Place, environment, processes
from tests.zookeeper.certificates import Authority
from tests.zookeeper.real_server import RealZooKeeper
from tests.zuul.whole.repositories import LABEL, PROJECT, Repositories
from tests.zuul.whole.zuul_files import DAEMONS, TENANT, write_zuul_files
from trellis.sim.serving.namespaces import missing as no_namespaces

ROOT: Final = Path(__file__).resolve().parents[3]
ZUUL: Final = ROOT / ".venv-zuul" / "bin"
ANSIBLE: Final = ROOT / ".venv-ansible"
PYTHON: Final = str(Path(sys.executable).resolve())
"""On the nodes, which share the file system of this machine."""
OPERATOR: Final = Path(__file__).with_name("zuul_operator.py")
_TAIL: Final = 6000

SCENARIO: Final = f"""
clouds:
  - name: direct
    networks: [{{name: public, external: true}}]
    images: [{{name: tiny}}]
    boot: {{median: 0.3, p95: 0.3}}
    guest: {{median: 0.2, p95: 0.2}}
    delete: {{median: 0.3, p95: 0.3}}
configuration:
  deployment: whole-zuul
  labels: [{{name: {LABEL}}}]
  providers:
    - name: direct
      type: openstack
      cloud: direct
      sweep: delete
      pools:
        - name: main
          labels:
            - name: {LABEL}
              cloud-image: tiny
              flavor-name: ci-1c-1g
              key-name: mine
              username: root
              python-path: {PYTHON}
"""


def missing() -> list[str]:
    """What this machine lacks for it, a line each; nothing if it has all."""
    programs = {"bwrap": "bubblewrap", "git": "git", "ssh-agent": "openssh-client"}
    lacking = [package for program, package in programs.items() if shutil.which(program) is None]
    made = [ZUUL / "zuul-scheduler", ANSIBLE / "11" / "bin" / "ansible"]
    return [
        *no_namespaces()[:-1],
        *([f"apt-get install {' '.join(lacking)}"] if lacking else []),
        *(
            f"there is no {path.relative_to(ROOT)}: make test-zuul"
            for path in made
            if not path.exists()
        ),
    ]


class WholeSite(Place):
    """See the module; leaving the block ends all of it.

    Args:
        folder: of all files but those of builds.
        prefix: begins the names of network namespaces.
    """

    def __init__(self, folder: Path, prefix: str) -> None:
        super().__init__(folder, prefix, scenario=SCENARIO)
        self._authority = Authority(folder / "ca")
        self.zookeeper = RealZooKeeper(folder / "zookeeper", self._authority)
        self._told = folder / "told"
        self._told.mkdir()
        self.repositories = Repositories(folder / "git", self._told)
        self.zuul = folder / "zuul"
        # The path of a socket has 107 characters, and ssh makes one deep in a build's folder.
        self._short = tempfile.TemporaryDirectory(prefix="tz")
        self.builds_folder = Path(self._short.name)
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._sessions = dict[int, str]()

    def __exit__(self, *_: object) -> None:
        for name in list(self._daemons):
            self.kill_zuul(name)
        self._end_agents()
        self.zookeeper.stop()
        super().__exit__()
        self._short.cleanup()

    def _end_agents(self) -> None:
        """End what an executor that was killed has left: the agents with its key."""
        for pid in processes({self.net}):
            if Path(f"/proc/{pid}/comm").read_text().strip() == "ssh-agent":
                os.kill(pid, signal.SIGTERM)

    def start_daemon(self) -> None:
        """Start Trellis, and ZooKeeper before it; wait until both answer."""
        if self.zookeeper.process is None:
            assert self._inside is not None
            # What a thread starts is in the network that the thread is in.
            self._inside.submit(self.zookeeper.start).result()
            self._ask_trellis_to_serve_zuul()
        super().start_daemon()

    def _ask_trellis_to_serve_zuul(self) -> None:
        path = Path(self.clouds.told["configuration"])
        document = yaml.safe_load(path.read_text())
        issued = self._authority.issue("trellis")
        host, _, port = self.zookeeper.secure_host.rpartition(":")
        document["demand-sources"] = [
            {
                "name": "zuul",
                "type": "zuul",
                "zookeeper-servers": [{"host": host, "port": int(port)}],
                "zookeeper-tls": {
                    "cert": str(issued.cert),
                    "key": str(issued.key),
                    "ca": str(self._authority.ca),
                },
            }
        ]
        path.write_text(yaml.safe_dump(document, sort_keys=False))

    # -------------------------------------------------------------------------------- Zuul

    def start_zuul(self) -> None:
        """Start scheduler, executor and merger; wait until pushes to the project are seen."""
        self.zuul.mkdir()
        # Playbooks see little but /usr and what Ansible is installed in: not a Python elsewhere.
        base = (ANSIBLE / "11" / "bin" / "python").resolve().parents[1]
        write_zuul_files(
            self.zuul,
            zookeeper=self.zookeeper.secure_host,
            certificate=self._authority.issue("zuul"),
            authority=self._authority.ca,
            repositories=self.repositories.base,
            key=self.key,
            ansible=ANSIBLE,
            builds=self.builds_folder,
            readable="" if base == Path("/usr") else str(base),
        )
        for name in DAEMONS:
            self.start_one(name)
        # A push before the first look at a project is no event, one before the layout is nobody's.
        self.zuul_says("scheduler", f"Read 1 refs for project {PROJECT}")
        self.zuul_says("scheduler", "Config priming complete")

    def start_one(self, name: str) -> None:
        """Start one of Zuul's daemons."""
        with (self.zuul / f"{name}.out").open("ab") as out:
            self._daemons[name] = subprocess.Popen(
                [
                    *self.clouds.within, str(ZUUL / f"zuul-{name}"),
                    "-f", "-c", str(self.zuul / "zuul.conf"),
                ],
                cwd=self.zuul, env=environment(), stdout=out, stderr=out,
                stdin=subprocess.DEVNULL,
                # Python's helpers of multiprocessing outlive who started them, and do not mind
                # SIGTERM: they are ended as a group.
                start_new_session=True,
            )  # fmt: skip
        self._sessions[self._daemons[name].pid] = name

    def kill_zuul(self, name: str) -> None:
        """End one and its helpers as the kernel would; what it has run for jobs goes on."""
        process = self._daemons.pop(name)
        # It is not waited for yet, so that its id is nobody else's.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE_S)

    def zuul_processes(self) -> list[str]:
        """What runs in the sessions of Zuul's daemons, killed ones too: each by daemon and name."""
        return sorted(
            f"{self._sessions[session]}: {name}"
            for session, name in _running()
            if session in self._sessions
        )

    def tell_zuul(self, name: str, command: str) -> None:
        """Give one of them a command, as ``zuul-executor pause`` does."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self.zuul / f"{name}.socket"))
            sock.sendall(f"{command}\n".encode())

    def operate(self, *words: str) -> None:
        """Do what zuul-web does for an operator; see `zuul_operator`."""
        program = [str(ZUUL / "python"), str(OPERATOR), str(self.zuul / "zuul.conf")]
        subprocess.run(
            [*self.clouds.within, *program, TENANT, PROJECT, *words],
            env=environment(), check=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def zuul_log(self, name: str) -> str:
        """What one has written so far."""
        return "".join(
            path.read_text(errors="replace")
            for path in (self.zuul / f"{name}.out", self.zuul / f"{name}.log")
            if path.exists()
        )

    def zuul_says(self, name: str, words: str, *, times: int = 1) -> None:
        """Wait until these words are in the log of one of Zuul's daemons, so many times."""

        def said() -> bool:
            process = self._daemons[name]
            found = self.zuul_log(name).count(words) >= times
            if not found and process.poll() is not None:
                raise AssertionError(f"zuul-{name} ended\n{self.log()}")
            return found

        self.wait_for(f"zuul-{name} says {words!r}", said)

    def log(self) -> str:
        """The end of what each of them wrote."""
        tails = (f"--- zuul-{name}\n{self._tail(name)}" for name in DAEMONS)
        return "\n".join((super().log(), *tails))

    def _tail(self, name: str) -> str:
        lines = self.zuul_log(name).splitlines()
        return "\n".join(line for line in lines if ".git.watcher:" not in line)[-_TAIL:]

    # -------------------------------------------------------------------------------- jobs

    def told(self, commit: str, *, before: tuple[str, ...] = ()) -> dict[str, Any]:
        """Wait until the job of a commit has told who its node is, if it is none of these."""

        def names() -> list[str]:
            found = (path.suffix.removeprefix(".") for path in self._told.glob(f"{commit}.*"))
            return [name for name in found if name not in ("go", *before)]

        def whole() -> dict[str, Any] | None:
            for name in names():
                text = (self._told / f"{commit}.{name}").read_text()
                return dict(json.loads(text)) if text.endswith("}") else None
            return None

        return self.wait_for("the job has told who its node is", whole)

    def go_on(self, commit: str, *, failing: bool = False) -> None:
        """Let the job of a commit go on."""
        path = self._told / f"{commit}.part"
        path.write_text("fail" if failing else "")
        path.rename(self._told / f"{commit}.go")

    def builds(self, commit: str) -> list[dict[str, Any]]:
        """What Zuul's database has of the builds of a commit that have ended, oldest first."""
        database = sqlite3.connect(f"file:{self.zuul / 'zuul.db'}?mode=ro", uri=True)
        database.row_factory = sqlite3.Row
        try:
            rows = database.execute(
                "SELECT zuul_build.* FROM zuul_build JOIN zuul_ref ON ref_id = zuul_ref.id"
                " WHERE newrev = ? AND result IS NOT NULL ORDER BY zuul_build.id",
                (commit,),
            ).fetchall()
        finally:
            database.close()
        return [dict(row) for row in rows]

    def ended(self, commit: str) -> list[str]:
        """Wait until the last build of a commit has ended; the results of all of them."""

        def last() -> list[str]:
            found = self.builds(commit)
            return [one["result"] for one in found] if any(one["final"] for one in found) else []

        return self.wait_for("the build has ended", last)

    # ------------------------------------------------------------------------- what is left

    def children(self, path: str) -> list[str]:
        """The children of a znode; none if there is no such znode."""
        assert self._inside is not None
        return self._inside.submit(self._children, path).result()

    def _children(self, path: str) -> list[str]:
        client = KazooClient(self.zookeeper.host, read_only=True)
        client.start(timeout=PATIENCE_S)
        try:
            return list(client.get_children(path))
        except NoNodeError:
            return []
        finally:
            client.stop()
            client.close()

    def left(self) -> dict[str, object]:
        """What there is of nodes and requests, wherever; nothing after the last job."""
        found = {
            "namespaces": self.clouds.nodes(),
            "nodes": self.api("GET", "/nodes")["items"],
            "znodes": self.children("/nodepool/nodes"),
            "requests": self.children("/nodepool/requests"),
        }
        return {name: what for name, what in found.items() if what}

    def nothing_left(self) -> None:
        """Wait until nothing is left of any node."""
        self.wait_for("nothing is left", lambda: not self.left())


def _running() -> Iterator[tuple[int, str]]:
    """The session and the name of all processes that run."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().partition("(")[2].rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        state, _parent, _group, session, *_ = rest.split()
        if state != "Z":
            yield int(session), name
