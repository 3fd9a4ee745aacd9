"""VHD files as Xen clouds take them, made of what qemu-img writes."""

from pathlib import Path
from typing import BinaryIO, Final

from trellis.errors import BuildError

FOOTER: Final = 512
_COOKIE: Final = b"conectix"
_CREATOR: Final = slice(28, 32)
_CREATOR_VERSION: Final = slice(32, 36)
_CHECKSUM: Final = slice(64, 68)
_TAPDISK: Final = b"tap\0"
_WITHOUT_BATMAP: Final = (1).to_bytes(4, "big")


def as_tapdisk(footer: bytes) -> bytes:
    """A footer that names Xen's own tools as the file's creator, with its checksum made anew.

    Rackspace refuses files of other creators (the project's survey of clouds; diskimage-builder
    asks for a patched ``vhd-util`` for the same reason). Xen's library takes a file of this
    creator from version 1.2 on to have a map of its blocks, which qemu-img does not write
    (``vhd_has_batmap`` of libvhd.c): so the version is 0.1, which has none.

    Args:
        footer: 512 bytes.
    """
    changed = bytearray(footer)
    changed[_CREATOR] = _TAPDISK
    changed[_CREATOR_VERSION] = _WITHOUT_BATMAP
    changed[_CHECKSUM] = bytes(4)
    changed[_CHECKSUM] = (~sum(changed) & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(changed)


def claim_tapdisk(path: Path) -> None:
    """Write the footer of `as_tapdisk` into a file, at its end and, as a copy, at its beginning.

    Raises:
        BuildError: it is no VHD, or a broken one; nothing was written.
        OSError: it cannot be read or written.
    """
    with path.open("r+b") as file:
        end = file.seek(0, 2) - FOOTER
        footer = _footer_at(file, path, end)
        copied = _read_at(file, 0)[:8] == _COOKIE
        if copied and _footer_at(file, path, 0) != footer:
            raise BuildError(
                f"{path}: the footer and its copy differ: qemu-img has not finished it"
            )
        for place in (0, end) if copied else (end,):
            file.seek(place)
            file.write(as_tapdisk(footer))


def _footer_at(file: BinaryIO, path: Path, place: int) -> bytes:
    footer = _read_at(file, place) if place >= 0 else b""
    if len(footer) != FOOTER or footer[:8] != _COOKIE:
        raise BuildError(f"{path} is no VHD: it has no footer at byte {place}")
    given = int.from_bytes(footer[_CHECKSUM], "big")
    if given != ~(sum(footer) - sum(footer[_CHECKSUM])) & 0xFFFFFFFF:
        raise BuildError(f"{path} is a broken VHD: the checksum of its footer is wrong")
    return footer


def _read_at(file: BinaryIO, place: int) -> bytes:
    file.seek(place)
    return file.read(FOOTER)
