"""The process in which Zuul's own classes run, as a test talks to it."""

import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio

from trellis.zookeeper.session import Servers

ROOT: Final = Path(__file__).resolve().parents[3]
PYTHON: Final = ROOT / ".venv-zuul" / "bin" / "python"
SIDE: Final = Path(__file__).with_name("zuul_side.py")
ANSWER_S: Final = 60.0


class RefusedError(Exception):
    """Zuul's classes raised something; the text is theirs."""


class ZuulProcess:
    """Zuul's scheduler and executors; see `zuul_side` for what they can be told."""

    def __init__(self, process: trio.Process, log: Path) -> None:
        self._process, self._log = process, log
        self._buffer = b""
        self._turn = trio.Lock()
        self.system_id = ""

    async def do(self, name: str, **what: object) -> Any:
        """Have something done; the answer."""
        async with self._turn:
            assert self._process.stdin is not None
            await self._process.stdin.send_all(json.dumps({"do": name, **what}).encode() + b"\n")
            answer = json.loads(await self._line())
        if "error" in answer:
            raise RefusedError(f"{name}: {answer['error']}; the log is {self._log}")
        return answer["ok"]

    async def becomes(self, request: str, state: str, *, within_s: float = 30.0) -> dict[str, Any]:
        """Wait until a request has this state."""
        with trio.move_on_after(within_s):
            while True:
                now = await self.do("look", request=request)
                if now is not None and now["state"] == state:
                    return now
                await trio.sleep(0.02)
        raise TimeoutError(f"{request} is {await self.do('look', request=request)}, not {state}")

    async def read_greeting(self) -> None:
        """Wait until it is connected."""
        self.system_id = json.loads(await self._line())["ok"]

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        with trio.fail_after(ANSWER_S):
            await trio.lowlevel.checkpoint()
            while b"\n" not in self._buffer:
                part = await self._process.stdout.receive_some()
                if not part:
                    raise RefusedError(f"Zuul's process has ended; its log is {self._log}")
                self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line


@asynccontextmanager
async def zuul_process(servers: Servers, log: Path) -> AsyncIterator[ZuulProcess]:
    """Start it; it is killed with the block."""
    if not PYTHON.exists():
        raise RuntimeError("Zuul's classes are not installed: make test-zuul does it")
    words = [",".join(servers.hosts) + servers.chroot, "--timeout", str(servers.timeout_s)]
    if servers.tls is not None:
        words += [
            *("--cert", str(servers.tls.cert), "--key", str(servers.tls.key)),
            *("--ca", str(servers.tls.ca)),
        ]
    with log.open("ab") as out:
        process = await trio.lowlevel.open_process(
            [str(PYTHON), str(SIDE), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=out,
        )
    try:
        zuul = ZuulProcess(process, log)
        await zuul.read_greeting()
        yield zuul
    finally:
        process.kill()
        with trio.CancelScope(shield=True):  # it is killed
            await process.wait()
