"""Reading an answer's body: whole, decoded, and never more of it than is sensible.

httpx would decode whatever codings a header names, one upon the other, without a bound: a few
kilobytes from a broken or hostile front could fill the memory of the daemon.
"""

import zlib
from collections.abc import AsyncIterable
from typing import Final

import trio

MOST_BODY: Final = 64 * 1024 * 1024
"""Bytes, decoded. A list of 10,000 ports in one page, the largest answer known, has 15 MB."""

_WINDOWS: Final = {
    "gzip": 16 + zlib.MAX_WBITS,
    "x-gzip": 16 + zlib.MAX_WBITS,
    "deflate": zlib.MAX_WBITS,
}


class BodyError(Exception):
    """The body cannot be read; the text says why and quotes nothing of it."""


async def read_body(
    body: bytes | AsyncIterable[bytes], coding: str = "", *, most: int = MOST_BODY
) -> bytes:
    """Read the whole body; closing the answer stays the caller's.

    Args:
        body: as a wire gave it: whole and decoded, or in pieces as they come.
        coding: how the pieces are coded: ``Content-Encoding`` of the answer.
        most: bytes of the decoded body that are too many.

    Raises:
        BodyError: it is too large, or coded as was not asked for, or its code is broken.
        WireError: the connection broke.
    """
    if isinstance(body, bytes):
        return whole_body(body, most=most)
    taken = _Taken(coding, most)
    # Ended by a cancellation, the generators below are unwound; left in the middle, they are not.
    with trio.CancelScope() as scope:
        async for piece in body:
            if not scope.cancel_called and not taken.take(piece):
                scope.cancel()
    return taken.whole()


def whole_body(body: bytes, *, most: int = MOST_BODY) -> bytes:
    """A body that a wire gave whole and decoded.

    Raises:
        BodyError: it is too large.
    """
    if len(body) > most:
        raise _too_large(most)
    return body


class _Taken:
    """What came of a body so far, and what is wrong with it."""

    def __init__(self, coding: str, most: int) -> None:
        coding = coding.strip().lower()
        self._most, self._size = most, 0
        self._pieces: list[bytes] = []
        self._fault: BodyError | None = None
        self._decoder: zlib._Decompress | None = None
        self._head: bytes | None = b"" if coding == "deflate" else None
        if coding not in ("", "identity"):
            window = _WINDOWS.get(coding)
            if window is None:
                raise BodyError("it is coded in a way that was not asked for")
            self._decoder = zlib.decompressobj(window)

    def take(self, piece: bytes) -> bool:
        """Add what came; False if no more need come, as it cannot be used."""
        try:
            if self._decoder is not None:
                piece = self._decoded(piece)
        except zlib.error:
            self._fault = BodyError("its compression is broken")
            return False
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > self._most:
            self._fault = _too_large(self._most)
        return self._fault is None

    def whole(self) -> bytes:
        """The decoded body."""
        if self._decoder is not None and self._pieces and not self._decoder.eof:
            self._fault = self._fault or BodyError("its compressed form is cut off")
        if self._fault is not None:
            # Whoever keeps the error would keep them by its traceback.
            self._pieces.clear()
            raise self._fault
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    def _decoded(self, piece: bytes) -> bytes:
        assert self._decoder is not None
        if self._decoder.eof:
            return b""  # what follows the end of the code means nothing
        if self._head is not None:
            self._head += piece
            if len(self._head) < 2:
                return b""
            piece, self._head = self._head, None
            # Some send deflate without the two bytes in front.
            if piece[0] & 0x0F != 8 or int.from_bytes(piece[:2], "big") % 31:
                self._decoder = zlib.decompressobj(-zlib.MAX_WBITS)
        return self._decoder.decompress(piece, self._most - self._size + 1)


def _too_large(most: int) -> BodyError:
    return BodyError(f"it has more than {most // 1024} KiB")
