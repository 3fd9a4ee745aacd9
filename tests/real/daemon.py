"""The daemon as a process, jobs that use it by REST, and the judge who looks at the cloud."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from tests.ports import free_port

PATIENCE_S = 300
JUDGE = Path(__file__).with_name("judge.py")
T = TypeVar("T")


class Daemon:
    """The daemon as a process of its own, started by the installed command.

    Leaving the block kills it, if it still runs.

    Args:
        folder: holds its configuration, its store and its log.
        env: its environment.
        configuration: what it is to do; the address of the web face is added.
        python: of the environment that Trellis is installed in.
    """

    def __init__(
        self,
        folder: Path,
        env: dict[str, str],
        configuration: str,
        *,
        python: str | Path = sys.executable,
    ) -> None:
        port = free_port()
        self._folder, self._env, self._python = folder, env, str(python)
        self.url = f"http://127.0.0.1:{port}"
        self._log = folder / "daemon.log"
        self._process: subprocess.Popen[bytes] | None = None
        listen = f'web: {{listen: "127.0.0.1:{port}"}}\n'
        (folder / "trellis.yaml").write_text(configuration + listen)

    def __enter__(self) -> "Daemon":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(
                [self._python, "-m", "trellis.cli.main", "serve", "-c", "trellis.yaml"],
                cwd=self._folder, env=self._env, stdout=out, stderr=out,
            )  # fmt: skip

        def answers() -> bool:
            assert self._process is not None
            if self._process.poll() is not None:
                pytest.fail(f"the daemon does not start:\n{self.log()}")
            try:
                return httpx.get(f"{self.url}/healthz").status_code == 200
            except httpx.TransportError:
                return False

        self.wait_for("the daemon answers", answers)

    def kill(self) -> None:
        """End it as the kernel would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(30)

    def stop(self) -> int:
        """End it as an operator would; its exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)

    def log(self, lines: int = 60) -> str:
        """The end of what it wrote."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    def get(self, path: str) -> Any:
        """What a GET below ``/api/v1`` answers."""
        answer = httpx.get(f"{self.url}/api/v1{path}", timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: object) -> Any:
        """What a POST below ``/api/v1`` answers."""
        answer = httpx.post(f"{self.url}/api/v1{path}", json=body, timeout=60)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def release(self, lease: str) -> None:
        """Give the nodes of a lease back."""
        answer = httpx.delete(f"{self.url}/api/v1/leases/{lease}", timeout=60)
        assert answer.status_code == 204, answer.text

    def wait_for(self, what: str, look: Callable[[], T], *, seconds: float = PATIENCE_S) -> T:
        """Look until it holds; the deadline is generous, since the machine may be slow."""
        until = time.monotonic() + seconds
        while not (found := look()):
            if time.monotonic() > until:
                pytest.fail(f"not in {seconds:g} s: {what}\n{self.log()}")
            time.sleep(0.1)
        return found


class Requestor(threading.Thread):
    """A job: files a request by REST, uses the nodes, gives them back; outlives daemons.

    Args:
        cancel: ends the request as soon as it is filed.
        keeps: holds the nodes until `let_go` is set; else they are given back at once.

    Attributes:
        answer: the request as it was when it waited no longer.
        nodes: the nodes it was given.
        crash: what ended it before its time.
    """

    def __init__(
        self, url: str, name: str, labels: list[str], *, cancel: bool = False, keeps: bool = False
    ) -> None:
        super().__init__(daemon=True)
        self._url = url
        self.name, self.labels, self.cancel, self._keeps = name, labels, cancel, keeps
        self.answer: dict[str, Any] = {}
        self.nodes: list[dict[str, Any]] = []
        self.lease = ""
        self.leased, self.let_go = threading.Event(), threading.Event()
        self.crash: Exception | None = None

    def run(self) -> None:
        """Live as a job does."""
        try:
            self._live()
        except Exception as crash:  # noqa: ASYNC103, BLE001 - reported by the test
            self.crash = crash

    def _live(self) -> None:
        body = {
            "labels": self.labels, "requestor": self.name, "idempotency_key": "once",
            "lease_ttl_s": 900,
        }  # fmt: skip
        made = self._call("POST", "/requests", json=body)
        if self.cancel:
            self._call("DELETE", f"/requests/{made['id']}")
        until = time.monotonic() + PATIENCE_S * 2
        while True:
            self.answer = self._call("GET", f"/requests/{made['id']}?wait_s=10")
            if self.answer["state"] not in ("requested", "pending"):
                break
            assert time.monotonic() < until, f"{self.name} waits for ever: {self.answer}"
        if self.answer["state"] == "fulfilled":
            self.nodes, self.lease = self.answer["nodes"], self.answer["lease"]["id"]
            self.leased.set()
            if self._keeps:
                self.let_go.wait(PATIENCE_S)
            self._call("DELETE", f"/leases/{self.lease}")

    def _call(self, method: str, path: str, **more: Any) -> Any:
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


def judge(*arguments: str, env: dict[str, str], cloud: str) -> tuple[int, dict[str, Any]]:
    """Ask the judge, who knows nothing of Trellis: exit status and answer."""
    done = subprocess.run(
        [sys.executable, JUDGE, "--cloud", cloud, *arguments],
        env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)
