"""What a disk may hold when the power fails: copies of a store's files, and ways to tear them.

A sync is a promise: all that was written before it is there. What was written after it may be
there, or not, or in part, in any order of its sectors. The formats are SQLite's
(https://www.sqlite.org/walformat.html): a header of 32 bytes, then frames of 24 bytes and a page.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from random import Random

import attrs

from trellis.store.log import ArchivedRow, Entry, EventRow, RecordRow
from trellis.store.sqlite_file import StoreReader, StoreWriter

HEADER, FRAME_HEADER, SECTOR = 32, 24, 512
NODES = 12


@attrs.frozen(kw_only=True)
class Files:
    """The bytes of a store's two files."""

    db: bytes
    wal: bytes

    @classmethod
    def of(cls, path: Path) -> "Files":
        """As they are on disk now."""
        wal = path.with_name(f"{path.name}-wal")
        return cls(db=path.read_bytes(), wal=wal.read_bytes() if wal.exists() else b"")

    def put(self, path: Path, *, shm: bytes | None = None) -> None:
        """Have them be a store's files, and nothing else of it be there."""
        for suffix in ("-wal", "-shm", ".lock", ".seen"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        path.write_bytes(self.db)
        path.with_name(f"{path.name}-wal").write_bytes(self.wal)
        if shm is not None:
            path.with_name(f"{path.name}-shm").write_bytes(shm)

    @property
    def page(self) -> int:
        """Bytes of a page."""
        return struct.unpack(">H", self.db[16:18])[0] or 65536

    def frames(self, start: int = HEADER) -> list[int]:
        """Where the frames begin that are written from *start* on."""
        size = FRAME_HEADER + self.page
        return [at for at in range(HEADER, len(self.wal), size) if at >= start]


def an_entry(revision: int, chance: Random) -> Entry:
    """A commit that changes several records, and says its own number in each place."""
    text = f"{revision} " + "x" * chance.choice((10, 100, 3000))
    chosen = chance.sample(range(NODES), 3)
    return Entry(
        revision=revision,
        puts=tuple(RecordRow(("node", f"{number:010d}"), text) for number in chosen[:2]),
        removals=(("node", f"{chosen[2]:010d}"),),
        archived=(ArchivedRow(key=("node", f"old{revision}"), at=float(revision), value=text),),
        events=(EventRow(id=revision, at=float(revision), subjects=("all",), value=text),),
    )


def state_after(entries: list[Entry], revision: int) -> dict[str, str]:
    """The live records when the first *revision* commits are there."""
    state = dict[str, str]()
    for entry in entries[:revision]:
        for row in entry.puts:
            state[row.key[1]] = row.value
        for key in entry.removals:
            state.pop(key[1], None)
    return state


def found_in(path: Path, entries: list[Entry]) -> int:
    """Open a store and give the revision it holds: wholly, and nothing beyond it.

    Raises:
        AssertionError: it holds a part of a commit.
        StoreFailedError, StoreMismatchError, sqlite3.Error: it cannot be opened.
    """
    writer = StoreWriter(path)
    try:
        contents = writer.load()
        reader = StoreReader(path)
        try:
            revision = contents.revision
            held = {row.key[1]: row.value for row in contents.records}
            assert state_after(entries, revision) == held
            assert revision == contents.last_event
            events = [event.id for event in reader.events_after(0, 10_000)]
            assert list(range(1, revision + 1)) == events
            about = [event.id for event in reader.events_about("all", 10_000)]
            assert events == about
            archived = [row.key[1] for row in reader.archived_page("node", 10_000, None)]
            assert [f"old{number}" for number in range(revision, 0, -1)] == archived
            # And it goes on from there.
            writer.append([attrs.evolve(an_entry(revision + 1, Random(0)), events=())])
            assert revision + 1 == writer.load().revision
        finally:
            reader.close()
    finally:
        writer.close()
    return revision


def torn(before: Files, after: Files, chance: Random) -> Iterator[tuple[str, bytes]]:
    """What the log may be while a commit is written: *before* is synced, *after* is not yet.

    Yields:
        What was done, and the bytes of the write-ahead log.
    """
    wal, synced = after.wal, len(before.wal)
    for at in (*after.frames(synced), len(wal)):
        yield f"cut at the frame at {at}", wal[:at]
        for part in (
            1,
            8,
            16,
            FRAME_HEADER,
            FRAME_HEADER + 1,
            SECTOR,
            FRAME_HEADER + after.page - 1,
        ):
            if at + part < len(wal):
                yield f"cut {part} bytes into the frame at {at}", wal[: at + part]
    for at in after.frames(synced):
        for name, place in (
            ("page number", 0),
            ("commit mark", 4),
            ("salt", 8),
            ("checksum", 16),
            ("page", FRAME_HEADER + chance.randrange(after.page)),
        ):
            yield f"{name} of the frame at {at}", _flipped(wal, at + place, chance)
        yield f"zeros from {at}", wal[:at] + bytes(len(wal) - at)
        yield f"noise from {at}", wal[:at] + chance.randbytes(len(wal) - at)
    for number in range(12):
        yield f"sectors in any order, {number}", _sectors(before.wal, wal, chance)


def damaged(files: Files, chance: Random) -> Iterator[tuple[str, bytes]]:
    """What a log may be on a disk that forgets what it has synced, which no store survives whole.

    Yields:
        What was done, and the bytes of the write-ahead log.
    """
    wal = files.wal
    yield "no log", b""
    for at in range(0, HEADER, 4):
        yield f"header at {at}", _flipped(wal, at, chance)
        yield f"header cut at {at}", wal[:at]
    yield "salts of another log", wal[:16] + chance.randbytes(8) + wal[24:]
    for at in files.frames():
        yield f"cut at {at}", wal[:at]
        place = chance.randrange(FRAME_HEADER + files.page)
        yield f"byte {place} of the frame at {at}", _flipped(wal, at + place, chance)


def mixed(old: bytes, new: bytes, page: int, chance: Random) -> bytes:
    """A database of which only some of the pages that differ have been written, or in part."""
    pages = []
    for at in range(0, max(len(old), len(new)), page):
        was, will_be = old[at : at + page], new[at : at + page]
        written = chance.random()
        if written < 0.4:
            pages.append(was or bytes(page))
        elif written < 0.5:
            cut = SECTOR * chance.randrange(1, page // SECTOR)
            pages.append(will_be[:cut] + (was or bytes(page))[cut:])
        else:
            pages.append(will_be or was)
    return b"".join(pages)


def _flipped(data: bytes, at: int, chance: Random) -> bytes:
    return data[:at] + bytes([data[at] ^ chance.randrange(1, 256)]) + data[at + 1 :]


def _sectors(synced: bytes, written: bytes, chance: Random) -> bytes:
    """Of what follows the synced part, some sectors are there and others are not."""
    start = len(synced)
    parts = [written[:start]]
    while start < len(written):
        end = min(len(written), (start // SECTOR + 1) * SECTOR)
        parts.append(written[start:end] if chance.random() < 0.7 else bytes(end - start))
        start = end
    return b"".join(parts)
