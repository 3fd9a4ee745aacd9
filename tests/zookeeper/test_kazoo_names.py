"""The private names of kazoo that Trellis uses are there, and mean what they meant."""

import inspect
from collections.abc import Callable

import kazoo.version
import pytest
import trio
from kazoo.client import KazooClient
from kazoo.protocol.connection import ConnectionHandler
from kazoo.protocol.serialization import int_struct

from trellis.zookeeper.errors import UnreachableServersError
from trellis.zookeeper.kazoo_client import AddWatch, RemoveWatches
from trellis.zookeeper.opening import open_session
from trellis.zookeeper.session import Servers


def test_kazoo_is_of_a_version_whose_source_was_read():
    """Another minor release is read again, at these names, before it is allowed here."""
    assert kazoo.version.__version__.startswith("2.11.")


def test_a_request_and_its_answer_are_put_into_the_queue_by_one_method():
    """It takes any object with a type, a body, and a way to read the answer."""
    assert ["self", "request", "async_object"] == _parameters(KazooClient._call)
    assert "self._queue.append((request, async_object))" in inspect.getsource(KazooClient._call)


def test_a_connection_reads_and_sends_by_two_methods():
    """They are looked up on the connection each time, so that ours are found."""
    assert ["self", "read_timeout"] == _parameters(ConnectionHandler._read_socket)
    assert ["self", "read_timeout", "connect_timeout"] == _parameters(
        ConnectionHandler._send_request
    )
    assert isinstance(KazooClient()._connection, ConnectionHandler)
    loop = inspect.getsource(ConnectionHandler._connect_attempt)
    assert "self._read_socket(read_timeout)" in loop
    assert "self._send_request(read_timeout, connect_timeout)" in loop


def test_what_these_two_use_is_there():
    """An answer is taken by kazoo; requests wait in its queue, and then for their answers."""
    assert ["self", "header", "buffer", "offset"] == _parameters(ConnectionHandler._read_response)
    assert ["self", "msg", "timeout"] == _parameters(ConnectionHandler._write)
    assert ["self"] == _parameters(ConnectionHandler._socket_error_handling)
    client = KazooClient()
    for name in ("_pending", "_queue", "_state"):
        assert hasattr(client, name)
    for name in ("_read_sock", "_socket", "_write_sock", "_xid", "ping_outstanding"):
        assert hasattr(client._connection, name)
    assert "client._pending.append((request, async_object, xid))" in inspect.getsource(
        ConnectionHandler._send_request
    )


def test_the_requests_for_watches_are_as_zookeeper_reads_them():
    """A path with its length before it, and a number."""
    path = int_struct.pack(2) + b"/a"

    assert (106, path + int_struct.pack(1)) == (AddWatch.type, AddWatch("/a").serialize())
    assert (18, path + int_struct.pack(3)) == (RemoveWatches.type, RemoveWatches("/a").serialize())


async def test_where_nobody_listens_each_host_is_named_with_what_to_do():
    """Needs no server; in real time, as kazoo lives in a thread."""
    with trio.fail_after(10), pytest.raises(UnreachableServersError) as caught:
        async with open_session(Servers(hosts=("127.0.0.1:1", "[::1]:1"), timeout_s=5.0)):
            raise AssertionError("there is no server")

    for host in ("127.0.0.1:1", "[::1]:1"):
        assert f"{host}: " in str(caught.value)
    assert "is ZooKeeper running, and is the port right?" in str(caught.value)


def _parameters(function: Callable[..., object]) -> list[str]:
    return list(inspect.signature(function).parameters)
