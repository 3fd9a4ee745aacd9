"""The face's own HTTP: what goes over one connection, call by call and byte by byte."""

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing

from trellis.web import connection
from trellis.web.connection import Connections
from trellis.web.guard import AsgiApp, Message, Receive, Send

pytestmark = pytest.mark.slow

VAST = bytes(30_000_000)
HEAD = b"GET /there HTTP/1.1\r\nHost: x\r\n\r\n"


async def echo(scope: Message, receive: Receive, send: Send) -> None:
    """Answer with the method, the path and the body."""
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            break
    said = f"{scope['method']} {scope['path']} ".encode() + body
    headers = [(b"content-length", str(len(said)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": said})


async def deaf(scope: Message, receive: Receive, send: Send) -> None:
    """Answer without having read the body."""
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


async def broken(scope: Message, receive: Receive, send: Send) -> None:
    """Have a bug."""
    raise RuntimeError("a bug")


async def half_broken(scope: Message, receive: Receive, send: Send) -> None:
    """Have a bug in the middle of an answer."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"so far", "more_body": True})
    raise RuntimeError("a bug")


class Client:
    """A bare connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream

    async def say(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def hear(self, end: bytes) -> bytes:
        """All that comes until it ends like this, or the connection does."""
        heard = b""
        with trio.fail_after(5):  # noqa: ASYNC912
            while not heard.endswith(end):
                part = await self.stream.receive_some()
                if not part:
                    return heard + b"<closed>"
                heard += part
        return heard

    async def hear_all(self) -> bytes:
        return await self.hear(b"<never>")


@asynccontextmanager
async def connected(app: AsgiApp) -> AsyncIterator[tuple[Client, Connections]]:
    """A client of a server with this application."""
    connections = Connections(app)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            partial(trio.serve_tcp, connections.serve, 0, host="127.0.0.1")
        )
        async with await trio.testing.open_stream_to_socket_listener(listeners[0]) as stream:
            yield Client(stream), connections
        nursery.cancel_scope.cancel()


async def test_calls_follow_each_other_on_one_connection():
    """A connection is kept for the next call, and each answer carries its date."""
    async with connected(echo) as (client, _):
        await client.say(HEAD)
        first = await client.hear(b"GET /there ")
        await client.say(b"POST /a%20b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
        second = await client.hear(b"hello")

    assert first.startswith(b"HTTP/1.1 200 ")
    assert b"\r\ndate: " in first.lower()
    assert second.endswith(b"POST /a b hello")


async def test_calls_sent_at_once_are_answered_in_order():
    """A client may send its next call before it has the answer to the last one."""
    async with connected(echo) as (client, _):
        await client.say(HEAD + HEAD.replace(b"/there", b"/next"))

        heard = await client.hear(b"GET /next ")

    assert heard.index(b"GET /there ") < heard.index(b"GET /next ")


async def test_chunked_body_arrives_whole():
    """A body in chunks is what the chunks hold."""
    async with connected(echo) as (client, _):
        await client.say(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.say(b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")

        heard = await client.hear(b"abcdef")

    assert heard.endswith(b"POST / abcdef")


async def test_body_that_waits_for_leave_gets_it():
    """Who asks with ``Expect: 100-continue`` is told to go on."""
    async with connected(echo) as (client, _):
        await client.say(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n")
        await client.say(b"Content-Length: 3\r\n\r\n")
        leave = await client.hear(b"\r\n\r\n")
        await client.say(b"abc")
        heard = await client.hear(b"abc")

    assert leave.startswith(b"HTTP/1.1 100 ")
    assert heard.startswith(b"HTTP/1.1 200 ")


async def test_head_is_answered_without_a_body():
    """The length is that of the body, and no body follows."""
    async with connected(echo) as (client, _):
        await client.say(HEAD.replace(b"GET", b"HEAD") + HEAD)

        heard = await client.hear(b"GET /there ")

    assert heard.count(b"HTTP/1.1 200 ") == 2
    assert b"HEAD /there" not in heard


@pytest.mark.parametrize(
    "said",
    [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET /" + b"x" * 70_000],
    ids=["no-http", "no-host", "too-long"],
)
async def test_what_is_no_http_is_refused_and_closed(said):
    """Bytes that make no call get a refusal, and the connection ends."""
    async with connected(echo) as (client, _):
        await client.say(said)

        heard = await client.hear_all()

    assert heard.startswith(b"HTTP/1.1 4")
    assert heard.endswith(b"<closed>")


async def test_broken_chunks_are_refused():
    """A body whose coding is broken ends its call with 400."""
    async with connected(echo) as (client, _):
        await client.say(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")

        heard = await client.hear_all()

    assert heard.startswith(b"HTTP/1.1 400 ")


async def test_bug_in_a_call_costs_an_answer_500():
    """What a bug leaves unanswered is answered, and the connection ends."""
    async with connected(broken) as (client, _):
        await client.say(HEAD)

        heard = await client.hear_all()

    assert heard.startswith(b"HTTP/1.1 500 ")
    assert heard.endswith(b"<closed>")


async def test_bug_in_the_middle_of_an_answer_shows():
    """An answer that is cut off has no end that would make it look whole."""
    async with connected(half_broken) as (client, _):
        await client.say(HEAD)

        heard = await client.hear_all()

    assert heard.endswith(b"so far\r\n<closed>")


async def test_unread_body_ends_the_connection():
    """What follows a body that nobody read would be taken for a call."""
    async with connected(deaf) as (client, _):
        await client.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nGET /not-a-call")

        heard = await client.hear_all()

    assert heard.count(b"HTTP/1.1") == 1


async def test_idle_connection_is_closed_after_a_while(monkeypatch):
    """A client that says nothing, or half a head, does not keep its connection for ever."""
    monkeypatch.setattr(connection, "KEEP_ALIVE_S", 0.05)
    async with connected(echo) as (client, _):
        await client.say(b"GET /slow")

        heard = await client.hear_all()

    assert heard == b"<closed>"


async def test_idle_connection_ends_with_the_face():
    """At the end of the face a connection without a call is closed at once."""
    async with connected(echo) as (client, connections):
        await client.say(HEAD)
        await client.hear(b"GET /there ")
        await trio.testing.wait_all_tasks_blocked()
        connections.end()

        heard = await client.hear_all()

    assert heard == b"<closed>"


async def test_call_under_way_is_answered_at_the_end_of_the_face():
    """A call that has begun gets its answer, and no other follows on its connection."""
    begun, go_on = trio.Event(), trio.Event()

    async def slow(scope: Message, receive: Receive, send: Send) -> None:
        begun.set()
        await go_on.wait()
        await echo(scope, receive, send)

    async with connected(slow) as (client, connections):
        await client.say(HEAD)
        await begun.wait()
        connections.end()
        go_on.set()

        heard = await client.hear_all()

    assert heard.endswith(b"GET /there <closed>")


async def test_client_that_leaves_is_told_to_the_application():
    """``receive`` says so when the client leaves before its answer."""
    told = trio.Event()

    async def waiting(_scope: Message, receive: Receive, _send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        told.set()

    async with connected(waiting) as (client, _):
        await client.say(HEAD)
        await client.stream.aclose()

        with trio.fail_after(5):
            await told.wait()


async def test_client_that_resets_before_it_is_served_harms_nobody():
    """It has no address any more when its turn comes; others are served as before."""
    connections = Connections(echo)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    address = listener.socket.getsockname()
    early = await trio.open_tcp_stream(*address)
    early.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await early.aclose()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, connections.serve, [listener])
        async with await trio.open_tcp_stream(*address) as stream:
            client = Client(stream)
            await client.say(HEAD)

            heard = await client.hear(b"GET /there ")
        nursery.cancel_scope.cancel()

    assert heard.startswith(b"HTTP/1.1 200 ")


async def vast(_scope: Message, _receive: Receive, send: Send) -> None:
    """Answer with more than any buffer between holds."""
    length = str(len(VAST)).encode()
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]}
    )
    await send({"type": "http.response.body", "body": VAST})


async def test_client_that_takes_no_answer_is_left(monkeypatch):
    """It does not keep its connection for ever by reading nothing."""
    monkeypatch.setattr(connection, "TAKES_WITHIN_S", 0.05)
    left = trio.Event()

    async def watched(scope: Message, receive: Receive, send: Send) -> None:
        await vast(scope, receive, send)
        left.set()

    async with connected(watched) as (client, _):
        await client.say(HEAD)
        with trio.fail_after(5):
            await left.wait()

        heard = await client.hear_all()

    assert len(heard) < len(VAST)


async def test_nothing_follows_an_answer_that_was_broken_off():
    """What came next on the wire would be taken for the rest of it."""

    async def impatient(scope: Message, receive: Receive, send: Send) -> None:
        with trio.move_on_after(0.05):
            await vast(scope, receive, send)

    async with connected(impatient) as (client, _):
        await client.say(HEAD + HEAD)
        await trio.sleep(0.2)

        heard = await client.hear_all()

    assert heard.count(b"HTTP/1.1") == 1
