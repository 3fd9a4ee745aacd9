"""The demo's last words: figures, and the verdict on each promise."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trellis.demo.outcome import FIRST_NODE_WITHIN_S, Figures, Outcome, Spread
from trellis.live.text import one_line

_MOST_BREACHES = 5


def summary(outcome: Outcome) -> RenderableType:
    """Draw it, for a terminal or a log."""
    verdicts = Table(box=None, pad_edge=False, header_style="bold")
    verdicts.add_column("PROMISE", no_wrap=True)
    verdicts.add_column("WHAT IT SAYS")
    verdicts.add_column("VERDICT", no_wrap=True)
    for verdict in outcome.verdicts:
        word = Text("held", "green") if verdict.held else Text("BROKEN", "bold red")
        verdicts.add_row(verdict.promise, verdict.claim, word)
    return Group(Text(""), _figures(outcome.figures), Text(""), verdicts, *_wrong(outcome))


def _figures(figures: Figures) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    first = figures.first_node_s
    slow = first is not None and first > FIRST_NODE_WITHIN_S
    table.add_row(
        "first node ready",
        Text("never", "yellow")
        if first is None
        else Text(f"after {first:.1f} s", "yellow" if slow else ""),
    )
    table.add_row("nodes launched", str(figures.nodes))
    ends = ", ".join(f"{count} {end}" for end, count in sorted(figures.requests.items()))
    table.add_row("requests", f"{sum(figures.requests.values())}" + (f" ({ends})" if ends else ""))
    table.add_row("waits of requestors", _spread(figures.wait_s))
    table.add_row("boots in the clouds", _spread(figures.boot_s))
    each = figures.calls_per_node
    words = f"{figures.calls}" if each is None else f"{each:.1f} a node, {figures.calls} in all"
    table.add_row("API calls", words)
    return table


def _spread(spread: Spread) -> str:
    if spread.p50 is None or spread.p95 is None:
        return "none"
    return f"p50 {spread.p50:.1f} s, p95 {spread.p95:.1f} s"


def _wrong(outcome: Outcome) -> Iterator[Text]:
    yield Text("")
    for verdict in outcome.verdicts:
        shown = verdict.against[:_MOST_BREACHES]
        for breach in shown:
            yield Text(f"{verdict.promise}: {one_line(breach)}", "red")
        if left := len(verdict.against) - len(shown):
            yield Text(f"{verdict.promise}: … and {left} more", "red")
    for problem in outcome.problems:
        yield Text(problem, "red")
    if outcome.good:
        yield Text("Every promise was held, and nothing is left.", "green")
