"""Serving the face over HTTP, on hypercorn's Trio worker."""

import logging
import socket
from functools import partial
from typing import Final, cast

import trio
from hypercorn.config import Config
from hypercorn.trio import serve as hypercorn_serve
from hypercorn.typing import Framework

from trellis.errors import ConfigError
from trellis.web.app import Face

_GRACE_S: Final = 4.0
_UNBOUNDED: Final = 2**31


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
    with _listener(listen) as sock:
        url = _url(sock)
        config = Config()
        # hypercorn wraps a descriptor in a socket of its own and closes that.
        config.bind = [f"fd://{sock.detach()}"]
    config.graceful_timeout = grace_s
    config.include_server_header = False
    # An own number per connection would only make busy clients reconnect.
    config.keep_alive_max_requests = _UNBOUNDED
    config.keep_alive_timeout = 60
    config.errorlog = logging.getLogger("trellis.web.server")
    # Below that it repeats what the daemon logs itself.
    config.errorlog.setLevel(logging.WARNING)

    async def shutdown() -> None:
        await stop.wait()
        face.closing.begin()

    async with trio.open_nursery() as nursery:
        await nursery.start(
            partial(
                hypercorn_serve,
                cast(Framework, face),
                config,
                shutdown_trigger=shutdown,
                mode="asgi",
            )
        )
        task_status.started(url)


def _listener(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, int(port)))
        sock.listen(100)
    except (OSError, ValueError, OverflowError) as refused:
        sock.close()
        raise ConfigError(
            [
                f"web.listen: cannot listen at {listen}: {refused}; stop what listens there "
                "(another trellis?), or choose another address"
            ]
        ) from refused
    return sock


def _url(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
