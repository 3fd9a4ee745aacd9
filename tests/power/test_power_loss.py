"""The power fails at any moment: every acknowledged commit is there, and none in part."""

import sqlite3
from pathlib import Path
from random import Random

import pytest

from tests.power.disk import Files, an_entry, damaged, found_in, mixed, torn
from trellis.errors import StoreFailedError, StoreMismatchError
from trellis.store.log import Entry
from trellis.store.sqlite_file import StoreWriter

pytestmark = pytest.mark.slow

COMMITS = 24


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trellis.db"


def written(folder: Path, seed: int, commits: int) -> tuple[list[Entry], list[Files]]:
    """Commits of one daemon, and its files after each of them; the first is before any."""
    chance, path = Random(seed), folder / "live.db"
    writer = StoreWriter(path)
    try:
        entries, copies = [], [Files.of(path)]
        for revision in range(1, commits + 1):
            entries.append(an_entry(revision, chance))
            writer.append(entries[-1:])
            copies.append(Files.of(path))
    finally:
        writer.close()
    return entries, copies


def test_a_commit_is_synced_before_it_is_acknowledged(path):
    """All that follows takes it for granted; SQLite's number for FULL is 2."""
    writer = StoreWriter(path)
    try:
        found = [
            writer._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("synchronous", "journal_mode")
        ]
    finally:
        writer.close()

    assert found == [2, "wal"]


def test_a_commit_cut_short_takes_no_other_with_it(path, tmp_path):
    """Whatever of its frames is on disk: all that was acknowledged is there, the last or not."""
    entries, copies = written(tmp_path, 3, COMMITS)
    chance, outcomes = Random(3), {"kept": 0, "undone": 0}
    for number in range(1, len(copies)):
        before, after = copies[number - 1], copies[number]
        assert after.wal.startswith(before.wal), "no checkpoint came between"
        for how, wal in torn(before, after, chance):
            Files(db=before.db, wal=wal).put(path)

            revision = found_in(path, entries)

            assert revision in (number - 1, number), f"commit {number}: {how}"
            outcomes["kept" if revision == number else "undone"] += 1
    assert outcomes["kept"] >= COMMITS, outcomes
    assert outcomes["undone"] >= 20 * COMMITS, outcomes


def test_a_stale_or_foreign_index_of_the_log_misleads_nobody(path, tmp_path):
    """The ``-shm`` file is made anew from the log: missing, old or noise, nothing is lost."""
    entries, copies = written(tmp_path, 7, COMMITS)
    chance = Random(7)
    for number, files in enumerate(copies):
        for shm in (None, b"", bytes(32768), chance.randbytes(32768)):
            files.put(path, shm=shm)

            assert number == found_in(path, entries)


def test_a_checkpoint_cut_short_loses_nothing(path, tmp_path):
    """Pages on their way from the log into the database: some written, some torn."""
    entries, copies = written(tmp_path, 11, COMMITS)
    last, folded = copies[-1], (tmp_path / "live.db").read_bytes()
    assert folded != last.db, "closing has made a checkpoint"
    chance = Random(11)
    for _ in range(300):
        Files(db=mixed(last.db, folded, last.page, chance), wal=last.wal).put(path)

        assert COMMITS == found_in(path, entries)


def test_a_log_begun_anew_over_an_old_one_is_told_from_it(path, tmp_path):
    """After a checkpoint the log is written from its start again: old frames follow the new."""
    chance, live = Random(13), tmp_path / "live.db"
    writer = StoreWriter(live)
    entries, cases = list[Entry](), 0
    try:
        before, restarts = Files.of(live), 0
        for revision in range(1, 400):
            entries.append(an_entry(revision, chance))
            writer.append(entries[-1:])
            after = Files.of(live)
            restarted = after.wal[:32] != before.wal[:32]
            restarts += restarted
            if restarted or (restarts and revision % 40 == 0):
                changed = [
                    at
                    for at in after.frames()
                    if after.wal[at : at + 24] != before.wal[at : at + 24]
                ]
                for at in changed:
                    for cut in (at, at + 24, at + 600):
                        wal = after.wal[:cut] + before.wal[cut:]
                        Files(db=after.db, wal=wal).put(path)
                        assert found_in(path, entries) in (revision - 1, revision)
                        cases += 1
            before = after
    finally:
        writer.close()
    assert restarts >= 2
    assert cases >= 50


def test_on_a_disk_that_forgets_there_is_no_commit_in_part(path, tmp_path):
    """A disk that breaks its promise loses commits, the last ones first, each as a whole."""
    entries, copies = written(tmp_path, 17, COMMITS)
    chance, lost = Random(17), 0
    for number in range(1, len(copies), 6):
        for how, wal in damaged(copies[number], chance):
            Files(db=copies[number].db, wal=wal).put(path)
            try:
                revision = found_in(path, entries)
            except (StoreFailedError, StoreMismatchError, sqlite3.DatabaseError):
                lost += 1  # it says that it is damaged, and nothing works by it
                continue
            assert revision <= number, how
            lost += revision < number
    assert lost >= 50


def test_a_database_cut_short_is_refused_or_whole(path, tmp_path):
    """What is missing of the database is in the log, or its loss is told."""
    entries, copies = written(tmp_path, 19, COMMITS)
    last, folded = copies[-1], (tmp_path / "live.db").read_bytes()
    whole = refused = 0
    for db, wal in ((last.db, last.wal), (folded, last.wal), (folded, b"")):
        for at in (*range(0, len(db), last.page), *range(100, len(db), 3 * last.page)):
            Files(db=db[:at], wal=wal).put(path)
            try:
                revision = found_in(path, entries)
            except (StoreFailedError, StoreMismatchError, sqlite3.DatabaseError):
                refused += 1
            except AssertionError:
                # An empty file is a new store, which is seen by what was there before it.
                assert at == 0
            else:
                assert revision in (0, COMMITS)
                whole += 1
    assert whole
    assert refused
