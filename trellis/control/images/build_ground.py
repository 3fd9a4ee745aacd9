"""The files of builds on this host: the seam behind which they are touched, or simulated."""

import os
import re
import time
from collections.abc import Collection
from pathlib import Path
from typing import Final

import trio

from trellis.builders.leftovers import clear
from trellis.builders.workplace import remove, remove_files
from trellis.model.names import BuildId
from trellis.spi.image import BuildOrder

SCRATCH: Final = ".scratch"
CACHE: Final = ".cache"
OWNER: Final = f"{CACHE}/deployment"
"""Says whose the files are: builds of two deployments may have the same names."""
_DAY_S: Final = 86_400.0
_BLOCK: Final = 64 * 1024
_OURS: Final = re.compile(r"(?P<build>.+-[0-9]{10})\.[^/]+\Z")


class BuildGround:
    """Touches files beside the event loop. Cancelled, a method may have done its work or not."""

    async def real(self, folder: Path) -> Path:
        """The folder by a path without symbolic links, made if it is not there.

        Raises:
            OSError: it cannot be made.
        """
        return await trio.to_thread.run_sync(_real, folder)

    async def owner(self, folder: Path, deployment: str) -> str:
        """The deployment whose images are in the folder; this one's, if nobody's were.

        Raises:
            OSError: that cannot be read or noted.
        """
        return await trio.to_thread.run_sync(_owner, folder, deployment)

    async def free(self, folder: Path) -> int:
        """The bytes that may still be written there.

        Raises:
            OSError: it cannot be looked at.
        """
        return await trio.to_thread.run_sync(_free, folder)

    async def size(self, path: Path) -> int:
        """The size of a file.

        Raises:
            OSError: it cannot be looked at.
        """
        return (await trio.Path(path).stat()).st_size

    async def remove_build(self, base: Path) -> list[str]:
        """Delete the files of a build, but for its log; say what could not be."""
        return await trio.to_thread.run_sync(remove_files, base)

    async def remove_files(self, paths: Collection[Path]) -> list[str]:
        """Delete files; what is not there is fine. Say what could not be."""

        def remove_all() -> list[str]:
            return [fault for path in paths if (fault := remove(path))]

        return await trio.to_thread.run_sync(remove_all)

    async def clear(self, order: BuildOrder) -> list[str]:
        """Undo what an order has left, whoever built it; say what could not be undone."""
        return [*await clear(order.scratch), *await self.remove_build(order.base)]

    async def strangers(self, folder: Path, builds: Collection[BuildId]) -> list[str]:
        """The names in the folder of images that belong to no record.

        What is named as Trellis names its files and is older than a day is deleted.

        Args:
            folder: of the images.
            builds: those on record.

        Returns:
            What is left, sorted.
        """
        return await trio.to_thread.run_sync(_strangers, folder, frozenset(builds))

    async def prune_logs(
        self, folder: Path, image: str, kept: Collection[BuildId], most: int
    ) -> list[str]:
        """Delete the oldest logs of an image.

        Args:
            folder: of the logs.
            image: its name.
            kept: builds whose logs stay in any case.
            most: so many stay.

        Returns:
            The names of those that were deleted.
        """
        return await trio.to_thread.run_sync(_prune, folder, image, frozenset(kept), most)

    # -------------------------------------------------------------------------- the log

    async def append(self, log: Path, text: str) -> None:
        """Write at the end of a file, which is made if it is not there.

        Raises:
            OSError: it cannot be written.
        """
        await trio.to_thread.run_sync(_append, log, text)

    async def read(self, log: Path, position: int, most: int) -> bytes:
        """Read at most so many bytes of a file; b"" at its end, and where it is not there.

        Raises:
            OSError: it cannot be read.
        """
        return await trio.to_thread.run_sync(_read, log, position, most)

    async def last_lines(self, log: Path, lines: int) -> int:
        """Where the last so many lines of a file begin; 0 where it is not there."""
        return await trio.to_thread.run_sync(_last_lines, log, lines)


def _real(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def _owner(folder: Path, deployment: str) -> str:
    note = folder / OWNER
    if not folder.is_dir():
        return deployment
    note.parent.mkdir(exist_ok=True)
    try:
        with note.open("x", encoding="utf-8") as file:
            file.write(f"{deployment}\n")
    except FileExistsError:
        return note.read_text(encoding="utf-8", errors="replace").strip() or deployment
    return deployment


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def _strangers(folder: Path, builds: frozenset[BuildId]) -> list[str]:
    left = []
    for name in _names(folder):
        ours = _OURS.match(name)
        known = ours is not None and (name.endswith(".log") or ours["build"] in builds)
        if name.startswith(".") or known:
            continue
        path = folder / name
        if ours is None or _age_s(path) < _DAY_S or remove(path):
            left.append(name)
    scratch = [name for name in _names(folder / SCRATCH) if name not in builds]
    return [*left, *(f"{SCRATCH}/{name}" for name in scratch)]


def _prune(folder: Path, image: str, kept: frozenset[BuildId], most: int) -> list[str]:
    # Named by a number of fixed width, they are in the order of their age.
    of_image = re.compile(rf"{re.escape(image)}-[0-9]{{10}}\.log\Z")
    names = [name for name in _names(folder) if of_image.match(name)]
    old = [name for name in names[: max(0, len(names) - most)] if name[:-4] not in kept]
    return [name for name in old if not remove(folder / name)]


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []  # builds that want to write there say what is wrong


def _age_s(path: Path) -> float:
    try:
        # Of files the wall clock tells: they may be older than this process.
        return time.time() - path.lstat().st_mtime
    except OSError:
        return 0.0


def _append(log: Path, text: str) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8", errors="replace") as file:
        file.write(text)


def _read(log: Path, position: int, most: int) -> bytes:
    try:
        with log.open("rb") as file:
            file.seek(position)
            return file.read(most)
    except FileNotFoundError:
        return b""


def _last_lines(log: Path, lines: int) -> int:
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            wanted = lines + 1  # the end of the last line is one too
            while end > 0:
                begin = max(0, end - _BLOCK)
                file.seek(begin)
                block = file.read(end - begin)
                count = block.count(b"\n")
                if count >= wanted:
                    place = len(block)
                    for _ in range(wanted):
                        place = block.rindex(b"\n", 0, place)
                    return begin + place + 1
                wanted, end = wanted - count, begin
    except FileNotFoundError:
        pass
    return 0
