"""The file of an image is read in pieces, one ahead, and let go however the reading ends."""

import os
import threading
from pathlib import Path

import pytest
import trio

from tests.control.scripted_images import ScriptedSource
from tests.control.upload_stage import eventually
from trellis.control.images.sources import PIECE, CountedSource, FileSource


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Three pieces and a bit."""
    path = tmp_path / "image.raw"
    path.write_bytes(os.urandom(3 * PIECE + 17))
    return path


def open_files() -> list[str]:
    """Images this process has open."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target.endswith("image.raw"):
            found.append(target)
    return found


async def until_closed() -> None:
    """The last read of a thread ends by itself."""
    await eventually(lambda: not open_files(), within_s=30)


async def read(source) -> list[bytes]:
    async with source.open() as pieces:
        return [piece async for piece in pieces]


async def test_file_comes_whole_and_in_pieces_of_a_mebibyte(file):
    """The last one is what is left."""
    pieces = await read(FileSource(str(file), file.stat().st_size))

    assert [len(piece) for piece in pieces] == [PIECE, PIECE, PIECE, 17]
    assert b"".join(pieces) == file.read_bytes()
    assert open_files() == []


async def test_what_was_added_to_a_file_is_not_read(file):
    """As many bytes are sent as the upload has announced."""
    pieces = await read(FileSource(str(file), PIECE + 1))

    assert [len(piece) for piece in pieces] == [PIECE, 1]


async def test_file_that_has_become_shorter_is_an_error_that_says_so(file):
    """It is not what was built."""
    with pytest.raises(OSError, match=r"image\.raw ends after 3145745 bytes and had 4194304"):
        await read(FileSource(str(file), 4 * PIECE))

    await until_closed()


async def test_missing_file_is_an_error_when_it_is_opened(tmp_path):
    """Before anything is sent."""
    source = FileSource(str(tmp_path / "none"), 1)
    with pytest.raises(FileNotFoundError, match="none"):
        async with source.open():
            pytest.fail("it was opened")


async def test_empty_file_has_no_pieces(tmp_path):
    """An image of nothing is the cloud's to refuse."""
    path = tmp_path / "empty"
    path.touch()

    assert await read(FileSource(str(path), 0)) == []


def remembered(file: Path, monkeypatch: pytest.MonkeyPatch, cached: set[int]) -> list[int]:
    """Have the page cache hold the pieces at these offsets only; where threads read."""
    by_threads: list[int] = []
    loop, reads = threading.current_thread(), os.preadv

    def preadv(fd: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
        if threading.current_thread() is loop:
            assert flags, "the loop would wait for the disk"
            if offset not in cached:
                raise BlockingIOError
        else:
            by_threads.append(offset)
        return reads(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", preadv)
    return by_threads


@pytest.mark.parametrize(
    ("cached", "threads"),
    [
        ({0, 1, 2, 3}, [0]),
        (set(), [0, 1, 2, 3]),
        ({1, 3}, [0, 2, 3]),
        ({2, 3}, [0, 1, 2]),
    ],
    ids=["all cached", "nothing cached", "by turns", "the end cached"],
)
async def test_file_comes_whole_wherever_it_is_read_from(file, monkeypatch, cached, threads):
    """In threads the first piece, what is not cached, and one after what had to be waited for."""
    by_threads = remembered(file, monkeypatch, {PIECE * one for one in cached})

    pieces = []
    async with FileSource(str(file), file.stat().st_size).open() as source:
        async for piece in source:
            pieces.append(bytes(piece))
            await until_read(source)

    assert b"".join(pieces) == file.read_bytes()
    assert by_threads == [PIECE * one for one in threads]


async def until_read(source) -> None:
    """What a thread reads ahead has been read: then the next look is at the page cache."""
    if source._came is not None:
        await source._came.wait()


async def test_pieces_that_are_kept_stay_as_they_are(file):
    """Also parts of them: their memory is used again only when nobody has any of it."""
    kept = []
    async with FileSource(str(file), file.stat().st_size).open() as source:
        async for piece in source:
            kept.append(piece[:100])
            with pytest.raises(TypeError):
                piece[0] = 0

    whole = file.read_bytes()
    assert [bytes(part) for part in kept] == [
        whole[at : at + 100] for at in range(0, len(whole), PIECE)
    ]


async def test_memory_of_pieces_is_used_again(file):
    """A file of 100 GiB is sent from as much memory as one of 3 MiB."""
    seen = set()
    async with FileSource(str(file), file.stat().st_size).open() as source:
        async for piece in source:
            seen.add(id(piece.obj))
            del piece
        held = len(source._buffers._known)

    assert held <= 2
    assert len(seen) <= 2


@pytest.mark.parametrize("read_before", [0, 1, 2])
async def test_reading_given_up_in_the_middle_leaves_no_open_file(file, read_before):
    """By a cancellation, as when a deadline passes."""
    with trio.CancelScope() as scope:
        async with FileSource(str(file), file.stat().st_size).open() as pieces:
            for _ in range(read_before):
                await anext(pieces)
            scope.cancel()
            await trio.lowlevel.checkpoint()

    await until_closed()


async def test_error_of_who_reads_comes_through_as_it_is(file):
    """It is not wrapped into a group, so that the road can tell errors of connections."""

    async def send() -> None:
        async with FileSource(str(file), file.stat().st_size).open() as pieces:
            await anext(pieces)
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await send()

    await until_closed()


async def test_disk_that_hangs_holds_no_cancellation_and_no_other_thread(file, monkeypatch):
    """The file is closed by the read that hung, once it ends."""
    hung, go_on = threading.Event(), threading.Event()
    reads = os.preadv

    def preadv(fd: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
        if flags:
            raise BlockingIOError
        if offset == PIECE:
            hung.set()
            go_on.wait(10)
        return reads(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", preadv)
    with trio.move_on_after(0.2) as limit:
        async with FileSource(str(file), file.stat().st_size).open() as pieces:
            async for _ in pieces:
                pass
    assert limit.cancelled_caught
    assert hung.is_set()
    assert open_files()  # the read that hangs has it still

    go_on.set()

    await until_closed()


async def test_each_opening_reads_from_the_beginning(file):
    """A body that is sent again, after the token was refused, is the same."""
    source = CountedSource(FileSource(str(file), file.stat().st_size))
    async with source.open() as pieces:
        await anext(pieces)

    assert b"".join(await read(source)) == file.read_bytes()
    assert source.sent.bytes == source.size


async def test_what_is_sent_is_counted_while_it_is(autojump_clock):
    """The rate is that of the last ten seconds; nothing is sent any more when it is closed."""
    source = CountedSource(ScriptedSource(100 * PIECE, rate=PIECE))
    async with source.open() as pieces:
        for _ in range(31):
            await anext(pieces)
        source_rate = 4 * PIECE
        source._source.rate = source_rate
        for _ in range(48):
            await anext(pieces)

        sent = source.sent
        assert sent.bytes == 78 * PIECE
        assert sent.total == 100 * PIECE
        assert sent.bytes_per_s == pytest.approx(source_rate, rel=0.1)
    assert source.sent.bytes_per_s == 0.0


async def test_error_of_the_file_is_remembered(autojump_clock):
    """So that a failed call can be told from a file that cannot be read."""
    source = CountedSource(ScriptedSource(3 * PIECE, fails_at=PIECE))
    with pytest.raises(OSError, match="I/O error"):
        await read(source)

    assert str(source.error) == "I/O error"


async def test_file_that_cannot_be_opened_is_remembered_too(tmp_path):
    """Its error comes before the first piece."""
    source = CountedSource(FileSource(str(tmp_path / "none"), 1))
    with pytest.raises(FileNotFoundError):
        await read(source)

    assert isinstance(source.error, FileNotFoundError)
