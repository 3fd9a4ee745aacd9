"""HTTP/1.1 for an application of `Request` and `Response`, on loopback and as cheap as can be.

It can do what no web server does on purpose: break a connection, leave it without an answer, cut
an answer short.
"""

import errno
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeGuard

import attrs
import h11
import trio

from trellis.config.addresses import ListenAddress
from trellis.errors import ConfigError
from trellis.sim.cloud.carriage import (
    EVERY_S,
    MOST_BODY,
    PIECE,
    Carried,
    Cut,
    Endless,
    NoAnswer,
    Trickle,
)
from trellis.sim.cloud.wire import OCTETS, Incoming, Request, Response, html
from trellis.sim.serving.incoming import LONG, Body, Chunks
from trellis.sim.serving.incoming import PIECE as LONG_PIECE

Answer = Carried
Application = Callable[[Request], Awaitable[Answer]]

_BACKLOG: Final = 2048
_CHUNK: Final = 65_536
_RESET: Final = struct.pack("ii", 1, 0)
_SERVER: Final = (b"server", b"trellis-sim")
_LINGER_S: Final = 2.0
_LOOK_S: Final = 1.0
_ESTABLISHED: Final = 1
"""The first byte of Linux' ``tcp_info``, while neither side has hung up."""

_log = logging.getLogger(__name__)


def listener(listen: ListenAddress) -> trio.SocketListener:
    """Bind a loopback address.

    Raises:
        ConfigError: it cannot be listened at; names the address and what to do.
    """
    host = "127.0.0.1" if listen.host == "localhost" else listen.host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, listen.port))
        sock.listen(_BACKLOG)
    except OSError as refused:
        sock.close()
        remedy = "choose another address, as --listen 127.0.0.1:0 for any free port"
        if refused.errno == errno.EADDRINUSE:
            remedy = f"stop what listens there (another trellis cloud?), or {remedy}"
        raise ConfigError([f"--listen: cannot listen at {listen}: {refused}; {remedy}"]) from None
    return trio.SocketListener(trio.socket.from_stdlib_socket(sock))


async def serve_http(bound: trio.SocketListener, application: Application) -> None:
    """Serve until cancelled, which breaks off every connection.

    A bug in the application costs its call an answer 500 and is logged, and nothing else.
    """

    async def serve_one(stream: trio.SocketStream) -> None:
        await _Connection(stream, application).run()

    async with bound:
        await trio.serve_listeners(serve_one, [bound])


class _Connection:
    """One connection, call after call."""

    def __init__(self, stream: trio.SocketStream, application: Application) -> None:
        self._stream = stream
        self._application = application
        self._h11 = h11.Connection(h11.SERVER)
        self._long: Body | Chunks | None = None

    async def run(self) -> None:
        """Answer calls until either side hangs up."""
        try:
            while await self._one_call():
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client is gone: whatever it asked for has been done or not
        except h11.RemoteProtocolError as error:
            await self._refuse(error)
        except h11.LocalProtocolError:
            _log.exception("the simulated cloud made an answer that is no HTTP")

    async def _one_call(self) -> bool:
        """Take a call and answer it; whether the connection is good for another one."""
        request = await self._receive()
        if request is None:
            return False
        answer = await self._answered(request)
        if self._is_early(answer):
            return await self._end_early(request, answer)
        match answer:
            case Response():
                await self._send(request, answer, answer.body)
            case Cut(response):
                half = response.body[: len(response.body) // 2]
                await self._send(request, response, half, whole=False)
                self._reset()
                return False
            case Trickle(response):
                await self._trickle(request, response, answer.pause_s)
            case Endless(response):
                await self._send_for_ever(request, response)
            case NoAnswer.SILENT:
                if self._long is not None and self._long.left:
                    await self._until_it_gives_up()
                else:
                    await self._until_it_leaves()
                return False
            case NoAnswer.REFUSED | NoAnswer.RESET:
                self._reset()
                return False
        if isinstance(self._long, Body):
            # The parser has not seen the body: the next call is another conversation.
            surplus = self._long.surplus
            self._h11 = h11.Connection(h11.SERVER)
            if surplus:
                self._h11.receive_data(surplus)
            return True
        if self._h11.our_state is h11.MUST_CLOSE or self._h11.their_state is not h11.DONE:
            await self._stream.send_eof()
            return False
        self._h11.start_next_cycle()
        return True

    def _is_early(self, answer: Answer) -> TypeGuard[Response]:
        """Whether it is answered before all of a long body has come."""
        return self._long is not None and self._long.left > 0 and isinstance(answer, Response)

    async def _end_early(self, request: Request, answer: Response) -> bool:
        """Answer, and hang up slowly: who still sends would lose the answer otherwise."""
        await self._send(request, answer.with_headers(Connection="close"), answer.body)
        await self._stream.send_eof()
        with trio.move_on_after(_LINGER_S):
            await self._until_it_leaves()
        return False

    async def _answered(self, request: Request) -> Answer:
        try:
            return await self._application(request)
        except (trio.BrokenResourceError, h11.RemoteProtocolError):
            raise  # the client is gone in the middle of a long body, or sends none
        except Exception:  # noqa: BLE001
            _log.exception("%s %s: the simulated cloud failed", request.method, request.path)
            return html(500, "Internal Server Error")

    # ------------------------------------------------------------------------- receiving

    async def _receive(self) -> Request | None:
        """The next call; None when the client has hung up."""
        head: h11.Request | None = None
        body = bytearray()
        self._long = None
        while True:  # noqa: ASYNC913 - it reads, or ends
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                if self._h11.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(status_code=100, headers=[])
                    await self._stream.send_all(self._h11.send(go_on) or b"")
                self._h11.receive_data(await self._stream.receive_some(_CHUNK))
            elif isinstance(event, h11.Request):
                head = event
                incoming = self._long_body(head)
                if incoming is not None:
                    return attrs.evolve(_request(head, b""), incoming=incoming)
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > MOST_BODY:
                    raise h11.RemoteProtocolError("body too large", error_status_hint=413)
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                return _request(head, bytes(body))
            else:
                return None

    def _long_body(self, head: h11.Request) -> Incoming | None:
        """The body of this call, if it is not to be held in memory."""
        headers = dict(head.headers)
        size = int(headers.get(b"content-length", b"0"))
        octets = headers.get(b"content-type", b"").partition(b";")[0] == OCTETS.encode()
        if b"transfer-encoding" in headers:
            self._long = Chunks(self._next_chunk) if octets else None
        elif (size and octets) or (size > LONG and head.method == b"PUT"):
            begun, _ = self._h11.trailing_data
            self._long = Body(self._stream, size, begun, self._go_on)
        return self._long

    async def _go_on(self) -> None:
        """Tell a client to send the body, if it waits to be told."""
        if self._h11.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[])
            await self._stream.send_all(self._h11.send(go_on) or b"")

    async def _next_chunk(self) -> object:
        while True:
            event = self._h11.next_event()
            if event is not h11.NEED_DATA:
                await trio.lowlevel.checkpoint()
                return event
            await self._go_on()
            self._h11.receive_data(await self._stream.receive_some(_CHUNK))

    async def _until_it_leaves(self) -> None:
        """Say nothing; read until the client hangs up."""
        while await self._stream.receive_some(_CHUNK):
            pass

    async def _until_it_gives_up(self) -> None:
        """Say nothing and read nothing, until the client hangs up."""
        sock = self._stream.socket
        # No event tells that the other side has gone while nothing is read.
        while sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _ESTABLISHED:  # noqa: ASYNC110
            await trio.sleep(_LOOK_S)

    # --------------------------------------------------------------------------- sending

    async def _send(
        self, request: Request, response: Response, body: bytes, *, whole: bool = True
    ) -> None:
        connection = self._h11
        parts = [connection.send(_head(response, sized=True))]
        # What answers HEAD has the length of the body and no body.
        if response.file and request.method != "HEAD":
            await self._stream.send_all(b"".join(part for part in parts if part))
            parts = []
            await self._send_file(response.file)
        elif body and request.method != "HEAD":
            parts.append(connection.send(h11.Data(data=body)))
        if whole:
            parts.append(connection.send(h11.EndOfMessage()))
        await self._stream.send_all(b"".join(part for part in parts if part))

    async def _send_file(self, path: str) -> None:
        async with await trio.open_file(path, "rb") as file:
            while piece := await file.read(LONG_PIECE):
                await self._stream.send_all(self._h11.send(h11.Data(data=piece)) or b"")

    async def _trickle(self, request: Request, response: Response, pause_s: float) -> None:
        """Send an answer byte by byte."""
        connection = self._h11
        await self._stream.send_all(connection.send(_head(response, sized=True)) or b"")
        for byte in response.body if request.method != "HEAD" else b"":
            await trio.sleep(pause_s)
            await self._stream.send_all(connection.send(h11.Data(data=bytes([byte]))) or b"")
        await self._stream.send_all(connection.send(h11.EndOfMessage()) or b"")

    async def _send_for_ever(self, request: Request, response: Response) -> None:
        """Begin an answer and send blanks until the client hangs up."""
        connection = self._h11
        await self._stream.send_all(connection.send(_head(response, sized=False)) or b"")
        piece = response.body or PIECE
        while True:
            data = connection.send(h11.Data(data=piece)) if request.method != "HEAD" else b""
            await self._stream.send_all(data or b"")
            await trio.sleep(EVERY_S)
            piece = PIECE

    async def _refuse(self, error: h11.RemoteProtocolError) -> None:
        """Tell a client that does not speak HTTP, if it can still be told, and hang up."""
        if self._h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        page = html(error.error_status_hint, str(error))
        headers = [("content-type", "text/html"), ("connection", "close")]
        headers.append(("content-length", str(len(page.body))))
        head = h11.Response(status_code=page.status, headers=headers)
        said = (self._h11.send(head) or b"") + page.body
        try:
            await self._stream.send_all(said)
        except trio.BrokenResourceError:
            return

    def _reset(self) -> None:
        """Have the connection break, not end, when it is closed."""
        self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def _head(response: Response, *, sized: bool) -> h11.Response:
    """The head of an answer; one without its size comes in chunks."""
    headers = [(name.encode(), value.encode("latin-1")) for name, value in response.headers.items()]
    told = any(name.lower() == b"content-length" for name, _ in headers)
    if sized and not told and response.status not in (204, 304):
        length = Path(response.file).stat().st_size if response.file else len(response.body)
        headers.append((b"content-length", b"%d" % length))
    headers.append(_SERVER)
    return h11.Response(status_code=response.status, headers=headers)


def _request(head: h11.Request, body: bytes) -> Request:
    path, _, query = head.target.decode("ascii").partition("?")
    headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
    return Request(head.method.decode("ascii"), path, query, headers, body, trio.current_time())
