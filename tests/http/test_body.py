"""Bodies of answers: whole and decoded, however they come, and never without a bound."""

import gzip
import itertools
import zlib

import httpx
import pytest
import trio
from scripted import Scripted, a_call, a_road

from trellis.errors import AnswerLostError
from trellis.http.body import MOST_BODY, BodyError, read_body

MIB = 1024 * 1024


class Pieces(httpx.AsyncByteStream):
    """A body that comes in pieces, each after a checkpoint."""

    def __init__(self, pieces):
        self._pieces = pieces
        self.given = 0

    async def __aiter__(self):
        for piece in self._pieces:
            await trio.lowlevel.checkpoint()
            self.given += len(piece)
            yield piece


def bare_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        ("", bytes),
        ("identity", bytes),
        ("gzip", gzip.compress),
        ("GZIP ", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", bare_deflate),
    ],
)
async def test_a_body_is_whole_however_it_comes(coding, pack, size):
    body = b'{"servers": []}' * 50
    packed = pack(body)
    pieces = [packed[at : at + size] for at in range(0, len(packed), size)]

    assert await read_body(Pieces(pieces), coding) == body


async def test_an_empty_body_needs_no_code():
    """As an answer to HEAD, or of 204, through a front that packs everything."""
    assert await read_body(Pieces(()), "gzip") == b""


@pytest.mark.parametrize(
    ("coding", "body", "said"),
    [
        ("gzip", b"no gzip", "broken"),
        ("deflate", b"\xff\xff\xff", "broken"),
        ("gzip", gzip.compress(b"x" * 1000, mtime=0)[:-9], "cut off"),
        ("br", b"x", "not asked for"),
        ("gzip, gzip", gzip.compress(gzip.compress(b"x", mtime=0), mtime=0), "not asked for"),
    ],
)
async def test_a_code_that_cannot_be_read_is_an_error(coding, body, said):
    with pytest.raises(BodyError, match=said):
        await read_body(Pieces([body]), coding)


async def test_a_body_that_came_whole_has_the_same_bound():
    assert await read_body(b"x" * MIB, most=MIB) == b"x" * MIB
    with pytest.raises(BodyError, match="more than 1024 KiB"):
        await read_body(b"x" * (MIB + 1), most=MIB)


async def test_a_bomb_is_left_where_it_lies():
    """A hundredth of it is unpacked, and no more of it is received."""
    packed = gzip.compress(b"\0" * 100 * MIB)
    pieces = Pieces([packed[at : at + 1000] for at in range(0, len(packed), 1000)])

    with pytest.raises(BodyError, match="more than 1024 KiB"):
        await read_body(pieces, "gzip", most=MIB)

    assert pieces.given < 5000


async def test_a_body_without_end_ends_by_its_size(autojump_clock):
    """However fast it comes, within the time budget."""
    endless = Pieces(itertools.repeat(b" " * MIB))

    async def answer(request):
        return httpx.Response(200, stream=endless)

    with pytest.raises(AnswerLostError, match="more than 65536 KiB"):
        await a_road(Scripted(answer)).send(a_call("POST"))

    assert endless.given <= MOST_BODY + 2 * MIB
