"""How far something is, on stderr: one line that is kept up to date, or a line for each news."""

import os
import shutil
import sys
import time
from types import TracebackType
from typing import Final

import click

from trellis.cli.shape import note
from trellis.live.text import duration, one_line, soon

_CLEAR: Final = "\r\x1b[K"


class Progress:
    """A context manager that leaves no half line behind.

    Args:
        begun: when it began, by `time.monotonic`.

    Attributes:
        live: whether stderr is a terminal, on which a line can be written over.
    """

    def __init__(self, begun: float) -> None:
        self.live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._begun = begun
        self._told = ""

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.live:
            click.echo(_CLEAR, nl=False, err=True, color=True)

    def tell(self, words: str, *, ready_in_s: float | None) -> None:
        """Say how it stands; a log is told only when the words change."""
        spent = f"[{duration(time.monotonic() - self._begun)}]"
        then = "" if ready_in_s is None else f"ready in about {soon(ready_in_s)}"
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            line = one_line(" ".join(filter(None, (spent, then and f"{then} ·", words))))
            click.echo(_CLEAR + line[:width], nl=False, err=True, color=True)
        elif words != self._told:
            note(f"{spent} {words}" + (f" {then.capitalize()}." if then else ""))
        self._told = words
