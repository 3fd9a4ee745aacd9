"""Long bodies as they come in on a connection, and what takes them in, at full speed."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

import h11
import trio

from trellis.sim.cloud.carriage import Intake
from trellis.sim.cloud.spec import CloudSpec
from trellis.sim.cloud.spooled import Spool, Spooled

PIECE: Final = 1024 * 1024
LONG: Final = 1024 * 1024
"""Longer bodies are not held in memory."""


class Body:
    """A body of known length, read off the socket itself.

    HTTP's parser copies what it reads several times, which halves the speed of an upload.

    Args:
        stream: the connection.
        size: as the head of the call says.
        begun: what has been read of it already.
        before: to be done before the first byte is read, as telling the client to go on.
    """

    def __init__(
        self,
        stream: trio.SocketStream,
        size: int,
        begun: bytes,
        before: Callable[[], Awaitable[None]],
    ) -> None:
        self.size = size
        self.left = size
        self.surplus = begun[size:]
        self._begun = begun[:size]
        self._buffer = memoryview(b"")
        self._socket = stream.socket
        self._before = before

    @asynccontextmanager
    async def open(self) -> AsyncIterator[AsyncIterator[bytes | memoryview]]:
        """See `Incoming.open`; a piece is good until the next one is asked for."""
        await self._before()
        yield self

    def __aiter__(self) -> "Body":
        return self

    async def __anext__(self) -> bytes | memoryview:
        if self._begun:
            await trio.lowlevel.checkpoint()
            piece, self._begun = self._begun, b""
            self.left -= len(piece)
            return piece
        if not self.left:
            raise StopAsyncIteration
        filled, most = 0, min(PIECE, self.left)
        if not self._buffer:
            self._buffer = memoryview(bytearray(PIECE))
        while filled < most:
            try:
                got = await self._socket.recv_into(self._buffer[filled:most])
            except OSError as error:
                raise trio.BrokenResourceError from error
            if not got:
                raise trio.BrokenResourceError("the client has hung up in the middle of a body")
            filled += got
        self.left -= filled
        return self._buffer[:filled]


class Chunks:
    """A body that comes in chunks, of unknown length."""

    size: None = None

    def __init__(self, events: Callable[[], Awaitable[object]]) -> None:
        self._events = events
        self.left = 1

    @asynccontextmanager
    async def open(self) -> AsyncIterator[AsyncIterator[bytes | memoryview]]:
        """See `Incoming.open`."""
        await trio.lowlevel.checkpoint()
        yield self

    def __aiter__(self) -> "Chunks":
        return self

    async def __anext__(self) -> bytes:
        event = await self._events()
        if isinstance(event, h11.Data):
            return bytes(event.data)
        if isinstance(event, h11.EndOfMessage):
            self.left = 0
            raise StopAsyncIteration
        raise trio.BrokenResourceError("the client has hung up in the middle of a body")


class ThreadIntake:
    """Takes a body in: what costs time, hashing and writing, is done in a thread.

    Args:
        folder: where it is kept as a file; None keeps none.
    """

    def __init__(self, *, hashed: bool, folder: Path | None) -> None:
        file = None
        if folder is not None:
            file = NamedTemporaryFile(dir=folder, prefix="upload-", delete=False)  # noqa: SIM115
        self._spool = Spool(hashed=hashed, file=file)
        self._is_cheap = not hashed and folder is None

    async def take(self, piece: bytes | memoryview) -> None:
        """See `Intake`."""
        if self._is_cheap:
            self._spool.take(piece)
        else:
            await trio.to_thread.run_sync(self._spool.take, piece)

    def end(self) -> Spooled:
        """See `Intake`."""
        return self._spool.end()

    def give_up(self) -> None:
        """See `Intake`."""
        self._spool.give_up()


def intakes(folder: Path | None) -> Callable[[CloudSpec], Intake]:
    """What takes in the bodies of calls to a cloud.

    Args:
        folder: where they are kept as files; None keeps none.
    """

    def intake(spec: CloudSpec) -> Intake:
        return ThreadIntake(hashed=spec.hashes_images, folder=folder)

    return intake
