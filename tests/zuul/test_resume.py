"""What a start finds: our records, Zuul's request and our znode, in every combination of them."""

import json

import attrs
import pytest
import trio
from trellis_zuul.node_wire import Handover, ready_document
from trellis_zuul.paths import NODES, node_path, request_path
from trellis_zuul.request_life import context_of

from tests.zuul.node_stage import DEPLOYMENT, SOURCE, SYSTEM, a_fit_node, wall
from tests.zuul.request_stage import the_request_stage
from trellis.model.node import NodeState
from trellis.model.request import RequestState
from trellis.testing.builders import a_request

NODE = a_fit_node(1).id
OTHERS = "0000009999"
S = RequestState

# Our request · Zuul's request · its node's znode → what comes of our request and of the node, and
# of Zuul's request if it is there.
ROWS = {
    "not begun": (S.REQUESTED, "requested", False, S.FULFILLED, "given", "fulfilled"),
    "placed": (S.PENDING, "requested", False, S.FULFILLED, "given", "fulfilled"),
    "taken over": (S.PENDING, "pending", False, S.FULFILLED, "given", "fulfilled"),
    "waits, cancelled": (S.REQUESTED, None, False, S.CANCELLED, "none", None),
    "placed, cancelled": (S.PENDING, None, False, S.CANCELLED, "none", None),
    "placed, another answered": (S.PENDING, "others", False, S.CANCELLED, "none", "fulfilled"),
    "placed, failed": (S.PENDING, "failed", False, S.CANCELLED, "none", "failed"),
    "ready, no znode yet": (S.FULFILLED, "pending", False, S.FULFILLED, "given", "fulfilled"),
    "ready, set free meanwhile": (
        S.FULFILLED,
        "requested",
        True,
        S.FULFILLED,
        "given",
        "fulfilled",
    ),
    "ready, znode made": (S.FULFILLED, "pending", True, S.FULFILLED, "given", "fulfilled"),
    "answered": (S.FULFILLED, "ours", True, S.FULFILLED, "given", "fulfilled"),
    "answered, znode deleted": (S.FULFILLED, "ours", False, S.CLOSED, "released", "fulfilled"),
    "ready, another answered": (S.FULFILLED, "others", True, S.CLOSED, "free", "fulfilled"),
    "ready, another answered, no znode": (
        S.FULFILLED,
        "others",
        False,
        S.CLOSED,
        "released",
        "fulfilled",
    ),
    "ready, failed": (S.FULFILLED, "failed", True, S.CLOSED, "free", "failed"),
    "cancelled": (S.FULFILLED, None, True, S.CLOSED, "free", None),
    "cancelled, no znode": (S.FULFILLED, None, False, S.CLOSED, "released", None),
}


async def begun(stage, ours, zuuls, *, znode):
    """Put records and tree into a combination."""
    request = await stage.ask("small")
    _data, stat = await stage.session.get(request_path(request))
    record = a_request(
        1,
        source=SOURCE,
        state=ours,
        state_at=wall(),
        nodes=(NODE,) if ours is S.FULFILLED else (),
        context=context_of(request, stat.czxid),
        idempotency_key=f"{request} {stat.czxid:x}",
    )
    stage.port.requests[record.id] = record
    if ours is S.FULFILLED:
        stage.port.nodes[NODE] = a_fit_node(1, allocated_to=record.id, lease_id="lease")
    else:
        stage.port.go_on(record.id)
    if znode:
        to = Handover(
            deployment=DEPLOYMENT,
            source=SOURCE,
            zuul_request=request,
            request=record.id,
            requestor=SYSTEM,
            tenant=None,
            launcher=None,
        )
        data = ready_document(stage.port.nodes[NODE], to, wall())
        await stage.session.create(f"{NODES}/", data, sequence=True)
    else:
        # Its number is gone for ever, as that of one that was deleted.
        gone = await stage.session.create(f"{NODES}/", b"", sequence=True)
        await stage.session.delete(gone)
    if zuuls is None:
        await stage.cancel(request)
    elif zuuls == "ours":
        await stage.write(request, state="fulfilled", nodes=["0000000000"])
    elif zuuls == "others":
        await stage.write(request, state="fulfilled", nodes=[OTHERS])
    else:
        await stage.write(request, state=zuuls)
    return record, request


@pytest.mark.parametrize("row", ROWS)
async def test_each_combination_that_a_start_can_find(row, autojump_clock):
    ours, zuuls, znode, becomes, of_node, then = ROWS[row]
    async with the_request_stage() as stage:
        record, request = await begun(stage, ours, zuuls, znode=znode)
        await trio.sleep(5)

        async with stage.serving():
            await trio.sleep(400)

            assert becomes is stage.port.requests[record.id].state
            assert then == await stage.state(request)
            node = stage.port.nodes.get(NODE)
            match of_node:
                case "none":
                    assert node is None
                case "given":
                    assert node.given
                    [name] = (await stage.read(request))["nodes"]
                    data, _stat = await stage.session.get(node_path(name))
                    assert NODE == json.loads(data)["driver_data"]["trellis"]["node"]
                case "free":
                    assert node.idle
                    assert [] == await stage.nodes()
                case "released":
                    assert node.state is NodeState.GONE
                    assert "give_back" not in stage.port.words()
                    assert [] == await stage.nodes()


async def test_a_node_that_became_ready_while_no_session_was_is_given_back(autojump_clock):
    """No znode of it can have been made, and its request was cancelled meanwhile."""
    async with the_request_stage() as stage:
        stage.port.place_s, stage.port.boot_s = 1.0, 30.0
        async with stage.serving():
            request = await stage.ask("small")
            await stage.becomes(request, "pending")
            [session] = [one for one in stage.zookeeper.sessions if one.who == "trellis"]
            stage.zookeeper.cut(session, away_s=60.0)
            await stage.cancel(request)
            await trio.sleep(200)

        assert ["give_back"] == stage.port.words()
        assert stage.port.nodes[NODE].idle


async def test_a_node_is_not_kept_for_ever_for_another_of_its_request_that_is_long_gone(
    autojump_clock,
):
    """Of which nothing is known any more, not even that it was."""
    async with the_request_stage() as stage:
        record, _request = await begun(stage, S.FULFILLED, None, znode=False)
        two = attrs.evolve(record, nodes=(a_fit_node(2).id, NODE))
        stage.port.requests[record.id] = two

        async with stage.serving():
            await trio.sleep(60)

        assert NodeState.GONE is stage.port.nodes[NODE].state
