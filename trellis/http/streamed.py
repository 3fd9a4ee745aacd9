"""Calls with a streamed body: each on a connection of its own, watched for an answer meanwhile.

An upload takes minutes or hours. On one of the lanes it would take the place of all other calls;
and HTTP clients, httpx's too, look for an answer only after the last byte: a cloud that refuses
early and reads no further would be talked to until the budget is over, or resets the connection
and its words are lost. So each of these calls has a new connection, of which both directions are
looked after, and which is closed when the answer has been read.
"""

import math
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Final, Protocol

import h11
import httpx
import trio

from trellis.http.wire import UnreadableBodyError

EXTENSION: Final = "trellis.streamed"
"""Marks a request of httpx whose body is streamed."""

_KEEPALIVE: Final = (
    ((socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1),
    ((socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), 60),
    ((socket.IPPROTO_TCP, socket.TCP_KEEPINTVL), 15),
    ((socket.IPPROTO_TCP, socket.TCP_KEEPCNT), 8),
)
"""A cloud may think for long after the last byte: whether it is still there, TCP asks meanwhile."""
_UNSENT: Final = 1024 * 1024
"""The kernel asks for more when it has less to send than this; Trio's 16 KiB mean many wake-ups."""
_READ: Final = 65_536
_REFUSED: Final = 300
_MOST_HEAD: Final = 256 * 1024


class _Trace(Protocol):
    async def __call__(self, event: str, info: dict[str, object], /) -> None: ...


class StreamedCalls:
    """Makes such calls for a transport of httpx.

    Args:
        tls: for https.
    """

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        self._open: set[trio.abc.Stream] = set()

    @property
    def open(self) -> int:
        """How many connections there are now."""
        return len(self._open)

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Send the request and return its answer, which holds the connection until it is closed.

        An answer that comes before the body is sent ends the sending if it is a refusal (300 and
        above). Reports to the request's ``trace`` extension as `LaneTransport` does. Cancelled,
        or failed, it closes the connection.

        Raises:
            httpx.TransportError: there is no answer.
            UnreadableBodyError: from the body; the connection is closed, so that the cloud sees
                that it is not whole.
        """
        stream = await self._connected(request)
        self._open.add(stream)
        try:
            exchange = _Exchange(request, stream)
            await exchange.run()
            return exchange.response(_Rest(exchange, self._open))
        except BaseException:
            self._open.discard(stream)
            await trio.aclose_forcefully(stream)
            raise

    async def aclose(self) -> None:
        """Close all connections, those in use as well."""
        while self._open:
            await trio.aclose_forcefully(self._open.pop())

    async def _connected(self, request: httpx.Request) -> trio.abc.Stream:
        trace: _Trace | None = request.extensions.get("trace")
        if trace is not None:
            await trace("connection.connect_tcp.started", {})
        timeout = request.extensions.get("timeout", {}).get("connect")
        with trio.move_on_after(math.inf if timeout is None else timeout):
            stream = await _connect(request.url, self._tls)
            if trace is not None:
                await trace("http11.send_request_headers.started", {})
            return stream
        raise httpx.ConnectTimeout(f"no connection within {timeout:g} s", request=request)


async def _connect(url: httpx.URL, tls: ssl.SSLContext) -> trio.abc.Stream:
    if url.scheme not in ("http", "https"):
        raise httpx.UnsupportedProtocol("it must begin with https:// or http://")
    host = url.raw_host.decode("ascii")
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        plain = await trio.open_tcp_stream(host, port)
    except OSError as error:
        raise httpx.ConnectError(str(error.__cause__ or error)) from error
    for option, value in _KEEPALIVE:
        plain.setsockopt(*option, value)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
    if url.scheme == "http":
        return plain
    stream = trio.SSLStream(plain, tls, server_hostname=host, https_compatible=True)
    try:
        await stream.do_handshake()
    except (trio.BrokenResourceError, ssl.SSLError) as error:
        await trio.aclose_forcefully(stream)
        raise httpx.ConnectError(str(error.__cause__ or error)) from error
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream


class _Exchange:
    """One request and its answer on a connection."""

    def __init__(self, request: httpx.Request, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._request = request
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_HEAD)
        self._head: h11.Response | None = None
        self._lost: httpx.TransportError | None = None
        self._unreadable: UnreadableBodyError | None = None
        self._sending = trio.CancelScope()

    async def run(self) -> None:
        """Send the request, and wait for the head of its answer."""
        try:
            head = self._h11.send(
                h11.Request(
                    method=self._request.method,
                    target=self._request.url.raw_path,
                    headers=[*self._request.headers.raw, (b"Connection", b"close")],
                )
            )
        except h11.LocalProtocolError as error:
            raise httpx.LocalProtocolError(str(error)) from error
        assert head is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            with self._sending:
                await self._send(head)
            if self._unreadable is not None:
                nursery.cancel_scope.cancel()
        if self._unreadable is not None:
            raise self._unreadable
        if self._lost is not None:
            raise self._lost

    async def _send(self, head: bytes) -> None:
        assert isinstance(self._request.stream, httpx.AsyncByteStream)
        try:
            await self.stream.send_all(head)
            async for piece in self._request.stream:
                for part in self._h11.send_with_data_passthrough(h11.Data(data=piece)) or ():
                    await self.stream.send_all(part)  # the piece itself, not a copy
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            # What the cloud said before it hung up may still be on its way to `_watch`.
            return
        except UnreadableBodyError as error:
            self._unreadable = error
            return
        self._h11.send(h11.EndOfMessage())

    async def _watch(self) -> None:
        """Read the head of the answer, whenever it comes."""
        try:
            while self._head is None:
                event = await self.next_event()
                if isinstance(event, h11.Response):
                    self._head = event
        except httpx.TransportError as error:
            self._lost = error
            self._sending.cancel()
            return
        if self._head.status_code >= _REFUSED:
            self._sending.cancel()

    async def next_event(self) -> object:
        """The next thing of the answer.

        Raises:
            httpx.TransportError: the connection broke, or it is no HTTP.
        """
        while True:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                raise httpx.RemoteProtocolError(str(error)) from error
            if event is not h11.NEED_DATA:
                return event
            try:
                data = await self.stream.receive_some(_READ)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise httpx.ReadError(str(error.__cause__ or "the connection broke")) from error
            if not data and self._h11.their_state is h11.SEND_RESPONSE:
                raise httpx.RemoteProtocolError("the connection was closed without an answer")
            self._h11.receive_data(bytes(data))

    def response(self, rest: "_Rest") -> httpx.Response:
        """The answer, whose body is still to be read."""
        assert self._head is not None
        return httpx.Response(
            self._head.status_code,
            headers=self._head.headers.raw_items(),
            stream=rest,
            request=self._request,
        )


class _Rest(httpx.AsyncByteStream, AsyncIterator[bytes]):
    """The body of the answer, as it comes; closing it closes the connection."""

    def __init__(self, exchange: _Exchange, open: set[trio.abc.Stream]) -> None:
        self._exchange = exchange
        self._open = open

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        event = await self._exchange.next_event()
        if isinstance(event, h11.Data):
            return bytes(event.data)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._open.discard(self._exchange.stream)
        await trio.aclose_forcefully(self._exchange.stream)
