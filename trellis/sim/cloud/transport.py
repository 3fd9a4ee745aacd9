"""A simulated cloud behind an httpx client of the same process, in virtual or real time."""

from typing import Final

import httpx
import trio

from trellis.sim.cloud.cloud import SimCloud
from trellis.sim.cloud.faults import Fate, Verdict, broken_answer
from trellis.sim.cloud.wire import Request, Response, html

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
            httpx.ReadTimeout, httpx.ReadError: the answer is lost; it may have been carried out.
        """
        if self._fenced or request.url.host != self._host:
            await trio.lowlevel.checkpoint()
            raise httpx.ConnectError(f"no route to {request.url.host}", request=request)
        call = await _call_of(request)
        verdict = self._cloud.judge(call)
        patience = request.extensions.get("timeout", {}).get("read")
        response = await self._carried(request, call, verdict, patience)
        return httpx.Response(
            response.status,
            headers=list(response.headers.items()),
            content=response.body,
            request=request,
        )

    async def _carried(
        self, request: httpx.Request, call: Request, verdict: Verdict, patience: float | None
    ) -> Response:
        match verdict.fate:
            case Fate.REFUSED:
                await trio.lowlevel.checkpoint()
                raise httpx.ConnectError("[Errno 111] Connection refused", request=request)
            case Fate.HUNG:
                await trio.sleep(_PATIENCE_S if patience is None else patience)
                raise httpx.ReadTimeout("nothing came", request=request)
            case Fate.GATEWAY:
                await trio.sleep(verdict.latency_s)
                return html(502, "Bad Gateway")
            case Fate.LOST:
                await self._lose(request, call, verdict, patience)
        response = None
        if verdict.acts and verdict.acts_first:
            response = self._cloud.handle(call)
        if patience is not None and verdict.latency_s > patience:
            if response is None and verdict.acts:
                self._cloud.handle_after(call, verdict.latency_s)
            await trio.sleep(patience)
            raise httpx.ReadTimeout(f"no answer within {patience:g} s", request=request)
        await trio.sleep(verdict.latency_s)
        if self._fenced:
            raise httpx.ReadError("the caller's host is dead", request=request)
        if verdict.acts and response is None:
            response = self._cloud.handle(call)
        if response is None or verdict.fate is Fate.BROKEN:
            return broken_answer(verdict.status)
        return response

    async def _lose(
        self, request: httpx.Request, call: Request, verdict: Verdict, patience: float | None
    ) -> None:
        self._cloud.note_lost(call, verdict)
        if verdict.acts_after_s is not None:
            self._cloud.handle_after(call, verdict.acts_after_s)
        elif verdict.acts and verdict.acts_first:
            self._cloud.handle(call)
        elif verdict.acts:
            self._cloud.handle_after(call, verdict.latency_s)
        if verdict.silent:
            await trio.sleep(_PATIENCE_S if patience is None else patience)
            raise httpx.ReadTimeout("nothing came", request=request)
        await trio.sleep(verdict.latency_s)
        raise httpx.ReadError("connection reset by peer", request=request)


async def _call_of(request: httpx.Request) -> Request:
    body = await request.aread()
    raw_path = request.url.raw_path.decode("ascii")
    path, _, query = raw_path.partition("?")
    headers = {name.lower().decode(): value.decode() for name, value in request.headers.raw}
    return Request(request.method, path, query, headers, body)
