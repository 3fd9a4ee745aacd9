"""What programs that run processes share: folders of their own, signals, errors in groups."""

import itertools
import signal
import sys
from pathlib import Path
from typing import Any

import trio


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
