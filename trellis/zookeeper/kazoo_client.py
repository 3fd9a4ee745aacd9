"""All of kazoo that Trellis touches: its client's thread, and the few private names needed.

kazoo's client speaks the wire in a thread of its own: frames, heartbeats, taking the session up
again on another connection. What it has not is added here: persistent recursive watches; TLS that
believes the configured CA alone and checks the server's name; a session that ends for good when
the server says so, where kazoo would quietly open another; and a stop that does not wait. What
is sent and read is `trellis.zookeeper.kazoo_frames`.

Private name of kazoo 2.11 that is used here: ``KazooClient._connection``.
The tests fail if it is gone.
"""

import logging
import select
import socket
import ssl
import threading
from collections.abc import Sequence
from typing import Any, Final, Protocol

from kazoo.client import KazooClient
from kazoo.exceptions import WriterNotClosedException
from kazoo.handlers.threading import SequentialThreadingHandler
from kazoo.protocol.serialization import int_struct, write_string
from kazoo.protocol.states import KazooState

from trellis.zookeeper.kazoo_frames import Frames
from trellis.zookeeper.session import Servers
from trellis.zookeeper.unreachable import Failures, ssl_context

RETRY_S: Final = 0.1
RETRIES_PER_TIMEOUT: Final = 5.0
"""So often at least: a server that was started again waits a time-out long for its sessions."""

RESUME_SHARE: Final = 1 / 3
"""Of the time-out: so long one server may take to take up a session again; the next is tried."""


class Answer(Protocol):
    """Who waits for an answer; called once, in kazoo's thread."""

    def set(self, value: object = None) -> None:
        """The request was carried out."""

    def set_exception(self, exception: Exception) -> None:
        """It was not, or nobody knows."""


class Told(Protocol):
    """Who is told of the session; called in kazoo's threads, and must not wait."""

    def connected(self) -> None:
        """Requests can be sent; watches have to be set anew."""

    def disconnected(self) -> None:
        """The connection broke; the session may be taken up again."""

    def lost(self) -> None:
        """The server says that the session is over."""

    def happened(self, kind: int, path: str) -> None:
        """A watched znode was made, deleted or written: `MADE`, `DELETED` or `WRITTEN`."""

    def round_failed(self) -> None:
        """Every host was tried once more, and none has opened a session."""


class AddWatch:
    """The request for a persistent recursive watch, which kazoo 2.11 does not know."""

    type = 106
    _RECURSIVE = 1

    def __init__(self, path: str) -> None:
        self.path = path

    def serialize(self) -> bytes:
        """As ZooKeeper's ``AddWatchRequest``: path, mode."""
        return bytes(write_string(self.path) + int_struct.pack(self._RECURSIVE))

    @staticmethod
    def deserialize(_body: bytes, _offset: int) -> bool:
        """The answer says nothing beside its header."""
        return True


class RemoveWatches:
    """The request to end all watches of a path."""

    type = 18
    _ANY = 3

    def __init__(self, path: str) -> None:
        self.path = path

    def serialize(self) -> bytes:
        """As ZooKeeper's ``RemoveWatchesRequest``: path, type of watcher."""
        return bytes(write_string(self.path) + int_struct.pack(self._ANY))

    @staticmethod
    def deserialize(_body: bytes, _offset: int) -> bool:
        """The answer says nothing beside its header."""
        return True


class Client:
    """A kazoo client with one session; its methods do not wait, but for `stop`."""

    def __init__(self, servers: Servers, told: Told, failures: Failures) -> None:
        self._told = told
        self._handler = _Handler(servers, told, failures)
        self._client = KazooClient(
            hosts=",".join(servers.hosts),
            timeout=servers.timeout_s,
            handler=self._handler,
            connection_retry={
                "max_tries": -1,
                "delay": RETRY_S,
                "max_delay": servers.timeout_s / RETRIES_PER_TIMEOUT,
                "sleep_func": self._handler.sleep_func,
            },
            command_retry={"sleep_func": self._handler.sleep_func},
            logger=_Log(failures),
            use_ssl=servers.tls is not None,
        )
        self._client.add_listener(self._changed)
        self._frames = Frames(self._client, told.happened)

    def start(self) -> None:
        """Begin to connect."""
        self._client.start_async()

    @property
    def session_id(self) -> int | None:
        """The session's; None while there is no connection."""
        known = self._client.client_id
        return None if known is None else int(known[0])

    def send(self, request: object, answer: Answer | None) -> None:
        """Send a request of kazoo's, or one of the two of this module, at the next `wake`."""
        self._frames.send(request, answer if answer is not None else _Unheard())

    def wake(self) -> None:
        """Have what was sent go out; from the thread that sends."""
        self._frames.wake()

    def stop(self) -> None:
        """End the session and kazoo's threads; blocks until they are gone."""
        try:
            self._client.stop()
        except WriterNotClosedException:  # its thread still resolves a name: nothing ends that
            self._client._connection.stop()
        self._client.close()

    def cut(self) -> None:
        """Break the connection for good: nothing is waited for any more."""
        self._handler.end()

    def _changed(self, state: str) -> None:
        self._handler.resuming = state == KazooState.SUSPENDED
        if state == KazooState.CONNECTED:
            self._told.connected()
        elif state == KazooState.SUSPENDED:
            self._told.disconnected()
        else:
            # In the thread that would connect next: it opens no other session.
            self._handler.refuse()
            self._told.lost()


class _Unheard:
    """Nobody waits for the answer."""

    def set(self, value: object = None) -> None:
        """Drop it."""

    def set_exception(self, exception: Exception) -> None:
        """Drop it."""


class _Handler(SequentialThreadingHandler):  # type: ignore[misc]  # kazoo has no types
    """Sockets for kazoo, which can be ended from another thread."""

    def __init__(self, servers: Servers, told: Told, failures: Failures) -> None:
        super().__init__()
        self._servers, self._told, self._failures = servers, told, failures
        self._connect_s = max(1.0, servers.timeout_s / len(servers.hosts))
        self._ended = threading.Event()
        self._refusing = False
        self.resuming = False
        """Whether there was a session that is to be taken up again: somebody else may answer."""
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def sleep_func(self, seconds: float) -> None:
        """Called between two rounds over all hosts."""
        if not self._refusing:
            self._told.round_failed()
        self._ended.wait(seconds)

    def refuse(self) -> None:
        """Make no further connection."""
        self._refusing = True

    def end(self) -> None:
        """Make no further connection, and break the one that is there or under way."""
        self._refusing = True
        self._ended.set()
        with self._lock:
            if self._socket is not None:
                _shut_down(self._socket)

    def create_connection(
        self, address: tuple[str, int], hostname: str | None = None, **_: object
    ) -> socket.socket:
        """See kazoo's ``IHandler``; TLS as `Servers.tls` says, whatever kazoo asks for."""
        name = hostname or address[0]
        if self._refusing:
            raise OSError("the session is over")
        self._failures.trying(name, address[1])
        try:
            return self._connect(address, name)
        except OSError as error:
            self._failures.failed(error)
            raise

    def _connect(self, address: tuple[str, int], name: str) -> socket.socket:
        # Read anew each time, so that a renewed certificate is taken up.
        context = None if self._servers.tls is None else ssl_context(self._servers.tls)
        plain = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        try:
            self._keep(plain)
            plain.settimeout(self._connect_s)
            plain.connect(address)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is None:
                return plain
            secure = context.wrap_socket(plain, server_hostname=name, do_handshake_on_connect=False)
        except BaseException:
            plain.close()
            raise
        try:
            self._keep(secure)
            secure.do_handshake()
        except BaseException:
            secure.close()
            raise
        return secure

    def _keep(self, new: socket.socket) -> None:
        with self._lock:
            if self._ended.is_set():
                raise OSError("the session is over")
            self._socket = new

    def select(
        self,
        read: Sequence[Any],
        write: Sequence[Any],
        _exceptional: Sequence[Any],
        timeout: float | None = None,
    ) -> tuple[list[Any], list[Any], list[Any]]:
        """As `select.select`, for any file descriptor, and for what TLS has read ahead.

        kazoo's own asks only the kernel: an answer that came in one TLS record with another would
        lie unread until something else comes.
        """
        ahead = [one for one in read if isinstance(one, ssl.SSLSocket) and one.pending()]
        poll = select.poll()
        for one in read:
            poll.register(one, select.POLLIN)
        for one in write:
            poll.register(one, select.POLLOUT)
        if timeout is not None and self.resuming:
            # kazoo waits a whole time-out for the answer of one connection, and the session is
            # over then. A server that is just starting may never answer.
            timeout = min(timeout, self._servers.timeout_s * RESUME_SHARE)
        wait_ms = None if timeout is None else max(0, int(timeout * 1000 + 0.999))
        ready = {fd for fd, _ in poll.poll(0 if ahead else wait_ms)}
        return (
            [one for one in read if one in ahead or one.fileno() in ready],
            [one for one in write if one.fileno() in ready],
            [],
        )


def _shut_down(one: socket.socket) -> None:
    """Wake whoever reads, writes or connects it; of an `SSLSocket` the TLS state is left alone."""
    try:
        socket.socket.shutdown(one, socket.SHUT_RDWR)
    except OSError:
        return  # it is not connected any more


class _Log(logging.Logger):
    """What kazoo would log: only why connections fail is kept, nothing is written."""

    def __init__(self, failures: Failures) -> None:
        super().__init__("trellis.zookeeper.kazoo", logging.WARNING)
        self.propagate = False
        self._failures = failures

    def handle(self, record: logging.LogRecord) -> None:
        """See `logging.Logger.handle`."""
        text = record.getMessage()
        for told in ("Connection dropped: ", "Connection time-out: "):
            if text.startswith(told):
                self._failures.dropped(text.removeprefix(told))
        if text.startswith("Cannot resolve "):
            host, _, why = text.removeprefix("Cannot resolve ").partition(": ")
            self._failures.unknown(host, why)
