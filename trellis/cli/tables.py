"""Printing data: tables for people, JSON and YAML for programs. Data goes to stdout, always."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from trellis.live.text import STATE_STYLES, duration, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WIDE: Final = 120
_UNBOUNDED: Final = 10_000


@attrs.frozen
class Column:
    """One column of a table.

    Attributes:
        show: from a row to what stands in its cell.
        wide: shown only where there is room: on 120 columns, or into a pipe.
        wraps: its cells may be broken into several lines; ids never are.
        narrow: what stands in its cell instead where there is little room.
    """

    title: str
    show: Callable[[Any], object]
    wide: bool = False
    wraps: bool = False
    narrow: Callable[[Any], object] | None = None

    def cell(self, row: Any, *, narrow: bool) -> object:
        """What stands in its cell of a row."""
        return self.narrow(row) if narrow and self.narrow is not None else self.show(row)


def field(name: str) -> Callable[[Any], object]:
    """A cell that shows one key of the row."""
    return lambda row: row[name]


def show_list(output: str, rows: Sequence[Any], columns: Sequence[Column], *, empty: str) -> None:
    """Print a list; *empty* is said on stderr if there is nothing in it."""
    if output != "table":
        show_data(output, rows)
    elif rows:
        print_table(rows, columns)
    else:
        click.echo(empty, err=True)


def show_data(output: str, data: Any) -> None:
    """Print data as JSON or YAML."""
    if output == "json":
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
        return
    import yaml

    click.echo(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), nl=False)


def print_table(rows: Sequence[Any], columns: Sequence[Column]) -> None:
    """Print rows under titles, as wide as the terminal, or as they need into a pipe."""
    from rich.table import Table
    from rich.text import Text

    console = data_console()
    narrow = console.width < _WIDE
    shown = [column for column in columns if not (column.wide and narrow)]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in shown:
        table.add_column(column.title, no_wrap=not column.wraps, overflow="fold")
    for row in rows:
        texts = [_cell(column.cell(row, narrow=narrow)) for column in shown]
        table.add_row(*[Text(text, style=STATE_STYLES.get(text, "")) for text in texts])
    _print(console, table)


def print_fields(fields: Mapping[str, object]) -> None:
    """Print names and values below each other; what is empty is left out."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, value in fields.items():
        if value not in (None, "", [], {}):
            text = _cell(value)
            table.add_row(name, Text(text, style=STATE_STYLES.get(text, "")))
    _print(data_console(), table)


def age(since: str | None) -> str:
    """How long ago an ISO time was: ``42s``, ``7m``, ``3h 5m``, ``12d``."""
    if since is None:
        return ""
    return duration(time.time() - datetime.fromisoformat(since).timestamp())


def moment(at: str | None) -> str:
    """An ISO time without its fraction, with its age."""
    return "" if at is None else f"{at[:19]}Z ({age(at)} ago)"


def counts(by_name: Mapping[str, int]) -> str:
    """``2 building, 3 ready``; what is 0 is left out."""
    return ", ".join(f"{n} {name}" for name, n in by_name.items() if n)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        value = "\n".join(str(item) for item in value)
    elif isinstance(value, Mapping):
        value = "\n".join(f"{name}: {item}" for name, item in value.items())
    return printable(str(value))


def _print(console: "Console", table: "Table") -> None:
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as printed:
        console.print(table)
    # Rich pads the last column, by hundreds of blanks if one cell of it is long.
    for line in printed.get().splitlines():
        click.echo(line.rstrip())


def data_console() -> "Console":
    """Rich's way to stdout: as wide as the terminal; into a pipe unbounded, without colours."""
    from rich.console import Console

    # Rich takes 80 columns for a pipe, and would cut what a program is to read.
    return Console(
        file=sys.stdout,
        width=None if sys.stdout.isatty() else _UNBOUNDED,
        # Rich leaves bold on by itself.
        force_terminal=False if os.environ.get("NO_COLOR") else None,
        highlight=False,
        markup=False,
        emoji=False,
    )
