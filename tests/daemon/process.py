"""`trellis serve` as a process of its own, on loopback, with a cloud at which nobody listens."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from tests.ports import free_port

PATIENCE_S = 60.0
"""Longest wait for a fact; a loaded machine starts a process in some seconds."""


class Daemon:
    """A daemon in a folder of its own; made anew with the same folder, it is the next one there.

    Args:
        folder: holds ``trellis.yaml``, ``clouds.yaml`` and, unless *store* says otherwise, the
            store.
        port: to listen at; 0 lets the daemon choose one.
    """

    def __init__(
        self,
        folder: Path,
        *,
        deployment: str = "process",
        store: Path | str = "trellis.db",
        port: int = 0,
    ) -> None:
        self.folder = folder
        self.url = ""
        self._written = folder / f"stderr-{time.monotonic_ns()}"
        (folder / "trellis.yaml").write_text(
            f"""
deployment: {deployment}
store: "sqlite:{store}"
web: {{listen: "127.0.0.1:{port}"}}
labels: [{{name: small}}]
providers:
  - name: alpha
    type: openstack
    cloud: alpha
    pools: [{{name: main, labels: [{{name: small, cloud-image: tiny, flavor-name: tiny}}]}}]
"""
        )
        (folder / "clouds.yaml").write_text(
            f"""
clouds:
  alpha:
    auth:
      auth_url: http://127.0.0.1:{free_port()}/v3
      username: ci
      password: "a-secret-of-this-test"
      project_name: ci
      user_domain_name: Default
      project_domain_name: Default
"""
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Daemon":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(PATIENCE_S)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def launch(self, *options: str) -> "Daemon":
        """Start the process, without waiting for it."""
        ours = {k: v for k, v in os.environ.items() if not k.startswith(("OS_", "TRELLIS_"))}
        with self._written.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "trellis.cli.main", "serve", *options],
                cwd=self.folder,
                env={**ours, "OS_CLIENT_CONFIG_FILE": str(self.folder / "clouds.yaml")},
                stdout=out,
                stderr=out,
            )
        return self

    def start(self) -> "Daemon":
        """Start it and wait until it answers."""
        self.launch()
        assert self._process is not None
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and self._process.poll() is None:
            told = [x for x in self.stderr.splitlines() if x.startswith("trellis listens at ")]
            if told:
                self.url = told[0].removeprefix("trellis listens at ")
                assert 200 == httpx.get(f"{self.url}/healthz").status_code
                return self
            time.sleep(0.05)
        raise AssertionError(f"it does not start:\n{self.stderr}")

    def kill(self) -> None:
        """End it as the kernel would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(PATIENCE_S)

    def stop(self, by: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """End it as an operator would: the exit status, and the seconds it took."""
        assert self._process is not None
        began = time.monotonic()
        self._process.send_signal(by)
        return self.ended(), time.monotonic() - began

    def ended(self) -> int:
        """Wait until it has ended: the exit status."""
        assert self._process is not None
        return self._process.wait(PATIENCE_S)

    @property
    def stderr(self) -> str:
        """All it has written so far."""
        return self._written.read_text(errors="replace")

    # ------------------------------------------------------------------------------ asking

    def submit(self, number: int = 1, **parts: Any) -> httpx.Response:
        """File a request; the number is its idempotency key."""
        body = {"labels": ["small"], "requestor": "test", "idempotency_key": f"key-{number}"}
        return httpx.post(f"{self.url}/api/v1/requests", json=body | parts, timeout=PATIENCE_S)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=PATIENCE_S)
