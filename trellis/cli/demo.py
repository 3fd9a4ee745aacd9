"""``trellis demo``: the main job on simulated clouds, live, and judged at the end."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trellis.cli.shape import Command, note

if TYPE_CHECKING:
    from rich.console import Console


@click.command(
    cls=Command,
    examples=[
        "trellis demo",
        "trellis demo --for 60 --headless",
        "trellis demo --listen 127.0.0.1:9000 --folder my-demo",
        "trellis demo --calm --rate 2",
    ],
)
@click.option(
    "--listen",
    default="127.0.0.1:8480",
    show_default=True,
    help="Loopback address and port of the dashboard and the API; port 0 takes any free one.",
)
@click.option(
    "--for",
    "for_s",
    type=click.FloatRange(0.0),
    metavar="SECONDS",
    help="End by itself after so long; else Ctrl-C does.",
)
@click.option("--headless", is_flag=True, help="Lines instead of a live view.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep configuration, store and logs there; else they go at the end if all went well.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Who asks for what, and what goes wrong, follow from it.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0.01, 50.0),
    default=1.2,
    show_default=True,
    metavar="NUMBER",
    help="Requests filed in a second, on average.",
)
@click.option("--calm", is_flag=True, help="Nothing goes wrong on purpose.")
def demo(
    listen: str,
    for_s: float | None,
    headless: bool,
    folder: Path | None,
    seed: int,
    rate: float,
    calm: bool,
) -> None:
    """Show Trellis at work: the real daemon on three simulated clouds, with demand.

    The clouds are twins of OVH, Rackspace and HP Cloud, served by their plugins; stock clouds
    stand for them where these are not installed.

    The first Ctrl-C ends it in good order: all nodes are given back and deleted, and what is then
    true in the clouds is held against the promises. A second one ends it at once. Exit code 0
    only if every promise was held and nothing is left.
    """
    try:
        _play(listen, for_s, headless, folder, seed, rate, calm)
    except KeyboardInterrupt:
        # It came before the demo had begun to look after signals: there is nothing to end.
        note("interrupted")
        raise SystemExit(130) from None


def _play(
    listen: str,
    for_s: float | None,
    headless: bool,
    folder: Path | None,
    seed: int,
    rate: float,
    calm: bool,
) -> None:
    import trio

    from trellis.cli.tables import data_console
    from trellis.config.addresses import ListenAddress
    from trellis.demo.plan import Demo, DemoAbandonedError
    from trellis.demo.run import run

    try:
        address = ListenAddress.from_text(listen)
    except ValueError as wrong:
        raise click.BadParameter(str(wrong), param_hint="--listen") from None
    plan = Demo(
        listen=address,
        for_s=for_s,
        folder=folder,
        seed=seed,
        rate=rate,
        calm=calm,
        command=(sys.executable, "-m", "trellis.cli.tied"),
    )
    try:
        outcome = trio.run(partial(run, plan, terminal=_terminal(headless), tell=note))
    except DemoAbandonedError as abandoned:
        note(str(abandoned))
        raise SystemExit(130) from None
    from trellis.demo.summary import summary

    data_console().print(summary(outcome))
    if not outcome.good:
        raise SystemExit(1)


def _terminal(headless: bool) -> "Console | None":
    """The terminal to draw upon, if there is one that can be drawn upon."""
    if headless or not sys.stdout.isatty() or os.environ.get("TERM", "dumb") in ("dumb", ""):
        return None
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)
