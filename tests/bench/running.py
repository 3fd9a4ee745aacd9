"""What programs that run processes share: folders of their own, signals, errors in groups."""

import itertools
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import trio


@attrs.define
class RunFolder:
    """Where a run writes its logs and stores.

    Attributes:
        well: all went as it should, so that nobody will look into it.
    """

    path: Path
    well: bool = False


@contextmanager
def run_folder(asked_for: Path | None, prefix: str) -> Iterator[RunFolder]:
    """A folder for logs and stores.

    One that nobody asked for is made, and removed with the block if all was well by then; else it
    is kept, and named.

    Args:
        asked_for: by a person, who keeps it; a new one if left out.
        prefix: of the name of the new one.
    """
    made = None if asked_for is not None else Path(tempfile.mkdtemp(prefix=prefix))
    folder = RunFolder((asked_for or made or Path()).resolve())
    try:
        yield folder
    finally:
        if made is not None and folder.well:
            shutil.rmtree(made)
        else:
            say(f"What was written is kept in {folder.path}")


def say(text: str) -> None:
    """Tell a person, beside what is printed as data."""
    print(text, file=sys.stderr, flush=True)


def unused(folder: Path, name: str) -> Path:
    """A folder that no earlier run has left a store in."""
    return next(
        path for number in itertools.count() if not (path := folder / f"{name}-{number}").exists()
    )


def leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    """The errors of a group and of all groups in it."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


async def until_signal(scope: trio.CancelScope) -> None:
    """Cancel *scope* at the first Ctrl-C or SIGTERM."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            say(f"{signal.Signals(number).name}: ending the processes")
            scope.cancel()
            return
