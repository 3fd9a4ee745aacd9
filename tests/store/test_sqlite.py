"""The log on a SQLite file: locks, schemas, full disks and sudden deaths."""

import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import trio
import trio.testing
from store_builders import a_lease, a_node, a_request, new

from trellis.errors import (
    FencedError,
    StoreFailedError,
    StoreInUseError,
    StoreMismatchError,
)
from trellis.model.node import Node
from trellis.model.request import NodeRequest
from trellis.store.schema import MIGRATIONS, copy_name
from trellis.store.sqlite import SqliteLog
from trellis.store.store import Store

HERE = Path(__file__).parent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trellis.db"


async def fill(path: Path, *records, migrations=MIGRATIONS) -> None:
    """Make a store that holds *records*."""
    log = SqliteLog(path, migrations=migrations)
    async with Store.open(log, deployment="ci", wall=time.time) as store:
        await store.commit(new(*records))


async def refused(path: Path, error: type[Exception], **options) -> str:
    """Open the store in vain; return what the error says."""
    with pytest.raises(error) as caught:
        async with Store.open(SqliteLog(path, **options), deployment="ci", wall=time.time):
            pytest.fail("the store was opened")
    return str(caught.value)


class TestLock:
    async def test_the_second_daemon_is_told_who_has_the_store(self, path):
        """Process and host of the first, also when it goes by a link's name."""
        link = path.with_name("link.db")
        link.symlink_to(path)
        async with Store.open(SqliteLog(path), deployment="ci", wall=time.time):
            words = await refused(path, StoreInUseError)
            by_link = await refused(link, StoreInUseError)

        assert f"pid {os.getpid()} on {socket.gethostname()}" in words
        assert f"pid {os.getpid()}" in by_link

    async def test_the_lock_ends_with_the_store(self, path):
        """The next start needs no cleaning up."""
        await fill(path, a_node(1))
        async with Store.open(SqliteLog(path), deployment="ci", wall=time.time) as store:
            assert a_node(1) == store.get(Node, a_node(1).id)

    async def test_a_store_opened_by_another_all_the_same_takes_no_more(self, path):
        """If the lock's file was removed, the incarnation in the file still fences."""
        second = SqliteLog(path)
        with pytest.RaisesGroup(FencedError):
            async with Store.open(SqliteLog(path), deployment="ci", wall=time.time) as first:
                path.with_name("trellis.db.lock").unlink()
                async with Store.open(second, deployment="ci", wall=time.time):
                    with pytest.raises(FencedError, match="another daemon"):
                        await first.commit(new(a_node(1)))

        async with Store.open(SqliteLog(path), deployment="ci", wall=time.time) as store:
            assert store.get(Node, a_node(1).id) is None


class TestFile:
    async def test_only_its_owner_can_read_the_store(self, path):
        """It holds the ids of leases; so do the WAL and the lock beside it."""
        async with Store.open(SqliteLog(path), deployment="ci", wall=time.time) as store:
            await store.commit(new(a_lease()))
            modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()}

        assert set(modes.values()) == {0o600}
        assert {"trellis.db", "trellis.db-wal", "trellis.db.lock"} <= set(modes)

    async def test_a_missing_folder_is_named(self, tmp_path):
        """It is not made: a mount may be missing."""
        words = await refused(tmp_path / "not" / "there.db", StoreFailedError)

        assert str(tmp_path / "not" / "there.db") in words
        assert "No such file or directory" in words

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as another user")
    @pytest.mark.slow
    async def test_a_folder_of_somebody_else_is_named(self):
        """The words say what the daemon must be able to do."""
        code = (
            "import os, sys, trio\n"
            "from trellis.store.sqlite import SqliteLog\n"
            "os.setuid(65534)\n"
            "try: trio.run(SqliteLog(sys.argv[1]).open)\n"
            "except Exception as error: print(type(error).__name__, error)\n"
        )
        target = "/trellis-test-not-writable.db"  # the root folder is nobody else's to write in
        done = await trio.run_process(
            [sys.executable, "-c", code, target],
            capture_stdout=True,
            env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        )

        words = done.stdout.decode()
        assert words.startswith("StoreFailedError")
        assert "Permission denied" in words
        assert "must be able to write" in words

    async def test_another_programs_database_is_left_alone(self, path):
        """It is refused before anything is written to it."""
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE theirs (x)")
        other.close()
        before = path.read_bytes()

        words = await refused(path, StoreMismatchError)

        assert "another program" in words
        assert before == path.read_bytes()

    async def test_a_damaged_file_is_called_damaged(self, path):
        """With the remedy, and without the file being touched."""
        path.write_text("this is no database, whatever its name says" * 50)

        assert "Restore it from a copy" in await refused(path, StoreFailedError)

    async def test_reads_after_the_end_are_refused(self, path):
        """Not answered from a closed connection."""
        async with Store.open(SqliteLog(path), deployment="ci", wall=time.time) as store:
            pass

        with pytest.raises(StoreFailedError, match="closed"):
            await store.history(Node, "0000000001")


class TestFullDisk:
    @pytest.mark.slow
    async def test_a_full_file_fails_the_commit_and_keeps_what_was_acknowledged(self, path):
        """SQLite's own limit of pages gives the very error of a full disk."""
        log = SqliteLog(path)
        done = await self._commit_until_full(
            log, lambda: log._writer._connection.execute("PRAGMA max_page_count = 80")
        )

        await self._holds(path, done)

    @pytest.mark.slow
    async def test_a_full_disk_fails_the_commit_and_keeps_what_was_acknowledged(self, tmp_path):
        """On a real file system of one MiB."""
        disk = tmp_path / "disk"
        disk.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
        if os.geteuid() != 0:
            pytest.skip("needs root, to mount a tmpfs")
        mounted = await trio.run_process(command, capture_stderr=True, check=False)
        if mounted.returncode:
            pytest.skip(f"needs the right to mount a tmpfs: {mounted.stderr.decode().strip()}")
        try:
            done = await self._commit_until_full(SqliteLog(disk / "trellis.db"), lambda: None)

            await trio.run_process(["mount", "-o", "remount,size=8m", str(disk)])
            await self._holds(disk / "trellis.db", done)
        finally:
            with trio.CancelScope(shield=True):
                await trio.run_process(["umount", str(disk)])

    async def _commit_until_full(self, log: SqliteLog, limit) -> int:
        done = 0

        async def fill_up(store: Store) -> None:
            nonlocal done
            while done < 10_000:
                await store.commit(new(a_node(done + 1)))
                done += 1

        with pytest.RaisesGroup(StoreFailedError):
            async with Store.open(log, deployment="ci", wall=time.time) as store:
                limit()
                with pytest.raises(StoreFailedError, match="no room left on its disk"):
                    await fill_up(store)
                with pytest.raises(StoreFailedError, match="no room left on its disk"):
                    await store.commit(new(a_node(99_999)))
        assert done > 10
        return done

    async def _holds(self, path: Path, done: int) -> None:
        async with Store.open(SqliteLog(path), deployment="ci", wall=time.time) as store:
            # The one that failed may be there or not; here it is not, as SQLite rolled back.
            assert done == len(store.all(Node))
            await store.commit(new(a_node(done + 1)))


class TestHeldByAnotherProgram:
    @pytest.mark.parametrize("how", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
    async def test_a_commit_waits_until_it_lets_go(self, how, path):
        """A backup tool that holds the file for a moment delays, and costs nothing."""
        async with Store.open(SqliteLog(path), deployment="ci", wall=time.time) as store:
            other = sqlite3.connect(path, isolation_level=None)
            other.execute(how)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store.commit, new(a_node(1)))
                await trio.sleep(0.2)
                assert store.get(Node, "0000000001") is None, "nothing is told before it is durable"
                other.execute("ROLLBACK")
            assert store.get(Node, "0000000001") is not None
            other.close()

    async def test_one_that_keeps_it_ends_the_daemon(self, path, monkeypatch):
        """With a message that says whom to look for; what was acknowledged is there."""
        monkeypatch.setattr("trellis.store.sqlite_file._BUSY_S", 0.1)
        other = None
        with pytest.RaisesGroup(StoreFailedError):
            async with Store.open(SqliteLog(path), deployment="ci", wall=time.time) as store:
                await store.commit(new(a_node(1)))
                other = sqlite3.connect(path, isolation_level=None)
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(StoreFailedError, match="another program holds it"):
                    await store.commit(new(a_node(2)))
        other.close()

        async with Store.open(SqliteLog(path), deployment="ci", wall=time.time) as store:
            assert ["0000000001"] == list(store.all(Node))


class TestSchema:
    @staticmethod
    def _rename(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE state ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'")

    @staticmethod
    def _break(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM record")
        connection.execute("ALTER TABLE nowhere ADD COLUMN colour TEXT")

    async def test_a_migration_keeps_a_copy_of_what_was(self, path):
        """The records go on in the new schema; the copy opens with the old release."""
        await fill(path, a_node(1))

        await fill(path, a_node(2), migrations=(*MIGRATIONS, self._rename))

        copy = copy_name(path, 1)
        assert copy.name == "trellis.db.v1.bak"
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        async with Store.open(SqliteLog(copy), deployment="ci", wall=time.time) as store:
            assert [a_node(1)] == list(store.all(Node).values())

    async def test_a_failed_migration_leaves_the_file_as_it_was(self, path):
        """Its step is one transaction: the old release opens it with all its records."""
        await fill(path, a_node(1))

        words = await refused(path, StoreFailedError, migrations=(*MIGRATIONS, self._break))

        assert "nowhere" in words
        async with Store.open(SqliteLog(path), deployment="ci", wall=time.time) as store:
            assert [a_node(1)] == list(store.all(Node).values())

    async def test_a_newer_schema_is_refused_with_the_way_back(self, path):
        """The copy made before the upgrade is named; following the words works."""
        await fill(path, a_node(1))
        await fill(path, a_node(2), migrations=(*MIGRATIONS, self._rename))

        words = await refused(path, StoreMismatchError)

        assert "has schema 2 and this release knows up to 1" in words
        assert "copy trellis.db.v1.bak to trellis.db" in words
        copy_name(path, 1).replace(path)
        async with Store.open(SqliteLog(path), deployment="ci", wall=time.time) as store:
            assert [a_node(1)] == list(store.all(Node).values())

    async def test_without_a_copy_the_way_back_says_so(self, path):
        """No file is promised that is not there."""
        await fill(path, a_node(1), migrations=(*MIGRATIONS, self._rename))

        assert "none is beside the store" in await refused(path, StoreMismatchError)

    async def test_a_new_store_leaves_no_copy_behind(self, path):
        """There is nothing to go back to."""
        await fill(path, a_node(1))

        assert list(path.parent.glob("*.bak")) == []


class TestSuddenDeath:
    @pytest.mark.slow
    @pytest.mark.parametrize("lines", [1, 300, 1500])
    async def test_after_kill_9_every_acknowledged_commit_is_there(self, path, lines):
        """Whole: the two records of a commit never differ; the lock is free at once."""
        acknowledged: dict[int, int] = {}
        victim = await trio.lowlevel.open_process(
            [sys.executable, str(HERE / "kill_victim.py"), str(path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": f"{HERE.parents[1]}{os.pathsep}{HERE}"},
        )
        received = b""
        with trio.fail_after(60):
            while received.count(b"\n") < lines:
                received += await victim.stdout.receive_some()
            victim.send_signal(signal.SIGKILL)
            async for chunk in victim.stdout:
                received += chunk
            await victim.wait()
        for line in received.decode().splitlines():
            task, number = map(int, line.split())
            acknowledged[task] = number
        assert acknowledged

        async with Store.open(SqliteLog(path), deployment="ci", wall=time.time) as store:
            for task, number in acknowledged.items():
                node = store.get(Node, a_node(task).id)
                request = store.get(NodeRequest, a_request(task).id)
                assert number <= int(node.hostname)
                assert node.hostname == request.reason
            await store.commit(new(a_node(999)))
            events = await store.events_about(a_node(1).id, limit=1)
            assert events[0].id <= store.last_event


class TestReads:
    async def test_pruning_and_pages_use_indexes(self, path):
        """None of the statements that run often, or on much, reads a whole table."""
        await fill(path, a_node(1))
        connection = sqlite3.connect(path)
        statements = [
            "SELECT value FROM history WHERE kind = 'a' AND id = 'b' ORDER BY position DESC",
            "SELECT value FROM history WHERE kind = 'a' AND position < 9 ORDER BY position DESC",
            "SELECT value FROM history WHERE kind = 'a' AND lookup = 'b' AND at >= 1 "
            "ORDER BY position DESC",
            "SELECT e.value FROM event_about a JOIN event e ON e.id = a.event "
            "WHERE a.subject = 'b' ORDER BY a.event DESC",
            "DELETE FROM event_about WHERE (subject, event) IN "
            "(SELECT s.value, e.id FROM event e, json_each(e.subjects) s WHERE e.id <= 5)",
        ]
        for statement in statements:
            plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
            steps = [row[3] for row in plan if "VIRTUAL TABLE" not in row[3]]
            assert not [step for step in steps if step.startswith("SCAN")], (statement, steps)
            assert not [step for step in steps if "TEMP B-TREE" in step], (statement, steps)
        connection.close()


class TestReadsTogether:
    """Reads that come while the thread is busy share the next hop to it."""

    @pytest.fixture
    async def counted(self, tmp_path, monkeypatch):
        hops: list[object] = []
        run_sync = trio.to_thread.run_sync

        async def counting(work, *args, **kwargs):
            hops.append(work)
            return await run_sync(work, *args, **kwargs)

        log = SqliteLog(tmp_path / "t.db")
        await log.open()
        monkeypatch.setattr(trio.to_thread, "run_sync", counting)
        yield log, hops
        await log.close()

    async def test_many_at_once_take_two_hops(self, counted):
        log, hops = counted
        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(log.archived, ("node", f"{number:010d}"))
        assert len(hops) <= 2

    async def test_one_that_fails_fails_alone(self, counted):
        log, _ = counted
        failures = []

        def broken(_reader):
            raise ValueError("this one")

        async def read_broken():
            try:
                await log._read(broken)
            except ValueError as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(log.archived, ("node", "0000000001"))
            nursery.start_soon(read_broken)
            nursery.start_soon(log.archived, ("node", "0000000002"))
        assert len(failures) == 1

    async def test_one_that_is_cancelled_takes_no_other_along(self, counted):
        log, _ = counted
        answers = []

        async def read(number):
            answers.append(await log.archived(("node", f"{number:010d}")))

        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                scope.cancel()
                await read(0)
            for number in range(1, 20):
                nursery.start_soon(read, number)
        assert answers == [None] * 19

    async def test_a_disk_that_fails_is_told_as_the_stores_failure(self, counted):
        """Not as an error of SQLite, which nobody who reads the store expects."""
        log, _ = counted

        def failing(_reader):
            raise sqlite3.DatabaseError("disk I/O error")

        with pytest.raises(StoreFailedError, match="disk I/O error"):
            await log._read(failing)

    async def test_closing_waits_for_those_under_way(self, counted):
        """The second of a group is not read from nothing because the first took its time."""
        log, _ = counted
        begun, go_on = threading.Event(), threading.Event()
        answers = []

        def slow(_reader):
            begun.set()
            assert go_on.wait(10)

        async def read(work):
            answers.append(await log._read(work))

        async with trio.open_nursery() as nursery:
            await log._read_turn.acquire()
            nursery.start_soon(read, slow)
            nursery.start_soon(read, lambda reader: reader.archived(("node", "0000000001")))
            await trio.testing.wait_all_tasks_blocked()
            log._read_turn.release()
            assert await trio.to_thread.run_sync(begun.wait, 10)
            nursery.start_soon(log.close)
            await trio.testing.wait_all_tasks_blocked()
            go_on.set()
        assert answers == [None, None]
