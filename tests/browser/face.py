"""A face in a thread of its own, which can be stopped and started again at the same address."""

import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

sys.path.insert(0, str(Path(__file__).parent.parent / "web"))

from face_fakes import FakeBoard, FakePort, an_event

from trellis.web.app import make_app
from trellis.web.server import serve

T = TypeVar("T")


class ServedFace:
    """The fakes behind a face that listens on loopback, where a browser can reach it.

    Attributes:
        url: where; the same after a restart.
    """

    def __init__(self, board: FakeBoard) -> None:
        self.board, self.port = board, board.port
        self.url = ""
        self._listen = "127.0.0.1:0"
        self._thread: threading.Thread | None = None
        self._up = threading.Event()
        self._stop: trio.Event
        self._token: trio.lowlevel.TrioToken

    def start(self) -> None:
        """Serve; back when calls are answered."""
        self._up.clear()
        self._thread = threading.Thread(target=trio.run, args=(self._main,))
        self._thread.start()
        assert self._up.wait(10), "the face does not start"

    def stop(self) -> None:
        """Stop; back when nothing listens any more. Fine on one that is stopped."""
        if self._thread is not None:
            trio.from_thread.run_sync(self._stop.set, trio_token=self._token)
            self._thread.join(10)
            assert not self._thread.is_alive(), "the face does not stop"
            self._thread = None

    def do(self, act: Callable[[], T]) -> T:
        """Change the fakes in the face's own thread."""
        return trio.from_thread.run_sync(act, trio_token=self._token)

    def tell(self, kind: str, subject: str = "0000000001") -> None:
        """Send an event to those who follow."""
        self.do(lambda: self.board.tell(an_event(self.board.last_event() + 1, kind, subject)))

    async def _main(self) -> None:
        self._stop, self._token = trio.Event(), trio.lowlevel.current_trio_token()
        face = make_app(self.port, self.board)
        async with trio.open_nursery() as nursery:
            self.url = await nursery.start(partial(serve, face, self._listen, stop=self._stop))
            self._listen = self.url.removeprefix("http://")
            self._up.set()


def quiet_face() -> ServedFace:
    """One with the small fakes that tests change."""
    return ServedFace(FakeBoard(FakePort()))
