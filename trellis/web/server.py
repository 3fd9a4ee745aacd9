"""Serving the face over HTTP, until it is told to stop."""

import socket
from functools import partial
from typing import Final

import trio

from trellis.errors import ConfigError
from trellis.web.app import Face
from trellis.web.connection import Connections

_GRACE_S: Final = 4.0
_BACKLOG: Final = 1024


async def serve(
    face: Face,
    listen: str,
    *,
    stop: trio.Event,
    grace_s: float = _GRACE_S,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the face until *stop* is set and the calls under way have ended.

    Long polls answer and event streams end at once when it is set; other calls have *grace_s*.
    Cancelling breaks off all calls.

    Args:
        face: what `make_app` built; it is closed for good afterwards.
        listen: ``HOST:PORT``, ``[IPV6]:PORT``; port 0 takes a free one.
        stop: set it to shut down.
        grace_s: seconds for calls under way to end, after which they are broken off.
        task_status: started with the URL once calls are accepted.

    Raises:
        ConfigError: the address cannot be listened at.
    """
    listener = _listener(listen)
    connections = Connections(face)
    async with listener, trio.open_nursery() as handlers:
        async with trio.open_nursery() as accepting:
            accepting.start_soon(
                partial(
                    trio.serve_listeners, connections.serve, [listener], handler_nursery=handlers
                )
            )
            task_status.started(_url(listener))
            await stop.wait()
            accepting.cancel_scope.cancel()
        face.closing.begin()
        connections.end()
        handlers.cancel_scope.deadline = trio.current_time() + grace_s


def _listener(listen: str) -> trio.SocketListener:
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, int(port)))
        sock.listen(_BACKLOG)
    except (OSError, ValueError, OverflowError) as refused:
        sock.close()
        raise ConfigError(
            [
                f"web.listen: cannot listen at {listen}: {refused}; stop what listens there "
                "(another trellis?), or choose another address"
            ]
        ) from refused
    return trio.SocketListener(trio.socket.from_stdlib_socket(sock))


def _url(listener: trio.SocketListener) -> str:
    host, port = listener.socket.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
