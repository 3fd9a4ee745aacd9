"""From one format of disk image to another, by qemu-img."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import attrs
import trio

from trellis.builders.process import Command, find_program, run
from trellis.builders.vhd import claim_tapdisk
from trellis.errors import BuildError

_QEMU_NAMES: Final = {"vhd": "vpc"}
_VHD_OPTIONS: Final = "subformat=dynamic,force_size=on"
_COMPRESSED: Final = ("qcow2",)


@attrs.frozen(kw_only=True)
class Conversion:
    """How files are converted in a build.

    Attributes:
        environment: of qemu-img.
        scratch: of the build.
        qcow2_options: given to qemu-img with ``-o`` for qcow2; "" gives none.
        line: is told what qemu-img says.
    """

    environment: Mapping[str, str] = attrs.field(repr=False)
    scratch: Path
    qcow2_options: str
    line: Callable[[str], None]

    def find(self, wanted: str) -> str:
        """The path of qemu-img.

        Args:
            wanted: what it is needed for, in words.

        Raises:
            BuildError: it is not installed.
        """
        program = find_program("qemu-img", self.environment)
        if program is None:
            raise BuildError(
                f"{wanted} takes `qemu-img`, which is not in PATH "
                f"({self.environment.get('PATH', '')}): install it (Debian: qemu-utils; Fedora: "
                "qemu-img)"
            )
        return program

    async def convert(self, source: Path, format: str, target: Path, wanted: str) -> None:
        """Convert *source*; *target* is there only when it is whole.

        Args:
            source: the file.
            format: of the file; it is never guessed, as a guest may have written its beginning.
            target: the file to write.
            wanted: the format of *target*.

        Raises:
            BuildError: it cannot be converted.
        """
        program = self.find(f"to make {wanted} of {format}")
        new = target.with_name(f"{target.name}-new")
        words = [program, "convert", "-f", _qemu_name(format), "-O", _qemu_name(wanted)]
        if wanted == "vhd":
            words += ["-o", _VHD_OPTIONS]
        elif wanted in _COMPRESSED:
            words += ["-c", *(["-o", self.qcow2_options] if self.qcow2_options else [])]
        words += ["--", str(source), str(new)]
        said: list[str] = []

        def line(text: str) -> None:
            said.append(text)
            self.line(text)

        self.line(f"converting {source.name} to {wanted}")
        command = Command(words=tuple(words), environment=self.environment, scratch=self.scratch)
        code = await run(command, line)
        if code != 0:
            raise BuildError(
                f"qemu-img cannot convert {source} from {format} to {wanted}: "
                f"{said[-1] if said else f'it ended with {code}'}"
            )
        await trio.to_thread.run_sync(_finish, new, target, wanted)


def _finish(new: Path, target: Path, wanted: str) -> None:
    if wanted == "vhd":
        claim_tapdisk(new)
    os.replace(new, target)


def _qemu_name(format: str) -> str:
    return _QEMU_NAMES.get(format, format)
