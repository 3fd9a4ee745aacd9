"""The whole daemon on the real OpenStack, killed in the middle of all, judged from outside."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import yaml

from tests.real.holding_proxy import HoldingProxy
from tests.real.project import CLOUD, FLAVOR, IMAGE, NETWORK, TOO_BIG

DEPLOYMENT = "real-test"
HOLD_S = 3.0
PATIENCE_S = 420
JUDGE = Path(__file__).with_name("judge.py")


def configuration(port: int) -> str:
    """One provider; its servers build and go slowly, so that a kill meets them in every state."""
    slowly = '{realcloud_build_seconds: "4", realcloud_delete_seconds: "4"}'
    return f"""
deployment: {DEPLOYMENT}
web: {{listen: "127.0.0.1:{port}"}}
labels: [{{name: small}}, {{name: public}}, {{name: huge}}]
providers:
  - name: real
    type: openstack
    cloud: {CLOUD}
    pools:
      - name: main
        networks: [{NETWORK}]
        auto-floating-ip: false
        host-key-checking: false
        labels:
          - {{name: small, cloud-image: {IMAGE}, flavor-name: {FLAVOR},
             instance-properties: {slowly}}}
          - {{name: huge, cloud-image: {IMAGE}, flavor-name: {TOO_BIG}}}
      - name: reachable
        networks: [{NETWORK}]
        host-key-checking: false
        labels:
          - {{name: public, cloud-image: {IMAGE}, flavor-name: {FLAVOR},
             instance-properties: {slowly}}}
"""


class Daemon:
    """The daemon as a process of its own, started by the installed command."""

    def __init__(self, folder: Path, env: dict[str, str], port: int) -> None:
        self._folder, self._env = folder, env
        self.url = f"http://127.0.0.1:{port}"
        self._log = folder / "daemon.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "trellis.cli.main", "serve", "-c", "trellis.yaml"],
                cwd=self._folder, env=self._env, stdout=out, stderr=out,
            )  # fmt: skip
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                if httpx.get(f"{self.url}/healthz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if self._process.poll() is not None:
                break
            time.sleep(0.1)
        pytest.fail(f"the daemon does not start:\n{self.log()}")

    def kill(self) -> None:
        """End it as the kernel would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def stop(self) -> int:
        """End it as an operator would; its exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(30)

    def log(self) -> str:
        """The end of what it wrote."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-60:])


class Requestor(threading.Thread):
    """A job: files a request by REST, uses the nodes, gives them back; outlives daemons."""

    def __init__(self, url: str, number: int, labels: list[str], *, cancel: bool, use_s: float):
        super().__init__(daemon=True)
        self._url, self._number = url, number
        self.labels, self._cancel, self._use_s = labels, cancel, use_s
        self.answer: dict = {}
        self.nodes: list[dict] = []
        self.lease = ""
        self.leased = threading.Event()
        self.let_go = threading.Event()
        self.crash: Exception | None = None

    def run(self) -> None:
        try:
            self._live()
        except Exception as crash:  # noqa: BLE001 - reported by the test
            self.crash = crash

    def _live(self) -> None:
        body = {
            "labels": self.labels, "requestor": f"job-{self._number}",
            "idempotency_key": "once", "lease_ttl_s": 600,
        }  # fmt: skip
        made = self._call("POST", "/requests", json=body)
        if self._cancel:
            time.sleep(1 + self._number % 3)
            self._call("DELETE", f"/requests/{made['id']}")
        while True:
            self.answer = self._call("GET", f"/requests/{made['id']}?wait_s=10")
            if self.answer["state"] not in ("requested", "pending"):
                break
        if self.answer["state"] == "fulfilled":
            self.nodes = self.answer["nodes"]
            lease = self.answer["lease"]
            self.lease = lease if isinstance(lease, str) else lease["id"]
            self.leased.set()
            if self._use_s:
                time.sleep(self._use_s)
            else:
                self.let_go.wait(PATIENCE_S)
            self._call("DELETE", f"/leases/{self.lease}")

    def _call(self, method: str, path: str, **more: object) -> dict:
        """Call until a daemon answers."""
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                answer = httpx.request(method, f"{self._url}/api/v1{path}", timeout=60, **more)
            except httpx.TransportError:
                assert time.monotonic() < until, f"nobody answers {method} {path}"
                time.sleep(0.2)
                continue
            assert answer.status_code < 400, answer.text
            return answer.json() if answer.content else {}


def judge(*arguments: str, env: dict[str, str]) -> tuple[int, dict]:
    """Ask the judge, which knows nothing of Trellis."""
    done = subprocess.run(
        [sys.executable, JUDGE, "--cloud", "judged", *arguments],
        env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture
def slow_nova(project):
    """A nova whose creates are answered late; the judge's entry goes past it."""
    clouds = yaml.safe_load(project.clouds_yaml.read_text())
    nova = project.own.compute.get_endpoint()
    with HoldingProxy(nova, hold_s=HOLD_S) as proxy:
        clouds["clouds"]["judged"] = dict(clouds["clouds"][CLOUD])
        clouds["clouds"][CLOUD]["compute_endpoint_override"] = proxy.url
        project.clouds_yaml.write_text(yaml.safe_dump(clouds))
        yield proxy


def free_port() -> int:
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_for(what: str, look, daemon: Daemon, *, seconds: float = PATIENCE_S):
    """Look until it holds; the deadline is generous, since the machine may be slow."""
    until = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > until:
            pytest.fail(f"{what} did not come true in {seconds:g} s\n{daemon.log()}")
        time.sleep(0.1)
    return found


def test_twenty_requests_survive_a_kill_in_the_middle_of_everything(project, slow_nova, tmp_path):
    """P1, P2, P3, P9, P10 on real services: fulfilled or explained, leases kept, nothing left."""
    env = {**os.environ, "OS_CLIENT_CONFIG_FILE": str(project.clouds_yaml)}
    strangers = str(tmp_path / "strangers.json")
    judge("plant", strangers, env=env)
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    port = free_port()
    (tmp_path / "trellis.yaml").write_text(configuration(port))
    daemon = Daemon(tmp_path, env, port)
    daemon.start()

    sizes = [1, 2, 1, 3, 1, 1, 2, 1, 1, 2, 3, 1, 1, 2, 1, 1, 1, 2]
    requestors = [
        Requestor(
            daemon.url, n, ["small"] * size, cancel=n in (4, 9, 14), use_s=0 if n == 0 else 2.0
        )
        for n, size in enumerate(sizes)
    ]
    requestors.append(Requestor(daemon.url, 18, ["public"], cancel=False, use_s=2.0))
    over = Requestor(daemon.url, 19, ["huge"], cancel=False, use_s=2.0)
    requestors.append(over)
    for requestor in requestors:
        requestor.start()
        time.sleep(0.7)
    keeper = requestors[0]

    def everything_at_once() -> dict | None:
        """What the cloud shows: unanswered, building, deleting; and one lease."""
        servers = [
            server
            for server in project.own.compute.servers(details=True)
            if server.metadata.get("trellis_deployment") == DEPLOYMENT
        ]
        unanswered = slow_nova.unanswered & {s.id for s in servers}
        building = [s.id for s in servers if s.status == "BUILD" and s.id not in unanswered]
        deleting = [s.id for s in servers if s.task_state == "deleting"]
        leased = keeper.leased.is_set()
        seen = {"unanswered": sorted(unanswered), "building": building, "deleting": deleting}
        return seen if leased and all(seen.values()) else None

    at_kill = wait_for("unanswered + building + deleting + leased", everything_at_once, daemon)
    daemon.kill()
    print("killed while the cloud showed", json.dumps(at_kill))
    time.sleep(1.0)
    daemon.start()

    kept = keeper.nodes[0]["external_id"]
    assert project.own.compute.get_server(kept).status == "ACTIVE"
    renewed = httpx.post(f"{daemon.url}/api/v1/leases/{keeper.lease}/renew", json={}, timeout=30)
    assert renewed.status_code == 200, renewed.text
    keeper.let_go.set()
    for requestor in requestors:
        requestor.join(PATIENCE_S)
        assert not requestor.is_alive(), f"{requestor.labels} waits for ever\n{daemon.log()}"
        assert requestor.crash is None, repr(requestor.crash)

    for requestor in requestors[:-1]:
        expected = {"closed", "cancelled"} if requestor._cancel else {"fulfilled"}
        assert requestor.answer["state"] in expected | {"fulfilled"}, requestor.answer
        assert [node["label"] for node in requestor.nodes] in ([], requestor.labels)
        assert len({(node["provider"], node["az"]) for node in requestor.nodes}) <= 1
    handed_out = [node["external_id"] for r in requestors for node in r.nodes]
    assert len(handed_out) == len(set(handed_out))
    assert over.answer["state"] == "failed"
    why = httpx.get(f"{daemon.url}/api/v1/requests/{over.answer['id']}/explain").json()
    assert "cores" in json.dumps(why)

    def nothing_left() -> bool:
        return judge("ours", DEPLOYMENT, env=env)[0] == 0

    wait_for("nothing of ours is left", nothing_left, daemon)
    status, twice = judge("made", DEPLOYMENT, since, env=env)
    assert status == 0, twice["twice"]
    status, touched = judge("untouched", strangers, env=env)
    assert status == 0, touched
    assert daemon.stop() == 0
    judge("remove", strangers, env=env)
