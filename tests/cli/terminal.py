"""A program on a terminal of its own, with keys to press and a screen to read."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence

_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]")


class Terminal:
    """A context manager: `trellis` with these arguments, on 80 columns and 24 lines."""

    def __init__(self, args: Sequence[str], url: str, **variables: str) -> None:
        self._args, self._variables = args, variables | {"TRELLIS_URL": url}
        self.raw = b""

    def __enter__(self) -> "Terminal":
        self._ours, self._theirs = pty.openpty()
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(self._theirs)
        # The parent keeps its end open: the settings of a terminal nobody has open are gone.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "trellis.cli.main", *self._args],
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            env=environment(self._variables),
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        os.close(self._ours)
        os.close(self._theirs)

    @property
    def settings(self) -> list[object]:
        """How the terminal is set now."""
        return termios.tcgetattr(self._theirs)

    def until(self, text: str, *, within_s: float = 20) -> str:
        """Read until this stands on the screen; returns all that was written so far."""
        ends_at = time.monotonic() + within_s
        while text not in self.text:
            left = ends_at - time.monotonic()
            assert left > 0, f"{text!r} did not come: {self.text[-2000:]}"
            self._read(left)
        return self.text

    def press(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def interrupt(self) -> None:
        """Ctrl-C, as the terminal's line discipline hands it on."""
        self.process.send_signal(signal.SIGINT)

    def end(self, *, within_s: float = 20) -> int:
        """Wait until the program has ended; returns its exit code."""
        ends_at = time.monotonic() + within_s
        while self.process.poll() is None:
            assert time.monotonic() < ends_at, f"it goes on: {self.text[-2000:]}"
            self._read(0.1)
        self._read(0)
        return self.process.wait()

    @property
    def text(self) -> str:
        """All that was written, without codes."""
        return _CODES.sub("", self.raw.decode(errors="replace")).replace("\r\n", "\n")

    def _read(self, within_s: float) -> None:
        if select.select([self._ours], [], [], within_s)[0]:
            self.raw += os.read(self._ours, 65536)


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Ours without what speaks of our own terminal, and with these."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if name not in ("NO_COLOR", "TERM", "COLUMNS", "LINES")
    }
    return ours | {"TERM": "xterm-256color"} | dict(variables)
