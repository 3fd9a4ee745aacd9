"""The road over real sockets, to a server that writes what it pleases."""

import gzip
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from trellis.errors import AnswerLostError, CloudError, MisconfiguredError
from trellis.http import Answer, Call, Road
from trellis.http.lanes import LaneTransport

OK = b"HTTP/1.1 200 OK\r\n"
PLAIN = OK + b"Content-Length: 2\r\n\r\n{}"
BUDGET_S = 1.0

Talk = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def server(talk: Talk) -> AsyncIterator[str]:
    """A port of loopback on which *talk* answers each request of each connection."""

    async def serve(stream: trio.SocketStream) -> None:
        try:
            while await _request(stream):
                await talk(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # one of us has had enough

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, serve, [listener])
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def _request(stream: trio.SocketStream) -> bool:
    got = b""
    while b"\r\n\r\n" not in got:
        piece = await stream.receive_some(65_536)
        if not piece:
            return False
        got += piece
    return True


@asynccontextmanager
async def road_of() -> AsyncIterator[Road]:
    transport = LaneTransport(4, tls=ssl.create_default_context())
    try:
        yield Road("acme", transport, random=random.Random(1))
    finally:
        await transport.aclose()


async def ask(road: Road, url: str, method: str = "GET", budget_s: float = BUDGET_S) -> Answer:
    call = Call(
        service="compute",
        method=method,
        url=f"{url}/servers",
        path_label="/servers",
        headers={"X-Auth-Token": "secret"},
        budget_s=budget_s,
    )
    return await road.send(call)


def saying(*pieces: bytes, then: str = "keep") -> Talk:
    """Write these; then keep the connection, or ``close`` it."""

    async def talk(stream: trio.SocketStream) -> None:
        for piece in pieces:
            await stream.send_all(piece)
        if then == "close":
            await stream.aclose()

    return talk


def for_ever(head: bytes, piece: bytes, every_s: float) -> Talk:
    async def talk(stream: trio.SocketStream) -> None:
        await stream.send_all(head)
        while True:
            await stream.send_all(piece)
            await trio.sleep(every_s)

    return talk


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
BOMB = gzip.compress(b"\0" * 70 * 1024 * 1024, compresslevel=1)
LONG = b"x" * 1_000_000

BAD: dict[str, Talk] = {
    "a byte now and then": for_ever(OK + b"Content-Length: 100000\r\n\r\n", b"x", 0.05),
    "a header now and then": for_ever(OK, b"X-More: 1\r\n", 0.05),
    "chunks without end": for_ever(CHUNKED, b"1\r\nx\r\n", 0.05),
    "a flood without end": for_ever(
        CHUNKED, b"100000\r\n" + b" " * 1024 * 1024 + b"\r\n", 0.0
    ),
    "a bomb": saying(
        OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB), BOMB
    ),
    "headers without end": for_ever(OK, b"X: " + b"y" * 5000 + b"\r\n", 0.0),
    "one long header": saying(OK + b"X-Long: " + LONG + b"\r\nContent-Length: 2\r\n\r\n{}"),
    "two lengths": saying(OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    "a length that is none": saying(OK + b"Content-Length: -5\r\n\r\n{}"),
    "less than was promised": saying(OK + b"Content-Length: 200\r\n\r\n{}", then="close"),
    "a broken chunk": saying(CHUNKED, b"zz\r\n{}\r\n", then="close"),
    "no HTTP": saying(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", then="close"),
    "nothing": saying(then="close"),
    "a header of control characters": saying(OK + b"X: a\x00b\r\nContent-Length: 2\r\n\r\n{}"),
}  # fmt: skip


@pytest.mark.parametrize("talk", BAD.values(), ids=BAD)
async def test_a_bad_answer_is_one_that_was_lost(talk):
    """A POST may have been carried out; nothing crashes, and it ends in its time."""
    async with server(talk) as url, road_of() as road:
        with trio.fail_after(BUDGET_S + 4.0), pytest.raises(AnswerLostError) as caught:
            await ask(road, url, "POST")

    assert "secret" not in str(caught.value)


ODD: dict[str, Talk] = {
    "garbage in headers": saying(OK + b"X-Odd: \xff\xfe\xe9\r\nContent-Length: 2\r\n\r\n{}"),
    "the same header twice": saying(OK + b"Date: 1\r\nDate: 2\r\nContent-Length: 2\r\n\r\n{}"),
    "sixty thousand in a header": saying(
        OK + b"X-Openstack-Request-Id: " + b"r" * 60_000 + b"\r\nContent-Length: 2\r\n\r\n{}"
    ),
    "a length that is too short": saying(PLAIN + b'"what is left over"'),
    "no length": saying(OK + b"\r\n{}", then="close"),
}


@pytest.mark.parametrize("talk", ODD.values(), ids=ODD)
async def test_an_odd_answer_is_an_answer(talk):
    """Also the one that follows it on the connection, if there is one left."""
    async with server(talk) as url, road_of() as road:
        for _ in range(3):
            answer = await ask(road, url)

            assert (answer.status, answer.body) == (200, b"{}")
            assert len(answer.request_id) <= 100


async def test_a_connection_closed_between_two_calls_is_not_felt():
    """Apache closes idle ones after 5 s; a POST on a connection that is gone is not lost."""
    async with server(saying(PLAIN, then="close")) as url, road_of() as road:
        for _ in range(5):
            answer = await ask(road, url, "POST")
            await trio.sleep(0.02)

            assert answer.status == 200


@pytest.mark.parametrize(
    "host", ["http://127.0.0.1:99999", "http://" + "a" * 300 + ".test", "http://a..b"]
)
async def test_an_address_that_cannot_be_is_misconfigured_or_unreachable(host):
    async with road_of() as road:
        with pytest.raises(CloudError) as caught:
            await ask(road, host)

    assert not isinstance(caught.value, AnswerLostError)


@pytest.mark.parametrize("location", [b"http://[bad", b"//\xff", b"", b"https://u:secret@h.test/"])
async def test_a_redirect_is_refused_wherever_it_leads(location):
    head = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n"
    async with server(saying(head)) as url, road_of() as road:
        with pytest.raises(MisconfiguredError) as caught:
            await ask(road, url)

    assert "secret" not in str(caught.value)
