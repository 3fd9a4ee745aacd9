"""A stand-in for ``disk-image-create`` that needs nothing but Python: small, quick, true files.

It takes diskimage-builder's command line, prints its phases, and writes real disk images: a disk
with a partition table and a text that says what was asked for, as raw, qcow2 or VHD. There is
nothing on it to boot: simulated servers need none. The demo builds with it, so that it works on
a machine where nothing is installed.

    python -m trellis.demo.mini_image -x -t qcow2,vhd --checksum -o FILE ELEMENT...
"""

import hashlib
import os
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_SIZE: Final = 24 * 1024 * 1024
_SECTOR: Final = 512
_CLUSTER: Final = 65_536
_COPIED: Final = 1 << 63
_PHASES: Final = ("root", "extra-data", "pre-install", "install", "post-install", "cleanup")
_PHASE_S: Final = 0.35
"""Seconds a phase takes, so that there is something to watch."""
_OPTIONS_WITH_VALUE: Final = frozenset(
    {"-o", "-t", "-p", "-a", "--qemu-img-options", "--image-size"}
)


def main(arguments: Sequence[str]) -> int:
    """Build; returns the exit code, 1 with a message for a command line that asks for no image."""
    output, formats, elements = _asked(arguments)
    if not output or not elements:
        print("mini_image: -o FILE and at least one element are needed", file=sys.stderr)
        return 1
    if unknown := [name for name in formats if name not in _WRITERS]:
        print(f"mini_image: no such format: {', '.join(unknown)}", file=sys.stderr)
        return 1
    print(f"Building elements: {' '.join(elements)}", flush=True)
    for phase in _PHASES:
        print(f"dib-run-parts Running hooks/{phase}.d/10-mini-image", flush=True)
        time.sleep(_PHASE_S)
    disk = _disk(f"elements: {' '.join(elements)}\nrelease: {os.environ.get('DIB_RELEASE', '')}\n")
    for name in formats:
        print(f"Converting image using qemu-img convert to {name}", flush=True)
        path = Path(f"{output}.{name}")
        new = path.with_name(f"{path.name}-new")
        new.write_bytes(_WRITERS[name](disk))
        new.replace(path)
        for kind in ("md5", "sha256") if "--checksum" in arguments else ():
            digest = hashlib.new(kind, path.read_bytes()).hexdigest()
            path.with_name(f"{path.name}.{kind}").write_text(f"{digest}  {path}\n")
    print("Build completed successfully", flush=True)
    return 0


def _asked(arguments: Sequence[str]) -> tuple[str, list[str], list[str]]:
    output, formats, elements = "", ["qcow2"], list[str]()
    rest = iter(arguments)
    for word in rest:
        if word in _OPTIONS_WITH_VALUE:
            value = next(rest, "")
            if word == "-o":
                output = value
            elif word == "-t":
                formats = [name for name in value.split(",") if name]
        elif not word.startswith("-"):
            elements.append(word)
    return output, formats, elements


def _disk(text: str) -> bytes:
    """A disk with one Linux partition from 1 MiB on, and *text* at its beginning."""
    disk = bytearray(_SIZE)
    first = 2048
    entry = struct.pack("<B3sB3sII", 0x80, b"\0\2\0", 0x83, b"\0\2\0", first,
                        _SIZE // _SECTOR - first)  # fmt: skip
    disk[446 : 446 + len(entry)] = entry
    disk[510:512] = b"\x55\xaa"
    data = text.encode()
    disk[first * _SECTOR : first * _SECTOR + len(data)] = data
    # Something of a size: an image of zeros alone would be sent in no time.
    noise = hashlib.shake_256(data).digest(4 * 1024 * 1024)
    begin = first * _SECTOR + _CLUSTER
    disk[begin : begin + len(noise)] = noise
    return bytes(disk)


def _qcow2(disk: bytes) -> bytes:
    """Version 2, as ``compat=0.10`` is: clusters of zeros are left out (qemu docs/interop)."""
    count = len(disk) // _CLUSTER
    wanted = [n for n in range(count) if any(disk[n * _CLUSTER : (n + 1) * _CLUSTER])]
    # Header, refcount table, refcount block, L1 table and the one L2 table come first.
    data_from = 5
    used = data_from + len(wanted)
    header = struct.pack(
        ">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, 16, len(disk), 0, 1, 3 * _CLUSTER, _CLUSTER, 1, 0, 0
    )
    level2 = [0] * count
    for place, number in enumerate(wanted, data_from):
        level2[number] = place * _CLUSTER | _COPIED
    parts = [
        header,
        struct.pack(">Q", 2 * _CLUSTER),
        struct.pack(f">{used}H", *([1] * used)),
        struct.pack(">Q", 4 * _CLUSTER | _COPIED),
        struct.pack(f">{count}Q", *level2),
    ]
    head = b"".join(part.ljust(_CLUSTER, b"\0") for part in parts)
    return head + b"".join(disk[n * _CLUSTER : (n + 1) * _CLUSTER] for n in wanted)


def _vhd(disk: bytes) -> bytes:
    """A fixed one: the disk, and a footer by which Xen takes it (creator ``tap``)."""
    sectors = len(disk) // _SECTOR
    cylinders, heads, per_track = sectors // (4 * 17), 4, 17
    footer = bytearray(
        struct.pack(
            ">8sIIQI4sI4sQQHBBII16s",
            b"conectix", 2, 0x10000, 0xFFFFFFFFFFFFFFFF, 0, b"tap\0", 0x10003, b"\0\0\0\0",
            len(disk), len(disk), cylinders, heads, per_track, 2, 0, hashlib.md5(disk).digest(),
        ).ljust(_SECTOR, b"\0")
    )  # fmt: skip
    struct.pack_into(">I", footer, 64, ~sum(footer) & 0xFFFFFFFF)
    return disk + bytes(footer)


def _raw(disk: bytes) -> bytes:
    return disk


_WRITERS: Final = {"raw": _raw, "qcow2": _qcow2, "vhd": _vhd}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
