"""Any transport of httpx as a wire: the real ones, cassettes, and those of tests."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from functools import lru_cache
from typing import Any, Final, TypeAlias

import httpx

from trellis import __version__
from trellis.http.message import Call
from trellis.http.stream import opened
from trellis.http.streamed import EXTENSION
from trellis.http.wire import (
    NotSentError,
    Progress,
    UnwritableError,
    UselessHeaderError,
    UselessUrlError,
    Wire,
    WireAnswer,
    WireError,
)

_CONNECT_S: Final = 15.0
_NOT_SENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
)
_HEADERS: Final = {
    "User-Agent": f"trellis/{__version__}",
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate",
}

Transport: TypeAlias = httpx.AsyncBaseTransport | Wire
"""What can carry calls."""


def wire_of(transport: Transport) -> Wire:
    """What was given, as a wire."""
    return HttpxWire(transport) if isinstance(transport, httpx.AsyncBaseTransport) else transport


class HttpxWire:
    """A wire over a transport of httpx; its errors become those of wires.

    Args:
        transport: closed with the wire.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def send(self, call: Call, progress: Progress) -> WireAnswer:
        """See `Wire.send`."""
        async with AsyncExitStack() as stack:
            body = None
            if call.stream is not None:
                body = _Body(await stack.enter_async_context(opened(call.stream)))
            response = await self._sent(_request(call, progress, body), progress)
        headers = dict(response.headers.items())
        if response.is_closed:
            # Made in process, and whole from the start.
            return WireAnswer(response.status_code, headers, response.content)
        return WireAnswer(response.status_code, headers, _Pieces(response), response.aclose)

    async def _sent(self, request: httpx.Request, progress: Progress) -> httpx.Response:
        try:
            return await self._transport.handle_async_request(request)
        except httpx.TransportError as error:
            raise _wire_error(error) from error
        except (ValueError, OverflowError) as error:
            # What a resolver or a socket says of a host or a port that cannot be.
            if not progress.certainly_not_sent:
                raise
            raise UselessUrlError(str(error)) from error

    async def aclose(self) -> None:
        """See `Wire.aclose`."""
        await self._transport.aclose()


class _Body(httpx.AsyncByteStream):
    """The body of a call, as it is read."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces


class _Pieces:
    """The body of an answer as it comes."""

    def __init__(self, response: httpx.Response) -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self._stream = response.stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._stream:
                yield piece
        except httpx.TransportError as error:
            raise _wire_error(error) from error


def _wire_error(error: httpx.TransportError) -> WireError:
    text = str(error)
    match error:
        case httpx.UnsupportedProtocol():
            return UselessUrlError("it must begin with https:// or http://")
        case httpx.LocalProtocolError():
            return UnwritableError(text)
        case _ if isinstance(error, _NOT_SENT):
            return NotSentError(text)
        case _:
            return WireError(text)


def _request(call: Call, progress: Progress, body: _Body | None) -> httpx.Request:
    async def trace(event: str, _info: Mapping[str, Any]) -> None:
        if event in ("lane.wait.started", "connection.connect_tcp.started"):
            progress.certainly_not_sent = True
        elif event.endswith(".send_request_headers.started"):
            progress.certainly_not_sent = False

    headers, streamed = {**_HEADERS, **call.headers}, {}
    try:
        url = _parsed(call.url, tuple((call.params or {}).items()))
        if call.stream is not None:
            # httpx adds neither where it is given a stream.
            headers["Host"] = url.netloc.decode("ascii")
            headers["Content-Length"] = str(call.stream.size)
            streamed = {EXTENSION: True}
        return httpx.Request(
            call.method,
            url,
            headers=headers,
            content=call.content,
            stream=body,
            extensions={
                "trace": trace,
                "timeout": {"connect": min(_CONNECT_S, call.budget_s)},
                **streamed,
            },
        )
    except httpx.InvalidURL as error:
        raise UselessUrlError(str(error)) from error
    except UnicodeEncodeError:
        raise UselessHeaderError from None


@lru_cache(maxsize=2048)
def _parsed(url: str, params: tuple[tuple[str, str], ...]) -> httpx.URL:
    """The URL with its query; kept, as parsing takes longer than all else about a request.

    Raises:
        httpx.InvalidURL: it cannot be used.
    """
    parsed = httpx.URL(url)
    return parsed.copy_merge_params(dict(params)) if params else parsed
