"""Any transport of httpx as a wire: the real ones, cassettes, and those of tests."""

from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

import httpx

from trellis import __version__
from trellis.http.message import Call
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
        request = _request(call, progress)
        try:
            response = await self._transport.handle_async_request(request)
        except httpx.TransportError as error:
            raise _wire_error(error) from error
        except (ValueError, OverflowError) as error:
            # What a resolver or a socket says of a host or a port that cannot be.
            if not progress.certainly_not_sent:
                raise
            raise UselessUrlError(str(error)) from error
        headers = dict(response.headers.items())
        if response.is_closed:
            # Made in process, and whole from the start.
            return WireAnswer(response.status_code, headers, response.content)
        return WireAnswer(response.status_code, headers, _Pieces(response), response.aclose)

    async def aclose(self) -> None:
        """See `Wire.aclose`."""
        await self._transport.aclose()


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


def _request(call: Call, progress: Progress) -> httpx.Request:
    async def trace(event: str, _info: Mapping[str, Any]) -> None:
        if event in ("lane.wait.started", "connection.connect_tcp.started"):
            progress.certainly_not_sent = True
        elif event.endswith(".send_request_headers.started"):
            progress.certainly_not_sent = False

    try:
        return httpx.Request(
            call.method,
            _parsed(call.url, tuple((call.params or {}).items())),
            headers={**_HEADERS, **call.headers},
            content=call.content,
            extensions={
                "trace": trace,
                "timeout": {"connect": min(_CONNECT_S, call.budget_s)},
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
