"""The face over real loopback: event streams, the end of it, and large bodies."""

import contextlib
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import httpx
import pytest
import trio
from face_fakes import an_event

from trellis.errors import ConfigError
from trellis.web.app import make_app
from trellis.web.server import serve

pytestmark = pytest.mark.slow


class Follower:
    """A follower of the event stream on a bare connection, which can be left at any point."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream, self._text = stream, ""

    async def take(self, count: int) -> list[dict[str, str]]:
        """The next messages, each by its fields."""
        taken: list[dict[str, str]] = []
        while len(taken) < count:
            # Blocks end with an empty line; the lines of chunked coding have no colon.
            block, end, rest = self._text.partition("\n\n")
            if not end:
                with trio.fail_after(5):
                    part = await self._stream.receive_some()
                assert part, "the stream ended"
                self._text += part.decode().replace("\r\n", "\n")
                continue
            self._text = rest
            fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
            if "id" in fields or "content-type" in fields:
                taken.append(fields)
        return taken


@asynccontextmanager
async def following(url: str, last: str | None = None) -> AsyncIterator[Follower]:
    host, _, port = url.removeprefix("http://").rpartition(":")
    resume = f"Last-Event-ID: {last}\r\n" if last is not None else ""
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        head = f"GET /api/v1/events HTTP/1.1\r\nHost: {host}:{port}\r\n{resume}\r\n"
        await stream.send_all(head.encode())
        follower = Follower(stream)
        (headers,) = await follower.take(1)
        assert headers["content-type"].startswith("text/event-stream")
        yield follower


async def test_events_arrive_as_they_happen(loopback, board):
    """A follower gets what happens after it came, each with its id, type and JSON."""
    async with following(loopback.url) as follower:
        (begin,) = await follower.take(1)
        board.tell(an_event(4, "node.gone"))
        (event,) = await follower.take(1)

    assert begin == {"retry": "2000", "id": "3"}
    assert (event["id"], event["event"]) == ("4", "node.gone")
    assert '"subject":"0000000001"' in event["data"]


async def test_stream_resumes_after_the_last_event_seen(loopback):
    """Last-Event-ID brings what was missed, nothing twice."""
    async with following(loopback.url, last="1") as follower:
        taken = await follower.take(3)

    assert [message["id"] for message in taken] == ["1", "2", "3"]


@pytest.mark.parametrize("last", ["0", "99999", "garbage"], ids=["too-old", "too-new", "no-id"])
async def test_unknown_position_gets_a_reset(loopback, board, last):
    """An id that is not kept, or never was, gets `reset` and then goes on from now."""
    board.oldest = 2

    async with following(loopback.url, last=last) as follower:
        _, reset = await follower.take(2)
        board.tell(an_event(4))
        (event,) = await follower.take(1)

    assert (reset["event"], reset["id"]) == ("reset", "3")
    assert "remedy" in reset["data"]
    assert event["id"] == "4"


async def test_follower_that_leaves_is_forgotten(loopback, board):
    """A closed connection ends the stream's own iterator."""
    async with following(loopback.url, last="1") as follower:
        await follower.take(3)
        assert board.followers == 1

    with trio.fail_after(5):
        await board.left.wait()
    assert board.followers == 0


async def test_shutdown_ends_streams_and_long_polls_cleanly(port, board):
    """Twenty followers and a long poll end whole and at once when the face stops."""
    ended: list[bytes] = []
    shown: list[str] = []
    stop = trio.Event()

    async def follow(client: httpx.AsyncClient) -> None:
        async with client.stream("GET", "/api/v1/events", params={"after": "1"}) as answer:
            ended.append(await answer.aread())

    async def poll(client: httpx.AsyncClient) -> None:
        body = {"labels": ["debian-12"], "requestor": "ci"}
        made = (await client.post("/api/v1/requests", json=body)).json()
        answer = await client.get(f"/api/v1/requests/{made['id']}", params={"wait_s": 60})
        shown.append(answer.json()["state"])

    async with trio.open_nursery() as server:
        url = await server.start(partial(serve, make_app(port, board), "127.0.0.1:0", stop=stop))
        async with (
            httpx.AsyncClient(base_url=url, timeout=90) as client,
            trio.open_nursery() as clients,
        ):
            for _ in range(20):
                clients.start_soon(follow, client)
            clients.start_soon(poll, client)
            with trio.fail_after(5):
                await port.waited.wait()
                await board.crowd.wait()
            begun = trio.current_time()
            stop.set()
    took_s = trio.current_time() - begun

    assert shown == ["requested"]
    assert [body.startswith(b"retry: ") for body in ended] == [True] * 20
    assert took_s < 2


@pytest.mark.parametrize(
    ("coding", "frame"),
    [
        (f"Content-Length: {1600 * 65536}", b"%b"),
        ("Transfer-Encoding: chunked", b"10000\r\n%b\r\n"),
    ],
    ids=["declared", "chunked"],
)
async def test_body_of_100_mb_costs_no_memory(loopback, port, coding, frame):
    """A huge body is refused with 413 while it is still being sent."""
    part = frame % (b" " * 65536)
    host, _, number = loopback.url.removeprefix("http://").rpartition(":")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sent, answer = 0, b""

    async with await trio.open_tcp_stream(host, int(number)) as stream:
        head = "POST /api/v1/requests HTTP/1.1\r\nContent-Type: application/json\r\n"
        await stream.send_all(f"{head}Host: {host}:{number}\r\n{coding}\r\n\r\n".encode())

        async def send() -> None:
            nonlocal sent
            with contextlib.suppress(trio.BrokenResourceError):
                for sent in range(1, 1601):  # noqa: B007
                    await stream.send_all(part)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            while b"remedy" not in answer:
                with trio.fail_after(5):
                    answer += await stream.receive_some()
            nursery.cancel_scope.cancel()

    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert sent < 800
    assert grown_kib < 20_000
    assert port.asks == []


async def test_address_in_use_is_refused_with_a_remedy(loopback, port, board):
    """A second daemon at the address says so, and what to do."""
    with pytest.raises(ConfigError, match=r"web\.listen: cannot listen at .*another address"):
        await serve(make_app(port, board), loopback.url.removeprefix("http://"), stop=trio.Event())
