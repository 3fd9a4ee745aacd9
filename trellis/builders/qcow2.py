"""Looking at a fetched file before anything else reads it."""

from pathlib import Path
from typing import Final

from trellis.errors import BuildError

_MAGIC: Final = b"QFI\xfb"
_BACKING: Final = slice(8, 16)
_INCOMPATIBLE: Final = slice(72, 80)
_EXTERNAL_DATA: Final = 1 << 2
_VHD: Final = b"conectix"


def refuse_foreign(path: Path, format: str) -> None:
    """Refuse a file of another format than was said, or one that has a part elsewhere.

    A qcow2 may name a file of this host that its data is in (its *backing file*), which qemu-img
    would read. Fields by the specification of the format (docs/interop/qcow2 of QEMU).

    Args:
        path: the file.
        format: what it is said to be.

    Raises:
        BuildError: it is refused.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(512)
        file.seek(max(0, path.stat().st_size - 512))
        tail = file.read(8)
    is_qcow2, is_vhd = head.startswith(_MAGIC), tail.startswith(_VHD)
    found = "qcow2" if is_qcow2 else "vhd" if is_vhd else "raw"
    if found != format:
        raise BuildError(
            f"the image is said to be {format}, and the file is {found}: correct `source-format`"
        )
    if not is_qcow2:
        return
    if any(head[_BACKING]):
        raise BuildError("the image names a backing file: give one that is whole by itself")
    version = int.from_bytes(head[4:8], "big")
    if version >= 3 and int.from_bytes(head[_INCOMPATIBLE], "big") & _EXTERNAL_DATA:
        raise BuildError("the image has its data in another file: give one that is whole by itself")
