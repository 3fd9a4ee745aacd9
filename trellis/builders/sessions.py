"""The processes of a build: found whatever they did to leave it, and ended."""

import json
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs
import trio

from trellis.builders.tools import as_root, run_tool

MARK: Final = "TRELLIS_BUILD"
"""The variable that every process of a build inherits; its value is the build's scratch folder."""
NOTE: Final = "leader"
_PROC: Final = Path("/proc")
_END_S: Final = 10.0
_LOOK_AGAIN_S: Final = 0.05


@attrs.frozen
class ProcessRow:
    """One line of the process table; *started* is in clock ticks since the machine did."""

    pid: int
    session: int
    started: int
    state: str


@attrs.frozen
class Leader:
    """The process that a session of a build began with."""

    pid: int
    started: int
    boot: str


def leader_of(pid: int) -> Leader | None:
    """The process of this id as the leader of a session; None if it has ended."""
    row = process_row(pid)
    return None if row is None else Leader(pid, row.started, _boot())


def note_leader(scratch: Path, leader: Leader) -> None:
    """Write down whose session the build is, for a daemon that finds it still running.

    Raises:
        OSError: it cannot be written. The other signs of `members` are left then.
    """
    scratch.joinpath(NOTE).write_text(json.dumps(attrs.asdict(leader)))


def noted_leader(scratch: Path) -> Leader | None:
    """What `note_leader` wrote; None if there is nothing of use."""
    try:
        noted = json.loads(scratch.joinpath(NOTE).read_text())
        return Leader(int(noted["pid"]), int(noted["started"]), str(noted["boot"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def process_row(pid: int) -> ProcessRow | None:
    """The process of this id; None if there is none."""
    try:
        text = _PROC.joinpath(str(pid), "stat").read_text(errors="replace")
    except OSError:
        return None
    # The name stands in parentheses and may have any character, these included.
    fields = text.rpartition(")")[2].split()
    return ProcessRow(pid, int(fields[3]), int(fields[19]), fields[0])


def members(scratch: Path, leader: Leader | None) -> list[ProcessRow]:
    """The processes of a build that run.

    They are those of its session, also where they have changed their group; those that have the
    build's mark in their environment, also where they have opened a session of their own; and
    those whose root is in its scratch folder (`sudo` takes the mark away, not the root).

    Args:
        scratch: the build's; it need not exist any more.
        leader: of its session; None looks by the other two signs only.
    """
    session = _session(leader)
    mark = f"{MARK}={scratch}".encode()
    found = []
    for name in os.listdir(_PROC):
        if not name.isdigit() or int(name) in (1, os.getpid()):
            continue
        row = process_row(int(name))
        if row is None or row.state in "ZX":
            continue
        if row.session == session or _has_mark(row.pid, mark) or _has_root(row.pid, scratch):
            found.append(row)
    return found


async def end_members(scratch: Path, leader: Leader | None) -> list[int]:
    """Kill the processes of a build, and those they start meanwhile; up to 10 s.

    Returns:
        The ids of those that cannot be ended. Cancellation leaves what was not killed yet.
    """
    with trio.move_on_after(_END_S):
        while rows := await trio.to_thread.run_sync(members, scratch, leader):
            refused = [row.pid for row in rows if not _kill(row)]
            if refused:
                await run_tool(as_root("kill", "-KILL", *map(str, refused)))
            await trio.sleep(_LOOK_AGAIN_S)
    return [row.pid for row in rows]


def names_of(pids: Sequence[int]) -> str:
    """Processes in words, with their names."""
    return ", ".join(f"{pid} ({_name(pid)})" for pid in pids)


def _session(leader: Leader | None) -> int | None:
    """The session's id, unless it may be a stranger's by now.

    The kernel gives a number away anew only when no process, group or session has it. So while
    a process of the session lives, no other can have the leader's id.
    """
    if leader is None or leader.boot != _boot() or leader.pid == os.getsid(0):
        return None
    row = process_row(leader.pid)
    if row is not None and row.started != leader.started:
        return None
    return leader.pid


def _kill(row: ProcessRow) -> bool:
    """Kill it, unless its id is another's by now; False if that is not allowed."""
    with suppress(ProcessLookupError):
        descriptor = os.pidfd_open(row.pid)
        try:
            now = process_row(row.pid)
            if now is not None and now.started == row.started:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        except PermissionError:
            return False
        finally:
            os.close(descriptor)
    return True


def _has_mark(pid: int, mark: bytes) -> bool:
    try:
        return mark in _PROC.joinpath(str(pid), "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _has_root(pid: int, scratch: Path) -> bool:
    try:
        return Path(os.readlink(_PROC / str(pid) / "root")).is_relative_to(scratch)
    except OSError:
        return False


def _name(pid: int) -> str:
    try:
        return _PROC.joinpath(str(pid), "comm").read_text(errors="replace").strip()
    except OSError:
        return "ended"


def _boot() -> str:
    return _PROC.joinpath("sys/kernel/random/boot_id").read_text().strip()
