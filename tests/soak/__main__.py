"""``python -m tests.soak kills|load``: exit status 0 only if every promise was held."""

import argparse
import json
import sys
from pathlib import Path
from statistics import median

import attrs
import trio

from tests.bench.child import BrokenRunError
from tests.bench.running import leaves, run_folder, say, until_signal, unused
from tests.soak.kills import STATES, Kills, kill_often
from tests.soak.load import Loaded, under_load


def main(words: list[str] | None = None) -> int:
    """Run what the command line asks for.

    Returns:
        0: every promise was held. 1: one was not, or the run was broken.
    """
    options = _parser().parse_args(words)
    with run_folder(options.folder, "trellis-soak-") as folder:
        say(f"Logs and stores are in {folder.path}; seed {options.seed}")
        status = _soak(options, folder.path)
        folder.well = status == 0
    return status


def _soak(options: argparse.Namespace, folder: Path) -> int:
    found = None
    try:
        found = trio.run(_interruptible, options, unused(folder, options.what))
    except* BrokenRunError as group:
        for error in leaves(group):
            say(f"BROKEN: {error}")
    if found is None:
        return 1
    if options.json is not None:
        options.json.write_text(json.dumps(attrs.asdict(found), indent=1) + "\n")
    print(_told(found))
    for breach in found.breaches[:50]:
        print(f"NOT HELD: {breach}")
    if not found.breaches:
        print("Every promise was held; nothing is left.")
    return 1 if found.breaches else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of all that is drawn; default 1")
    parser.add_argument("--folder", type=Path, help="for logs and stores; a new one if left out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    commands = parser.add_subparsers(dest="what", required=True)
    kills = commands.add_parser("kills", help="kill -9 at random moments")
    kills.add_argument("--times", type=int, default=20)
    kills.add_argument("--fleet", type=int, default=1000, help="nodes in all states together")
    load = commands.add_parser("load", help="a steady load with faults; memory must stay flat")
    load.add_argument("--minutes", type=float, default=60.0, help="measured, after the warm-up")
    load.add_argument("--warm-up", type=float, default=10.0, help="minutes")
    load.add_argument("--rate", type=float, default=20.0, help="nodes a second")
    return parser


async def _interruptible(options: argparse.Namespace, folder: Path) -> Kills | Loaded | None:
    found: Kills | Loaded | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(until_signal, nursery.cancel_scope)
        if options.what == "kills":
            found = await kill_often(
                times=options.times, fleet=options.fleet, seed=options.seed, folder=folder
            )
        else:
            found = await under_load(
                minutes=options.minutes,
                warm_up=options.warm_up,
                rate=options.rate,
                seed=options.seed,
                folder=folder,
            )
        nursery.cancel_scope.cancel()
    return found


def _told(found: Kills | Loaded) -> str:
    if isinstance(found, Loaded):
        return found.told()
    met = {s: max((fleet.get(s, 0) for fleet in found.fleets), default=0) for s in STATES}
    states = ", ".join(f"{count} {state}" for state, count in met.items())
    largest = max((sum(fleet.values()) for fleet in found.fleets), default=0)
    return (
        f"{len(found.fleets)} kills, {found.requests} requests, {found.nodes} nodes handed out; "
        f"up to {largest} nodes at a kill (at most {states}); "
        f"serves again after {median(found.serves_again_s or [0.0]):.1f} s at the median\n"
        f"{found.grew_s:.0f} s until the fleet had grown, {found.lasted_s:.0f} s of kills, "
        f"{found.ended_s:.0f} s to the end"
    )


if __name__ == "__main__":
    sys.exit(main())
