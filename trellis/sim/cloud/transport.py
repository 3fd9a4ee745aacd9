"""A simulated cloud behind an httpx client of the same process, in virtual or real time."""

from typing import Final

import httpx
import trio

from trellis.sim.cloud.carriage import Cut, NoAnswer, carry
from trellis.sim.cloud.cloud import SimCloud
from trellis.sim.cloud.wire import Request

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
        return httpx.Response(
            carried.status,
            headers=list(carried.headers.items()),
            content=carried.body,
            request=request,
        )


async def _call_of(request: httpx.Request) -> Request:
    body = await request.aread()
    raw_path = request.url.raw_path.decode("ascii")
    path, _, query = raw_path.partition("?")
    headers = {name.lower().decode(): value.decode() for name, value in request.headers.raw}
    return Request(request.method, path, query, headers, body, trio.current_time())
