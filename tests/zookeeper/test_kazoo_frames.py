"""What kazoo's thread sends and reads at once: nothing is lost, doubled or out of order."""

import socket
from collections.abc import Iterator

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import ConnectionDropped, NoNodeError
from kazoo.protocol import serialization as wire
from kazoo.protocol.connection import PING_XID, WATCH_XID
from kazoo.protocol.serialization import int_struct, write_string
from kazoo.protocol.states import KeeperState

from trellis.zookeeper.kazoo_frames import DELETED, MADE, Frames

_NO_NODE = -101


class Stage:
    """A client whose thread is not running: the test does what it would do."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.client = KazooClient()
        self.client._state = KeeperState.CONNECTED
        self.frames = Frames(self.client, lambda kind, path: self.told.append((kind, path)))
        connection = self.client._connection
        connection._read_sock, connection._write_sock = socket.socketpair()
        connection._socket, self.server = socket.socketpair()
        for one in (connection._read_sock, connection._socket, self.server):
            one.setblocking(False)
        connection._xid = 0

    def woken(self) -> int:
        """How often kazoo's thread was woken since it looked."""
        try:
            return len(self.client._connection._read_sock.recv(100, socket.MSG_PEEK))
        except BlockingIOError:
            return 0

    def ask(self, name: str) -> None:
        self.frames.send(wire.Delete(f"/{name}", -1), Answer(name, self.told))

    def thread_sends(self) -> list[tuple[int, int]]:
        """Have all sent; number and type of each request that the server reads."""
        self.client._connection._send_request(1.0, 1.0)
        try:
            data = self.server.recv(65536)
        except BlockingIOError:
            return []
        read = []
        while data:
            (length,) = int_struct.unpack_from(data)
            read.append((int_struct.unpack_from(data, 4)[0], int_struct.unpack_from(data, 8)[0]))
            data = data[4 + length :]
        return read

    def thread_reads(self, piece: bytes) -> object:
        self.server.sendall(piece)
        return self.client._connection._read_socket(1.0)

    def reconnected(self) -> None:
        self.client._connection._socket.close()
        self.server.close()
        self.client._connection._socket, self.server = socket.socketpair()
        self.client._connection._socket.setblocking(False)

    def close(self) -> None:
        connection = self.client._connection
        for one in (connection._read_sock, connection._write_sock, connection._socket, self.server):
            one.close()


class Answer:
    """Notes what it is told."""

    def __init__(self, name: str, told: list[object]) -> None:
        self._name, self._told = name, told

    def set(self, value: object = None) -> None:
        self._told.append((self._name, value))

    def set_exception(self, exception: Exception) -> None:
        self._told.append((self._name, type(exception)))


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.close()


def _frame(xid: int, error: int = 0, body: bytes = b"") -> bytes:
    header = wire.reply_header_struct.pack(xid, 7, error)
    return bytes(int_struct.pack(len(header) + len(body)) + header + body)


def _event(kind: int, path: str) -> bytes:
    return _frame(WATCH_XID, body=int_struct.pack(kind) + int_struct.pack(3) + write_string(path))


def test_nothing_asked_wakes_nobody(stage):
    """It is called in each round of Trio's."""
    stage.frames.wake()

    assert 0 == stage.woken()


def test_what_is_asked_before_the_thread_looks_is_sent_at_once_in_its_order(stage):
    """It is woken once, and each request has its number."""
    for name in "abc":
        stage.ask(name)
        stage.frames.wake()

    assert 1 == stage.woken()
    assert [(1, wire.Delete.type), (2, wire.Delete.type), (3, wire.Delete.type)] == (
        stage.thread_sends()
    )
    assert [1, 2, 3] == [xid for _, _, xid in stage.client._pending]


def test_what_is_asked_after_the_thread_has_looked_wakes_it_again(stage):
    """Else it would lie in the queue until something else is asked."""
    stage.ask("a")
    stage.frames.wake()
    stage.thread_sends()
    stage.ask("b")
    stage.frames.wake()

    assert 1 == stage.woken()
    assert [(2, wire.Delete.type)] == stage.thread_sends()


def test_a_thread_that_is_woken_for_nothing_sends_nothing(stage):
    """The request may have been sent with the one before it, or ended with the connection."""
    stage.ask("a")
    stage.frames.wake()
    stage.client._queue.clear()

    assert [] == stage.thread_sends()


def test_a_closed_client_refuses_a_request(stage):
    """In kazoo's words."""
    stage.client._state = KeeperState.CLOSED

    stage.ask("a")
    stage.frames.wake()

    ((name, error),) = stage.told
    assert "a" == name
    assert issubclass(error, Exception)
    assert 0 == stage.woken()


@pytest.mark.parametrize("size", [1, 3, 4, 20, 37, 1000])
def test_frames_that_come_in_pieces_are_taken_whole_and_in_order(stage, size):
    """However the network cuts them: events, answers, and the answer to a ping between them."""
    for name in "ab":
        stage.ask(name)
    stage.frames.wake()
    stage.thread_sends()
    stage.client._connection.ping_outstanding.set()
    data = b"".join(
        [
            _event(MADE, "/x"),
            _frame(1),
            _frame(PING_XID),
            _event(DELETED, "/x"),
            _frame(2, error=_NO_NODE),
        ]
    )

    for at in range(0, len(data), size):
        assert stage.thread_reads(data[at : at + size]) is None

    assert [(MADE, "/x"), ("a", True), (DELETED, "/x"), ("b", NoNodeError)] == stage.told
    assert not stage.client._connection.ping_outstanding.is_set()


def test_half_a_frame_of_a_broken_connection_is_no_part_of_the_next(stage):
    """The next one begins with a whole frame."""
    stage.thread_reads(_event(MADE, "/x")[:9])
    stage.reconnected()
    stage.thread_reads(_event(MADE, "/y"))

    assert [(MADE, "/y")] == stage.told


def test_nothing_to_read_is_no_end(stage):
    """As with TLS, which may have had something to say to itself."""
    assert stage.client._connection._read_socket(1.0) is None


def test_a_connection_that_the_server_closed_is_dropped(stage):
    """kazoo then makes another."""
    stage.server.close()

    with pytest.raises(ConnectionDropped):
        stage.client._connection._read_socket(1.0)
