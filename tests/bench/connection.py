"""A connection kept alive to one server on loopback: as cheap as a requestor of many can be."""

import json
import time
from types import TracebackType
from typing import Any, Final
from urllib.parse import urlsplit

import h11
import trio

_IDLE_S: Final = 40.0
"""Servers close a connection idle for long; the daemon after 60 s."""
_READ: Final = 65536


class AnswerError(Exception):
    """A call was answered with an error, or with something that is no JSON."""

    def __init__(self, call: str, status: int, body: bytes) -> None:
        super().__init__(f"{call}: {status} {body[:500].decode(errors='replace')}")
        self.status = status


class Connection:
    """One keep-alive connection, for one task at a time; opened when it is needed.

    Args:
        url: where to, as ``http://127.0.0.1:8480``; a path in it stands before all others.

    Attributes:
        sent_at: when the last call was sent, in `time.monotonic` seconds.
        heard_at: when its answer had come.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._address = parts.hostname, parts.port
        self._host = f"{parts.hostname}:{parts.port}"
        self._root = parts.path.rstrip("/")
        self._stream: trio.SocketStream | None = None
        self._http = h11.Connection(h11.CLIENT)
        self.sent_at = self.heard_at = 0.0

    async def __aenter__(self) -> "Connection":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def open(self) -> None:
        """Connect now, so that the first call need not."""
        self._stream = await trio.open_tcp_stream(*self._address)
        self._http = h11.Connection(h11.CLIENT)
        self.heard_at = time.monotonic()

    async def get(self, path: str) -> Any:
        """Read something."""
        return await self.call("GET", path)

    async def post(self, path: str, body: Any) -> Any:
        """Send something."""
        return await self.call("POST", path, body)

    async def delete(self, path: str) -> Any:
        """Have something deleted."""
        return await self.call("DELETE", path)

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """Make one call; made again if the connection turns out to have been closed.

        So a call must be one that may be repeated. Cancelled, it leaves the connection closed.

        Raises:
            AnswerError: it is answered with a status of 300 or above.
            OSError: nobody listens there.
            trio.BrokenResourceError: the connection broke twice.
        """
        fresh = self._stream is None or time.monotonic() - self.heard_at > _IDLE_S
        if not fresh:
            try:
                return await self._once(method, path, body)
            except trio.BrokenResourceError:
                self.close()
        self.close()
        await self.open()
        return await self._once(method, path, body)

    async def _once(self, method: str, path: str, body: Any) -> Any:
        assert self._stream is not None
        whole = False
        try:
            self.sent_at = time.monotonic()
            await self._stream.send_all(self._spoken(method, path, body))
            status, text = await self._heard(self._stream)
            self.heard_at = time.monotonic()
            self._http.start_next_cycle()
            whole = True
        except h11.ProtocolError as broken:
            raise trio.BrokenResourceError from broken
        finally:
            if not whole:
                self.close()
        if status >= 300:
            raise AnswerError(f"{method} {path}", status, text)
        return json.loads(text) if text else None

    def _spoken(self, method: str, path: str, body: Any) -> bytes:
        headers = [("Host", self._host), ("Accept", "application/json")]
        content = b"" if body is None else json.dumps(body).encode()
        if content:
            headers.append(("Content-Type", "application/json"))
            headers.append(("Content-Length", str(len(content))))
        request = h11.Request(method=method, target=self._root + path, headers=headers)
        spoken = self._http.send(request) or b""
        if content:
            spoken += self._http.send(h11.Data(data=content)) or b""
        return spoken + (self._http.send(h11.EndOfMessage()) or b"")

    async def _heard(self, stream: trio.SocketStream) -> tuple[int, bytes]:
        status, body = 0, bytearray()
        while True:  # noqa: ASYNC913 - it reads, or ends
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await stream.receive_some(_READ))
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return status, bytes(body)
            elif isinstance(event, h11.ConnectionClosed):
                raise trio.BrokenResourceError("the server closed the connection")

    def close(self) -> None:
        """Close it; the next call opens it again."""
        if self._stream is not None:
            # Closing the socket itself: an aclose would be a checkpoint.
            self._stream.socket.close()
            self._stream = None
