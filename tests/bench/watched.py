"""``python -m tests.bench.watched serve …``: the `trellis` command, its event loop watched.

Whenever the loop is kept from looking at sockets and clocks for longer than `NOTED_S`, a line of
JSON goes to the file named by ``BENCH_BLOCKS``: when that ended (`time.monotonic`), for how long
it lasted, how much of it this thread computed (the rest it waited, as for a processor), and the
task whose step was the longest.
"""

import json
import os
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import trio

from trellis.cli.main import main

T = TypeVar("T")
NOTED_S: Final = 0.005


class Blocks(trio.abc.Instrument):
    """Notes how long the tasks of one pass of the loop keep it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._began: tuple[float, float] | None = None
        self._step = 0.0
        self._longest = 0.0, ""

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task goes on."""
        del task
        self._step = time.monotonic()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """It waits again, or has ended."""
        lasted = time.monotonic() - self._step
        if lasted > self._longest[0]:
            self._longest = lasted, task.name

    def after_io_wait(self, timeout: float) -> None:
        """The pass begins."""
        del timeout
        self._began = time.monotonic(), time.thread_time()
        self._longest = 0.0, ""

    def before_io_wait(self, timeout: float) -> None:
        """The pass is over."""
        del timeout
        if self._began is None:
            return
        now, lasted = time.monotonic(), time.monotonic() - self._began[0]
        if lasted >= NOTED_S:
            computed = time.thread_time() - self._began[1]
            with open(self._path, "a") as file:
                told = {"at": now, "s": lasted, "cpu_s": computed, "task": self._longest[1]}
                file.write(json.dumps(told) + "\n")


def watch() -> None:
    """Have every loop of this process watched from its beginning."""
    run: Callable[..., Any] = trio.run
    blocks = Blocks(os.environ["BENCH_BLOCKS"])

    def watched(task: Callable[..., Any], *args: Any, **options: Any) -> Any:
        return run(task, *args, instruments=[*options.pop("instruments", ()), blocks], **options)

    trio.run = watched


if __name__ == "__main__":
    watch()
    main()
