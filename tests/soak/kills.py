"""``kill -9`` again and again, at moments drawn from a seed, with a fleet in every state."""

import time
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, Final

import attrs
import trio

from tests.bench.connection import AnswerError, Connection
from tests.bench.stand import Stand, stand
from tests.soak.clouds import RoughSetup
from tests.soak.crowd import Crowd
from tests.soak.ending import breaches
from tests.soak.trouble import calm, outages
from trellis.http.local import LocalClient

STATES: Final = ("building", "ready", "in-use", "used", "hold", "deleting")
"""Those that must have been there, at one kill or another; used lasts for a moment only."""
_LIVES_S: Final = (0.2, 9.0)
"""Between two kills: some come while the daemon still starts."""
_DEAD_S: Final = (0.0, 1.5)
_GROWS_WITHIN_S: Final = 240.0
_GROWS_TIMES: Final = 2.5
"""So much more is asked for until the fleet has grown: else its last nodes take minutes."""
_LOOK_S: Final = 1.0


@attrs.define
class Kills:
    """What the kills met.

    Attributes:
        fleets: nodes by state, as last told before each kill.
        breaches: promises that were not held; empty is success.
        serves_again_s: from the start of each new process that was let serve until it did.
        grew_s: how long the fleet grew.
        lasted_s: how long it was killed.
        ended_s: how long all took to end.
    """

    fleets: list[dict[str, int]] = attrs.field(factory=list)
    breaches: list[str] = attrs.field(factory=list)
    serves_again_s: list[float] = attrs.field(factory=list)
    grew_s: float = 0.0
    lasted_s: float = 0.0
    ended_s: float = 0.0
    requests: int = 0
    nodes: int = 0


async def kill_often(*, times: int, fleet: int, seed: int, folder: Path) -> Kills:
    """Let a fleet grow, kill the daemon so many times, and hold what came of it to the promises.

    Raises:
        BrokenRunError: a process did not start, or ended by itself (in an exception group).
    """
    chance = Random(f"kills:{seed}")
    found = Kills()
    marks = [time.monotonic()]
    setup = RoughSetup(fleet=fleet, idle=fleet // 10)
    async with stand(setup, folder) as running:
        # With boots of 8 s, deletions of 5 s and uses of 33 s: 18 % building, 10 % deleting.
        crowd = Crowd(url=running.url, chance=chance, rate=fleet / 50, use_s=35.0, most=2 * fleet)
        crowd.rate *= _GROWS_TIMES
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crowd.run)
            await _grown(running, round(fleet * 0.95))
            crowd.rate /= _GROWS_TIMES
            marks.append(time.monotonic())
            async with trio.open_nursery() as trouble:
                trouble.start_soon(outages, running, Random(chance.getrandbits(64)))
                for _ in range(times):
                    found.fleets.append(await _lived(running, chance.uniform(*_LIVES_S)))
                    await running.daemon.kill()
                    await trio.sleep(chance.uniform(*_DEAD_S))
                    began = time.monotonic()
                    waited = chance.random() < 0.7
                    await running.start_daemon(wait=waited)
                    if waited:
                        found.serves_again_s.append(time.monotonic() - began)
                trouble.cancel_scope.cancel()
            marks.append(time.monotonic())
            await running.until_ready()
            await calm(running)
            crowd.end()
        async with LocalClient(f"{running.url}/api/v1") as face:
            found.breaches = await breaches(running, crowd, face)
        marks.append(time.monotonic())
    found.grew_s, found.lasted_s, found.ended_s = [b - a for a, b in pairwise(marks)]
    found.requests = len(crowd.transcripts)
    found.nodes = sum(len(transcript.nodes) for transcript in crowd.transcripts)
    found.breaches += _too_little(found, fleet)
    return found


def _too_little(found: Kills, fleet: int) -> list[str]:
    """A run in which the kills met no fleet worth the name shows nothing."""
    told = [states for states in found.fleets if states]
    if not told:
        return ["the daemon told of its nodes before none of the kills"]
    largest = max(sum(states.values()) for states in told)
    wrong = [] if largest >= fleet * 0.9 else [f"there never were more than {largest} nodes"]
    never = [s for s in STATES if s != "used" and not any(states.get(s) for states in told)]
    return wrong + [f"no kill met a node in state {state}" for state in never]


async def _grown(running: Stand, size: int) -> None:
    with trio.fail_after(_GROWS_WITHIN_S):
        async with Connection(running.url) as face:
            while sum((await _states(face)).values()) < size:  # noqa: ASYNC110
                await trio.sleep(_LOOK_S)


async def _lived(running: Stand, seconds: float) -> dict[str, int]:
    """Let the daemon live so long; its nodes by state as it then says, if it can."""
    states: dict[str, int] = {}
    with trio.move_on_after(seconds):
        async with Connection(running.url) as face:
            while True:
                try:
                    states = await _states(face)
                except (OSError, AnswerError, trio.BrokenResourceError):
                    states = {}
                await trio.sleep(_LOOK_S)
    return states


async def _states(face: Connection) -> dict[str, int]:
    status: Any = await face.get("/api/v1/status")
    return {state: count for state, count in status["nodes"]["by_state"].items() if count}
