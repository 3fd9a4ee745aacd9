"""Bodies too large for memory: read piece by piece, hashed, and kept as files only where wanted."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, Final

import attrs

HEAD: Final = 4096
"""So much of its beginning is kept of every body."""
TAIL: Final = 512
"""And so much of its end: where a VHD says what it is."""
SMALL: Final = 64 * 1024
"""Bodies up to this size are kept whole, and can be had again."""


@attrs.frozen(kw_only=True)
class Spooled:
    """What a body was.

    Attributes:
        size: in bytes.
        md5, sha256, sha512: in hexadecimal; "" where nothing is hashed.
        head, tail: its beginning and its end, `HEAD` and `TAIL` bytes of it.
        data: all of it, if it is `SMALL`.
        path: of the file that holds it; "" if it is not kept.
    """

    size: int
    md5: str = ""
    sha256: str = ""
    sha512: str = ""
    head: bytes = attrs.field(default=b"", repr=False)
    tail: bytes = attrs.field(default=b"", repr=False)
    data: bytes | None = attrs.field(default=None, repr=False)
    path: str = ""

    def drop(self) -> None:
        """Remove its file, if it has one."""
        if self.path:
            Path(self.path).unlink(missing_ok=True)


class Spool:
    """Takes one body in.

    Args:
        hashed: take its checksums.
        file: where to write it too; closed and removed by `give_up`.
    """

    def __init__(self, *, hashed: bool = True, file: IO[bytes] | None = None) -> None:
        self.size = 0
        self._digests: tuple[Any, ...] = ()
        if hashed:
            self._digests = (
                hashlib.md5(usedforsecurity=False), hashlib.sha256(), hashlib.sha512(),
            )  # fmt: skip
        self._file = file
        self._head = bytearray()
        self._tail = b""
        self._small: bytearray | None = bytearray()

    def take(self, piece: bytes | memoryview) -> None:
        """Take the next piece. Long pieces take long: hashing is 5 ms a MiB."""
        self.size += len(piece)
        for digest in self._digests:
            digest.update(piece)
        if self._file is not None:
            self._file.write(piece)
        if len(self._head) < HEAD:
            self._head += piece[: HEAD - len(self._head)]
        long = len(piece) >= TAIL
        self._tail = bytes(piece[-TAIL:]) if long else (self._tail + bytes(piece))[-TAIL:]
        if self._small is not None:
            self._small = self._small + piece if self.size <= SMALL else None

    def end(self) -> Spooled:
        """All of it has come."""
        path = ""
        if self._file is not None:
            self._file.close()
            path = self._file.name
        md5, sha256, sha512 = (digest.hexdigest() for digest in self._digests or _NONE)
        return Spooled(
            size=self.size,
            md5=md5,
            sha256=sha256,
            sha512=sha512,
            head=bytes(self._head),
            tail=self._tail,
            data=None if self._small is None else bytes(self._small),
            path=path,
        )

    def give_up(self) -> None:
        """No more of it will come: its file is removed."""
        if self._file is not None:
            self._file.close()
            Path(self._file.name).unlink(missing_ok=True)


class _NoDigest:
    def hexdigest(self) -> str:
        return ""


_NONE: Final = (_NoDigest(), _NoDigest(), _NoDigest())


def spooled_of(pieces: Iterable[bytes], *, hashed: bool = True) -> Spooled:
    """What a body in memory would be."""
    spool = Spool(hashed=hashed)
    for piece in pieces:
        spool.take(piece)
    return spool.end()
