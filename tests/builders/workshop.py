"""Builds for the tests of builders: an order, a watch that listens, small shell scripts."""

import os
import stat
from pathlib import Path

import attrs

from trellis.builders.sessions import members, noted_leader
from trellis.model.names import BuildId
from trellis.spi.image import BuildOrder

IMAGE = "debian-12"
BUILD = BuildId("debian-12-0000000007")


@attrs.define
class Heard:
    """A watch that remembers what it was told."""

    lines: list[str] = attrs.field(factory=list)
    phases: list[str] = attrs.field(factory=list)
    on_line: object = None

    def line(self, text):
        self.lines.append(text)
        if self.on_line is not None:
            self.on_line(text)

    def phase(self, name):
        self.phases.append(name)

    @property
    def text(self):
        return "\n".join(self.lines)


def an_order(folder: Path, *formats: str, **changes) -> BuildOrder:
    """An order whose files are all below *folder*."""
    values = {
        "build_id": BUILD,
        "image": IMAGE,
        "formats": formats or ("qcow2",),
        "base": folder / "images" / BUILD,
        "scratch": folder / "images" / ".scratch" / BUILD,
        "cache": folder / "images" / ".cache" / "slot-0",
    }
    return BuildOrder(**{**values, **changes})


def a_script(folder: Path, text: str, name: str = "build-it") -> str:
    """A build command; returns its path."""
    path = folder / name
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


TAKE_ARGUMENTS = """
set -eu
args=("$@")
while [ $# -gt 0 ]; do
    case $1 in
        -o) out=$2; shift 2 ;;
        -t) types=$2; shift 2 ;;
        --qemu-img-options) shift 2 ;;
        *) shift ;;
    esac
done
"""
"""The beginning of a script that takes disk-image-create's command line."""

MAKE_FILES = """
mkdir -p "$out.d"
for type in ${types//,/ }; do
    echo "an image as $type" > "$out.$type"
    md5sum "$out.$type" > "$out.$type.md5"
    sha256sum "$out.$type" > "$out.$type.sha256"
done
"""
"""Its end: small files of all types, with checksums as diskimage-builder leaves them."""


def assert_nothing_left(order: BuildOrder) -> None:
    """No process of the build runs, and no file of it is there, but for its log."""
    assert [] == members(order.scratch, noted_leader(order.scratch))
    assert not order.scratch.exists()
    beside = os.listdir(order.base.parent) if order.base.parent.exists() else []
    assert [] == [x for x in beside if x.startswith(order.base.name) and not x.endswith(".log")]
