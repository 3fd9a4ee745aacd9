"""The demo from its start to its end: its signals, its place, its processes."""

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import trio
from rich.console import Console

from trellis.demo.child import ChildEndedError, started
from trellis.demo.plan import Demo, DemoAbandonedError, DemoBrokenError, Ending
from trellis.demo.screen import LineScreen, Screen, live_screen
from trellis.demo.stage import Stage, since_start_s
from trellis.demo.workplace import Workplace, address, workplace
from trellis.errors import TrellisError
from trellis.plugin_host import blocked_names, installed_plugins

if TYPE_CHECKING:
    from trellis.demo.outcome import Outcome

SCENARIO: Final = Path(__file__).with_name("clouds.yaml")
"""The clouds, by their plugins."""
STOCK: Final = Path(__file__).with_name("stock.yaml")
"""Clouds in their place that need no plugins."""
PLUGINS: Final = ("ovh", "rackspace", "hpcloud")
"""The plugins of `SCENARIO`, by the names of their entry points."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def run(demo: Demo, *, terminal: Console | None, tell: Callable[[str], None]) -> "Outcome":
    """Play the demo and judge it.

    SIGINT or SIGTERM ends it in good order; before the daemon answers, and the second time, at
    once. Whatever happens, no process is left, and no folder but the one that was named; that of
    a demo that went wrong stays, for its logs.

    Args:
        demo: what is to be shown.
        terminal: drawn upon; None tells lines instead.
        tell: says a line; not called while something is drawn.

    Raises:
        ConfigError: the address or the folder cannot be used; says what to do.
        DemoBrokenError: the clouds' process or the daemon ended by itself, or does not answer.
        DemoAbandonedError: a signal ended it at once.
    """

    def tell_line(line: str) -> None:
        if terminal is None:
            tell(f"[{since_start_s():.0f}s] {line}")

    with trio.open_signal_receiver(*_SIGNALS) as signals:
        demo = attrs.evolve(demo, listen=address(demo.listen))
        stage = Stage(url=f"http://{demo.listen}", tell=tell_line)
        with workplace(demo.folder) as place, _explained(place):
            tell(f"dashboard: {stage.url}/")
            scenario, why = clouds_to_show()
            if why:
                tell(why)
            ending, outcome = Ending(), None
            with _screen(terminal, stage) as screen:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ending.listen, signals, nursery.cancel_scope)
                    outcome = await _play(demo, scenario, place, stage, screen, ending)
                    nursery.cancel_scope.cancel()
            if outcome is None:
                raise DemoAbandonedError("The demo was ended at once; nothing was judged.")
            if not outcome.good:
                place.keep = True
                outcome = attrs.evolve(outcome, problems=(*outcome.problems, _logs(place)))
            return outcome


def clouds_to_show() -> tuple[Path, str]:
    """The clouds of the demo, and why they are not those of the plugins; "" if they are."""
    blocked = blocked_names()
    there = {
        plugin.name
        for plugin in installed_plugins()
        if plugin.name not in blocked and plugin.origin not in blocked
    }
    missing = [name for name in PLUGINS if name not in there]
    if not missing:
        return SCENARIO, ""
    return STOCK, (
        f"three stock clouds stand for OVH, Rackspace and HP Cloud, as the plugins of these are "
        f"not all there: pip install {' '.join(f'trellis-{name}' for name in missing)}"
    )


async def _play(
    demo: Demo,
    scenario: Path,
    place: Workplace,
    stage: Stage,
    screen: Screen,
    ending: Ending,
) -> "Outcome":
    """Start the processes, and play what is to be shown with them."""
    clouds_command = ["cloud", str(scenario), "--folder", str(place.clouds)]
    environment = {"OS_CLIENT_CONFIG_FILE": str(place.clouds / "clouds.yaml")}
    async with (
        started(
            "the clouds' process",
            [*demo.command, *clouds_command, "--seed", str(demo.seed), "-o", "json"],
            folder=place.path,
            log=place.clouds_log,
            speaks=True,
        ) as clouds,
        started(
            "the daemon",
            [*demo.command, "serve", "-c", str(place.configuration)],
            folder=place.path,
            log=place.daemon_log,
            environment=environment,
        ) as daemon,
    ):
        await clouds.begin()
        # Half a second of imports, while the processes do theirs.
        from trellis.demo.acts import play

        served = await clouds.first_line()
        place.configure(Path(served["configuration"]), demo.listen)
        await daemon.begin()
        names = tuple(served["clouds"])
        return await play(demo, stage, screen, ending, place, daemon, served["control"], names)


def _screen(terminal: Console | None, stage: Stage) -> AbstractContextManager[Screen]:
    return nullcontext(LineScreen(stage)) if terminal is None else live_screen(terminal, stage)


@contextmanager
def _explained(place: Workplace) -> Iterator[None]:
    """Turn what nurseries have wrapped into the one error that explains it; keeps the logs."""
    try:
        yield
    except BaseExceptionGroup as group:
        place.keep = True
        errors = list(_leaves(group))
        if not all(isinstance(error, TrellisError) for error in errors):
            raise
        # When a process ends, calls to it break: its end is what there is to tell.
        ended = [error for error in errors if isinstance(error, ChildEndedError)]
        raise DemoBrokenError(f"{(ended or errors)[0]}\n{_logs(place)}") from None


def _logs(place: Workplace) -> str:
    return f"logs: {place.daemon_log} and {place.clouds_log}"


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
