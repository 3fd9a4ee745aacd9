"""The face in-process, and over loopback."""

from collections.abc import AsyncIterator
from functools import partial

import httpx
import pytest
import trio
from face_fakes import FakeBoard, FakePort

from trellis.web.app import make_app
from trellis.web.server import serve


@pytest.fixture
def port() -> FakePort:
    return FakePort()


@pytest.fixture
def board(port: FakePort) -> FakeBoard:
    return FakeBoard(port)


@pytest.fixture
async def client(port: FakePort, board: FakeBoard) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the face, without a socket."""
    transport = httpx.ASGITransport(app=make_app(port, board))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8480") as client:
        yield client


class Loopback:
    """A face that listens, and how to stop it."""

    def __init__(self, url: str, stop: trio.Event) -> None:
        self.url, self.stop = url, stop


@pytest.fixture
async def loopback(nursery: trio.Nursery, port: FakePort, board: FakeBoard) -> Loopback:
    """The face on a free port of loopback."""
    stop = trio.Event()
    url = await nursery.start(partial(serve, make_app(port, board), "127.0.0.1:0", stop=stop))
    return Loopback(url, stop)
