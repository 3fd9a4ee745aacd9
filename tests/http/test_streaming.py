"""Calls whose body is streamed, on loopback: what servers do to them, and what is left behind."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import attrs
import httpx
import pytest
import trio
from scripted import Scripted, a_call, a_road, in_turn

from tests.daemon.loopback import self_made_certificate
from trellis.errors import AnswerLostError, RejectedError, UnreachableError
from trellis.http import TransportSettings, Verb
from trellis.http.lanes import LaneTransport
from trellis.http.transport import tls_context

TLS = tls_context(TransportSettings())
PIECE = b"p" * (1 << 20)
MIB = 1 << 20

Handler = Callable[["Connection"], Awaitable[None]]


class File:
    """A body of so many MiB; tells how often it was opened, is open, and how far it was read."""

    def __init__(self, mib: int = 8, *, size: int | None = None, fails_at: int | None = None):
        self.mib = mib
        self.size = mib * MIB if size is None else size
        self.fails_at = fails_at
        self.opened = self.open_now = self.read = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[AsyncIterator[bytes]]:
        self.opened += 1
        self.open_now += 1
        self.read = 0
        try:
            yield _Reading(self)
        finally:
            self.open_now -= 1


class _Reading(AsyncIterator[bytes]):
    def __init__(self, file: File) -> None:
        self.file = file

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if self.file.fails_at == self.file.read:
            raise OSError(5, "Input/output error")
        if self.file.read == self.file.mib:
            raise StopAsyncIteration
        self.file.read += 1
        return PIECE


@attrs.define(eq=False)
class Connection:
    """One connection as the server has it."""

    stream: trio.abc.Stream
    head: bytes = b""
    came: int = 0

    async def read_head(self) -> None:
        while b"\r\n\r\n" not in self.head:
            self.head += await self.stream.receive_some(65536)
        self.head, _, rest = self.head.partition(b"\r\n\r\n")
        self.came = len(rest)

    async def read_body(self, upto: int) -> None:
        while self.came < upto:
            data = await self.stream.receive_some(65536)
            if not data:
                return
            self.came += len(data)

    async def answer(self, status: str, body: bytes = b"{}", more: str = "") -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
        await self.stream.send_all(head.encode() + body)


@attrs.define(eq=False)
class Server:
    port: int = 0
    tls: bool = False
    connections: list[Connection] = attrs.field(factory=list)
    closed: trio.Event = attrs.field(factory=trio.Event)

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/v2/images/i/file?x=1"


@asynccontextmanager
async def serving(*handlers: Handler, certificate=None) -> AsyncIterator[Server]:
    """A server whose connections are handled one after the other; the last handler for ever."""
    server, left = Server(tls=certificate is not None), list(handlers)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    if certificate is not None:
        context.load_cert_chain(*certificate)

    async def handle(stream: trio.abc.Stream) -> None:
        if server.tls:
            stream = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        connection = Connection(stream)
        server.connections.append(connection)
        handler = left.pop(0) if len(left) > 1 else left[0]
        try:
            await handler(connection)
        except trio.BrokenResourceError:
            pass
        finally:
            server.closed.set()
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server.port = listener.socket.getsockname()[1]
        await nursery.start(trio.serve_listeners, handle, [listener])
        with trio.fail_after(20):  # noqa: ASYNC100 - the block of who uses it has them
            yield server
        nursery.cancel_scope.cancel()


def a_put(server: Server, file: File, **kwargs):
    return a_call(
        "PUT",
        url=server.url,
        path_label="/images/{id}/file",
        service="image",
        stream=file,
        **kwargs,
    )


@asynccontextmanager
async def a_road_to(lanes: int = 4):
    async with LaneTransport(lanes, tls=TLS) as transport:
        yield a_road(transport), transport


async def take_all(connection: Connection) -> None:
    await connection.read_head()
    await connection.read_body(8 * MIB)
    await connection.answer("204 No Content", b"")


async def test_body_arrives_whole_with_its_length():
    file = File()
    async with serving(take_all) as server, a_road_to() as (road, transport):
        answer = await road.send(a_put(server, file))

        (connection,) = server.connections
        assert answer.status == 204
        assert connection.came == 8 * MIB
        assert connection.head.startswith(b"PUT /v2/images/i/file?x=1 HTTP/1.1\r\n")
        head = connection.head.lower()
        assert f"\r\ncontent-length: {8 * MIB}\r\n".encode() in head
        assert f"\r\nhost: 127.0.0.1:{server.port}\r\n".encode() in head
        assert b"transfer-encoding" not in head
        assert (file.opened, file.open_now) == (1, 0)
        assert transport._streamed.open == 0


async def test_empty_body_has_a_length_too():
    async def answers(connection):
        await connection.read_head()
        await connection.answer("201 Created")

    async with serving(answers) as server, a_road_to() as (road, _):
        answer = await road.send(a_put(server, File(0)))

        assert answer.status == 201
        assert b"content-length: 0" in server.connections[0].head.lower()


async def test_streams_hold_up_no_other_calls():
    """Neither connections nor turns: an upload lasts hours."""
    release = trio.Event()

    async def slow(connection):
        await connection.read_head()
        if connection.head.startswith(b"GET"):
            await connection.answer("200 OK")
            return
        await release.wait()
        await connection.read_body(8 * MIB)
        await connection.answer("204 No Content", b"")

    async with serving(slow) as server, LaneTransport(1, tls=TLS) as transport:
        road = a_road(transport, at_once=1)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(road.send, a_put(server, File()))
            while len(server.connections) < 3:  # noqa: ASYNC110
                await trio.sleep(0.01)
            answer = await road.send(a_call(url=server.url, service="image"))
            release.set()

        assert answer.status == 200


@pytest.mark.parametrize("status", ["413 Too Large", "409 Conflict", "401 Unauthorized"])
@pytest.mark.parametrize("way", ["closes", "resets", "reads no more"])
async def test_refusal_in_the_middle_is_read(status, way):
    """Whatever the server does with the rest."""

    async def refuse(connection):
        await connection.read_head()
        await connection.read_body(2 * MIB)
        await connection.answer(status, b'{"message": "no"}')
        if way == "resets":
            await trio.aclose_forcefully(connection.stream)
        elif way == "closes":
            await connection.stream.send_eof()
            await connection.read_body(64 * MIB)
        else:
            await trio.sleep_forever()

    file = File(64)
    async with serving(refuse) as server, a_road_to() as (road, transport):
        answer = await road.send(a_put(server, file))

        assert (answer.status, answer.body) == (int(status[:3]), b'{"message": "no"}')
        assert file.read < 64
        assert (file.open_now, transport._streamed.open) == (0, 0)


async def test_413_of_a_body_says_nothing_of_the_rate_of_calls():
    async def refuse(connection):
        await connection.read_head()
        await connection.answer("413 Too Large")

    async with serving(refuse) as server, a_road_to() as (road, _):
        before = road.rate("image", Verb.CHANGE)
        await road.send(a_put(server, File()))

        assert road.rate("image", Verb.CHANGE) == before
        assert road.delay("image", Verb.CHANGE) == 0.0


async def test_interim_answer_stops_nothing():
    """``100 Continue`` unasked, and an early promise."""

    async def go_on(connection):
        await connection.read_head()
        await connection.stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
        await connection.read_body(8 * MIB)
        await connection.answer("204 No Content", b"")

    async with serving(go_on) as server, a_road_to() as (road, _):
        answer = await road.send(a_put(server, File()))

        assert (answer.status, server.connections[0].came) == (204, 8 * MIB)


async def test_success_told_early_does_not_cut_the_body():
    """It is wanted whole."""
    whole = trio.Event()

    async def early(connection):
        await connection.read_head()
        await connection.answer("204 No Content", b"")
        await connection.read_body(8 * MIB)
        if connection.came == 8 * MIB:
            whole.set()

    async with serving(early) as server, a_road_to() as (road, _):
        answer = await road.send(a_put(server, File()))
        await whole.wait()

        assert answer.status == 204


async def test_connection_dropped_at_90_percent_is_an_answer_lost():
    """It is not repeated: the cloud may have taken what it has for something."""

    async def drop(connection):
        await connection.read_head()
        await connection.read_body(57 * MIB)
        await trio.aclose_forcefully(connection.stream)

    file = File(64)
    async with serving(drop) as server, a_road_to() as (road, transport):
        with pytest.raises(AnswerLostError, match="was lost"):
            await road.send(a_put(server, file))

        assert (file.opened, file.open_now, len(server.connections)) == (1, 0, 1)
        assert transport._streamed.open == 0


async def test_connection_closed_without_an_answer_is_an_answer_lost():
    async def hang_up(connection):
        await connection.read_head()
        await connection.read_body(8 * MIB)

    async with serving(hang_up) as server, a_road_to() as (road, _):
        with pytest.raises(AnswerLostError):
            await road.send(a_put(server, File()))


async def test_what_is_no_http_is_an_answer_lost():
    async def babble(connection):
        await connection.read_head()
        await connection.stream.send_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")

    async with serving(babble) as server, a_road_to() as (road, _):
        with pytest.raises(AnswerLostError):
            await road.send(a_put(server, File()))


async def test_trickling_server_is_given_up_when_the_budget_is_over():
    """It counts for the whole."""

    async def trickle(connection):
        await connection.read_head()
        while True:
            await trio.sleep(0.05)
            await connection.stream.receive_some(1)

    file = File(64)
    async with serving(trickle) as server, a_road_to() as (road, transport):
        with pytest.raises(AnswerLostError, match="no whole answer"):
            await road.send(a_put(server, file, budget_s=0.5))

        assert (file.open_now, transport._streamed.open) == (0, 0)


async def test_cancelled_in_the_middle_leaves_nothing_open():
    """Neither the file nor the connection: the server sees that it is over."""
    half = trio.Event()

    async def watch(connection):
        await connection.read_head()
        await connection.read_body(4 * MIB)
        half.set()
        await connection.read_body(64 * MIB)

    file = File(64)
    async with serving(watch) as server, a_road_to() as (road, transport):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(road.send, a_put(server, file))
            await half.wait()
            nursery.cancel_scope.cancel()

        await server.closed.wait()
        assert server.connections[0].came < 64 * MIB
        assert (file.open_now, transport._streamed.open) == (0, 0)


async def test_nobody_there_is_unreachable_and_reads_nothing():
    file = File()
    async with serving(take_all) as server, a_road_to() as (road, _):
        gone = attrs.evolve(server, port=1)
        with pytest.raises(UnreachableError):
            await road.send(a_put(gone, file))

        assert (file.read, file.open_now) == (0, 0)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (File(8, fails_at=3), "Input/output error"),
        (File(8, size=9 * MIB), f"ended after {8 * MIB} of {9 * MIB} bytes"),
        (File(8, size=7 * MIB), f"more than the {7 * MIB} bytes"),
    ],
    ids=["unreadable", "shorter", "longer"],
)
async def test_body_that_is_not_as_said_breaks_the_connection(file, words):
    """No cloud takes a part of it for the whole."""
    seen = trio.Event()

    async def watch(connection):
        await connection.read_head()
        await connection.read_body(64 * MIB)
        seen.set()

    async with serving(watch) as server, a_road_to() as (road, transport):
        with pytest.raises(RejectedError, match=words):
            await road.send(a_put(server, file))
        await seen.wait()

        assert server.connections[0].came < file.size
        assert (file.open_now, transport._streamed.open) == (0, 0)


async def test_file_that_cannot_be_opened_is_no_call_at_all(autojump_clock):
    class Gone(File):
        @asynccontextmanager
        async def open(self):
            raise FileNotFoundError(2, "No such file or directory", "debian.qcow2")
            yield

    transport = in_turn(httpx.Response(200))
    with pytest.raises(RejectedError, match=r"No such file or directory: 'debian\.qcow2'"):
        await a_road(transport).send(a_call("PUT", stream=Gone()))

    assert transport.requests == []


async def test_redirects_of_streams_are_refused_too():
    async def away(connection):
        await connection.read_head()
        await connection.answer("302 Found", b"", "Location: http://elsewhere/\r\n")

    async with serving(away) as server, a_road_to() as (road, _):
        with pytest.raises(Exception, match="redirects to elsewhere"):
            await road.send(a_put(server, File()))


async def test_other_transports_carry_streams_as_well(autojump_clock):
    """Cassettes and simulated clouds."""
    came = []

    async def answer(request):
        came.append(await request.aread())
        return httpx.Response(204)

    answer = await a_road(Scripted(answer)).send(a_call("PUT", stream=File(2)))

    assert answer.status == 204
    assert came == [PIECE * 2]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of 127.0.0.1 that is its own authority, and its key."""
    return self_made_certificate(tmp_path_factory.mktemp("tls"))


def trusting(certificate):
    return tls_context(TransportSettings(cacert=str(certificate[0])))


async def test_body_arrives_whole_over_tls(certificate):
    async with (
        serving(take_all, certificate=certificate) as server,
        LaneTransport(4, tls=trusting(certificate)) as transport,
    ):
        answer = await a_road(transport).send(a_put(server, File()))

        assert (answer.status, server.connections[0].came) == (204, 8 * MIB)


@pytest.mark.parametrize("way", ["resets", "reads no more"])
async def test_refusal_in_the_middle_is_read_over_tls(certificate, way):
    """Both directions are looked after, tickets and all."""

    async def refuse(connection):
        await connection.read_head()
        await connection.read_body(2 * MIB)
        await connection.answer("413 Too Large", b'{"message": "no"}')
        if way == "reads no more":
            await trio.sleep_forever()

    file = File(64)
    async with (
        serving(refuse, certificate=certificate) as server,
        LaneTransport(4, tls=trusting(certificate)) as transport,
    ):
        answer = await a_road(transport).send(a_put(server, file))

        assert (answer.status, answer.body) == (413, b'{"message": "no"}')
        assert file.read < 64


async def test_certificate_that_is_not_trusted_is_told_as_such(certificate):
    """As of any other call; nothing is sent."""
    file = File()
    async with (
        serving(take_all, certificate=certificate) as server,
        a_road_to() as (road, transport),
    ):
        with pytest.raises(UnreachableError, match="is not trusted"):
            await road.send(a_put(server, file))

        assert (file.read, transport._streamed.open) == (0, 0)
