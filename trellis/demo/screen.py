"""Where the demo is shown: live on a terminal, or a line now and then."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

import trio
from rich.console import Console
from rich.live import Live

from trellis.demo.stage import Stage
from trellis.live.text import STATE_STYLES, one_line
from trellis.live.view import render

_LINE_EVERY_S: Final = 4.0


class Screen(Protocol):
    """Somewhere to show how it stands."""

    def show(self, status: Any, notice: str) -> None:
        """Show an answer of ``GET /api/v1/status``, or None before the first."""
        ...


@contextmanager
def live_screen(console: Console, stage: Stage) -> Iterator[Screen]:
    """The whole terminal; as it was before when the block is left."""
    with Live(console=console, screen=True, auto_refresh=False) as live:
        screen = _LiveScreen(live, stage)
        screen.show(None, "")
        yield screen


class _LiveScreen:
    def __init__(self, live: Live, stage: Stage) -> None:
        self._live, self._stage = live, stage

    def show(self, status: Any, notice: str) -> None:
        width, height = self._live.console.size
        stage = self._stage
        drawn = render(
            status, width, height, title=f"{stage.url}/", notice=notice, footer=stage.footer
        )
        self._live.update(drawn, refresh=True)


class LineScreen:
    """A line every few seconds, for logs and simple terminals."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._told_at = -_LINE_EVERY_S

    def show(self, status: Any, notice: str) -> None:
        """Tell it, if the last line is some seconds old."""
        now = trio.current_time()
        if status is None or now - self._told_at < _LINE_EVERY_S:
            return
        self._told_at = now
        self._stage.tell(notice or line_of(status))


def line_of(status: Any) -> str:
    """A status in one line."""
    nodes, requests = status["nodes"], status["requests"]
    states = [
        f"{count} {state}"
        for state in STATE_STYLES
        if (count := nodes["by_state"].get(state))
    ]  # fmt: skip
    parts = [
        f"{nodes['total']} nodes" + (f" ({', '.join(states)})" if states else ""),
        f"{requests['waiting']} requests wait",
    ]
    if starting := sum(one["state"] == "starting" for one in status["providers"]):
        parts.append(f"{starting} providers are starting")
    parts += [
        one_line(f"{provider['name']} {provider['reason'] or provider['state']}")
        for provider in status["providers"]
        if provider["state"] not in ("available", "starting")
    ]
    return ", ".join(parts)
