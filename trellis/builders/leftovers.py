"""What a build leaves that was not ended in good order: mounts, loop devices, its folder."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import attrs
import trio

from trellis.builders.sessions import end_members, names_of, noted_leader
from trellis.builders.tools import as_root, run_tool

_MOUNTS: Final = Path("/proc/self/mounts")
_BLOCK: Final = Path("/sys/block")
_OCTAL: Final = re.compile(r"\\([0-7]{3})")
_TRIES: Final = 3
_PAUSE_S: Final = 0.5
_REMOVE_S: Final = 150.0
"""A system of a hundred thousand files, on a slow disk; nobody removes it later."""


@attrs.frozen
class Loop:
    """A loop device, and the file (or other device) it shows."""

    device: str
    backing: str


def mounts_below(folder: Path, table: str) -> list[Path]:
    """Where something is mounted in a folder or on it, in the order to unmount it.

    Args:
        folder: the folder, without symbolic links in its path.
        table: of mounts, as in ``/proc/self/mounts``.
    """
    # What was mounted last hides what was mounted at the same place before.
    places = [Path(_plain(line.split()[1])) for line in reversed(table.splitlines()) if line]
    below = [place for place in places if place.is_relative_to(folder)]
    return sorted(below, key=lambda place: len(place.parts), reverse=True)


def loops_below(folder: Path, loops: Iterable[Loop]) -> list[Loop]:
    """The loop devices of files in a folder, and of such devices, in the order to detach them."""
    all_loops, found = list(loops), list[Loop]()
    names: set[str] = set()
    while more := [
        loop
        for loop in all_loops
        if loop not in found and (loop.backing in names or _is_below(loop.backing, folder))
    ]:
        found += more
        names |= {loop.device for loop in more}
    return found[::-1]


def attached_loops(block: Path = _BLOCK) -> list[Loop]:
    """The loop devices that are attached to something now."""
    found = []
    for name in sorted(block.glob("loop*")):
        try:
            backing = name.joinpath("loop/backing_file").read_text().strip()
        except OSError:
            continue  # not attached
        found.append(Loop(f"/dev/{name.name}", backing.removesuffix(" (deleted)")))
    return found


async def clear(scratch: Path) -> tuple[str, ...]:
    """Undo all that a build has left: processes, mounts, loop devices, and its scratch folder.

    Where something stays mounted the folder stays too: what is mounted is not the build's. May be
    repeated, also where nothing is left.

    Args:
        scratch: the build's scratch folder.

    Returns:
        What could not be undone, each in words; empty if nothing is left. Cancellation leaves
        what was not undone yet.
    """
    scratch = await trio.to_thread.run_sync(scratch.resolve)
    left = []
    immortal = await end_members(scratch, noted_leader(scratch))
    if immortal:
        left.append(f"processes that cannot be ended: {names_of(immortal)}")
    still_mounted = await _unmount(scratch)
    left += still_mounted
    left += await _detach(scratch)
    if not still_mounted and await trio.Path(scratch).exists():
        words = as_root("rm", "-rf", "--one-file-system", "--", str(scratch))
        if fault := await run_tool(words, most_s=_REMOVE_S):
            left.append(f"folder {scratch}: {fault}")
    return tuple(left)


async def _unmount(folder: Path) -> list[str]:
    faults: dict[Path, str] = {}
    for attempt in range(_TRIES):
        places = await trio.to_thread.run_sync(_mounted, folder)
        if not places:
            return []
        if attempt:
            await trio.sleep(
                _PAUSE_S
            )  # a process that was just killed lets go of it a little later
        for place in places:
            faults[place] = await run_tool(as_root("umount", str(place)))
    rest = await trio.to_thread.run_sync(_mounted, folder)
    return [f"mount {place}: {faults.get(place) or 'it was mounted again'}" for place in rest]


def _mounted(folder: Path) -> list[Path]:
    return mounts_below(folder, _MOUNTS.read_text(errors="surrogateescape"))


async def _detach(folder: Path) -> list[str]:
    faults: dict[str, str] = {}
    for attempt in range(_TRIES):
        loops = loops_below(folder, await trio.to_thread.run_sync(attached_loops))
        if not loops:
            return []
        if attempt:
            await trio.sleep(_PAUSE_S)
        for loop in loops:
            # Partitions that device-mapper shows of it hold it: kpartx's, in good order.
            for name in _mapped(loop):
                await run_tool(as_root("dmsetup", "remove", name))
            faults[loop.device] = await run_tool(as_root("losetup", "-d", loop.device))
    rest = loops_below(folder, await trio.to_thread.run_sync(attached_loops))
    return [
        f"loop device {loop.device} of {loop.backing}: "
        f"{faults.get(loop.device) or 'something still uses it'}"
        for loop in rest
    ]


def _mapped(loop: Loop) -> list[str]:
    names = []
    for holder in _BLOCK.joinpath(Path(loop.device).name, "holders").glob("dm-*"):
        try:
            names.append(_BLOCK.joinpath(holder.name, "dm/name").read_text().strip())
        except OSError:
            continue  # gone meanwhile
    return names


def _is_below(path: str, folder: Path) -> bool:
    return path.startswith("/") and Path(path).is_relative_to(folder)


def _plain(field: str) -> str:
    """A path as the table writes it: white space and backslashes in octal."""
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), field)
