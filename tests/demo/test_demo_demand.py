"""The requestors of the demo, and its end."""

from random import Random
from typing import Any

import pytest
import trio

from trellis.demo.demand import Requestors


class FakeFace:
    """A daemon that fulfils requests after a while; times are Trio's."""

    def __init__(self, *, takes_s: float) -> None:
        self.takes_s = takes_s
        self.filed: dict[str, tuple[float, Any]] = {}
        self.deleted: dict[str, float] = {}

    async def post(self, path: str, body: Any) -> Any:
        await trio.lowlevel.checkpoint()
        assert "/requests" == path
        made = f"r{len(self.filed)}"
        self.filed[made] = (trio.current_time(), body)
        return {"id": made, "state": "requested"}

    async def get(self, path: str, *, wait_s: int) -> Any:
        made = path.removeprefix("/requests/")
        filed_at, body = self.filed[made]
        due = filed_at + self.takes_s - trio.current_time()
        await trio.sleep(max(0.0, min(due, wait_s)))
        if due > wait_s:
            return {"id": made, "state": "pending"}
        nodes = [
            {"id": f"{made}-{n}", "external_id": f"s-{made}-{n}", "provider": "ovh", "az": None,
             "label": label}
            for n, label in enumerate(body["labels"])
        ]  # fmt: skip
        return {"id": made, "state": "fulfilled", "lease": {"id": f"l-{made}"}, "nodes": nodes}

    async def delete(self, path: str) -> Any:
        await trio.lowlevel.checkpoint()
        self.deleted[path] = trio.current_time()


async def demanded(face, *, for_s):
    requestors = Requestors(rate=1.0, chance=Random(3))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(requestors.run, face)
        await trio.sleep(for_s)
        requestors.end()
        ended_at = trio.current_time()
    return requestors.transcripts, ended_at


async def test_requestors_use_nodes_and_give_them_back(autojump_clock):
    """Each lease is released by whoever got it, after some seconds of use."""
    face = FakeFace(takes_s=3.0)

    transcripts, _ = await demanded(face, for_s=100.0)

    done = [x for x in transcripts if x.ended == "fulfilled"]
    assert len(done) > 70
    assert all(x.fulfilled_at - x.filed_at == pytest.approx(3.0) for x in done)
    leases = [path for path in face.deleted if path.startswith("/leases/")]
    assert len(done) == len(leases)
    assert {1, 2, 3} == {len(x.nodes) for x in done}
    assert all(x.labels == tuple(node.label for node in x.nodes) for x in done)


async def test_when_demand_ends_nobody_keeps_or_waits_for_anything(autojump_clock):
    """Who waits cancels, who has nodes gives them back, and that at once."""
    face = FakeFace(takes_s=3.0)

    transcripts, ended_at = await demanded(face, for_s=20.5)

    assert ended_at == trio.current_time()
    assert {"fulfilled", "cancelled"} == {x.ended for x in transcripts}
    assert len(transcripts) == len(face.filed) == len(face.deleted)
