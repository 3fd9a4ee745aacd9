"""The files of images, read while they are sent: the event loop is never blocked."""

import os
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, cast

import attrs
import trio

from trellis.spi.image import ImageSource

if TYPE_CHECKING:
    from outcome import Outcome

PIECE: Final = 1024 * 1024
_NOW: Final = getattr(os, "RWF_NOWAIT", 0)
"""Read only what the page cache has; 0 where there is no such thing."""
_RATE_OVER_S: Final = 10.0
_RATE_STEP_S: Final = 0.25


class FileSource:
    """A file of this host, of a size that is known.

    Each time it is opened it is read anew, by one reader of its own: for several at once the page
    cache makes that one reading of the disk. What is in that cache is read at once; for what is
    not, a thread waits, one piece ahead of who takes them. Such threads are Trio's cached ones, but
    none of those that its limiter counts, so that a disk that hangs keeps nobody else's threads.

    A piece is a read-only view of memory that is used again once nobody has the piece any more, or
    a part of it.

    Args:
        path: the file; opened when it is read.
        size: in bytes; a file that has become shorter is an error, what has been added is not read.
    """

    def __init__(self, path: str, size: int) -> None:
        self.path, self.size = path, size

    @asynccontextmanager
    async def open(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """See `ImageSource.open`. Cancelled, it waits for no disk; a last read ends by itself."""
        file = _File(self.path)
        try:
            ahead = _Ahead(file, self.size)
            await ahead.opened()
            # Views of bytes, which whatever takes bytes for sending takes as well.
            yield cast("AsyncIterator[bytes]", ahead)
        finally:
            file.close()


@attrs.frozen(kw_only=True)
class Sent:
    """How much of a file has been sent.

    Attributes:
        bytes: handed over for sending so far, by the present try.
        total: in bytes.
        bytes_per_s: in the last ten seconds; 0 while nothing is sent.
    """

    bytes: int
    total: int
    bytes_per_s: float


class CountedSource:
    """Another source, and how much of it has been taken.

    Attributes:
        sending: it is open.
        error: with which its reading ended, if it did so.
    """

    def __init__(self, source: ImageSource) -> None:
        self._source = source
        self.size = source.size
        self.sending = False
        self.error: OSError | None = None
        self._taken = self._sending = 0
        self._marks = deque[tuple[float, int]]()

    @property
    def sent(self) -> Sent:
        """How much has been taken, and how fast."""
        rate = 0.0
        if self.sending and self._marks:
            began, before = self._marks[0]
            passed = trio.current_time() - began
            rate = (self._taken - before) / passed if passed > 0.0 else 0.0
        return Sent(bytes=self._taken, total=self.size, bytes_per_s=rate)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """See `ImageSource.open`; counts from the beginning."""
        self._taken = self._sending = 0
        self.error = None
        self._marks.clear()
        try:
            async with self._source.open() as pieces:
                self.sending = True
                yield _Counted(self, pieces)
        except OSError as error:
            if not self.sending:
                self.error = error  # it could not even be opened
            raise
        finally:
            self.sending = False

    async def take(self, pieces: AsyncIterator[bytes]) -> bytes:
        """The next piece, counted once the one after it is asked for: then it was sent."""
        self._taken += self._sending
        self._mark()
        self._sending = 0
        try:
            piece = await anext(pieces)
        except OSError as error:
            self.error = error
            raise
        self._sending = len(piece)
        return piece

    def _mark(self) -> None:
        now, marks = trio.current_time(), self._marks
        if not marks or now - marks[-1][0] >= _RATE_STEP_S:
            marks.append((now, self._taken))
        while len(marks) > 1 and now - marks[1][0] >= _RATE_OVER_S:
            marks.popleft()


class _Counted(AsyncIterator[bytes]):
    """No generator: those are not closed where their reader leaves them in the middle."""

    def __init__(self, source: CountedSource, pieces: AsyncIterator[bytes]) -> None:
        self._source, self._pieces = source, pieces

    async def __anext__(self) -> bytes:
        return await self._source.take(self._pieces)


class _File:
    """A file that threads read, and that is closed when none does any more."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd: int | None = None
        self._lock = threading.Lock()
        self._reading = self._closed = False

    def read_now(self, offset: int, into: memoryview) -> bool:
        """Fill a buffer without waiting for the disk, or tell that this cannot be done.

        In the event loop, while no thread reads, once a first read has opened the file.
        """
        if not _NOW or self._fd is None:
            return False
        try:
            return os.preadv(self._fd, [into], offset, _NOW) == len(into)
        except OSError:
            return False  # not in the cache; or a thread that reads will be told what is wrong

    def read(self, offset: int, into: memoryview) -> int:
        """Fill a buffer, or a part of it at the file's end; in a thread, one read at a time."""
        if not self._begin():
            return 0
        try:
            if self._fd is None:
                self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
                os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            return os.preadv(self._fd, [into], offset)
        finally:
            self._leave()

    def close(self) -> None:
        """Close it, or leave that to the thread that reads; never blocks."""
        with self._lock:
            self._closed = True
            if not self._reading:
                self._end()

    def _begin(self) -> bool:
        with self._lock:
            self._reading = not self._closed
            return self._reading

    def _leave(self) -> None:
        with self._lock:
            self._reading = False
            if self._closed:
                self._end()

    def _end(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class _Buffers:
    """Memory for pieces, used again: new pages for each would cost more than reading it."""

    def __init__(self) -> None:
        self._known: list[bytearray] = []

    def free(self, length: int) -> memoryview:
        """A view of memory nobody else has; it is taken as long as there is a view of a part."""
        for buffer in self._known:
            try:
                # Of what there is a view the size cannot be changed; counting its references would
                # tell otherwise from one version of Python to the next.
                buffer.append(buffer.pop())
            except BufferError:
                continue
            return memoryview(buffer)[:length]
        # Of who keeps all pieces, none comes back: they are forgotten here.
        self._known = [*self._known[-1:], bytearray(PIECE)]
        return memoryview(self._known[-1])[:length]


class _Ahead(AsyncIterator[memoryview]):
    """Reads from the page cache; and from a disk that is slower, one piece ahead."""

    def __init__(self, file: _File, size: int) -> None:
        self._file, self._size, self._offset = file, size, 0
        self._token = trio.lowlevel.current_trio_token()
        self._buffers = _Buffers()
        self._read: memoryview | Exception = memoryview(b"")
        self._came: trio.Event | None = None
        self._ask()

    async def opened(self) -> None:
        """Wait for the first piece.

        Raises:
            OSError: it cannot be read.
        """
        assert self._came is not None
        await self._came.wait()
        if isinstance(self._read, Exception):
            raise self._read

    async def __anext__(self) -> memoryview:
        """The next piece; the last one is shorter.

        Raises:
            OSError: it cannot be read, or ends too early.
        """
        if self._offset >= self._size:
            raise StopAsyncIteration
        if self._came is None:
            into = self._buffer()
            if self._file.read_now(self._offset, into):
                await trio.lowlevel.checkpoint()
                self._offset += len(into)
                return into.toreadonly()
            self._ask(into)
        return await self._from_thread()

    async def _from_thread(self) -> memoryview:
        """The piece that a thread reads, or has read."""
        assert self._came is not None
        slow = not self._came.is_set()
        await self._came.wait()
        self._came, piece, self._read = None, self._read, memoryview(b"")
        if isinstance(piece, Exception):
            raise piece
        if not piece:
            raise OSError(
                f"{self._file.path} ends after {self._offset} bytes and had {self._size} when it "
                "was built"
            )
        self._offset += len(piece)
        if slow and self._offset < self._size:
            self._ask()
        return piece

    def _buffer(self) -> memoryview:
        return self._buffers.free(min(PIECE, self._size - self._offset))

    def _ask(self, into: memoryview | None = None) -> None:
        """Have a thread read the next piece."""
        into = self._buffer() if into is None else into
        came = self._came = trio.Event()

        def deliver(read: "Outcome[int]") -> None:
            """Called in the thread."""

            def take() -> None:
                try:
                    self._read = into[: read.unwrap()].toreadonly()
                except (OSError, MemoryError, ValueError) as error:
                    self._read = error  # raised where the piece is asked for
                came.set()

            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(take)

        # Not to_thread: that needs a task to wait in, and one that may be abandoned.
        trio.lowlevel.start_thread_soon(
            partial(self._file.read, self._offset, into), deliver, "image-reader"
        )
