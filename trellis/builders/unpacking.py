"""Unpacking a file that was fetched: gzip, xz and zstd, by what the file begins with."""

import gzip
import lzma
import os
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, Final, cast

import trio

from trellis.builders.process import Command, find_program, run
from trellis.errors import BuildError

_PIECE: Final = 1024 * 1024
_BEGINNINGS: Final = {
    "gzip": b"\x1f\x8b",
    "xz": b"\xfd7zXZ\0",
    "zstd": b"\x28\xb5\x2f\xfd",
}
_ZEROS: Final = bytes(_PIECE)


def packing_of(path: Path) -> str | None:
    """How a file is packed: ``gzip``, ``xz``, ``zstd``, or None.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(6)
    for packing, beginning in _BEGINNINGS.items():
        if head.startswith(beginning):
            return packing
    return None


async def unpack(
    source: Path,
    packing: str,
    target: Path,
    environment: Mapping[str, str],
    scratch: Path,
    line: Callable[[str], None],
) -> None:
    """Unpack a file; where it is all zeros the new one takes no room on the disk.

    Args:
        source: the file.
        packing: as `packing_of` says.
        target: the file to make.
        environment: of the program that unpacks zstd.
        scratch: of the build.
        line: is told what that program says.

    Raises:
        BuildError: it is broken, the disk is full, or what it takes is not installed. What was
            written so far stays, as when cancelled.
    """
    if packing == "zstd":
        await _unpack_zstd(source, target, environment, scratch, line)
    else:
        await trio.to_thread.run_sync(_unpack_here, source, packing, target)


async def _unpack_zstd(
    source: Path,
    target: Path,
    environment: Mapping[str, str],
    scratch: Path,
    line: Callable[[str], None],
) -> None:
    program = find_program("zstd", environment)
    if program is None:
        raise BuildError(
            f"the image is packed by zstd, and `zstd` is not in PATH "
            f"({environment.get('PATH', '')}): install it (package zstd), or pack the image by "
            "gzip or xz"
        )
    said: list[str] = []

    def told(text: str) -> None:
        said.append(text)
        line(text)

    # Memory is bounded by the window that `zstd --ultra --long=31` may ask for: 2 GiB is too much.
    words = (program, "-d", "-q", "--sparse", "--memory=256MB", "-o", str(target), str(source))
    code = await run(Command(words=words, environment=environment, scratch=scratch), told)
    if code != 0:
        raise BuildError(f"the image cannot be unpacked: {said[-1] if said else f'zstd: {code}'}")


def _unpack_here(source: Path, packing: str, target: Path) -> None:
    try:
        opening = gzip.open if packing == "gzip" else lzma.open
        with opening(source) as packed, target.open("wb", buffering=0) as file:
            _copy_sparse(cast(BinaryIO, packed), file)
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile, zlib.error) as error:
        raise BuildError(
            f"the image cannot be unpacked, its {packing} is broken: {error}"
        ) from error
    except OSError as error:
        raise BuildError(f"the image cannot be unpacked to {target}: {error.strerror}") from error


def _copy_sparse(packed: BinaryIO, file: BinaryIO) -> None:
    while piece := packed.read(_PIECE):
        trio.from_thread.check_cancelled()
        if piece == _ZEROS[: len(piece)]:
            file.seek(len(piece), os.SEEK_CUR)
            continue
        rest = memoryview(piece)
        while rest:
            rest = rest[file.write(rest) :]
    file.truncate()
