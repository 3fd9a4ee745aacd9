"""Bodies that are read while they are sent, and never held as a whole."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from trellis.http.message import Stream
from trellis.http.wire import UnreadableBodyError


@asynccontextmanager
async def opened(stream: Stream) -> AsyncIterator[AsyncIterator[bytes]]:
    """Open a body for a wire, which sends what it yields: as many bytes as were promised.

    Raises:
        UnreadableBodyError: it cannot be opened; or, from what is yielded, it cannot be read any
            further, or has fewer or more bytes than its size.
    """
    async with AsyncExitStack() as stack:
        try:
            pieces = await stack.enter_async_context(stream.open())
        except OSError as error:
            raise _unreadable(error) from error
        yield _Checked(pieces, stream.size)


class _Checked(AsyncIterator[bytes]):
    """The pieces, and no byte more or less than were promised.

    The last byte is held back until the body is known to end with it: with it the cloud would
    have all that it was promised. No generator: who stops in the middle leaves nothing that would
    have to be unwound.
    """

    def __init__(self, pieces: AsyncIterator[bytes], size: int) -> None:
        self._pieces = pieces
        self._size = self._left = size
        self._last = b""

    async def __anext__(self) -> bytes:
        piece = await self._next()
        if self._last:
            if piece:
                raise self._too_long()
            last, self._last = self._last, b""
            return last
        if not piece:
            if self._left:
                got = self._size - self._left
                raise UnreadableBodyError(
                    f"it ended after {got} of {self._size} bytes: it is being changed, or the "
                    "disk is at fault"
                )
            raise StopAsyncIteration
        self._left -= len(piece)
        if self._left < 0:
            raise self._too_long()
        if self._left == 0:
            self._last, piece = bytes(piece[-1:]), piece[:-1]
        return piece

    async def _next(self) -> bytes:
        """The next piece that has something in it; "" at the end."""
        try:
            async for piece in self._pieces:
                if piece:
                    return piece
        except OSError as error:
            raise _unreadable(error) from error
        return b""

    def _too_long(self) -> UnreadableBodyError:
        return UnreadableBodyError(f"it has more than the {self._size} bytes it should have")


def _unreadable(error: OSError) -> UnreadableBodyError:
    return UnreadableBodyError(str(error) or type(error).__name__)
