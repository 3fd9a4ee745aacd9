"""One HTTP/1.1 connection to an ASGI application, served by one task.

h11 reads and writes the protocol. The application is called in the task of its connection, and
an answer goes out in one write where it can: a requestor's call costs three turns of Trio's loop
and no task of its own.
"""

import email.utils
import http
import time
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote

import h11
import structlog
import trio

from trellis.web.guard import AsgiApp, Message

log = structlog.get_logger()

KEEP_ALIVE_S: Final = 60.0
"""So long an idle connection is kept, and so long a client may take for the head of a call."""
TAKES_WITHIN_S: Final = 60.0
"""So long a client may take for each part of an answer; one that reads nothing is left."""
_CHUNK: Final = 65_536
_LONGEST_HEAD: Final = 16 * 1024
_BODILESS: Final = frozenset({204, 304})


class Connections:
    """The connections of one face, and the end of them.

    Args:
        app: what answers the calls.
    """

    def __init__(self, app: AsgiApp) -> None:
        self._app = app
        self._idle: dict[trio.CancelScope, None] = {}
        self._ending = False

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer the calls of one connection until either side ends it.

        A bug costs its call an answer 500, or its connection, is logged, and harms nothing else.
        Cancelled, it breaks the connection off. Closing the stream is the caller's.
        """
        try:
            # A client that has reset it by now has no address any more.
            connection = _Connection(stream, self._app)
            while await self._next(connection):
                await connection.answer()
                if not connection.renew():
                    break
            await stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass  # the client is gone: what it asked for has been done or not
        except Exception:
            log.exception("web_connection_crashed")

    def end(self) -> None:
        """Close each connection as soon as it has no call under way."""
        self._ending = True
        for scope in list(self._idle):
            scope.cancel()

    async def _next(self, connection: "_Connection") -> bool:
        """Wait for a call; False if none comes any more."""
        if self._ending:
            return False
        with trio.move_on_after(KEEP_ALIVE_S) as scope:
            self._idle[scope] = None
            try:
                return await connection.receive_head()
            finally:
                del self._idle[scope]
        return False


class _Connection:
    """The protocol of one connection, call after call."""

    def __init__(self, stream: trio.SocketStream, app: AsgiApp) -> None:
        self._stream, self._app = stream, app
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=_LONGEST_HEAD)
        self._client = tuple(stream.socket.getpeername()[:2])
        self._server = tuple(stream.socket.getsockname()[:2])
        self._request: h11.Request | None = None
        self._asked = False
        self._start: Message | None = None
        self._begun = self._ended = self._gone = False

    # --------------------------------------------------------------------------- a call

    async def receive_head(self) -> bool:
        """Read the head of the next call; False if the client has left or speaks no HTTP."""
        try:
            event = await self._next_event()
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint)
            return False
        if not isinstance(event, h11.Request):
            return False
        self._request = event
        self._start = None
        self._asked = self._begun = self._ended = False
        return True

    async def answer(self) -> None:
        """Have the application answer the call whose head has been read."""
        assert self._request is not None
        try:
            await self._app(self._scope(self._request), self._receive, self._send)
        except Exception:
            # Not its path: whoever knows a lease's id may end it.
            log.exception("web_call_crashed", method=self._request.method.decode("ascii"))
        if not self._begun and not self._gone:
            await self._refuse(http.HTTPStatus.INTERNAL_SERVER_ERROR)

    def renew(self) -> bool:
        """Whether the connection is good for another call; makes it ready for that."""
        if self._gone or not self._ended:
            return False
        try:
            while self._h11.their_state is h11.SEND_BODY:
                if self._h11.next_event() in (h11.NEED_DATA, h11.PAUSED):
                    return False  # a body that nobody wanted to read
            self._h11.start_next_cycle()
        except h11.ProtocolError:
            return False
        return True

    def _scope(self, request: h11.Request) -> Message:
        path, _, query = request.target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": request.http_version.decode("ascii"),
            "method": request.method.decode("ascii").upper(),
            "scheme": "http",
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": list(request.headers),
            "client": self._client,
            "server": self._server,
            "state": {},
            "extensions": {},
        }

    # ------------------------------------------------------------------------ receiving

    async def _receive(self) -> Message:
        """What ASGI calls ``receive``: the body piece by piece, then whether the client left."""
        if self._asked or self._gone:
            await self._until_gone()
            return {"type": "http.disconnect"}
        event: Any = None
        try:
            event = await self._next_event()
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # told below
        if isinstance(event, h11.Data):
            return {"type": "http.request", "body": bytes(event.data), "more_body": True}
        if isinstance(event, h11.EndOfMessage):
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        self._gone = True
        return {"type": "http.disconnect"}

    async def _next_event(self) -> Any:
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            if self._h11.they_are_waiting_for_100_continue:
                await self._write(h11.InformationalResponse(status_code=100, headers=[]))
            self._h11.receive_data(await self._stream.receive_some(_CHUNK))
        return event

    async def _until_gone(self) -> None:
        """Return once the client has left, or the whole answer has been sent."""
        if self._gone or self._ended:
            await trio.lowlevel.checkpoint()
            return
        if self._h11.trailing_data[0]:
            # It has sent its next call already, and reading on would take in any number of them.
            await trio.sleep_forever()
        try:
            data = await self._stream.receive_some(_CHUNK)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        self._h11.receive_data(data)
        if data:
            await trio.sleep_forever()
        self._gone = True

    # -------------------------------------------------------------------------- sending

    async def _send(self, message: Message) -> None:
        """What ASGI calls ``send``; what a client that left would have got is dropped."""
        if self._gone or self._ended:
            await trio.lowlevel.checkpoint()
            return
        if message["type"] == "http.response.start":
            # Held back: head and body go out together.
            self._start = message
            await trio.lowlevel.checkpoint_if_cancelled()
            return
        assert message["type"] == "http.response.body"
        events: list[h11.Event] = []
        if not self._begun:
            self._begun = True
            events.append(self._head())
        if (body := message.get("body", b"")) and not self._is_bodiless():
            events.append(h11.Data(data=body))
        if not message.get("more_body", False):
            self._ended = True
            events.append(h11.EndOfMessage())
        written = False
        try:
            await self._write(*events)
            written = True
        except trio.BrokenResourceError:
            pass  # told below
        finally:
            # Also when it was cancelled: nothing that followed half an answer had a meaning.
            self._gone = not written

    def _head(self) -> h11.Response:
        assert self._start is not None
        headers = [*self._start.get("headers", ()), (b"date", _date(int(time.time())))]
        return h11.Response(status_code=self._start["status"], headers=headers)

    def _is_bodiless(self) -> bool:
        assert self._request is not None
        assert self._start is not None
        return self._request.method == b"HEAD" or self._start["status"] in _BODILESS

    async def _write(self, *events: h11.Event) -> None:
        """Send, for as long as the client takes it.

        Raises:
            trio.BrokenResourceError: it is gone, or has taken nothing for too long.
        """
        parts = [self._h11.send(event) for event in events]
        with trio.move_on_after(TAKES_WITHIN_S) as taking:
            await self._stream.send_all(b"".join(part for part in parts if part))
        if taking.cancelled_caught:
            raise trio.BrokenResourceError("the client does not take its answer")

    async def _refuse(self, status: int) -> None:
        """Answer by ourselves, and close: what follows on the wire could mean anything."""
        if self._h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        headers = [(b"content-length", b"0"), (b"connection", b"close")]
        self._begun = self._ended = True
        await self._write(h11.Response(status_code=status, headers=headers), h11.EndOfMessage())


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    """A moment as HTTP writes it."""
    return email.utils.formatdate(second, usegmt=True).encode("ascii")
