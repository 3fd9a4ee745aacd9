"""The end of a soak: all is given back, and the clouds are looked at for what is left."""

from collections.abc import Collection
from typing import Any, Final

import trio

from tests.bench.stand import Stand
from tests.soak.crowd import Crowd
from trellis.demo.ending import drain, left_over, recorded_nodes
from trellis.demo.judge import TAG_NODE, Truths, judge
from trellis.demo.truth import look
from trellis.http.local import LocalClient
from trellis.sim.cloud.ledger import What
from trellis.store.store import Keeping

_SETTLES_WITHIN_S: Final = 420.0
"""Creates in doubt stay so for a minute, and what two sightings of a full list show takes 600 s."""
_EVERY_S: Final = 1.0


async def breaches(running: Stand, crowd: Crowd, face: LocalClient) -> list[str]:
    """Have everything ended, and say which promises were not held; to be called without faults.

    Args:
        face: the daemon's REST.
    """
    await drain(face)
    found = list(crowd.breaches)
    left = await _settled(face, running)
    if left:
        found.append(f"after {_SETTLES_WITHIN_S:.0f} s there still was {left}")
    recorded = await recorded_nodes(face)
    async with LocalClient(running.control) as control:
        truths = await look(control, [cloud.name for cloud in running.setup.clouds])
    made = _made(truths)
    # Leases are in it too: with half as many of the others it can be full.
    if len(made) + len(crowd.transcripts) > Keeping().history_count // 2:
        recorded |= forgotten(made, recorded)
    for verdict in judge(truths, crowd.transcripts, recorded):
        found += [f"{verdict.promise}: {line}" for line in verdict.against]
    return found


def _made(truths: Truths) -> set[str]:
    """The ids of all nodes for which a server was made."""
    facts = (fact for truth in truths for fact in truth.ledger.of(What.SERVER_CREATED))
    return {dict(fact.metadata).get(TAG_NODE, "") for fact in facts} - {""}


def forgotten(made: Collection[str], recorded: Collection[str]) -> set[str]:
    """Of the nodes made, those older than all on record: a full history has let go of them."""
    oldest = min(recorded, default="")
    return {node for node in made if node < oldest}


async def _settled(face: LocalClient, running: Stand) -> str:
    """Wait until neither the daemon nor the clouds have anything of ours; what they still have."""
    left = ""
    with trio.move_on_after(_SETTLES_WITHIN_S):
        while left := await _left(face) or await _ours(running):  # noqa: ASYNC110
            await trio.sleep(_EVERY_S)
    return left


async def _left(face: LocalClient) -> str:
    return left_over(await face.get("/status"), await face.get("/images"))


async def _ours(running: Stand) -> str:
    count = 0
    for cloud in running.setup.clouds:
        servers: list[Any] = (await running.ask(cloud.name, "servers"))["servers"]
        count += sum("trellis_node_id" in server["metadata"] for server in servers)
    return f"{count} servers of ours in the clouds" if count else ""
