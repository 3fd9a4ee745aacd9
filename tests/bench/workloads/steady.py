"""So many launches kept in flight: overhead, calls, CPU, and lives in a second."""

import json
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from tests.bench.arithmetic import Life, ServerTimes, server_times
from tests.bench.outcome import Outcome, costs, refusals, waits
from tests.bench.requestors import Requestors, gone_times
from tests.bench.setup import ALPHA, CloudSetup, Setup
from tests.bench.stand import Snapshot, Stand, stand
from tests.bench.zuul_requestors import ZuulRequestors

_EMPTY_S: Final = 120.0
_LOOK_S: Final = 0.25


@attrs.frozen(kw_only=True)
class Steady:
    """Requestors who each ask for a node, release it at once and ask again.

    Attributes:
        cloud: where the nodes come from.
        in_flight: launches at a time on each stand.
        ramp_s: over which they begin; about one life, so that they do not stay in step.
        seconds: how long is measured, after the ramp.
        hold_s: how long each node is used.
        copies: stands at the same time, for what is rare on one.
    """

    cloud: CloudSetup = ALPHA
    in_flight: int
    ramp_s: float
    seconds: float
    hold_s: float = 0.0
    copies: int = 1

    async def run(self, folder: Path) -> Outcome:
        """Run it; figures of several stands are of all their lives together."""
        runs: list[_Run] = []

        async def one(place: int) -> None:
            runs.append(await self._on_one(folder / f"stand-{place}"))

        async with trio.open_nursery() as nursery:
            for place in range(self.copies):
                nursery.start_soon(one, place)
        return together(runs)

    async def _on_one(self, folder: Path) -> "_Run":
        async with stand(Setup(clouds=(self.cloud,)), folder) as running:
            requestors = Requestors(url=running.url, hold_s=self.hold_s)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: requestors.keep(self.in_flight, ramp_s=self.ramp_s))
                await trio.sleep(self.ramp_s)
                before = await running.snapshot()
                await trio.sleep(self.seconds)
                after = await running.snapshot()
                requestors.stop()
            return await finished(running, requestors, before, after)


@attrs.frozen(kw_only=True)
class Burst:
    """So many requests filed at once, each released as soon as it is served."""

    cloud: CloudSetup = ALPHA
    number: int

    async def run(self, folder: Path) -> Outcome:
        """Run it; costs are over the whole of it, from filed to the last gone."""
        async with stand(Setup(clouds=(self.cloud,)), folder) as running:
            requestors = Requestors(url=running.url)
            before = await running.snapshot()
            await requestors.at_once(self.number)
            await emptied(running)
            after = await running.snapshot()
            outcome = together([await finished(running, requestors, before, after)])
        if "created" in outcome.figures:
            outcome.figures["surplus"] = outcome.figures["created"] - self.number
        return outcome


@attrs.define
class _Run:
    before: Snapshot
    after: Snapshot
    servers: dict[str, ServerTimes]
    recorded: dict[str, float]
    requestors: Requestors | ZuulRequestors
    facts: list[dict[str, Any]]
    left: int
    daemon_mib: float


async def emptied(running: Stand, *clouds: str) -> int:
    """Wait until no server is left in these clouds, or any; returns how many are even then."""
    until = trio.current_time() + _EMPTY_S
    while True:
        left = await running.servers(*clouds)
        if not left or trio.current_time() > until:
            return left
        await trio.sleep(_LOOK_S)


async def finished(
    running: Stand,
    requestors: Requestors | ZuulRequestors,
    before: Snapshot,
    after: Snapshot,
) -> _Run:
    """Wait until nothing is left, and gather what is known."""
    left = await emptied(running)
    recorded: dict[str, float] = {}
    if not left:
        recorded = await gone_times(running.url, [life.node_id for life in requestors.lives])
    facts = await running.facts()
    servers = server_times(facts, running.offset_s)
    _write_lives(running.folder / "lives.json", requestors, servers, recorded)
    return _Run(before, after, servers, recorded, requestors, facts, left, running.daemon_mib())


def _write_lives(
    file: Path,
    requestors: Requestors | ZuulRequestors,
    servers: dict[str, ServerTimes],
    recorded: dict[str, float],
) -> None:
    """Every life with all its times, for who wants to know where one has gone."""
    rows = [
        attrs.asdict(life)
        | attrs.asdict(servers[life.server_id])
        | {"recorded": recorded.get(life.node_id)}
        for life in requestors.lives
    ]
    file.write_text("\n".join(json.dumps(row) for row in rows) + "\n")


def together(runs: list[_Run]) -> Outcome:
    """One outcome of the runs, with all their lives."""
    faults = [fault for run in runs for fault in run.requestors.faults()]
    faults += [f"{run.left} servers were left in the cloud" for run in runs if run.left]
    if any(run.left for run in runs):
        return Outcome(faults=faults)
    servers: dict[str, ServerTimes] = {}
    recorded: dict[str, float] = {}
    lives: list[Life] = []
    facts: list[dict[str, Any]] = []
    for place, run in enumerate(runs):
        # Clouds of one seed give the same ids.
        servers |= {f"{place}/{id}": server for id, server in run.servers.items()}
        recorded |= {f"{place}/{id}": at for id, at in run.recorded.items()}
        facts += run.facts
        lives += [
            attrs.evolve(
                life, node_id=f"{place}/{life.node_id}", server_id=f"{place}/{life.server_id}"
            )
            for life in run.requestors.lives
            if run.before.at <= life.filed < run.after.at
        ]
    parts = [costs(run.before, run.after, run.servers) for run in runs]
    figures = {name: sum(part[0][name] for part in parts) / len(parts) for name in parts[0][0]}
    kinds = dict.fromkeys(kind for _, calls in parts for kind in calls)
    outcome = Outcome(
        faults=faults,
        refused=sum(len(run.requestors.refused) for run in runs),
        figures=figures | waits(lives, servers, recorded) | refusals(facts),
        calls={k: sum(calls.get(k, 0.0) for _, calls in parts) / len(parts) for k in kinds},
        statuses=_sum([run.after.statuses for run in runs]),
    )
    outcome.figures["daemon_mib"] = max(run.daemon_mib for run in runs)
    return outcome


def _sum(counts: list[dict[str, int]]) -> dict[str, int]:
    return {
        k: sum(c.get(k, 0) for c in counts) for k in dict.fromkeys(k for c in counts for k in c)
    }
