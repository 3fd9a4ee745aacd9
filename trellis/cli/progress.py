"""How far something is, on stderr: lines that are kept up to date, or a line for each news."""

import os
import shutil
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import attrs
import click

from trellis.cli.shape import note
from trellis.live.text import duration, one_line, soon

if TYPE_CHECKING:
    from rich.live import Live

_CLEAR: Final = "\r\x1b[K"
_BAR_WIDTH: Final = 20
_GAP: Final = 2


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


@attrs.frozen(kw_only=True)
class Bar:
    """How far one of several things is.

    Attributes:
        share: of it that is done, from 0 to 1; None where nobody can tell.
        words: what it does, as a terminal shows it beside the bar.
        news: what a log is told when it changes; as *words* if left out.
    """

    name: str
    share: float | None = None
    words: str
    news: str = ""


class Bars:
    """A context manager that shows several bars on a terminal; a log gets a line for each news."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._told: dict[str, str] = {}
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            from rich.console import Console
            from rich.live import Live

            screen = Console(stderr=True, highlight=False, markup=False, emoji=False)
            self._live = Live(console=screen, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def tell(self, bars: Sequence[Bar]) -> None:
        """Say how it stands with each."""
        if self._live is not None:
            self._live.update(self._drawn(self._live, bars), refresh=True)
            return
        spent = duration(time.monotonic() - self._begun)
        for bar in bars:
            news = bar.news or bar.words
            if self._told.get(bar.name) != news:
                self._told[bar.name] = news
                note(f"[{spent}] {one_line(bar.name)}: {one_line(news)}")

    def _drawn(self, live: "Live", bars: Sequence[Bar]) -> Any:
        from rich.cells import cell_len
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        spent = f"[{duration(time.monotonic() - self._begun)}]"
        names = [one_line(bar.name) for bar in bars]
        taken = len(spent) + max(map(cell_len, names), default=0) + _BAR_WIDTH + 3 * _GAP
        table = Table.grid(padding=(0, _GAP, 0, 0))
        for at, (name, bar) in enumerate(zip(names, bars, strict=True)):
            shown = ProgressBar(
                total=1,
                completed=bar.share or 0,
                width=_BAR_WIDTH,
                pulse=bar.share is None,
                # Rich's own looks like an error.
                complete_style="cyan",
                finished_style="green",
                pulse_style="cyan",
            )
            words = Text(one_line(bar.words))
            # What does not fit is cut here: a grid would take it from the names.
            words.truncate(max(0, live.console.width - taken - 1), overflow="ellipsis")
            table.add_row(Text(spent if at == 0 else "", style="dim"), Text(name), shown, words)
        return table
