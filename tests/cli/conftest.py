"""A face in a thread of its own, as the command line meets it: another process's loopback port."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).parent.parent / "web"))

from face_fakes import FakeBoard, FakePort

from trellis.cli.main import main
from trellis.web.app import make_app
from trellis.web.server import serve


class Daemon:
    """The fakes behind a face that listens; *do* changes them in the face's own thread."""

    def __init__(self) -> None:
        self.port = FakePort()
        self.board = FakeBoard(self.port)
        self.url = ""
        self._up = threading.Event()
        self._stop: trio.Event
        self._token: trio.lowlevel.TrioToken

    def do(self, act: Callable[..., Any], *args: Any) -> Any:
        return trio.from_thread.run_sync(act, *args, trio_token=self._token)

    def do_async(self, act: Callable[..., Any], *args: Any) -> Any:
        return trio.from_thread.run(act, *args, trio_token=self._token)

    def run(self) -> None:
        trio.run(self._main)

    async def _main(self) -> None:
        self._stop, self._token = trio.Event(), trio.lowlevel.current_trio_token()
        face = make_app(self.port, self.board)
        async with trio.open_nursery() as nursery:
            start = lambda task_status: serve(  # noqa: E731
                face, "127.0.0.1:0", stop=self._stop, task_status=task_status
            )
            self.url = await nursery.start(start)
            self._up.set()

    def wait_until_up(self) -> None:
        assert self._up.wait(10)

    def stop(self) -> None:
        """End it; fine on one that a test has ended."""
        with contextlib.suppress(trio.RunFinishedError):
            self.do(self._stop.set)


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A daemon that answers, at TRELLIS_URL."""
    daemon = Daemon()
    thread = threading.Thread(target=daemon.run)
    thread.start()
    daemon.wait_until_up()
    monkeypatch.setenv("TRELLIS_URL", daemon.url)
    yield daemon
    daemon.stop()
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `trellis` with these arguments, stdout and stderr apart."""
    monkeypatch.delenv("TRELLIS_TOKEN", raising=False)

    def run(*args: str) -> Result:
        return CliRunner().invoke(main, args, catch_exceptions=False)

    return run
