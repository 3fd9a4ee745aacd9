"""What goes on in the demo beside what the daemon tells, for those who watch."""

import os
import time
from collections.abc import Callable

import attrs
import trio


@attrs.define(eq=False)
class Stage:
    """Shared by the demo's tasks, each of which writes its own part.

    Attributes:
        url: the daemon's address.
        tell: says something that is worth a line of its own.
        ends_at: when the demand ends, in Trio's time; None is upon a signal only.
        key: what the next Ctrl-C does.
        phase: what the demo itself does now.
        trouble: what it does to the clouds now; "" is nothing.
        first_node_s: seconds from the start of this process to the first ready node.
    """

    url: str
    tell: Callable[[str], None]
    ends_at: float | None = None
    key: str = "Ctrl-C: end"
    phase: str = "starting three clouds and the daemon"
    trouble: str = ""
    first_node_s: float | None = None

    @property
    def footer(self) -> str:
        """The last line of the live view."""
        left = "" if self.ends_at is None else f", {self._left_s():.0f} s left"
        words = self.trouble or f"{self.phase}{left}"
        # The key stands first: a narrow terminal cuts off the end.
        return f"{self.key} · {words}"

    def _left_s(self) -> float:
        assert self.ends_at is not None
        return max(0.0, self.ends_at - trio.current_time())


def since_start_s() -> float:
    """Seconds since this process was started, its imports included."""
    with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
        # After the name in parentheses, which may hold blanks, stands the third field.
        fields = file.read().rpartition(")")[2].split()
    started_at = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started_at
