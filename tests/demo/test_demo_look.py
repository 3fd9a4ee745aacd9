"""The look at the clouds, and the client that it is taken with, over real HTTP on loopback."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio

from trellis.config.addresses import ListenAddress
from trellis.demo.truth import look
from trellis.http.local import LocalCallError, LocalClient
from trellis.sim.cloud import CloudSpec, SimCloud
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.spec import Strangers
from trellis.sim.serving.front import Front
from trellis.sim.serving.http import listener, serve_http


@asynccontextmanager
async def control_face(spec: CloudSpec) -> AsyncIterator[LocalClient]:
    """The control face of one cloud."""
    bound = listener(ListenAddress(host="127.0.0.1", port=0))
    url = f"http://127.0.0.1:{bound.socket.getsockname()[1]}"
    cloud = SimCloud(spec, wall=time.time, random=Random(1), root=f"{url}/{spec.name}")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, bound, Front({spec.name: cloud}))
        async with LocalClient(f"{url}/_sim") as control:
            yield control
        nursery.cancel_scope.cancel()


async def test_everything_in_a_cloud_is_seen_with_whose_it_is():
    """Servers and what hangs at them, loose floating IPs, volumes."""
    habits = Strangers(servers_at_start=1, floating_ips_at_start=1, volumes_at_start=1)
    async with control_face(CloudSpec(name="one", strangers=habits)) as control:
        (truth,) = await look(control, ["one"])

    assert {"server", "floating IP", "volume"} <= {thing.kind for thing in truth.things}
    assert {"stranger"} == {thing.who for thing in truth.things}
    assert 1 == len(truth.ledger.of(What.SERVER_CREATED))
    assert 0 == truth.ledger.total_calls


async def test_the_clocks_of_cloud_and_judge_are_brought_together():
    """The cloud of this test has this process's clock, so there is nothing to be ahead by."""
    async with control_face(CloudSpec(name="one")) as control:
        (truth,) = await look(control, ["one"])

    # An answer's time at most, and never a delete that seems earlier than it was.
    assert -5.0 < truth.clock_ahead_s <= 0.0


async def test_a_refusal_is_told_with_the_call_and_the_status():
    """What the face says stands in it."""
    async with control_face(CloudSpec(name="one")) as control:
        with pytest.raises(
            LocalCallError, match=r"GET http.*/two/calls: 404 .*no cloud"
        ) as refused:
            await control.get("/two/calls")

    assert 404 == refused.value.status


async def test_a_face_that_is_not_there_is_told():
    """Nobody listens at a port that has just been closed."""
    bound = listener(ListenAddress(host="127.0.0.1", port=0))
    port = bound.socket.getsockname()[1]
    await bound.aclose()

    async with LocalClient(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(LocalCallError, match=f"GET http://127.0.0.1:{port}/x: ") as lost:
            await client.get("/x")

    assert lost.value.status is None


async def test_a_call_whose_connection_breaks_is_made_once_more():
    """A server may close a connection just when it is used again."""
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    calls = []

    async def serve(stream: trio.SocketStream) -> None:
        calls.append(await stream.receive_some())
        if len(calls) == 2:
            await stream.send_all(answer)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        port = listeners[0].socket.getsockname()[1]
        async with LocalClient(f"http://127.0.0.1:{port}") as client:
            assert {} == await client.post("/x", {"a": 1})
            with pytest.raises(LocalCallError):
                await client.post("/y", {"a": 1})
        nursery.cancel_scope.cancel()

    assert 4 == len(calls)
