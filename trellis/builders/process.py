"""Run a command of a build: in a session of its own, at low priority, to its very end."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import attrs
import trio

from trellis.builders.sessions import (
    MARK,
    Leader,
    end_members,
    leader_of,
    members,
    names_of,
    note_leader,
)

MOST_OF_A_LINE: Final = 16 * 1024
"""Bytes; what a line has beyond them is dropped."""
_PIECE: Final = 4 * 1024
"""What is taken in at once: a thousand short lines, which take a few ms."""
_ESCAPE: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b.")
_CONTROLS: Final = dict.fromkeys([*range(9), *range(10, 32), *range(127, 160)], "")


@attrs.frozen(kw_only=True)
class Patience:
    """How long is waited for what a command may leave undone.

    Attributes:
        end_s: for its own clean-up, after it has been asked to end.
        output_s: for the end of its output, after its own end.
    """

    end_s: float = 60.0
    output_s: float = 5.0


@attrs.frozen(kw_only=True)
class Command:
    """What is run.

    Attributes:
        words: the program, by its path, and its arguments.
        environment: all of it.
        scratch: of the build; every process of the build is known by it.
    """

    words: tuple[str, ...]
    environment: Mapping[str, str] = attrs.field(repr=False)
    scratch: Path


async def run(
    command: Command, line: Callable[[str], None], *, patience: Patience = Patience()
) -> int:
    """Run a command and tell each line of its output and its errors, in their order.

    Processor and disk are left to others: it runs at nice 10, and idle for the disk where
    `ionice` is there. Processes that it leaves behind are ended, and so is what holds its output.

    Cancelled, it asks the command to end, which then can undo what it did, and waits up to a
    minute for that; the rest of its processes is killed. The command alone is asked: its own
    clean-up may need the processes that it has started.

    Args:
        command: what to run.
        line: is told each line without its end, with nothing in it that a terminal obeys.
        patience: how long is waited for what.

    Returns:
        The exit code; minus the signal's number if a signal ended it.

    Raises:
        OSError: it cannot be started.
    """
    # Without symbolic links, as the kernel shows it: it is looked for by this path.
    scratch = await trio.to_thread.run_sync(command.scratch.resolve)
    command = attrs.evolve(command, scratch=scratch)
    output, writing = os.pipe()
    try:
        process = await _start(command, writing)
    except BaseException:
        os.close(output)
        raise
    finally:
        os.close(writing)
    leader = leader_of(process.pid)
    if leader is not None:
        try:
            note_leader(scratch, leader)
        except OSError as error:
            line(f"not noted for a restart: {error.filename}: {error.strerror}")
    lines = Lines(line)
    reading, read = trio.CancelScope(shield=True), trio.Event()

    async def read_all() -> None:
        with reading:
            while piece := await stream.receive_some(_PIECE):
                lines.take(piece)
        read.set()

    async with trio.lowlevel.FdStream(output) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(read_all)
        try:
            await process.wait()
            with trio.move_on_after(patience.output_s):
                await read.wait()
        finally:
            # The three waits, and what looking at and killing processes takes.
            most_s = patience.end_s + patience.output_s + 60.0
            with trio.move_on_after(most_s, shield=True):
                await _end(process, scratch, leader, line, patience)
                with trio.move_on_after(min(1.0, patience.output_s)):
                    await read.wait()
            reading.cancel()
    lines.end()
    # A process that hangs in the kernel has no code even after it was killed.
    return -signal.SIGKILL if process.returncode is None else process.returncode


def find_program(word: str, environment: Mapping[str, str]) -> str | None:
    """The path of a program, by the ``PATH`` of the environment it is to run in."""
    return shutil.which(word, path=environment.get("PATH", ""))


class Lines:
    """Cuts output into lines that can be shown, whatever it is.

    Args:
        told: is told each line. What comes before a carriage return was meant to be written
            over and is not told.
    """

    def __init__(self, told: Callable[[str], None]) -> None:
        self._told = told
        self._rest = b""
        self._cut = False

    def take(self, piece: bytes) -> None:
        """Take in what came; keeps no more than one line, and no more of it than is shown."""
        *whole, self._rest = (self._rest + piece).split(b"\n")
        for line in whole:
            self._tell(line)
            self._cut = False
        if len(self._rest) > MOST_OF_A_LINE:
            self._tell(self._rest)
            self._cut, self._rest = True, b""

    def end(self) -> None:
        """There is no more to come: what has no end of line is one too."""
        if self._rest:
            self._tell(self._rest)
        self._rest = b""

    def _tell(self, line: bytes) -> None:
        if self._cut:
            return
        shown = line.rstrip(b"\r").rpartition(b"\r")[2]
        more = " …" if len(shown) > MOST_OF_A_LINE else ""
        text = shown[:MOST_OF_A_LINE].decode("utf-8", "replace")
        if not text.isprintable():
            text = _ESCAPE.sub("", text).translate(_CONTROLS)
        self._told(text + more)


async def _start(command: Command, writing: int) -> trio.Process:
    process: trio.Process = await trio.lowlevel.open_process(
        [*_at_low_priority(command.environment), *command.words],
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=writing,
        cwd=command.scratch,
        env={**command.environment, MARK: str(command.scratch)},
        start_new_session=True,
    )
    return process


def _at_low_priority(environment: Mapping[str, str]) -> list[str]:
    # By programs that become the command: code of ours between fork and exec may hang, as
    # other threads may hold locks then.
    words = []
    if nice := find_program("nice", environment):
        words += [nice, "-n", "10"]
    if ionice := find_program("ionice", environment):
        words += [ionice, "-c", "3", "-t"]
    return words


async def _end(
    process: trio.Process,
    scratch: Path,
    leader: Leader | None,
    line: Callable[[str], None],
    patience: Patience,
) -> None:
    """End what is left: the leader in good order, if it still runs, then all the others."""
    if process.poll() is None:
        process.terminate()
        with trio.move_on_after(patience.end_s):
            await process.wait()
        if process.poll() is None:
            line(f"it has not ended {patience.end_s:g} s after it was asked to, and is killed")
    rest = [row.pid for row in await trio.to_thread.run_sync(members, scratch, leader)]
    if others := [pid for pid in rest if pid != process.pid]:
        line(f"ended, as they were left running: {names_of(others)}")
    if immortal := await end_members(scratch, leader):
        line(f"cannot be ended: {names_of(immortal)}")
    with trio.move_on_after(10.0):
        await process.wait()
