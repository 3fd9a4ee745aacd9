"""The private names of kazoo that Trellis uses are there, and mean what they meant."""

import inspect

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
    """Another minor release is read again, at these three names, before it is allowed here."""
    assert kazoo.version.__version__.startswith("2.11.")


def test_a_request_and_its_answer_are_put_into_the_queue_by_one_method():
    """It takes any object with a type, a body, and a way to read the answer."""
    assert ["self", "request", "async_object"] == list(
        inspect.signature(KazooClient._call).parameters
    )


def test_watch_events_are_read_by_one_method_of_the_connection():
    """It is looked up on the connection each time, so that ours is found."""
    assert ["self", "buffer", "offset"] == list(
        inspect.signature(ConnectionHandler._read_watch_event).parameters
    )
    assert isinstance(KazooClient()._connection, ConnectionHandler)
    assert "self._read_watch_event(buffer, offset)" in inspect.getsource(
        ConnectionHandler._read_socket
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
