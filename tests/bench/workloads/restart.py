"""``kill -9`` with nodes in every state: how long until launches go on, and is anything lost."""

import math
import time
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from tests.bench.arithmetic import server_times
from tests.bench.connection import Connection
from tests.bench.outcome import Outcome
from tests.bench.requestors import Requestors
from tests.bench.setup import ALPHA, CloudSetup, Setup, fixed
from tests.bench.stand import Stand, stand
from tests.bench.workloads.steady import emptied

_TASKS: Final = 50
_PATIENCE_S: Final = 60.0
_LOOK_S: Final = 0.2


@attrs.frozen(kw_only=True)
class Restart:
    """So many nodes in each state when the daemon is killed; a new one is started at once.

    Attributes:
        cloud: where launches are in flight.
        leased, held, idle, building, deleting: how many nodes in each state.
        ramp_s: over which the launches in flight begin.
        delete_s: how long those being deleted stay so.
        after_s: how long requests go on after the restart.
    """

    leased: int = 580
    held: int = 20
    idle: int = 100
    building: int = 200
    deleting: int = 100
    ramp_s: float = 22.0
    delete_s: float = 60.0
    after_s: float = 25.0
    cloud: CloudSetup = ALPHA

    async def run(self, folder: Path) -> Outcome:
        """Run it: times from the start of the new process."""
        setup = Setup(
            clouds=(
                self.cloud,
                CloudSetup(name="still", boot=fixed(0.2), delete=fixed(0.2), labels=("still",)),
                CloudSetup(name="warm", boot=fixed(0.2), delete=fixed(0.2), labels=("warm",)),
                CloudSetup(
                    name="slow", boot=fixed(0.2), delete=fixed(self.delete_s), labels=("slow",)
                ),
            ),
            min_ready={"warm": self.idle},
        )
        async with stand(setup, folder) as running, Connection(running.url) as face:
            still = Requestors(url=running.url, label="still", patience_s=_PATIENCE_S)
            slow = Requestors(url=running.url, label="slow", patience_s=_PATIENCE_S)
            flying = Requestors(url=running.url, patience_s=_PATIENCE_S)
            await still.in_turn(self.leased + self.held, tasks=_TASKS)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: flying.keep(self.building, ramp_s=self.ramp_s))
                await trio.sleep(self.ramp_s)
                on_hold = [life.node_id for life in still.held[: self.held]]
                for node_id in on_hold:
                    await face.post(f"/api/v1/nodes/{node_id}/hold", {"by": "bench"})
                await slow.at_once(self.deleting)
                states = await _states(face)
                outcome = await self._killed(running)
                await trio.sleep(self.after_s)
                flying.stop()
            outcome.figures |= {f"{state}_before": float(n) for state, n in states.items()}
            outcome.faults += await _lost(face, [life.node_id for life in still.held], on_hold)
            outcome.faults += await self._given_back(running, face, still, on_hold)
            outcome.faults += still.faults() + slow.faults() + flying.faults()
            outcome.figures["served_after"] = float(
                sum(life.ready > outcome.figures["started_at"] for life in flying.lives)
            )
        return outcome

    async def _killed(self, running: Stand) -> Outcome:
        await running.daemon.kill()
        started = time.monotonic()
        await running.start_daemon(wait=False)
        await running.until_ready()
        ready = time.monotonic()
        first = math.inf
        while math.isinf(first):
            servers = server_times(await running.facts(), running.offset_s).values()
            first = min((s.created for s in servers if s.created > started), default=math.inf)
            if time.monotonic() - started > _PATIENCE_S:
                return Outcome(faults=[f"no launch within {_PATIENCE_S:g} s of the restart"])
            await trio.sleep(_LOOK_S)
        return Outcome(
            figures={
                "started_at": started,
                "serves_again_s": ready - started,
                "launches_again_s": first - started,
            }
        )

    async def _given_back(
        self, running: Stand, face: Connection, still: Requestors, on_hold: list[str]
    ) -> list[str]:
        """Release all leases, delete what is on hold; what is left of it is a leak."""
        for life in still.held:
            request = await face.get(f"/api/v1/requests/{life.request_id}")
            if request["lease"] is not None:
                await face.delete(f"/api/v1/leases/{request['lease']['id']}")
        for node_id in on_hold:
            await face.delete(f"/api/v1/nodes/{node_id}")
        left = await emptied(running, "alpha", "still", "slow")
        faults = [f"{left} servers were left in the cloud"] if left else []
        idle = await running.servers("warm")
        if idle != self.idle:
            faults.append(f"{idle} idle servers instead of {self.idle}")
        return faults


async def _states(face: Connection) -> dict[str, int]:
    counts: dict[str, int] = {}
    for node in await _nodes(face):
        counts[node["state"]] = counts.get(node["state"], 0) + 1
    return counts


async def _lost(face: Connection, leased: list[str], on_hold: list[str]) -> list[str]:
    """Leased nodes that the daemon does not show as leased, or on hold, any more."""
    states = {node["id"]: node["state"] for node in await _nodes(face)}
    expected = dict.fromkeys(leased, "in-use") | dict.fromkeys(on_hold, "hold")
    return [
        f"node {node_id} was leased and is {states.get(node_id)}"
        for node_id, state in expected.items()
        if states.get(node_id) != state
    ]


async def _nodes(face: Connection) -> list[Any]:
    found: list[Any] = []
    after = ""
    while True:
        page = await face.get(f"/api/v1/nodes?limit=1000{after}")
        found += page["items"]
        if page["next"] is None:
            return found
        after = f"&after={page['next']}"
