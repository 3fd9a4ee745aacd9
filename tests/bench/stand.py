"""The stand a workload runs on: `trellis cloud` and `trellis serve`, each a process of its own."""

import json
import math
import os
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import attrs
import trio

from tests.bench.child import BrokenRunError, Child
from tests.bench.connection import AnswerError, Connection
from tests.bench.machine import busy_s, cpu_s, resident_mib
from tests.ports import free_port

_START_S: Final = 60.0
_END_S: Final = 10.0
_PROBES: Final = 15


class NamedCloud(Protocol):
    """One cloud of a set-up."""

    @property
    def name(self) -> str:
        """Its own, and its provider's."""
        ...


class Setup(Protocol):
    """What the two processes are told to be."""

    @property
    def clouds(self) -> Sequence[NamedCloud]:
        """The clouds there are."""
        ...

    def scenario(self) -> str:
        """The file for `trellis cloud`."""
        ...

    def configuration(self, port: int, ssh_port: int) -> str:
        """The file for `trellis serve`, which listens at *port*."""
        ...


@attrs.frozen(kw_only=True)
class Snapshot:
    """Counters at one moment.

    Attributes:
        at: in seconds of the bench's clock.
        calls: to all clouds together, by kind.
        statuses: their answers, by HTTP status.
        cpu_s: used so far by ``daemon``, ``clouds``, ``bench`` and ``all`` the machine.
    """

    at: float
    calls: dict[str, int]
    statuses: dict[str, int]
    cpu_s: dict[str, float]


class Stand:
    """A running pair of processes.

    Attributes:
        folder: everything they write, logs too.
        url: the daemon's.
        control: the clouds' control face.
        offset_s: what to add to the clouds' times to get `time.monotonic`.
    """

    def __init__(self, setup: Setup, folder: Path) -> None:
        self.setup, self.folder = setup, folder
        self.daemon = Child("the daemon", folder / "daemon.log")
        self.clouds = Child("the process of the clouds", folder / "clouds.log")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.offset_s = 0.0
        self.control = ""
        self._clouds_yaml = ""
        self._connection: Connection | None = None
        self._turn = trio.Lock()

    # ----------------------------------------------------------------------------- starting

    async def start_clouds(self) -> None:
        """Start the clouds and wait until they listen."""
        (self.folder / "scenario.yaml").write_text(self.setup.scenario())
        process = await self.clouds.start(
            *("cloud", "scenario.yaml", "--folder", "clouds", "-o", "json"),
            folder=self.folder,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        told = json.loads(await _line(process.stdout, self.clouds.log))
        self.control, self._clouds_yaml = told["control"], told["clouds_yaml"]
        (self.folder / "trellis.yaml").write_text(
            self.setup.configuration(self.port, told["ssh_port"])
        )
        self._connection = Connection(self.control)
        self.offset_s = await self._calibrated()

    async def start_daemon(self, *, wait: bool = True) -> None:
        """Start the daemon; unless *wait* is false, wait until it can serve requests."""
        await self.daemon.start(
            *("serve", "-c", "trellis.yaml"),
            folder=self.folder,
            OS_CLIENT_CONFIG_FILE=str(self.folder / self._clouds_yaml),
        )
        if wait:
            await self.until_ready()

    async def until_ready(self) -> None:
        """Wait until the daemon says that it can serve requests.

        Raises:
            BrokenRunError: it does not.
        """
        async with Connection(self.url) as face:
            last: Exception | None = None
            with trio.move_on_after(_START_S):
                while True:
                    try:
                        await face.get("/readyz")
                        return
                    except (OSError, AnswerError, trio.BrokenResourceError) as error:
                        last = error
                    await trio.sleep(0.02)
        raise BrokenRunError(
            f"the daemon is not ready within {_START_S:g} s ({last}); its log is {self.daemon.log}"
        )

    async def _calibrated(self) -> float:
        """Trio's clock is the system's monotonic one, with an offset of each process's own."""
        best, offset = math.inf, 0.0
        cloud = self.setup.clouds[0].name
        for _ in range(_PROBES):
            before = time.monotonic()
            now = (await self.ask(cloud, "calls"))["now"]
            after = time.monotonic()
            if after - before < best:
                best, offset = after - before, (before + after) / 2 - now
        return offset

    # -------------------------------------------------------------------- the control face

    async def ask(self, cloud: str, what: str) -> Any:
        """Read something of a cloud's truth: ``calls``, ``servers``, ``facts?from=0`` …"""
        assert self._connection is not None
        async with self._turn:
            return await self._connection.get(f"/{cloud}/{what}")

    async def tell(self, cloud: str, what: str, body: dict[str, Any]) -> None:
        """Change something about a cloud: ``outage``, ``faults`` …"""
        assert self._connection is not None
        async with self._turn:
            await self._connection.post(f"/{cloud}/{what}", body)

    async def snapshot(self) -> Snapshot:
        """All counters now."""
        calls: dict[str, int] = {}
        statuses: dict[str, int] = {}
        for cloud in self.setup.clouds:
            told = await self.ask(cloud.name, "calls")
            for found, total in ((told["calls"], calls), (told["statuses"], statuses)):
                for kind, number in found.items():
                    total[kind] = total.get(kind, 0) + number
        return Snapshot(
            at=time.monotonic(),
            calls=calls,
            statuses=statuses,
            cpu_s={
                "daemon": cpu_s(self.daemon.pid),
                "clouds": cpu_s(self.clouds.pid),
                "bench": cpu_s(os.getpid()),
                "all": busy_s(),
            },
        )

    async def facts(self) -> list[dict[str, Any]]:
        """All that happened in all clouds so far."""
        found: list[dict[str, Any]] = []
        for cloud in self.setup.clouds:
            place = 0
            while True:
                told = await self.ask(cloud.name, f"facts?from={place}")
                found += told["facts"]
                if told["next"] <= place:
                    break
                place = told["next"]
        return found

    async def servers(self, *clouds: str) -> int:
        """How many servers there are now, in these clouds or in all."""
        names = clouds or tuple(cloud.name for cloud in self.setup.clouds)
        return sum([len((await self.ask(name, "servers"))["servers"]) for name in names])

    def close(self) -> None:
        """Close the connection to the control face."""
        if self._connection is not None:
            self._connection.close()

    def daemon_mib(self) -> float:
        """The daemon's memory."""
        return resident_mib(self.daemon.pid)


@asynccontextmanager
async def stand(setup: Setup, folder: Path) -> AsyncIterator[Stand]:
    """Start both processes; they are ended with the block, the daemon first.

    Raises:
        BrokenRunError: one of them does not start, or ends by itself (in an exception group).
    """
    folder.mkdir(parents=True, exist_ok=True)
    running = Stand(setup, folder)
    async with trio.open_nursery() as nursery:
        try:
            await running.start_clouds()
            nursery.start_soon(running.clouds.watch)
            await running.start_daemon(wait=False)
            # It may end before anything else can tell that it will never be ready.
            nursery.start_soon(running.daemon.watch)
            await running.until_ready()
            yield running
        finally:
            running.close()
            # All is measured, and nobody reads their stores any more.
            with trio.move_on_after(_END_S, shield=True):
                await running.daemon.kill()
                await running.clouds.kill()
            nursery.cancel_scope.cancel()


async def _line(pipe: trio.abc.ReceiveStream, log: Path) -> bytes:
    """The first line a process writes.

    Raises:
        BrokenRunError: none comes.
    """
    line = b""
    with trio.move_on_after(_START_S):
        while True:
            part = await pipe.receive_some()
            if not part:
                raise BrokenRunError(f"the process of the clouds did not start; its log is {log}")
            line += part
            if line.endswith(b"\n"):
                return bytes(line)
    raise BrokenRunError(f"the clouds do not listen within {_START_S:g} s; their log is {log}")
