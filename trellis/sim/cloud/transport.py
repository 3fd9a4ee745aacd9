"""A simulated cloud behind an httpx client of the same process, in virtual or real time."""

from collections.abc import AsyncIterator
from typing import Final

import httpx
import trio

from trellis.sim.cloud.carriage import EVERY_S, PIECE, Cut, Endless, NoAnswer, Trickle, carry
from trellis.sim.cloud.cloud import SimCloud
from trellis.sim.cloud.wire import Request, Response

_PATIENCE_S: Final = 60.0
"""How long a lost call is waited for by a caller who set no time limit."""


class SimTransport(httpx.AsyncBaseTransport):
    """Carries the calls of one client to a simulated cloud.

    A call acts at its beginning or at its end, which is decided when it comes in; one that is
    cancelled or times out in between may thus have been carried out or not, and if it acts at its
    end and the caller gave up by its read timeout, it is still carried out then, unheard. The
    ``read`` timeout of the client is kept; the others never matter here.

    Args:
        cloud: where the calls go. Hosts other than its own are refused.
    """

    def __init__(self, cloud: SimCloud) -> None:
        self._cloud = cloud
        self._host = httpx.URL(cloud.root).host
        self._fenced = False

    def fence(self) -> None:
        """Let nothing through any more, as if the host of the caller had died.

        What is in flight and has not acted yet never will, but for calls already given up.
        """
        self._fenced = True

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one call.

        Raises:
            httpx.ConnectError: refused, fenced, or not this cloud's host; not carried out.
            httpx.ReadTimeout, httpx.ReadError, httpx.RemoteProtocolError: the answer is lost; it
                may have been carried out.
        """
        if self._fenced or request.url.host != self._host:
            await trio.lowlevel.checkpoint()
            raise httpx.ConnectError(f"no route to {request.url.host}", request=request)
        call = await _call_of(request)
        patience = request.extensions.get("timeout", {}).get("read")
        carried = await carry(self._cloud, call, patience=patience, alive=lambda: not self._fenced)
        match carried:
            case NoAnswer.REFUSED:
                raise httpx.ConnectError("[Errno 111] Connection refused", request=request)
            case NoAnswer.SILENT:
                await trio.sleep(_PATIENCE_S if patience is None else patience)
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
            carried.status, headers=_raw(carried), content=carried.body, request=request
        )


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
                await trio.sleep(carried.pause_s)
                yield carried.response.body[place : place + 1]
            return
        yield carried.response.body
        while True:
            await trio.sleep(EVERY_S)
            yield PIECE


async def _call_of(request: httpx.Request) -> Request:
    body = await request.aread()
    raw_path = request.url.raw_path.decode("ascii")
    path, _, query = raw_path.partition("?")
    headers = {name.lower().decode(): value.decode() for name, value in request.headers.raw}
    return Request(request.method, path, query, headers, body, trio.current_time())
