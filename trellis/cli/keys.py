"""Single keys from the terminal, without waiting for the end of a line."""

import os
import select
import sys
import termios
import time
import tty
from types import TracebackType
from typing import Any


class Keys:
    """A context manager under which keys come one by one; without a terminal none ever does.

    Attributes:
        there: whether there is a keyboard to listen to.
    """

    def __init__(self) -> None:
        self.there = sys.stdin.isatty()
        self._before: list[Any] | None = None

    def __enter__(self) -> "Keys":
        if self.there:
            self._before = termios.tcgetattr(sys.stdin)
            # Ctrl-C stays a signal.
            tty.setcbreak(sys.stdin)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def pressed(self, *, within_s: float) -> str:
        """The key that is pressed within so many seconds; "" if none is."""
        if not self.there:
            time.sleep(within_s)
            return ""
        ready, _, _ = select.select([sys.stdin], [], [], within_s)
        if not ready:
            return ""
        # What is typed at once counts by its first key: an arrow key is no command.
        typed = os.read(sys.stdin.fileno(), 64)
        if not typed:
            # The terminal is gone: nobody looks any more.
            raise KeyboardInterrupt
        return typed[:1].decode("ascii", "replace")
