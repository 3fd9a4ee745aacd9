"""A simulated cloud behind the road, or an httpx client, of the same process."""

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import httpx
import trio

from trellis.http.message import Call, Stream
from trellis.http.stream import opened
from trellis.http.wire import NotSentError, Progress, UselessUrlError, WireAnswer, WireError
from trellis.sim.clock import sleep
from trellis.sim.cloud.carriage import EVERY_S, PIECE, Cut, Endless, NoAnswer, Trickle, carry
from trellis.sim.cloud.cloud import SimCloud
from trellis.sim.cloud.wire import OCTETS, Request, Response

_PATIENCE_S: Final = 60.0
"""How long a lost call is waited for by a caller who set no time limit."""
_PLAIN: Final = re.compile(r"https?://([a-z0-9.-]+)(?::\d+)?((?:/(?:[\w~-][\w.~-]*)?)+)", re.ASCII)
"""URLs that say what they mean, which need not be parsed."""


class SimWire:
    """Carries the calls of one road to a simulated cloud.

    A call acts at its beginning or at its end, which is decided when it comes in; one that is
    cancelled in between may thus have been carried out or not.

    Args:
        cloud: where the calls go. Hosts other than its own are refused.
    """

    def __init__(self, cloud: SimCloud) -> None:
        self._cloud = cloud
        self._host = httpx.URL(cloud.root).host
        self._fenced = False

    def fence(self) -> None:
        """Let nothing through any more, as if the host of the caller had died.

        What is in flight and has not acted yet never will.
        """
        self._fenced = True

    async def send(self, call: Call, progress: Progress) -> WireAnswer:  # noqa: ARG002
        """See `Wire.send`; *progress* is told nothing."""
        host, path = _place(call.url)
        if self._fenced or host != self._host:
            await trio.lowlevel.checkpoint()
            raise NotSentError(f"no route to {host}")
        query = urlencode(call.params) if call.params else ""
        headers = {name.lower(): value for name, value in call.headers.items()}
        body = _Streamed(call.stream) if call.stream is not None else None
        request = Request(
            call.method, path, query, headers, call.content or b"", trio.current_time(), body
        )
        carried = await carry(self._cloud, request, alive=self._lives)
        match carried:
            case Response():
                # What is coded is unpacked by whoever reads it, with a bound.
                packed = "Content-Encoding" in carried.headers
                content = _content_of(carried)
                answered = _Whole(content) if packed else content
                return WireAnswer(carried.status, carried.headers, answered)
            case NoAnswer.REFUSED:
                raise NotSentError("[Errno 111] Connection refused")
            case NoAnswer.SILENT:
                await sleep(_PATIENCE_S)
                raise WireError("nothing came")
            case NoAnswer.RESET:
                raise WireError("connection reset by peer")
            case Cut():
                raise WireError("peer closed connection without sending complete message body")
            case Trickle(response) | Endless(response):
                return WireAnswer(response.status, response.headers, _Slow(carried))

    async def aclose(self) -> None:
        """See `Wire.aclose`; there is nothing to close."""

    def _lives(self) -> bool:
        return not self._fenced


@lru_cache(maxsize=4096)
def _place(url: str) -> tuple[str, str]:
    """Host and path of a URL, as they would be sent.

    Raises:
        UselessUrlError: it has none that can be sent.
    """
    plain = _PLAIN.fullmatch(url)
    if plain is not None:
        return plain[1], plain[2]
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise UselessUrlError(str(error)) from error
    return parsed.host, parsed.raw_path.decode("ascii").partition("?")[0]


def path_of(url: str) -> str:
    """The path of a URL, as it would be sent.

    Raises:
        UselessUrlError: it has none that can be sent.
    """
    return _place(url)[1]


class SimTransport(httpx.AsyncBaseTransport):
    """Carries the calls of one httpx client to a simulated cloud, as `SimWire` does a road's.

    One that acts at its end is still carried out then, unheard, if the caller gave up by its
    ``read`` timeout, which is kept; the other timeouts never matter here.

    Args:
        cloud: where the calls go. Hosts other than its own are refused.
    """

    def __init__(self, cloud: SimCloud) -> None:
        self._cloud = cloud
        self._host = httpx.URL(cloud.root).host

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one call.

        Raises:
            httpx.ConnectError: refused, or not this cloud's host; not carried out.
            httpx.ReadTimeout, httpx.ReadError, httpx.RemoteProtocolError: the answer is lost; it
                may have been carried out.
        """
        if request.url.host != self._host:
            await trio.lowlevel.checkpoint()
            raise httpx.ConnectError(f"no route to {request.url.host}", request=request)
        call = await _call_of(request)
        patience = request.extensions.get("timeout", {}).get("read")
        carried = await carry(self._cloud, call, patience=patience)
        match carried:
            case NoAnswer.REFUSED:
                raise httpx.ConnectError("[Errno 111] Connection refused", request=request)
            case NoAnswer.SILENT:
                await sleep(_PATIENCE_S if patience is None else patience)
                raise httpx.ReadTimeout("nothing came", request=request)
            case NoAnswer.RESET:
                raise httpx.ReadError("connection reset by peer", request=request)
            case Cut():
                raise httpx.RemoteProtocolError(
                    "peer closed connection without sending complete message body",
                    request=request,
                )
            case Trickle(response) | Endless(response):
                return _streamed(response, request, _Slow(carried))
        if "Content-Encoding" in carried.headers:
            # Given as content, httpx would unpack it here and now, and without a bound.
            return _streamed(carried, request, _Whole(carried.body))
        return httpx.Response(
            carried.status, headers=_raw(carried), content=_content_of(carried), request=request
        )


def _content_of(response: Response) -> bytes:
    return Path(response.file).read_bytes() if response.file else response.body


def _streamed(
    response: Response, request: httpx.Request, body: httpx.AsyncByteStream
) -> httpx.Response:
    return httpx.Response(response.status, headers=_raw(response), stream=body, request=request)


def _raw(response: Response) -> list[tuple[bytes, bytes]]:
    return [(k.encode(), v.encode("latin-1")) for k, v in response.headers.items()]


class _Whole(httpx.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await trio.lowlevel.checkpoint()
        yield self._body


class _Slow(httpx.AsyncByteStream):
    """A body that takes its time."""

    def __init__(self, carried: Trickle | Endless) -> None:
        self._carried = carried

    async def __aiter__(self) -> AsyncIterator[bytes]:
        carried = self._carried
        if isinstance(carried, Trickle):
            for place in range(len(carried.response.body)):
                await sleep(carried.pause_s)
                yield carried.response.body[place : place + 1]
            return
        yield carried.response.body
        while True:
            await sleep(EVERY_S)
            yield PIECE


class _Streamed:
    """The body of a road's call, as a cloud reads it."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    @property
    def size(self) -> int:
        return self._stream.size

    def open(self) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return opened(self._stream)


class _Sent:
    """The body of a request of httpx, as a cloud reads it."""

    def __init__(self, request: httpx.Request) -> None:
        self._request = request

    @property
    def size(self) -> int | None:
        length = self._request.headers.get("content-length")
        return int(length) if length is not None else None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[AsyncIterator[bytes]]:
        stream = self._request.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        pieces = aiter(stream)
        try:
            yield pieces
        finally:
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()  # noqa: ASYNC102 - it ends what waits for nothing


async def _call_of(request: httpx.Request) -> Request:
    kind = request.headers.get("content-type", "")
    streamed = kind == OCTETS and isinstance(request.stream, httpx.AsyncByteStream)
    body = b"" if streamed else await request.aread()
    incoming = _Sent(request) if streamed else None
    raw_path = request.url.raw_path.decode("ascii")
    path, _, query = raw_path.partition("?")
    headers = {name.lower().decode(): value.decode() for name, value in request.headers.raw}
    return Request(request.method, path, query, headers, body, trio.current_time(), incoming)
