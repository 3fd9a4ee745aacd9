"""``python -m tests.bench``: run workloads, print the table, write the figures."""

import argparse
import json
import sys
from pathlib import Path
from typing import Final

import trio
from rich.console import Console
from rich.table import Table

from tests.bench.arithmetic import median
from tests.bench.catalogue import SHORT, WHOLE, Workload
from tests.bench.child import BrokenRunError
from tests.bench.goals import Measured, measured, shown
from tests.bench.machine import machine_facts
from tests.bench.outcome import Outcome
from tests.bench.running import leaves, run_folder, say, until_signal, unused

_WIDTH: Final = 110
_BUSY_CORES: Final = 0.15


def main(words: list[str] | None = None) -> int:
    """Run what the command line asks for; the exit status.

    0: it was measured, whether or not goals are reached. 1: a run was broken, so that its figures
    mean nothing. 2: the command line makes no sense.
    """
    options = _parser().parse_args(words)
    known = SHORT if options.short else WHOLE
    names = options.workloads or list(known)
    if unknown := [name for name in names if name not in known]:
        short = " a short form of" if options.short and unknown[0] in WHOLE else ""
        say(f"There is no{short} {unknown[0]!r}; there is {', '.join(known)}.")
        return 2
    with run_folder(options.folder, "trellis-bench-") as folder:
        say(f"Logs and stores are in {folder.path}")
        status = _measure(options, {name: known[name] for name in names}, folder.path)
        folder.well = status == 0
    return status


def _measure(options: argparse.Namespace, chosen: dict[str, Workload], folder: Path) -> int:
    facts = machine_facts()
    if facts["load_before"][0] > facts["cores"] / 4:
        load = facts["load_before"][0]
        say(f"The machine is busy already (load {load:.1f}): times may be too long.")
    outcomes = trio.run(_interruptible, chosen, folder, options.repeat)
    judged = not options.short
    figures = {name: _medians(runs) for name, runs in outcomes.items()}
    rows = measured(figures, judged=judged)
    _print_table(rows, judged=judged)
    _print_calls(outcomes)
    for name, of in figures.items():
        if of.get("others_cores", 0.0) > _BUSY_CORES:
            busy = of["others_cores"]
            say(f"{name}: other processes kept {busy:.1f} cores busy; its times may be too long.")
    if options.json is not None:
        document = {
            "machine": facts,
            "short": options.short,
            "rows": [row.as_json() for row in rows],
            "figures": figures,
            "runs": {name: [run.as_json() for run in runs] for name, runs in outcomes.items()},
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    broken = [(name, fault) for name, runs in outcomes.items() for r in runs for fault in r.faults]
    for name, fault in broken[:20]:
        say(f"BROKEN: {name}: {fault}")
    if broken:
        say(f"Its figures mean nothing; the logs are below {folder}")
    missing = len(outcomes) < len(chosen)
    return 1 if broken or missing else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Measure the daemon against simulated clouds, each a process of its own.",
        epilog=f"Workloads: {', '.join(WHOLE)}.",
    )
    parser.add_argument("workloads", nargs="*", help="which to run; all if left out")
    parser.add_argument("--short", action="store_true", help="small ones, to see that it works")
    parser.add_argument(
        "--repeat", type=_count, default=1, help="runs of each; figures are medians"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--folder", type=Path, help="for logs and stores; a new one if left out")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


async def _interruptible(
    chosen: dict[str, Workload], folder: Path, repeat: int
) -> dict[str, list[Outcome]]:
    """Run them one after the other; a signal ends the one that runs, and all its processes."""
    outcomes: dict[str, list[Outcome]] = {}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(until_signal, nursery.cancel_scope)
        for name, workload in chosen.items():
            runs: list[Outcome] = []
            for number in range(repeat):
                say(f"{name} …" if repeat == 1 else f"{name} … ({number + 1} of {repeat})")
                runs.append(await _one(workload, unused(folder, name)))
            outcomes[name] = runs
        nursery.cancel_scope.cancel()
    return outcomes


async def _one(workload: Workload, folder: Path) -> Outcome:
    broken: list[str] = []
    try:
        return await workload.run(folder)
    except* BrokenRunError as group:
        broken = list(dict.fromkeys(str(error) for error in leaves(group)))
    return Outcome(faults=broken)


def _medians(runs: list[Outcome]) -> dict[str, float]:
    whole = [run.figures for run in runs if not run.faults]
    names = dict.fromkeys(name for figures in whole for name in figures)
    return {name: median([f[name] for f in whole if name in f]) for name in names}


def _print_table(rows: list[Measured], *, judged: bool) -> None:
    table = Table(title=None if judged else "a short run: goals do not apply")
    for heading in ("what", "measured", "goal", "short by"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for row in rows:
        missed = shown(row.short_by, row.row.unit) if row.met is False else ""
        table.add_row(row.row.what, shown(row.value, row.row.unit), row.goal, missed)
    Console(width=None if sys.stdout.isatty() else _WIDTH).print(table)


def _print_calls(outcomes: dict[str, list[Outcome]]) -> None:
    for name, runs in outcomes.items():
        kinds = dict.fromkeys(kind for run in runs for kind in run.calls)
        made = {kind: median([run.calls.get(kind, 0.0) for run in runs]) for kind in kinds}
        said = ", ".join(f"{number:.2f} {kind}" for kind, number in made.items() if number >= 0.005)
        if said:
            print(f"{name}, calls per node life: {said}")


if __name__ == "__main__":
    sys.exit(main())
