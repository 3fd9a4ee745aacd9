"""Where a build is done: its scratch folder, and what happens to it and to unfinished files."""

import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from trellis.builders.leftovers import clear
from trellis.errors import BuildError
from trellis.spi.image import BuildOrder, BuildWatch

CLEAR_S: Final = 180.0
"""Undoing what a build has left takes longer only where the system itself hangs."""
_OF_ANOTHER: Final = re.compile(r"-[0-9]{10}(\.|\Z)")


@asynccontextmanager
async def workplace(order: BuildOrder, watch: BuildWatch) -> AsyncIterator[Path]:
    """Give a build its scratch folder, and take it away with all that the build has left there.

    If the block raises or is cancelled, the build's files are deleted too. What cannot be undone
    is told to the watch.

    Yields:
        A folder in the scratch folder, for temporary files.

    Raises:
        BuildError: the folders cannot be made.
    """
    temporary = order.scratch / "tmp"
    try:
        for folder in (order.base.parent, order.cache, temporary):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildError(
            f"the folder {error.filename} cannot be made: {error.strerror}. Give the daemon's "
            "user the right to write there, or set `images-dir` to another folder"
        ) from error
    try:
        yield temporary
    except BaseException:
        with trio.move_on_after(CLEAR_S, shield=True):
            await _undo(order, watch)
            for fault in await trio.to_thread.run_sync(remove_files, order.base):
                watch.line(f"left behind: {fault}")
        raise
    await _undo(order, watch)


async def discard(order: BuildOrder) -> None:
    """Undo what a build has left whose daemon was ended: processes, mounts, loops, its files.

    Raises:
        BuildError: something could not be undone; all the rest was.
    """
    left = list(await clear(order.scratch))
    left += await trio.to_thread.run_sync(remove_files, order.base)
    if left:
        raise BuildError(
            f"build {order.build_id} has left what cannot be undone: {'; '.join(left)}. "
            "Undo it by hand, as root"
        )


def files_of(base: Path) -> list[Path]:
    """The files and folders whose names begin with a build's, but for its log.

    Raises:
        OSError: the folder they are in cannot be read.
    """
    try:
        names = sorted(os.listdir(base.parent))
    except FileNotFoundError:
        return []
    start = f"{base.name}."
    return [
        base.with_name(name)
        for name in names
        if name.startswith(start)
        and name != f"{start}log"
        and not _OF_ANOTHER.search(name[len(start) :])
    ]


def remove_files(base: Path) -> list[str]:
    """Delete all of `files_of`; what is not there is fine.

    Returns:
        What could not be deleted, each in words.
    """
    try:
        return [fault for path in files_of(base) if (fault := remove(path))]
    except OSError as error:
        return [f"{error.filename}: {error.strerror}"]


def remove(path: Path) -> str:
    """Delete a file, or a folder with all that is in it; say what went wrong, or ""."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{error.filename or path}: {error.strerror}"
    return ""


async def _undo(order: BuildOrder, watch: BuildWatch) -> None:
    with trio.move_on_after(CLEAR_S, shield=True):
        for left in await clear(order.scratch):
            watch.line(f"left behind: {left}")
