"""Stub nodes: an SSH banner and a host key at every server's own address, without root.

All of 127.0.0.0/8 is this machine's own, so servers have addresses there, and one listener at
their common port answers for all of them: which server is meant shows in the address that the
client connected to. A server costs no descriptor and no task until somebody connects.
"""

import errno
import logging
import socket
import struct
from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import Final

import trio

from trellis.errors import ConfigError
from trellis.sim.cloud import SimCloud, connector

_SUBNET: Final = IPv4Network("127.128.0.0/9")
_SSH: Final = 22
_BACKLOG: Final = 1024
_CHUNK: Final = 4096
_RESET: Final = struct.pack("ii", 1, 0)

_log = logging.getLogger(__name__)


class StubNodes:
    """The stub back end; no login is possible on its nodes.

    Args:
        port: where they answer; 0 takes any free one.
    """

    subnet = _SUBNET
    reachable = True
    boots_images = False
    run_within = ()

    def __init__(self, port: int = 0) -> None:
        self._port = port

    def prepare(self) -> None:
        """Nothing is needed."""

    async def run(  # noqa: ASYNC114 - it is started by `serve_clouds` alone
        self, clouds: Sequence[SimCloud], *, task_status: trio.TaskStatus[int]
    ) -> None:
        """Answer for all servers until cancelled.

        Raises:
            ConfigError: the port cannot be listened at, or the system has no way to listen on
                loopback only.
        """
        bound = _listener(self._port)
        connect = connector(clouds)

        async def serve_one(stream: trio.SocketStream) -> None:
            try:
                host = stream.socket.getsockname()[0]
                server = await connect(host, _SSH)
            except OSError:
                # No such server, or its guest is not up: as a closed port answers.
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                return
            await _pump(stream, server)

        async with bound:
            task_status.started(bound.socket.getsockname()[1])
            await trio.serve_listeners(serve_one, [bound])


async def _pump(client: trio.SocketStream, server: trio.abc.Stream) -> None:
    """Carry what the client says to the server and back, until either hangs up."""
    async with trio.open_nursery() as nursery:

        async def carry(source: trio.abc.Stream, sink: trio.abc.Stream) -> None:
            try:
                while data := await source.receive_some(_CHUNK):
                    await sink.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                # The server is gone, or the client has left: a node that dies says no goodbye.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            nursery.cancel_scope.cancel()

        nursery.start_soon(carry, client, server)
        nursery.start_soon(carry, server, client)


def _listener(port: int) -> trio.SocketListener:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # At every address of loopback, and at no other interface.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo\0")
        sock.bind(("0.0.0.0", port))
        sock.listen(_BACKLOG)
    except OSError as refused:
        sock.close()
        remedy = "leave the port out to take any free one"
        if refused.errno in (errno.EPERM, errno.ENOPROTOOPT, errno.ENODEV):
            remedy = "stub nodes need Linux 5.7 or newer and the interface lo; or say --nodes none"
        where = f"port {port} of lo" if port else "any port of lo"
        raise ConfigError([f"stub nodes: cannot listen at {where}: {refused}; {remedy}"]) from None
    return trio.SocketListener(trio.socket.from_stdlib_socket(sock))
