"""The processes of the demo: each ends with it, whatever happens, and none ends unseen."""

import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio

from trellis.errors import TrellisError

_STOPS_WITHIN_S: Final = 12.0
"""The daemon gives answers under way five seconds."""
_ABANDONED_S: Final = 3.0
"""For a process whose end nobody has asked for in good order."""
_END_IS_KNOWN_WITHIN_S: Final = 1.0
"""A process that dies breaks calls to it a moment before its end is told."""
_TAIL_LINES: Final = 12
_TAIL_BYTES: Final = 8192


class ChildEndedError(TrellisError):
    """A process of the demo ended by itself; says how, and what it wrote last."""


class Child:
    """A process; made by `started`.

    Args:
        name: what messages call it.
        process: itself, which waits for a byte before it begins.
        log: where what it writes goes.
    """

    def __init__(self, name: str, process: trio.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process
        self._asked_to_end = False

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def begin(self) -> None:
        """Give it the word to begin."""
        assert self._process.stdin is not None
        try:
            await self._process.stdin.send_all(b"\n")
        except trio.BrokenResourceError:
            # It has ended already; `_watch` says so and how.
            await trio.sleep_forever()

    async def first_line(self) -> Any:
        """Wait for the JSON that it prints on a line once it is ready."""
        assert self._process.stdout is not None
        line = bytearray()
        while not line.endswith(b"\n"):
            part = await self._process.stdout.receive_some()
            if not part:
                await trio.sleep_forever()  # it has ended; `_watch` says so and how
            line += part
        return json.loads(line)

    async def stop(self, within_s: float = _STOPS_WITHIN_S) -> int:
        """Ask it to end and see it do so; killed if it does not in that time.

        Returns:
            its exit status; negative if a signal ended it.
        """
        self._asked_to_end = True
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with trio.move_on_after(within_s):
                await self._process.wait()
        if self._process.poll() is None:
            self._process.kill()
        return await self._process.wait()

    async def _watch(self) -> None:
        status = await self._process.wait()
        if not self._asked_to_end:
            how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
            said = "\n".join(f"  | {line}" for line in tail(self.log)) or "  (it wrote nothing)"
            raise ChildEndedError(f"{self.name} has ended with {how}; its log ends so:\n{said}")


@asynccontextmanager
async def started(
    name: str,
    command: Sequence[str],
    *,
    folder: Path,
    log: Path,
    environment: Mapping[str, str] | None = None,
    speaks: bool = False,
) -> AsyncIterator[Child]:
    """Start a process, which must be a tied one, and see it end with the block.

    It has a session of its own: Ctrl-C in the terminal reaches the demo alone, which then decides
    when each child ends. Left by cancellation, it is ended too, within some seconds.

    Args:
        name: what messages call it.
        command: its command line.
        folder: where it works.
        log: where what it writes goes.
        environment: variables beside those of this process that concern no cloud and no daemon.
        speaks: its stdout is read by `Child.first_line`, and not logged.

    Raises:
        ChildEndedError: out of the block, cancelling it: the process ended by itself.
    """
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("OS_", "TRELLIS_"))}
    with log.open("wb") as out:
        process = await trio.lowlevel.open_process(
            list(command),
            cwd=folder,
            env={**ours, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if speaks else out,
            stderr=out,
            start_new_session=True,
        )
    child = Child(name, process, log)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child._watch)
            try:
                yield child
            except Exception:
                # If it has just died, that is what there is to tell, beside the call that broke.
                with trio.move_on_after(_END_IS_KNOWN_WITHIN_S, shield=True):
                    await process.wait()
                    await trio.lowlevel.checkpoint()
                raise
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 2 * _ABANDONED_S):
            await child.stop(_ABANDONED_S)
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    await stream.aclose()


def tail(log: Path) -> list[str]:
    """The last lines of a log."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        return file.read().decode(errors="replace").splitlines()[-_TAIL_LINES:]
