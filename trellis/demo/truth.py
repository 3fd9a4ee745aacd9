"""The separate look: what is true in the clouds, read from their control face."""

from collections.abc import Sequence
from typing import Any, Final

import attrs
import trio

from trellis.http.local import LocalClient
from trellis.sim.cloud.ledger import Fact, Ledger, What

_LOOSE: Final = {
    "floating_ips": "floating IP", "ports": "port", "keypairs": "keypair", "objects": "object",
}  # fmt: skip


@attrs.frozen(kw_only=True)
class Thing:
    """Something that is in a cloud now.

    Attributes:
        kind: server, floating IP, port, keypair, volume, image or object.
        who: the account's user, or ``stranger``.
        detail: what else tells whose it is.
    """

    kind: str
    id: str
    who: str
    detail: str = ""


@attrs.frozen(kw_only=True)
class CloudTruth:
    """All that is true in one cloud.

    Attributes:
        things: that are there now.
        ledger: what has happened, and how many calls there were.
        clock_ahead_s: the cloud's clock less Trio's here; it may be more by what an answer takes.
    """

    name: str
    things: tuple[Thing, ...]
    ledger: Ledger
    clock_ahead_s: float = 0.0


async def look(control: LocalClient, clouds: Sequence[str]) -> tuple[CloudTruth, ...]:
    """Read it from every cloud.

    Raises:
        LocalCallError: the clouds do not answer.
    """
    return tuple([await _look(control, name) for name in clouds])


async def _look(control: LocalClient, name: str) -> CloudTruth:
    calls = await control.get(f"/{name}/calls")
    # As if the answer had taken no time: then nothing seems earlier than it was.
    ahead = calls["now"] - trio.current_time()
    facts: list[Fact] = []
    while True:
        page = await control.get(f"/{name}/facts", **{"from": len(facts)})
        facts += [_fact(row) for row in page["facts"]]
        if not page["facts"]:
            break
    servers = (await control.get(f"/{name}/servers"))["servers"]
    things = [
        Thing(
            kind="server",
            id=row["id"],
            who=row["who"],
            detail=f"{row['name']} ({row['status']}) {row['metadata']}",
        )
        for row in servers
    ]
    for what, kind in _LOOSE.items():
        for row in (await control.get(f"/{name}/{what}"))[what]:
            detail = f"{row['name']} {row['description']}".strip()
            things.append(Thing(kind=kind, id=row["id"], who=row["who"], detail=detail))
    for row in (await control.get(f"/{name}/images"))["images"]:
        if row["who"]:  # else it is one that the cloud offers
            detail = f"{row['name']} ({row['status']})"
            things.append(Thing(kind="image", id=row["id"], who=row["who"], detail=detail))
    ledger = Ledger(facts=facts, calls=calls["calls"])
    gone = {fact.id for fact in ledger.of(What.VOLUME_DELETED)}
    things += [
        Thing(kind="volume", id=fact.id, who=fact.who, detail=fact.name)
        for fact in ledger.of(What.VOLUME_CREATED)
        if fact.id not in gone
    ]
    return CloudTruth(name=name, things=tuple(things), ledger=ledger, clock_ahead_s=ahead)


def _fact(row: dict[str, Any]) -> Fact:
    metadata = tuple(sorted(row["metadata"].items()))
    return Fact(**{**row, "what": What(row["what"]), "metadata": metadata})
