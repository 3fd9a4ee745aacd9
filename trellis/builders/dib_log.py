"""What diskimage-builder's output tells: how far it is, and why it failed."""

import re
from typing import Final

import attrs

from trellis.spi.image import BuildWatch

_HOOK: Final = re.compile(r"dib-run-parts Running \S*?([a-z-]+)\.d/[^/\s]+\s*\Z")
_PHASES: Final = (
    ("Building elements:", "elements"),
    ("Calculating image size", "image size"),
    ("Converting image using qemu-img convert", "converting"),
    ("Image file ", "writing files"),
)
"""Texts of diskimage-builder 3.43 (lib/disk-image-create, common-functions, img-functions)."""


@attrs.frozen
class Reason:
    """A text that tells why a build fails, and what to do; it may name what it found.

    Attributes:
        signs: words of which a line has one if the pattern is in it; looking for them is quick.
    """

    signs: tuple[str, ...]
    pattern: "re.Pattern[str]"
    text: str


REASONS: Final = (
    Reason(
        ("not found",),
        re.compile(r"Element '([^']+)' not found"),
        "there is no element {0!r}. Correct `elements`, or add the folder it is in to "
        "`elements-dir`",
    ),
    Reason(
        ("ELEMENTS_PATH entry",),
        re.compile(r"ELEMENTS_PATH entry '([^']+)'"),
        "the folder of elements {0} is not there. Correct `elements-dir`",
    ),
    Reason(
        ("root element",),
        re.compile(r"At least one distribution root element must be specified"),
        "it has no elements. Give `elements`, one of a distribution among them",
    ),
    Reason(
        ("Please include",),
        re.compile(r"Please include an operating system element"),
        "none of its elements is an operating system. Add one to `elements`",
    ),
    Reason(
        ("No space left",),
        re.compile(r"No space left on device"),
        "the disk is full. Make room where `images-dir` is, or set it to another disk",
    ),
    Reason(
        ("too large", "limit exceeded"),
        re.compile(r"File too large|File size limit exceeded"),
        "a file is larger than the system lets it be. Raise the limit of the daemon's user "
        "(`ulimit -f`), or set `images-dir` to another file system",
    ),
    Reason(
        ("output format specified", "vhd-util"),
        re.compile(r"(\S+) output format specified (?:but|and) .*not found|no vhd-util executable"),
        "a program for one of its formats is not installed, as its output says",
    ),
    Reason(
        ("sudo: ", "sudoers"),
        re.compile(r"sudo: (?:a password|a terminal) is required|is not in the sudoers file"),
        "diskimage-builder has to be root. Let the daemon's user use sudo without a password, or "
        "run the daemon as root",
    ),
    Reason(
        ("device mapper", "device-mapper"),
        re.compile(r"device mapper prerequisites not met|device-mapper.*(?:failed|not found)"),
        "the kernel has no device-mapper, which elements with partitions need",
    ),
    Reason(
        ("losetup: ",),
        re.compile(r"losetup: .*(?:failed|cannot find an unused loop device)"),
        "no loop device could be made. Load the kernel's module `loop`, or detach some",
    ),
    Reason(
        ("Could not resolve", "Temporary failure"),
        re.compile(r"Could not resolve|Temporary failure in name resolution"),
        "a name could not be resolved: its elements fetch from the network",
    ),
)
_BY_SIGN: Final = tuple((sign, reason) for reason in REASONS for sign in reason.signs)


@attrs.define(eq=False)
class DibLog:
    """Hears the output of a build and tells its watch.

    Attributes:
        watch: is told every line, and the phase where a line shows one.
    """

    watch: BuildWatch
    _phase: str = attrs.field(default="", init=False)
    _reason: str = attrs.field(default="", init=False)

    def line(self, text: str) -> None:
        """Take in one line."""
        self.watch.line(text)
        if phase := self._phase_of(text):
            if phase != self._phase:
                self._phase = phase
                self.watch.phase(phase)
        elif len(text) < 1000:
            self._look(text)

    def reason(self) -> str:
        """Why it failed, to be put behind a sentence; "" if its output does not tell."""
        return f": {self._reason}" if self._reason else ""

    def _phase_of(self, text: str) -> str:
        if "dib-run-parts Running " in text:
            found = _HOOK.search(text)
            return found[1] if found else ""
        for beginning, phase in _PHASES:
            if beginning in text:
                return phase
        return ""

    def _look(self, text: str) -> None:
        for sign, reason in _BY_SIGN:
            # The last one counts: what was met on the way may have been got over.
            if sign in text and (found := reason.pattern.search(text)):
                self._reason = reason.text.format(*(found.groups() or ("",)))
                return
