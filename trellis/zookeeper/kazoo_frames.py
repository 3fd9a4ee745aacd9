"""What kazoo sends and reads on a connection, many pieces at a time.

kazoo writes one request at a time and reads one answer at a time, with several system calls and a
waking of its thread for each. Between two threads each of these is also a change of who computes.
Here its thread takes all that is asked, and all that has come, at once. The order is kazoo's: as
it was asked, and as the server sent it.

Private names of kazoo 2.11 that are used: of ``KazooClient``: ``_call``, ``_connection``,
``_pending``, ``_queue``, ``_state``; of ``ConnectionHandler``: ``_read_response``,
``_read_socket``, ``_read_sock``, ``_send_request``, ``_socket``, ``_socket_error_handling``,
``_write``, ``_write_sock``, ``_xid``. The tests fail if one of them is gone.
"""

import contextlib
import ssl
from collections.abc import Callable
from typing import Any, Final

from kazoo.client import KazooClient
from kazoo.exceptions import ConnectionDropped
from kazoo.protocol.connection import PING_XID, WATCH_XID
from kazoo.protocol.serialization import ReplyHeader, Watch, int_struct
from kazoo.protocol.states import KeeperState

# What of a znode a watch event tells, by ZooKeeper's numbers; a recursive watch has no other.
MADE, DELETED, WRITTEN = 1, 2, 3

_TAKES_REQUESTS: Final = frozenset({KeeperState.CONNECTED, KeeperState.CONNECTING})
_AT_ONCE: Final = 65536
_LENGTH: Final = int_struct.size


class Frames:
    """Takes the place of kazoo's own sending and reading in one client.

    Args:
        client: not started yet.
        happened: told of each watch event in kazoo's thread: `MADE`, `DELETED` or `WRITTEN`, and
            the path.
    """

    def __init__(self, client: KazooClient, happened: Callable[[int, str], None]) -> None:
        self._client, self._happened = client, happened
        self._connection = client._connection
        self._unsent = False
        self._woken = False
        """Whether kazoo's thread will look into its queue without being woken again."""
        self._read = bytearray()
        self._read_from: object = None
        self._connection._send_request = self._send_requests
        self._connection._read_socket = self._read_frames

    def send(self, request: Any, answer: Any) -> None:
        """Have kazoo's thread send a request when it is woken; from one thread, without waiting."""
        if self._client._state not in _TAKES_REQUESTS:
            self._client._call(request, answer)  # which refuses it, in kazoo's words
            return
        self._client._queue.append((request, answer))
        self._unsent = True

    def wake(self) -> None:
        """Have it look, if there is something new; from the thread that sends."""
        if not self._unsent:
            return
        self._unsent = False
        if not self._woken:
            self._woken = True
            # Without a pipe the client was stopped, which ends all that waits in its queue.
            with contextlib.suppress(OSError, AttributeError):
                self._connection._write_sock.send(b"\0")

    # ------------------------------------------------------------------- in kazoo's thread

    def _send_requests(self, _read_timeout: float, connect_timeout: float) -> None:
        """Send all that is in kazoo's queue; called when its thread was woken."""
        client, connection = self._client, self._connection
        connection._read_sock.recv(_AT_ONCE)
        # Before the queue is looked into: what comes later wakes us again.
        self._woken = False
        frames = bytearray()
        while client._queue:
            request, answer = client._queue[0]
            connection._xid = xid = connection._xid % 2147483647 + 1
            body = int_struct.pack(xid) + int_struct.pack(request.type) + request.serialize()
            frames += int_struct.pack(len(body)) + body
            # From here on it is in doubt if the connection breaks.
            client._pending.append((request, answer, xid))
            client._queue.popleft()
        if frames:
            connection._write(bytes(frames), connect_timeout)

    def _read_frames(self, _read_timeout: float) -> object:
        """Take what has come; gives back what kazoo makes of a goodbye's answer, else None."""
        connection = self._connection
        if self._read_from is not connection._socket:
            self._read_from, self._read = connection._socket, bytearray()
        with connection._socket_error_handling():
            try:
                piece = connection._socket.recv(_AT_ONCE)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                return None
        if not piece:
            raise ConnectionDropped("socket connection broken")
        self._read += piece
        return self._take_frames()

    def _take_frames(self) -> object:
        whole, at = bytes(self._read), 0
        ended: object = None
        while ended is None and len(whole) - at >= _LENGTH:
            (length,) = int_struct.unpack_from(whole, at)
            end = at + _LENGTH + length
            if len(whole) < end:
                break
            frame = whole[at + _LENGTH : end]
            at = end
            ended = self._take(frame)
        del self._read[:at]
        return ended

    def _take(self, frame: bytes) -> object:
        header, offset = ReplyHeader.deserialize(frame, 0)
        if header.xid == PING_XID:
            self._connection.ping_outstanding.clear()
        elif header.xid == WATCH_XID:
            event, _ = Watch.deserialize(frame, offset)
            if event.type in (MADE, DELETED, WRITTEN):
                self._happened(event.type, event.path)
        else:
            ended: object = self._connection._read_response(header, frame, offset)
            return ended
        return None
