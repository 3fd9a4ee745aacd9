"""Files in memory to upload, and what is said of them."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from trellis.model.image import Artifact
from trellis.model.names import BuildId, UploadId
from trellis.spi.image import ImageIntent, ImageTag

PIECE = 1 << 20
TAG = ImageTag(
    deployment="d",
    image="debian-12",
    build_id=BuildId("debian-12-0000000003"),
    upload_id=UploadId("debian-12-0000000003.7"),
    origin="o1",
)
NAME = "debian-12-0000000003.7"


class Source:
    """A file in memory, read in pieces; tells how often it was opened, and whether it still is."""

    def __init__(self, data: bytes = b"q" * 5000, fails_after: int | None = None) -> None:
        self.data = data
        self.size = len(data)
        self.opened = 0
        self.open_now = 0
        self.fails_after = fails_after

    @asynccontextmanager
    async def open(self) -> AsyncIterator[AsyncIterator[bytes]]:
        self.opened += 1
        self.open_now += 1
        try:
            yield _Pieces(self.data, self.fails_after)
        finally:
            self.open_now -= 1


class _Pieces(AsyncIterator[bytes]):
    def __init__(self, data: bytes, fails_after: int | None) -> None:
        self.data, self.at, self.fails_after = data, 0, fails_after

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if self.fails_after is not None and self.at >= self.fails_after:
            raise OSError(5, "Input/output error")
        piece = self.data[self.at : self.at + PIECE]
        self.at += PIECE
        if not piece:
            raise StopAsyncIteration
        return piece


def an_intent(source: Source, *, format: str = "qcow2", **kwargs: Any) -> ImageIntent:
    sums = {k: hashlib.new(k, source.data).hexdigest() for k in ("md5", "sha256", "sha512")}
    artifact = Artifact(format=format, path=f"images/{NAME}.{format}", size=source.size, **sums)
    return ImageIntent(**{"tag": TAG, "name": NAME, "artifact": artifact, **kwargs})
