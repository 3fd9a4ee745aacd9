"""A `trellis` command as a process of its own, watched and ended with its stand."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import trio

_WORDS: Final = 600


class BrokenRunError(Exception):
    """A run that measured nothing worth showing; says which log to read."""


class Child:
    """One process of ours, with its log in a file.

    Args:
        name: how messages call it.
        log: where what it writes goes; appended to.
    """

    def __init__(self, name: str, log: Path) -> None:
        self.name, self.log = name, log
        self._process: trio.Process | None = None
        self._ending: trio.Process | None = None
        self._started = trio.Event()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(
        self,
        *words: str,
        folder: Path,
        stdout: int | None = None,
        module: str = "trellis.cli.main",
        **environment: str,
    ) -> trio.Process:
        """Start ``trellis WORDS`` in a folder.

        Args:
            words: of the command.
            folder: where it runs.
            stdout: what it prints goes there, in place of the log.
            module: what is run in place of the command itself.
            environment: is added to ours.
        """
        ours = {k: v for k, v in os.environ.items() if not k.startswith(("OS_", "TRELLIS_"))}
        with self.log.open("ab") as out:
            self._process = await trio.lowlevel.open_process(
                [sys.executable, "-m", module, *words],
                cwd=folder,
                env={**ours, **environment},
                stdin=subprocess.DEVNULL,
                stdout=out if stdout is None else stdout,
                stderr=out,
                # Ctrl-C is for the bench, which then ends its children in order.
                start_new_session=True,
            )
        self._started.set()
        self._started = trio.Event()
        return self._process

    async def watch(self) -> None:
        """Watch it, and its successors, until cancelled.

        Raises:
            BrokenRunError: it ended though nobody asked it to.
        """
        seen: trio.Process | None = None
        while True:
            while self._process is seen:
                await self._started.wait()
            seen = self._process
            assert seen is not None
            status = await seen.wait()
            if seen is not self._ending:
                raise BrokenRunError(
                    f"{self.name} ended by itself, with status {status}; "
                    f"its log, {self.log}, ends: {self._last_words()}"
                )

    def _last_words(self) -> str:
        return self.log.read_bytes()[-_WORDS:].decode(errors="replace").strip()

    async def kill(self) -> None:
        """End it as the kernel would, and wait until it has ended; fine if it has not begun."""
        self._ending = process = self._process
        if process is not None:
            process.kill()
            await process.wait()
