"""``trellis top``: the state of everything, live in the terminal."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from trellis.cli.keys import Keys
from trellis.cli.shape import Command, note
from trellis.cli.tables import show_data
from trellis.cli.talk import client, output_option, url
from trellis.live.text import duration

if TYPE_CHECKING:
    from rich.console import Console

    from trellis.http.face import FaceClient

_PATIENCE_S: Final = 5.0
_MOST: Final = 100
"""So many waiting requests and slow nodes are read; no terminal shows more."""
_UNBOUNDED: Final = 10_000
_QUIT: Final = frozenset({"q", "Q", "\x04"})


@click.command(
    cls=Command,
    examples=["trellis top", "trellis top --every 5", "trellis top --once", "trellis top -o json"],
)
@click.option("--once", is_flag=True, help="Print how it is now, and end.")
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(0.2),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How often it is read.",
)
@output_option
def top(once: bool, every_s: float, output: str) -> None:
    """Watch clouds and their health, nodes by state, and requests that wait and why.

    Goes on over a restart of the daemon. q or Ctrl-C ends it. Data (-o json, -o yaml), and what
    goes into a pipe, are printed once.
    """
    with client(patience_s=_PATIENCE_S) as face:
        # The first answer is waited for here: a daemon that was never there is an error.
        status = _read(face)
        if output != "table":
            show_data(output, status)
        elif once or not sys.stdout.isatty():
            if not once:
                note("This is no terminal: it is printed once.")
            _print_once(status)
        else:
            _watch(face, status, every_s)


def _read(face: "FaceClient") -> Any:
    return face.get("status", most=_MOST)


def _print_once(status: Any) -> None:
    from trellis.cli.tables import data_console
    from trellis.live.view import screen

    console = data_console()
    width = console.width if sys.stdout.isatty() else _columns()
    for line in screen(status, width, _UNBOUNDED):
        line.rstrip()
        console.print(line, soft_wrap=True)


def _columns() -> int:
    """Wide enough for a log to say why, and narrow enough to be read."""
    given = os.environ.get("COLUMNS", "")
    return int(given) if given.isascii() and given.isdecimal() and int(given) else 160


def _watch(face: "FaceClient", status: Any, every_s: float) -> None:
    """Draw until somebody ends it; whatever does, the terminal is as before."""
    from rich.console import Console
    from rich.live import Live

    from trellis.http.face import FaceError

    screen = Console(highlight=False, markup=False, emoji=False)
    notice, seen_at = "", time.monotonic()
    try:
        with (
            _ended_by_sigterm(),
            Live(console=screen, screen=True, auto_refresh=False) as live,
            Keys() as keys,
        ):
            while True:
                live.update(_drawn(status, screen, notice, keys), refresh=True)
                if keys.pressed(within_s=every_s) in _QUIT:
                    return
                try:
                    status, notice, seen_at = _read(face), "", time.monotonic()
                except FaceError as broken:
                    age = duration(time.monotonic() - seen_at)
                    notice = f"LOST, this is {age} old; trying again. {broken}"
    except KeyboardInterrupt:
        return


def _drawn(status: Any, screen: "Console", notice: str, keys: Keys) -> Any:
    from trellis.http.face import shown_url
    from trellis.live.view import render

    footer = "q: end" if keys.there else "Ctrl-C: end"
    width, height = screen.size
    return render(status, width, height, title=shown_url(url()), notice=notice, footer=footer)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind as Ctrl-C does: the terminal would stay as it is otherwise."""

    def end(_signal: int, _frame: object) -> NoReturn:
        raise SystemExit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
