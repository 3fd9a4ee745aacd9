"""Connections kept for many tasks at once: a constant cost per call, however many wait.

httpx's own pool walks all connections for each call and is unfair beyond some hundred tasks, so
each *lane* here is one httpx transport with a single connection. Lanes are taken last in, first
out, so that a few stay warm and the rest expire; tasks wait for them in the order they came.
"""

import ssl
from collections.abc import AsyncIterator, Callable
from typing import Final, TypeAlias

import attrs
import httpx
import trio

from trellis.http.streamed import EXTENSION, StreamedCalls

_Origin: TypeAlias = tuple[str, str, int | None]

_CLOSE_WITHIN_S: Final = 1.0


@attrs.frozen(kw_only=True)
class LaneStatistics:
    """How many lanes exist, are in use and are kept, and how many tasks wait for one."""

    open: int
    borrowed: int
    idle: int
    waiting: int


@attrs.define(eq=False)
class _Lane:
    origin: _Origin
    wire: httpx.AsyncHTTPTransport
    idle_since: float = 0.0


class LaneTransport(httpx.AsyncBaseTransport):
    """An httpx transport of at most so many connections, to any number of origins.

    A connection that has been idle for *idle_s* is closed at the next call. When all are open
    and none leads to the origin that is wanted, the one idle for longest gives way. The lane is
    held until the response is closed. A cancelled call gives its lane back, its connection closed.
    Requests with a streamed body take no lane: see `trellis.http.streamed`.

    Reports to the request's ``trace`` extension, beside httpcore's own events,
    ``lane.wait.started`` when the call begins to wait: until httpcore reports
    ``…send_request_headers.started``, nothing was sent.

    Args:
        lanes: how many connections may be open.
        tls: for https.
        idle_s: see above.
    """

    def __init__(self, lanes: int, *, tls: ssl.SSLContext, idle_s: float = 30.0) -> None:
        self._lanes = lanes
        self._tls = tls
        self._streamed = StreamedCalls(tls)
        self._idle_s = idle_s
        self._turns = trio.CapacityLimiter(lanes)
        self._idle: dict[_Origin, dict[_Lane, None]] = {}  # per origin, newest last
        self._oldest: dict[_Lane, None] = {}  # all idle ones, oldest first
        self._borrowed: dict[_Lane, None] = {}

    @property
    def statistics(self) -> LaneStatistics:
        """The present numbers."""
        return LaneStatistics(
            open=len(self._oldest) + len(self._borrowed),
            borrowed=len(self._borrowed),
            idle=len(self._oldest),
            waiting=self._turns.statistics().tasks_waiting,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request on a lane of its own; raises httpx's transport errors."""
        if EXTENSION in request.extensions:
            return await self._streamed.send(request)
        trace = request.extensions.get("trace")
        if trace is not None:
            await trace("lane.wait.started", {})
        borrower = object()
        await self._turns.acquire_on_behalf_of(borrower)
        try:
            lane, surplus = self._borrow(request)
        except BaseException:
            self._turns.release_on_behalf_of(borrower)
            raise

        def give_back() -> None:
            del self._borrowed[lane]
            self._put(lane)
            self._turns.release_on_behalf_of(borrower)

        try:
            await self._close(surplus)
            response = await lane.wire.handle_async_request(request)
        except BaseException:
            give_back()
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Held(response.stream, give_back)
        return response

    async def aclose(self) -> None:
        """Close all connections, those in use as well."""
        lanes = [*self._oldest, *self._borrowed]
        self._idle.clear()
        self._oldest.clear()
        await self._streamed.aclose()
        await self._close(lanes)

    def _borrow(self, request: httpx.Request) -> tuple[_Lane, list[_Lane]]:
        """Take a lane for the request, and find the lanes that must be closed for it."""
        origin = (request.url.scheme, request.url.host, request.url.port)
        surplus = self._take_expired()
        if warm := self._idle.get(origin):
            lane = next(reversed(warm))
            self._take(lane)
        else:
            if len(self._oldest) + len(self._borrowed) >= self._lanes and self._oldest:
                loser = next(iter(self._oldest))
                self._take(loser)
                surplus.append(loser)
            lane = _Lane(origin, self._wire())
        self._borrowed[lane] = None
        return lane, surplus

    def _take_expired(self) -> list[_Lane]:
        expired = []
        limit = trio.current_time() - self._idle_s
        while self._oldest and (lane := next(iter(self._oldest))).idle_since <= limit:
            self._take(lane)
            expired.append(lane)
        return expired

    def _take(self, lane: _Lane) -> None:
        del self._oldest[lane]
        warm = self._idle[lane.origin]
        del warm[lane]
        if not warm:
            del self._idle[lane.origin]

    def _put(self, lane: _Lane) -> None:
        lane.idle_since = trio.current_time()
        self._oldest[lane] = None
        self._idle.setdefault(lane.origin, {})[lane] = None

    def _wire(self) -> httpx.AsyncHTTPTransport:
        return httpx.AsyncHTTPTransport(
            verify=self._tls,
            trust_env=False,
            limits=httpx.Limits(
                max_connections=1, max_keepalive_connections=1, keepalive_expiry=self._idle_s
            ),
        )

    async def _close(self, lanes: list[_Lane]) -> None:
        """Close connections to the end, also for a cancelled task: nobody else knows them."""
        for lane in lanes:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSE_WITHIN_S):
                await lane.wire.aclose()


class _Held(httpx.AsyncByteStream):
    """A response's body that gives the lane back when it is closed."""

    def __init__(self, inner: httpx.AsyncByteStream, give_back: Callable[[], None]) -> None:
        self._inner = inner
        self._give_back: Callable[[], None] | None = give_back

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._inner.__aiter__()

    async def aclose(self) -> None:
        try:
            await self._inner.aclose()
        finally:
            give_back, self._give_back = self._give_back, None
            if give_back is not None:
                give_back()
