"""Simulated clouds with namespace nodes and a daemon, as processes in a network of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import yaml

from trellis.sim.serving import netns

PATIENCE_S = 120.0
"""Longest wait for a fact; a loaded machine starts a process in some seconds."""
T = TypeVar("T")

SCENARIO = """
clouds:
  - name: direct
    networks: [{name: public, external: true}]
    images: [{name: tiny}, {name: baked, baked-host-key: true}]
    boot: {median: 0.3, p95: 0.3}
    guest: {median: 0.2, p95: 0.2}
    delete: {median: 0.3, p95: 0.3}
  - name: behind
    networks: [{name: ci-net}, {name: outside, external: true, attachable: false}]
    boot: {median: 0.3, p95: 0.3}
    guest: {median: 0.2, p95: 0.2}
    delete: {median: 0.3, p95: 0.3}
  - name: slow
    boot: {median: 5, p95: 5}
    guest: {median: 0.2, p95: 0.2}
    delete: {median: 4, p95: 4}
configuration:
  deployment: ssh-test
  labels:
    - {name: small, min-ready: SPARE}
    - {name: floating}
    - {name: baked}
    - {name: slow}
  providers:
    - name: direct
      type: openstack
      cloud: direct
      sweep: delete
      pools:
        - name: main
          labels:
            - {name: small, cloud-image: tiny, flavor-name: ci-1c-1g, key-name: mine}
            - {name: baked, cloud-image: baked, flavor-name: ci-1c-1g, key-name: mine}
    - name: behind
      type: openstack
      cloud: behind
      sweep: delete
      pools:
        - name: main
          networks: [ci-net]
          labels: [{name: floating, cloud-image: tiny, flavor-name: ci-1c-1g, key-name: mine}]
    - name: slow
      type: openstack
      cloud: slow
      sweep: delete
      pools:
        - name: main
          labels:
            - {name: slow, cloud-image: tiny, flavor-name: ci-1c-1g, key-name: mine}
"""


def trellis(*words: str) -> list[str]:
    """A command line of the program."""
    return [sys.executable, "-m", "trellis.cli.main", *words]


def environment(**more: str) -> dict[str, str]:
    """Ours, without what would lead the program elsewhere."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("OS_", "TRELLIS_"))}
    return {**ours, **more}


def namespaces(prefix: str) -> set[str]:
    """The names of the network namespaces that a run with this prefix has."""
    if not netns.NAMED.exists():
        return set()
    return {path.name for path in netns.NAMED.iterdir() if path.name.startswith(f"{prefix}-")}


def state_of(prefix: str) -> Path:
    """The folder in which a run keeps its nodes."""
    return Path(f"/run/trellis-namespaces-{prefix}")


def processes(names: set[str]) -> list[int]:
    """All that runs in these namespaces."""
    found: list[int] = []
    for name in names:
        out = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True)
        found += map(int, out.stdout.split())
    return found


def wait_for(
    what: str, look: Callable[[], T], *, log: Callable[[], str] = str, seconds: float = PATIENCE_S
) -> T:
    """Look until it holds."""
    until = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > until:
            pytest.fail(f"not in {seconds:g} s: {what}\n{log()}")
        time.sleep(0.05)
    return found


class Clouds:
    """``trellis cloud`` with real nodes as a process of its own; leaving the block ends it.

    Args:
        folder: of all its files.
        prefix: begins the names of its namespaces.
        spare: ready nodes of the label ``small`` that a daemon is to keep.
        scenario: what it serves, as a file says it.
        nodes: the kind of nodes.
    """

    def __init__(
        self, folder: Path, prefix: str, *, spare: int = 0, scenario: str = SCENARIO,
        nodes: str = "namespaces",
    ) -> None:  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.prefix, self._kind = folder, prefix, nodes
        self.within = ["ip", "netns", "exec", f"{prefix}-net"]
        self._log = folder / "cloud.log"
        (folder / "scenario.yaml").write_text(scenario.replace("SPARE", str(spare)))
        self.process: subprocess.Popen[str] | None = None
        self.told: dict[str, Any] = {}

    def __enter__(self) -> "Clouds":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()

    def launch(self) -> subprocess.Popen[str]:
        """Start the process, without waiting for it."""
        with self._log.open("ab") as out:
            self.process = subprocess.Popen(
                trellis(
                    "cloud", "scenario.yaml", "--nodes", self._kind, "--prefix", self.prefix,
                    "--folder", str(self.folder), "-o", "json",
                ),
                cwd=self.folder, env=environment(), stdout=subprocess.PIPE, stderr=out, text=True,
            )  # fmt: skip
        return self.process

    def start(self) -> None:
        """Start it and wait until everything listens."""
        out = self.launch().stdout
        assert out is not None
        line = out.readline()
        assert line.startswith("{"), f"the clouds do not start:\n{line}{self.log()}"
        self.told = json.loads(line)

    def stop(self) -> int:
        """End it as Ctrl-C does; its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    def kill(self) -> None:
        """End it as the kernel would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def log(self) -> str:
        """The end of what it wrote."""
        return self._log.read_text(errors="replace")[-4000:]

    def nodes(self) -> set[str]:
        """The namespaces of its nodes."""
        return namespaces(self.prefix) - {f"{self.prefix}-net"}


class Place:
    """Clouds, a daemon among them, and a person with a key of his own.

    Args:
        folder: of all its files.
        prefix: begins the names of its namespaces.
        more: of what the clouds are, as `Clouds` takes it.
    """

    def __init__(self, folder: Path, prefix: str, **more: Any) -> None:
        self.folder = folder
        self.clouds = Clouds(folder / "clouds", prefix, **more)
        self.key = folder / "key"
        self._log = folder / "daemon.log"
        self._daemon: subprocess.Popen[bytes] | None = None
        self._inside: ThreadPoolExecutor | None = None

    def __enter__(self) -> "Place":
        make_key(self.key)
        # One thread lives in the network of the clouds, and speaks HTTP for the test.
        self._inside = ThreadPoolExecutor(1, initializer=netns.enter, initargs=(self.net,))
        try:
            self.clouds.start()
            self._put_key_into_clouds()
            self.start_daemon()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._daemon is not None and self._daemon.poll() is None:
            self.kill_daemon()
        if self._inside is not None:
            self._inside.shutdown()
        self.clouds.__exit__()

    @property
    def net(self) -> str:
        """The namespace in which everything runs."""
        return f"{self.clouds.prefix}-net"

    # ------------------------------------------------------------------------- the daemon

    def start_daemon(self) -> None:
        """Start it and wait until it answers."""
        told = self.clouds.told
        with self._log.open("ab") as out:
            self._daemon = subprocess.Popen(
                [*told["run_within"], *trellis("serve", "-c", told["configuration"])],
                cwd=self.folder, env=environment(OS_CLIENT_CONFIG_FILE=told["clouds_yaml"]),
                stdout=out, stderr=out,
            )  # fmt: skip

        def answers() -> bool:
            assert self._daemon is not None
            if self._daemon.poll() is not None:
                pytest.fail(f"the daemon does not start:\n{self.log()}")
            try:
                return self.http("GET", "http://127.0.0.1:8480/healthz").status_code == 200
            except httpx.TransportError:
                return False

        self.wait_for("the daemon answers", answers)

    def kill_daemon(self) -> None:
        """End it as the kernel would."""
        assert self._daemon is not None
        self._daemon.kill()
        self._daemon.wait(PATIENCE_S)

    def log(self) -> str:
        """The end of what the daemon and the clouds wrote."""
        return self._log.read_text(errors="replace")[-6000:] + self.clouds.log()

    def wait_for(self, what: str, look: Callable[[], T], *, seconds: float = PATIENCE_S) -> T:
        """Look until it holds."""
        return wait_for(what, look, log=self.log, seconds=seconds)

    # ---------------------------------------------------------------------------- calling

    def http(self, method: str, url: str, **more: Any) -> httpx.Response:
        """A call from within the network of the clouds."""
        assert self._inside is not None
        return self._inside.submit(httpx.request, method, url, timeout=60, **more).result()

    def api(self, method: str, path: str, **more: Any) -> Any:
        """A call to the daemon, below ``/api/v1``."""
        answer = self.http(method, f"http://127.0.0.1:8480/api/v1{path}", **more)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    def request(self, *labels: str) -> dict[str, Any]:
        """File a request."""
        return self.api("POST", "/requests", json={"labels": labels, "requestor": "test"})

    def fulfilled(self, *labels: str) -> dict[str, Any]:
        """File a request and wait until it has its nodes."""
        return self.fulfilled_now(self.request(*labels))

    def fulfilled_now(
        self, filed: dict[str, Any], *, seconds: float = PATIENCE_S
    ) -> dict[str, Any]:
        """Wait until a request has its nodes."""

        def done() -> dict[str, Any] | None:
            shown = self.api("GET", f"/requests/{filed['id']}?wait_s=10")
            return shown if shown["state"] not in ("requested", "pending") else None

        shown = self.wait_for(f"{filed['labels']} are there", done, seconds=seconds)
        assert shown["state"] == "fulfilled", f"{shown}\n{self.log()}"
        return shown

    def release(self, request: dict[str, Any]) -> None:
        """Give the nodes of a request back."""
        self.api("DELETE", f"/leases/{request['lease']['id']}")

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the program within the network of the clouds."""
        return subprocess.run(
            [*self.clouds.within, *trellis(*words)],
            env=environment(), capture_output=True, text=True, timeout=PATIENCE_S,
        )  # fmt: skip

    def ssh(
        self,
        node: dict[str, Any],
        known: Path,
        *words: str,
        key: Path | None = None,
        user: str = "root",
    ) -> subprocess.CompletedProcess[str]:
        """Log in by the system's ssh, which trusts nothing but what *known* says."""
        options = {
            "BatchMode": "yes", "StrictHostKeyChecking": "yes", "UserKnownHostsFile": str(known),
            "GlobalKnownHostsFile": "/dev/null", "IdentitiesOnly": "yes", "ConnectTimeout": "30",
        }  # fmt: skip
        return subprocess.run(
            [
                *self.clouds.within, "ssh", "-F", "none", "-i", str(key or self.key),
                *(f"-o{name}={value}" for name, value in options.items()),
                "-p", str(node["connection_port"]), f"{user}@{node['interface_ip']}", *words,
            ],
            env=environment(), capture_output=True, text=True, timeout=PATIENCE_S,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def known_hosts(self, node: dict[str, Any], keys: Sequence[str] | None = None) -> Path:
        """A known_hosts of nothing but host keys in an answer of the API: its own, or *keys*."""
        path = self.folder / f"known-{node['id']}-{time.monotonic_ns()}"
        path.write_text(
            "".join(
                f"{node['interface_ip']} {key}\n"
                for key in (node["host_keys"] if keys is None else keys)
            )
        )
        return path

    def service(self, cloud: str, kind: str) -> tuple[str, dict[str, str]]:
        """Where a service of a cloud is, and the headers of a call to it."""
        entries = yaml.safe_load(Path(self.clouds.told["clouds_yaml"]).read_text())["clouds"]
        auth = entries[cloud]["auth"]
        user = {
            "name": auth["username"], "password": auth["password"],
            "domain": {"name": auth["user_domain_name"]},
        }  # fmt: skip
        project = {"name": auth["project_name"], "domain": {"name": auth["project_domain_name"]}}
        identity = {"methods": ["password"], "password": {"user": user}}
        body = {"auth": {"identity": identity, "scope": {"project": project}}}
        answer = self.http("POST", f"{auth['auth_url']}/auth/tokens", json=body)
        catalog = answer.json()["token"]["catalog"]
        url = next(x for x in catalog if x["type"] == kind)["endpoints"][0]["url"]
        return url.rstrip("/"), {"X-Auth-Token": answer.headers["x-subject-token"]}

    def _put_key_into_clouds(self) -> None:
        public = self.key.with_suffix(".pub").read_text()
        for cloud in self.clouds.told["clouds"]:
            compute, headers = self.service(cloud, "compute")
            made = self.http(
                "POST", f"{compute}/os-keypairs", headers=headers,
                json={"keypair": {"name": "mine", "public_key": public}},
            )  # fmt: skip
            assert made.status_code == 200, made.text


def make_key(path: Path) -> None:
    """Make a key pair for logging in."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True
    )
