"""What ``trellis simulate`` proves: what struck, where kills landed, and failures made short."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs
import click

from trellis.cli.shape import complain, note
from trellis.cli.tables import Column, print_table

if TYPE_CHECKING:
    from trellis.sim.coverage import Coverage
    from trellis.sim.scenario import Scenario
    from trellis.sim.shrink import Shrunk

    _Param = click.ParamType[Any]
else:
    _Param = click.ParamType

F = TypeVar("F", bound=Callable[..., Any])


class _ReplayType(_Param):
    name = "version:seed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from trellis.sim.version import Replay

        try:
            return Replay.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@attrs.frozen(kw_only=True)
class Proof:
    """What is asked beside the outcomes.

    Attributes:
        replay: a seed with the version that it was found by.
        shrink: make the seed's failure a short story.
        coverage: show which faults struck and where kills landed.
        all_struck: show it, and fail where something was never met with.
    """

    replay: Any = None
    shrink: bool = False
    coverage: bool = False
    all_struck: bool = False

    @classmethod
    def taken_from(cls, options: dict[str, Any]) -> "Proof":
        """Take its own out of the options of the command."""
        return cls(**{field.name: options.pop(field.name) for field in attrs.fields(cls)})

    def seed(self, seed: int | None) -> int | None:
        """The one seed to run, if there is one; says so if it may not replay.

        Raises:
            click.UsageError: there are two, or none where one is needed.
        """
        if self.replay is not None:
            if seed is not None:
                raise click.UsageError("--replay names the seed: leave out --seed")
            if self.replay.doubt:
                note(self.replay.doubt)
            seed = self.replay.seed
        if self.shrink and seed is None:
            raise click.UsageError("--shrink needs a failing seed: name it by --seed or --replay")
        found: int | None = seed
        return found


def proof_options(command: F) -> F:
    """Add the options of `Proof`."""
    options = [
        click.option(
            "--replay", type=_ReplayType(), help="Replay a seed; says if it may be another story."
        ),
        click.option(
            "--shrink", is_flag=True, help="Make the seed's failure a short story, in a YAML file."
        ),
        click.option(
            "--coverage", is_flag=True, help="Show which faults struck and where kills landed."
        ),
        click.option(
            "--all-struck", is_flag=True, help="Show it, and fail if something was never met with."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


# ------------------------------------------------------------------------------- coverage

_FAULTS: Final = (
    Column("FAULT", lambda row: row[0]),
    Column("STRUCK", lambda row: str(row[1])),
)
_POINTS: Final = (
    Column("KILL POINT", lambda row: row[0]),
    Column("SEEDS", lambda row: str(row[1])),
    Column("KILLS", lambda row: str(row[2])),
)


def show_coverage(coverage: "Coverage", proof: Proof, out: str) -> bool:
    """Print what was met with, as far as it is asked for; returns whether that is enough."""
    if not (proof.coverage or proof.all_struck):
        return True
    if out == "table":
        click.echo()
        print_table(coverage.faults(), _FAULTS)
        if coverage.scenario.kills:
            click.echo()
            print_table(coverage.points(), _POINTS)
    missed = coverage.missed() if proof.all_struck else []
    for what in missed:
        complain(f"{what} in {coverage.seeds} seeds")
    return not missed


# ------------------------------------------------------------------------------ shrinking


def shrink_seed(story: "Scenario", seed: int) -> None:
    """Make the failure of a seed a short story, write it into a file, and tell it.

    Ctrl-C ends the search with the shortest one found so far. Exits with 1, as the story breaks
    a promise, and with 0 if there was nothing to shrink.
    """
    from trellis.sim.shrink import NothingToShrinkError, shrink

    best: list[Shrunk] = []

    def told(shrunk: "Shrunk", tried: str) -> None:
        best[:] = [shrunk]
        _show_progress(shrunk, tried)

    found, nothing = None, ""
    try:
        found = shrink(story, seed, told=told)
    except* NothingToShrinkError as error:
        nothing = str(error.exceptions[0])
    except* KeyboardInterrupt:
        _clear_line()
        note("interrupted: this is the shortest story so far")
    _clear_line()
    if nothing:
        note(f"{nothing}: there is nothing to shrink")
        return
    found = found or (best[0] if best else None)
    if found is None:
        raise SystemExit(130)
    _tell(story, found, seed)
    raise SystemExit(1)


def _show_progress(shrunk: "Shrunk", tried: str) -> None:
    if sys.stderr.isatty():
        size = f"{len(shrunk.scenario.clouds)} clouds, {shrunk.outcome.lives} lives"
        click.echo(f"\r\x1b[Ktry {shrunk.tries}: {size}; {tried}", nl=False, err=True)


def _clear_line() -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)


def _tell(story: "Scenario", found: "Shrunk", seed: int) -> None:
    from trellis.sim.scenario_dump import dumped

    violation = found.outcome.violations[0]
    path = Path(f"{story.name}-{seed}.yaml")
    head = (
        f"Seed {seed} of {story.name}, shrunk; found by version {found.outcome.version}.\n"
        f"Replay it with: trellis simulate {path} --seed {seed}\n"
        f"{violation.promise}: {violation.story}"
    )
    path.write_text(dumped(found.scenario, comment=head), encoding="utf-8")
    left = found.scenario
    only = left.only
    requests = len(only.requests) if only is not None and only.requests is not None else None
    kills = len(only.kills) if only is not None and only.kills is not None else left.kills
    click.echo(
        f"{path}: {_count(len(left.clouds), 'cloud')}, "
        f"{'all requests' if requests is None else _count(requests, 'request')}, "
        f"{_count(kills, 'kill')}, {found.outcome.lives} lives, after {found.tries} tries"
        f"{'' if found.done else ' (not as short as can be)'}"
    )
    click.echo(f"{violation.promise}: {violation.story}")
    for line in found.outcome.timeline:
        click.echo(line)
    click.echo(f"replay it with: trellis simulate {path} --seed {seed}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
