"""``trellis simulate``: the whole daemon against simulated clouds on virtual time."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from trellis.cli.proof import Proof, proof_options, show_coverage, shrink_seed
from trellis.cli.shape import Command, complain, note
from trellis.cli.simulate_tables import show_report
from trellis.cli.tables import show_data
from trellis.cli.talk import output_option
from trellis.cli.what_if import (
    WhatIf,
    draw,
    scenario_of,
    tell,
    told_of,
    variants_of,
    what_if_options,
)

if TYPE_CHECKING:
    from trellis.sim.scenario import Scenario
    from trellis.sim.simulate import Outcome

_SEEDS: Final = 10
_MOST_STORIES: Final = 20
_MOST_REPORTED: Final = 200
"""So many seeds have reports; thousands of them would fill the memory."""


@click.command(
    cls=Command,
    examples=[
        "trellis simulate --seeds 100",
        "trellis simulate rough --seed 7",
        "trellis simulate rough --seed 7 --shrink",
        "trellis simulate rough --seeds 200 --all-struck",
        "trellis simulate my-clouds.yaml --seeds 20 --first-seed 1000 -o json",
        "trellis simulate calm --seed 1 --plots pictures",
        "trellis simulate -c trellis.yaml --per-hour 500 --use 20m",
        "trellis simulate -c trellis.yaml --lose mycloud@30m",
        "trellis simulate -c trellis.yaml --add-cloud new=mycloud:50 --demand 1.5",
        "trellis simulate my-clouds.yaml -c trellis.yaml --lose each@1h",
    ],
)
@click.argument("scenario", required=False)
@click.option("--seeds", type=click.IntRange(1), help=f"How many seeds.  [default: {_SEEDS}]")
@click.option("--first-seed", type=click.IntRange(0), help="The first of them.  [default: 1]")
@click.option("--seed", type=click.IntRange(0), help="Replay this one seed.")
@click.option("--workers", type=click.IntRange(1), help="Processes at once.  [default: one a core]")
@proof_options
@what_if_options
@click.option(
    "--plots",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write plots into this folder, each as SVG and PNG.",
)
@output_option
def simulate(
    scenario: str | None,
    seeds: int | None,
    first_seed: int | None,
    seed: int | None,
    workers: int | None,
    plots: Path | None,
    output: str,
    **options: Any,
) -> None:
    """Run the whole daemon against simulated clouds on virtual time.

    SCENARIO is `rough` (every fault there is, and kills), `calm` (the same clouds without),
    `images` (builds and uploads with all that goes wrong with them, bad builds, kills), or
    a YAML file of your own. Every seed is another story, and the same seed is the same story,
    to the last bit of its trace. Exit code 1 if a promise was broken in one of them.

    With a configuration of your own, or with a change (`--lose`, `--add-cloud`, `--demand`,
    `--quota`), it answers what-if: the same seed runs without and with the change, and both are
    compared. SCENARIO may then hold what is known of clouds, demand and prices.
    """
    proof = Proof.taken_from(options)
    seed = proof.seed(seed)
    if seed is not None and (seeds, first_seed, workers) != (None, None, None):
        raise click.UsageError("--seed runs that one seed: leave out the other options of seeds")
    from trellis.sim.coverage import Coverage
    from trellis.sim.hunt import hunt

    what_if = WhatIf(**options)
    if plots is not None:
        _check_plots()
    story = scenario_of(what_if, scenario, _scenario)
    if what_if:
        if proof.shrink or proof.coverage or proof.all_struck:
            raise click.UsageError("a what-if is no proof: leave out --shrink, --coverage and "
                                   "--all-struck")  # fmt: skip
        number = seed if seed is not None else 1 if first_seed is None else first_seed

        def run(variant: "Scenario") -> "list[Outcome]":
            found = hunt(variant, first_seed=number, seeds=seeds or 1, workers=workers)
            return sorted(_with_progress(found, seeds or 1), key=lambda x: x.seed)

        tell(told_of(variants_of(what_if, story), run), output=output, plots=plots)
        return
    scenario = scenario or "rough"
    if proof.shrink and seed is not None:
        shrink_seed(story, seed)
        return
    count = 1 if seed is not None else seeds or _SEEDS
    first = seed if seed is not None else 1 if first_seed is None else first_seed
    coverage = Coverage(story)
    outcomes: list[Outcome] = []
    try:
        found = hunt(story, first_seed=first, seeds=count, workers=workers)
        for outcome in _with_progress(found, count):
            coverage.add(outcome)
            report = outcome.report if len(outcomes) < _MOST_REPORTED else None
            outcomes.append(attrs.evolve(outcome, report=report, passed=type(outcome.passed)()))
            if output == "table":
                _show_line(outcome)
            _complain_of(outcome, scenario)
    except* KeyboardInterrupt:
        note(f"interrupted after {len(outcomes)} of {count} seeds")
        interrupted = True
    else:
        interrupted = False
    outcomes.sort(key=lambda x: x.seed)
    if output != "table":
        shown = [_as_data(x, series=seed is not None) for x in outcomes]
        show_data(output, shown[0] if seed is not None and shown else shown)
    elif outcomes:
        _show_figures(outcomes)
        _show_reports(outcomes)
    if plots is not None and outcomes:
        from trellis.sim.report import merged

        reports = [x.report for x in outcomes if x.report is not None]
        draw({story.name: merged(reports)}, plots)
    enough = show_coverage(coverage, proof, output)
    if not enough or any(x.violations for x in outcomes):
        raise SystemExit(1)
    if interrupted:
        raise SystemExit(130)


def _scenario(name: str) -> "Scenario":
    from trellis.sim.scenario import SCENARIOS

    if name in SCENARIOS:
        return SCENARIOS[name]()
    path = Path(name)
    if path.suffix not in (".yaml", ".yml") and not path.exists():
        raise click.BadParameter(
            f"there is no scenario {name!r}; there are {', '.join(SCENARIOS)}, or name a YAML file",
            param_hint="SCENARIO",
        )
    from trellis.sim.scenario_file import load_scenario

    return load_scenario(path)


def _with_progress(outcomes: "Iterator[Outcome]", count: int) -> "Iterator[Outcome]":
    """Say on a terminal's stderr how far it is."""
    shows = sys.stderr.isatty() and count > 1
    for number, outcome in enumerate(outcomes, 1):
        if shows:
            click.echo("\r\x1b[K", nl=False, err=True)
        yield outcome
        if shows:
            click.echo(f"{number} of {count} seeds", nl=False, err=True)
    if shows:
        click.echo("\r\x1b[K", nl=False, err=True)


def _show_line(outcome: "Outcome") -> None:
    broken = len(outcome.violations)
    kills = _kills([outcome])
    verdict = f"{broken} violation{'s'[: broken != 1]}"
    click.echo(
        f"seed {outcome.seed:<6} trace {outcome.trace}  {outcome.lives:>5} lives  "
        f"{kills:>8}  {verdict}"
    )


def _kills(outcomes: "list[Outcome]") -> str:
    number = sum(int(x.figures["kills"]) for x in outcomes)
    return f"{number} kill{'s'[: number != 1]}"


def _complain_of(outcome: "Outcome", scenario: str) -> None:
    for violation in outcome.violations[:_MOST_STORIES]:
        complain(f"seed {outcome.seed}: {violation.promise}: {violation.story}")
    left = len(outcome.violations) - _MOST_STORIES
    if left > 0:
        complain(f"seed {outcome.seed}: … and {left} more")
    if outcome.violations:
        click.echo(
            f"  → replay it with: trellis simulate {scenario} --seed {outcome.seed} "
            f"(version {outcome.version}), make it short with --shrink",
            err=True,
        )


def _show_figures(outcomes: "list[Outcome]") -> None:
    lives = sum(x.lives for x in outcomes)
    calls = sum(x.lives * x.figures["calls_per_life"] for x in outcomes)
    refused = sum(x.figures["quota_refusals"] for x in outcomes)
    real_s = sum(x.figures["real_s"] for x in outcomes)
    broken = sum(bool(x.violations) for x in outcomes)
    click.echo(
        f"{len(outcomes)} seeds, {broken} with violations; {lives} lives, "
        f"{_kills(outcomes)}, {refused:g} creates refused "
        f"for quota, {calls / max(1, lives):.1f} calls a life; "
        f"waits of a seed at most {max(x.figures['wait_p50_s'] for x in outcomes):.1f} s median, "
        f"{max(x.figures['wait_p95_s'] for x in outcomes):.1f} s p95"
    )
    note(f"{lives / max(0.01, real_s):.0f} lives a second and process, {real_s:.1f} s of processes")


def _show_reports(outcomes: "list[Outcome]") -> None:
    from trellis.sim.report import merged

    if reports := [x.report for x in outcomes if x.report is not None]:
        show_report(merged(reports))
        if len(reports) < len(outcomes):
            note(f"waits, clouds and calls are those of {len(reports)} of the seeds")


def _check_plots() -> None:
    """Refuse to begin what cannot be drawn in the end."""
    from trellis.sim.plots import check

    check()


def _as_data(outcome: "Outcome", *, series: bool) -> dict[str, Any]:
    from trellis.sim.report_data import SCHEMA_VERSION, as_data

    report = outcome.report
    return {
        "schema_version": SCHEMA_VERSION,
        "scenario": outcome.scenario,
        "seed": outcome.seed,
        "version": outcome.version,
        "trace": outcome.trace,
        "lives": outcome.lives,
        "violations": [{"promise": x.promise, "story": x.story} for x in outcome.violations],
        "figures": outcome.figures,
        "struck": dict(sorted(outcome.struck.items())),
        "kill_points": dict(sorted(outcome.kill_points.items())),
        "report": None if report is None else as_data(report, series=series),
    }
