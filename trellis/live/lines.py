"""Rows of cells as lines of a given width, and lines as a screen of a given height."""

from collections.abc import Sequence
from typing import Final

import attrs
from rich.cells import cell_len
from rich.text import Text

from trellis.live.text import one_line

_GAP: Final = 2


@attrs.frozen(kw_only=True)
class Column:
    """A column of a section.

    Attributes:
        most: cells at most; longer texts end in an ellipsis.
        right: numbers stand on the right.
    """

    title: str
    most: int = 24
    right: bool = False


@attrs.frozen(kw_only=True)
class Section:
    """A titled table of a screen.

    Attributes:
        rows: each one or several lines that stay together.
        hidden: how many further rows there are that nobody sent.
        empty: said where there are no rows; "" leaves the section out then.
    """

    head: Text
    rows: Sequence[Sequence[Text]]
    hidden: int = 0
    empty: str = ""

    @property
    def wanted(self) -> int:
        """Lines that it would fill."""
        if not self.rows:
            return 2 if self.empty else 0
        return 1 + sum(len(row) for row in self.rows) + (1 if self.hidden else 0)

    def lines(self, most: int) -> list[Text]:
        """As much of it as fits into so many lines; what does not is counted."""
        if most < 2 or not self.wanted:
            return []
        if not self.rows:
            return [self.head, Text(self.empty, style="dim")]
        shown: list[Text] = [self.head]
        left = len(self.rows) + self.hidden
        for number, row in enumerate(self.rows):
            last = number == len(self.rows) - 1 and not self.hidden
            # A line is kept for saying that there is more.
            if len(shown) + len(row) + (0 if last else 1) > most:
                break
            shown += row
            left -= 1
        if left:
            shown.append(Text(f"… and {left} more", style="dim"))
        return shown


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[str | Text]], width: int
) -> tuple[Text, list[Text]]:
    """The titles and the rows, one line each; the last column takes what the others leave.

    Args:
        rows: a cell for each column.
    """
    cells = [[cell if isinstance(cell, Text) else Text(one_line(cell)) for cell in r] for r in rows]
    titles = [Text(column.title, style="bold") for column in columns]
    widths = [
        min(column.most, max(cell_len(line[at].plain) for line in (titles, *cells)))
        for at, column in enumerate(columns)
    ]
    widths[-1] = max(0, width - sum(widths[:-1]) - _GAP * (len(columns) - 1))
    head, *lines = (_line(columns, widths, line, width) for line in (titles, *cells))
    return head, lines


def _line(
    columns: Sequence[Column], widths: Sequence[int], cells: Sequence[Text], width: int
) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    for at, (column, cell) in enumerate(zip(columns, cells, strict=True)):
        cell = fitted(cell, widths[at])
        blanks = " " * (widths[at] - cell_len(cell.plain))
        if column.right:
            line.append(blanks).append_text(cell)
        else:
            line.append_text(cell).append(blanks)
        if at < len(columns) - 1:
            line.append(" " * _GAP)
    return fitted(line, width)


def fitted(text: Text, width: int) -> Text:
    """A copy that is no wider; what is cut off leaves an ellipsis."""
    text = text.copy()
    text.truncate(width, overflow="ellipsis")
    text.no_wrap = True
    return text


def shared_out(wanted: Sequence[int], least: Sequence[int], lines: int) -> list[int]:
    """Lines for each section: the least it needs in their order, the rest to one after another."""
    given = [0] * len(wanted)
    for at, (wish, need) in enumerate(zip(wanted, least, strict=True)):
        start = min(wish, need)
        if start <= lines:
            given[at] = start
            lines -= start
    growing = [at for at in range(len(wanted)) if 0 < given[at] < wanted[at]]
    while lines and growing:
        for at in list(growing):
            if not lines:
                break
            given[at] += 1
            lines -= 1
            if given[at] == wanted[at]:
                growing.remove(at)
    return given
