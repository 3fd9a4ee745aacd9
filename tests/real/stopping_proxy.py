"""A proxy before Glance that stops taking in large bodies: a crash finds them half sent."""

import contextlib
import socket
import threading
from types import TracebackType
from urllib.parse import urlsplit

PIECE = 1 << 16
HOLD_AT_MOST_S = 300


class StoppingProxy:
    """Carries bytes both ways; while armed, a connection that carried *at* bytes waits.

    Only the body of a large file comes so far, which has a connection of its own. What a client
    that died had sent goes on to Glance afterwards, and then its end, as a network does it.

    Args:
        target: what stands behind it.
        at: so many bytes of a connection pass.

    Leaving the block ends it and all of its connections.

    Attributes:
        url: what to use in the place of *target*.
        stopped: how many connections have been stopped.
    """

    def __init__(self, target: str, at: int) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 80)
        self._at = at
        self._open = threading.Event()
        self._open.set()
        self.stopped = 0
        self._lock = threading.Lock()
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}{parts.path}"

    def stop(self) -> None:
        """From now on nothing of a connection passes after its first *at* bytes."""
        self._open.clear()

    def let_go(self) -> None:
        """Let everything pass again, what waits as well."""
        self._open.set()

    def __enter__(self) -> "StoppingProxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed = True
        self.let_go()
        # Closing alone does not wake the thread that accepts.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                glance = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            threading.Thread(target=self._serve, args=(client, glance), daemon=True).start()

    def _serve(self, client: socket.socket, glance: socket.socket) -> None:
        with client, glance:
            down = threading.Thread(target=_carry, args=(glance, client), daemon=True)
            down.start()
            self._up(client, glance)
            down.join()

    def _up(self, client: socket.socket, glance: socket.socket) -> None:
        carried = 0
        with contextlib.suppress(OSError):
            while piece := client.recv(PIECE):
                if carried < self._at <= carried + len(piece) and not self._open.is_set():
                    with self._lock:
                        self.stopped += 1
                    self._open.wait(HOLD_AT_MOST_S)
                carried += len(piece)
                glance.sendall(piece)
        _end(glance)


def _carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(PIECE):
            target.sendall(piece)
    _end(target)


def _end(target: socket.socket) -> None:
    """Pass the end on; the other way of this connection may still have something to say."""
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
