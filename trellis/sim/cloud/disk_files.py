"""What the beginning and the end of a disk's file say of it: qcow2, VHD, and made-up ones.

qcow2 after QEMU's ``docs/interop/qcow2.rst``, VHD after Microsoft's *Virtual Hard Disk Image Format
Specification*; error codes of an import as the project's survey of clouds quotes the vendor's
documentation (Rackspace classic, row *Import errors*).
"""

import struct
from typing import Final

import attrs
import msgspec

from trellis.sim.cloud.spooled import Spooled

MADE_UP: Final = b"trellis-sim-image "
"""A file that begins so, with a JSON object on that line, says how servers of it fare."""

_QCOW2: Final = b"QFI\xfb"
_VHD: Final = b"conectix"
_FIXED, _DYNAMIC, _DIFFERENCING = 2, 3, 4
_GIB: Final = 1 << 30


@attrs.frozen(kw_only=True)
class Manner:
    """How servers of a file fare.

    Attributes:
        failure: chance that one is bad.
        error: share of the bad ones that end in ERROR; the others never answer.
    """

    failure: float = 0.0
    error: float = 0.0


def made_up(*, failure: float = 0.0, error: float = 0.0, size: int = 4096) -> bytes:
    """A file whose servers fare as its first line says."""
    line = msgspec.json.encode({"failure": failure, "error": error})
    return (MADE_UP + line + b"\n").ljust(size, b"\0")


def manner_of(file: Spooled | None) -> Manner | None:
    """What a made-up file says of its servers; None where it says nothing."""
    if file is None or not file.head.startswith(MADE_UP):
        return None
    line = file.head[len(MADE_UP) :].partition(b"\n")[0]
    try:
        return msgspec.convert(msgspec.json.decode(line), Manner)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None


def virtual_size(file: Spooled, disk_format: str | None) -> int | None:
    """Size of the disk in bytes, as Glance finds it out; None where it cannot."""
    if disk_format == "raw":
        return file.size
    if disk_format == "qcow2" and file.head.startswith(_QCOW2) and len(file.head) >= 32:
        return int(struct.unpack_from(">Q", file.head, 24)[0])
    if disk_format == "vhd" and file.tail.startswith(_VHD):
        return int(struct.unpack_from(">Q", file.tail, 48)[0])
    return None


def qcow2_version(file: Spooled | None) -> int | None:
    """2 is what tools call compat 0.10, 3 is 1.1; None is no qcow2."""
    if file is None or not file.head.startswith(_QCOW2):
        return None
    return int(struct.unpack_from(">I", file.head, 4)[0])


def vhd_footer(
    *, creator: bytes = b"tap\0", size: int = _GIB, kind: int = _DYNAMIC, uuid: bytes = b"u" * 16
) -> bytes:
    """The last 512 bytes of a VHD."""
    footer = bytearray(512)
    footer[:8] = _VHD
    footer[28:32] = creator
    struct.pack_into(">QQ", footer, 40, size, size)
    struct.pack_into(">I", footer, 60, kind)
    footer[68:84] = uuid
    return bytes(footer)


def import_error(file: Spooled, creator: str, most_gib: int | None) -> int | None:
    """The code with which an import of this file as a VHD fails; None if it does not.

    Args:
        creator: the program that must have made it; "" is any.
        most_gib: the largest virtual disk; None is endless.
    """
    footer = file.tail
    if len(footer) < 512 or not footer.startswith(_VHD):
        return 396
    if creator and footer[28:32].rstrip(b"\0 ") != creator.encode():
        return 396
    kind = struct.unpack_from(">I", footer, 60)[0]
    if kind == _DIFFERENCING:
        return 721
    if kind not in (_FIXED, _DYNAMIC):
        return 523
    if not any(footer[68:84]):
        return 614
    if most_gib is not None and struct.unpack_from(">Q", footer, 48)[0] > most_gib * _GIB:
        return 413
    return None
