"""The checksums of an image's file, taken in one reading of it."""

import hashlib
from pathlib import Path
from typing import Final

import trio

from trellis.errors import BuildError
from trellis.model.image import Artifact

PIECE: Final = 1024 * 1024
_DIGITS: Final = {"md5": 32, "sha256": 64}


async def artifact_of(path: Path, format: str) -> Artifact:
    """Describe a finished file, with its size and its checksums.

    The file is read once, beside the event loop. Where a builder has left checksums of its own
    beside it (``FILE.md5``, ``FILE.sha256``), they must be the same: else the file has changed
    since, or what stands beside it is of another file.

    Args:
        path: the file.
        format: its format, as ``qcow2``.

    Raises:
        BuildError: it is not there, empty, cannot be read, or is not what stands beside it. When
            cancelled the file is left as it is.
    """
    return await trio.to_thread.run_sync(_describe, path, format)


def _describe(path: Path, format: str) -> Artifact:
    sums = {name: hashlib.new(name, usedforsecurity=False) for name in ("md5", "sha256", "sha512")}
    size = 0
    try:
        with path.open("rb", buffering=0) as file:
            while piece := file.read(PIECE):
                trio.from_thread.check_cancelled()
                size += len(piece)
                for one in sums.values():
                    one.update(piece)
    except OSError as error:
        raise BuildError(
            f"{path} cannot be read after the build: {error.strerror}. "
            "See in its log whether the build command has made it"
        ) from error
    if not size:
        raise BuildError(f"{path} is empty: see in its log what the build command has done")
    for name in _DIGITS:
        _compare(path, name, sums[name].hexdigest())
    return Artifact(
        format=format,
        path=str(path),
        size=size,
        md5=sums["md5"].hexdigest(),
        sha256=sums["sha256"].hexdigest(),
        sha512=sums["sha512"].hexdigest(),
    )


def _compare(path: Path, name: str, computed: str) -> None:
    beside = path.with_name(f"{path.name}.{name}")
    try:
        told = beside.read_text(errors="replace").split(maxsplit=1)
    except FileNotFoundError:
        return
    except OSError as error:
        raise BuildError(f"{beside} cannot be read: {error.strerror}") from error
    if not told or told[0].lower()[: _DIGITS[name]] != computed:
        raise BuildError(
            f"{path} has the {name} {computed}, and {beside.name} says "
            f"{told[0][:128] if told else 'nothing'}: the file was changed after it was built, or "
            "the disk loses data. Look at the disk, then build it again"
        )
