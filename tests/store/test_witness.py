"""The store's file is not the one that was written last: deleted, replaced, or an older copy."""

import shutil
import sqlite3
from random import Random

import pytest
from store_builders import a_node, new

from trellis.control.lineage import open_lineage
from trellis.errors import StoreFailedError
from trellis.model.names import NODE_ID_DIGITS
from trellis.model.node import Node
from trellis.model.provider import Lineage, StoreMeta
from trellis.store.sqlite import SqliteLog
from trellis.store.store import Store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trellis.db"


async def filled(path, wall, *numbers):
    """Commit these nodes, and say how many commits were found to be lost."""
    async with Store.open(SqliteLog(path), deployment="ci", wall=wall) as store:
        for number in numbers:
            await store.commit(new(a_node(number)))
        return store.lost_commits


@pytest.mark.parametrize("suffix", ["", "-wal"])
@pytest.mark.parametrize("how", ["deleted", "replaced"])
async def test_a_file_deleted_under_the_daemon_ends_it(suffix, how, path, wall):
    """What SQLite goes on writing would be found by nobody: no commit is acknowledged."""
    file = path.with_name(path.name + suffix)
    with pytest.RaisesGroup(pytest.RaisesExc(StoreFailedError, match="deleted or replaced")):
        async with Store.open(SqliteLog(path), deployment="ci", wall=wall) as store:
            await store.commit(new(a_node(1)))
            if how == "replaced":
                shutil.copy(file, f"{file}.new")
            file.unlink()
            if how == "replaced":
                path.with_name(f"{file.name}.new").rename(file)
            try:
                await store.commit(new(a_node(2)))
            except StoreFailedError:
                assert store.get(Node, "0000000002") is None
                return
            raise AssertionError("it was acknowledged")


async def test_an_older_copy_is_known_as_such(path, wall):
    """By the witness beside it, to the number of commits that are missing."""
    await filled(path, wall, 1)
    shutil.copy(path, f"{path}.bak")
    await filled(path, wall, 2, 3, 4)
    shutil.copy(f"{path}.bak", path)

    assert 3 == await filled(path, wall, 2)
    assert 0 == await filled(path, wall), "and is the latest again from its first commit on"


async def test_a_store_that_was_deleted_is_known_to_be_missing(path, wall):
    """A new one in its place is not taken for the first."""
    await filled(path, wall, 1, 2)
    path.unlink()

    # The store's own first record is a commit too, and was made by the new one as well.
    assert 3 == await filled(path, wall)


async def test_a_missing_store_is_not_forgotten_by_a_start_that_is_killed(path, wall):
    """Killed after its first record and before it has drawn its marks, it knows as much again."""
    await filled(path, wall, 1, 2)
    path.unlink()
    await filled(path, wall)

    async with Store.open(SqliteLog(path), deployment="ci", wall=wall) as store:
        lost = store.lost_commits
        await open_lineage(store, Random(1))
        lineage, meta = store.get(Lineage, "store"), store.get(StoreMeta, "store")
    again = await filled(path, wall)

    assert (3, 0) == (lost, again)
    assert lineage is not None
    assert ["lost"] == [one.mark for one in lineage.openings[:-1]]
    assert meta is not None
    assert meta.next_node > 100


@pytest.mark.parametrize("text", ["", "nonsense", "99", "\x00" * 21])
async def test_a_witness_that_cannot_be_read_says_nothing(text, path, wall):
    """After a loss of power it may be empty or old; it costs no start."""
    await filled(path, wall, 1, 2)
    path.with_name("trellis.db.seen").write_text(text)

    assert 0 == await filled(path, wall, 3)


async def test_a_loss_of_power_leaves_it_behind_never_ahead(path, wall):
    """It is not synced: an older one beside a newer store tells nothing."""
    await filled(path, wall, 1)
    seen = path.with_name("trellis.db.seen")
    older = seen.read_text()
    await filled(path, wall, 2, 3)
    seen.write_text(older)

    assert 0 == await filled(path, wall, 4)


async def test_another_reader_does_not_end_the_daemon(path, wall):
    """A backup tool that opens the file and closes it leaves the log where it is."""
    async with Store.open(SqliteLog(path), deployment="ci", wall=wall) as store:
        await store.commit(new(a_node(1)))
        other = sqlite3.connect(path)
        copy = sqlite3.connect(f"{path}.bak")
        other.backup(copy)
        assert other.execute("SELECT count(*) FROM record WHERE kind = 'node'").fetchone() == (1,)
        copy.close()
        other.close()

        await store.commit(new(a_node(2)))


async def test_a_witness_that_is_damaged_does_not_use_up_the_node_ids(path, wall):
    """They have ten digits; of a longer one no cloud's tag could be read again."""
    await filled(path, wall, 1)
    path.with_name("trellis.db.seen").write_text("9" * 20)

    async with Store.open(SqliteLog(path), deployment="ci", wall=wall) as store:
        await open_lineage(store, Random(1))
        meta = store.get(StoreMeta, "store")

    assert meta is not None
    assert 1 < meta.next_node < 10 ** (NODE_ID_DIGITS - 1)
