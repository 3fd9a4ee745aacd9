"""What holds of every `Session`: run on the simulated ZooKeeper, and on a real one.

`SessionContract` wants a fixture `opened` of whoever derives from it: called, it gives an async
context manager of a new session; all of one test's are below one chroot, which is empty at first.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
import trio
import trio.testing

from trellis.zookeeper.errors import (
    HasChildrenError,
    NoSuchZnodeError,
    NotAllowedError,
    OtherVersionError,
    SessionLostError,
    ZnodeExistsError,
)
from trellis.zookeeper.session import (
    Check,
    Create,
    Delete,
    Happened,
    News,
    Session,
    Write,
)

Opened = Callable[[], AbstractAsyncContextManager[Session]]
PATIENCE_S = 10.0
"""A real server answers long before."""


async def read(news: trio.MemoryReceiveChannel[News], count: int) -> list[tuple[Happened, str]]:
    """The next pieces of news."""
    with trio.fail_after(PATIENCE_S):  # noqa: ASYNC100
        pieces = [await news.receive() for _ in range(count)]
    return [(piece.happened, piece.path) for piece in pieces]


class SessionContract:
    """Facts about znodes, transactions, sessions and watches."""

    # ------------------------------------------------------------------------------- znodes

    async def test_a_znode_is_made_with_its_data(self, opened: Opened):
        """What was put in comes out; the path is as it was given."""
        async with opened() as session:
            path = await session.create("/a", b"x")

            assert "/a" == path
            assert b"x" == (await session.get("/a"))[0]

    async def test_the_numbers_of_a_new_znode(self, opened: Opened):
        """It was made, written and given its (no) children by one transaction."""
        async with opened() as session:
            await session.create("/a")

            data, stat = await session.get("/a")

        assert b"" == data
        assert stat.czxid == stat.mzxid == stat.pzxid
        assert (0, 0, 0, 0) == (
            stat.version,
            stat.cversion,
            stat.ephemeral_owner,
            stat.children,
        )
        assert stat.created_ms == stat.modified_ms > 1_600_000_000_000

    async def test_a_write_counts_a_version_and_moves_mzxid_alone(self, opened: Opened):
        """The znode stays the one that was made; its answer is what the znode is then."""
        async with opened() as session:
            await session.create("/a", b"x")
            before = await session.exists("/a")

            after = await session.write("/a", b"y", version=0)

            assert (b"y", after) == await session.get("/a")
        assert before is not None
        assert 1 == after.version
        assert after.mzxid > before.mzxid
        assert (before.czxid, before.pzxid, 0) == (after.czxid, after.pzxid, after.cversion)

    async def test_a_write_of_the_same_data_counts_too(self, opened: Opened):
        """ZooKeeper does not compare."""
        async with opened() as session:
            await session.create("/a", b"x")

            assert 1 == (await session.write("/a", b"x")).version

    async def test_a_write_for_another_version_is_refused(self, opened: Opened):
        """Nothing is changed by it."""
        async with opened() as session:
            await session.create("/a", b"x")

            with pytest.raises(OtherVersionError, match="/a"):
                await session.write("/a", b"y", version=3)

            assert b"x" == (await session.get("/a"))[0]

    async def test_children_made_and_deleted_count_for_their_parent(self, opened: Opened):
        """`cversion` counts both and never goes back; the parent's own version stays."""
        async with opened() as session:
            await session.create("/a")
            await session.create("/a/b")
            await session.create("/a/c")
            await session.delete("/a/b")

            stat = await session.exists("/a")
            child = await session.exists("/a/c")

        assert stat is not None
        assert child is not None
        assert (3, 0, 1) == (stat.cversion, stat.version, stat.children)
        assert stat.pzxid > child.czxid > stat.czxid

    async def test_what_is_written_below_counts_for_no_parent(self, opened: Opened):
        """Neither for the parent of what is written, nor a grandchild for its grandparent."""
        async with opened() as session:
            await session.make_path("/a/b")
            before = await session.exists("/a")
            await session.write("/a/b", b"x")
            await session.create("/a/b/c")

            assert before == await session.exists("/a")

    async def test_what_is_not_there(self, opened: Opened):
        """Each call says so in its own way."""
        async with opened() as session:
            assert await session.exists("/no") is None
            for call in (
                session.get("/no"),
                session.children("/no"),
                session.write("/no", b""),
                session.delete("/no"),
                session.create("/no/child"),
                session.transact([Check(path="/no")]),
            ):
                with pytest.raises(NoSuchZnodeError, match="/no"):
                    await call

    async def test_what_is_there_already_is_not_made_again(self, opened: Opened):
        """Its data stays."""
        async with opened() as session:
            await session.create("/a", b"x")

            with pytest.raises(ZnodeExistsError, match="/a"):
                await session.create("/a", b"y")

            assert b"x" == (await session.get("/a"))[0]

    async def test_a_znode_with_children_is_not_deleted(self, opened: Opened):
        """The children come first; a wrong version is found before them."""
        async with opened() as session:
            await session.make_path("/a/b")

            with pytest.raises(HasChildrenError, match="/a"):
                await session.delete("/a")
            with pytest.raises(OtherVersionError, match="/a"):
                await session.delete("/a", version=7)
            await session.delete("/a/b", version=0)
            await session.delete("/a")

            assert await session.exists("/a") is None

    async def test_the_children_are_named(self, opened: Opened):
        """Only those right below, without their path."""
        async with opened() as session:
            await session.make_path("/a/b/x")
            await session.create("/a/c")

            assert {"b", "c"} == set(await session.children("/a"))
            assert () == await session.children("/a/c")

    async def test_a_path_is_made_whole_and_may_be_there(self, opened: Opened):
        """Also by several at once; what is there keeps its data."""
        async with opened() as session:
            await session.create("/a", b"x")
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(session.make_path, "/a/b/c")
            await session.make_path("/a")

            assert b"x" == (await session.get("/a"))[0]
            assert await session.exists("/a/b/c") is not None

    async def test_no_path_at_all_is_a_mistake_of_the_caller(self, opened: Opened):
        """It is told as one, and asks nothing of the server."""
        async with opened() as session:
            for path in ("", "a", "/a/", "/a//b", "/a/../b"):
                with pytest.raises(ValueError):
                    await session.get(path)

    # ---------------------------------------------------------------------------- sequences

    async def test_sequences_count_all_that_was_made_below_the_parent(self, opened: Opened):
        """Also the plain children and the deleted ones, and whatever their names begin with."""
        async with opened() as session:
            await session.create("/a")
            first = await session.create("/a/x-", sequence=True)
            await session.create("/a/plain")
            await session.delete("/a/plain")
            second = await session.create("/a/y-", sequence=True)
            await session.delete(second)
            third = await session.create("/a/x-", sequence=True)

        assert ["/a/x-0000000000", "/a/y-0000000002", "/a/x-0000000003"] == [first, second, third]

    async def test_a_sequence_may_have_no_name_beside_its_digits(self, opened: Opened):
        """As the nodes of Nodepool have none."""
        async with opened() as session:
            await session.create("/a")

            assert "/a/0000000000" == await session.create("/a/", sequence=True)

    async def test_what_could_not_be_made_takes_no_number(self, opened: Opened):
        """The next one has the number that it would have had."""
        async with opened() as session:
            await session.create("/a")
            await session.create("/a/b")
            with pytest.raises(ZnodeExistsError):
                await session.create("/a/b")
            with pytest.raises(NoSuchZnodeError):
                await session.transact([Create(path="/a/", sequence=True), Check(path="/no")])

            assert "/a/0000000001" == await session.create("/a/", sequence=True)

    # ------------------------------------------------------------------------- transactions

    async def test_a_transaction_is_done_whole(self, opened: Opened):
        """Its parts build on each other, have one zxid, and tell the paths they made."""
        async with opened() as session:
            await session.create("/a", b"x")
            await session.create("/gone")

            paths = await session.transact(
                [
                    Check(path="/a", version=0),
                    Create(path="/b"),
                    Create(path="/b/", data=b"1", sequence=True),
                    Create(path="/b/", data=b"2", sequence=True),
                    Write(path="/a", data=b"y", version=0),
                    Delete(path="/gone"),
                ]
            )

            assert ("/a", "/b", "/b/0000000000", "/b/0000000001", "/a", "/gone") == paths
            written, made = await session.exists("/a"), await session.exists("/b/0000000001")
            assert await session.exists("/gone") is None
        assert written is not None
        assert made is not None
        assert made.czxid == written.mzxid

    async def test_of_a_transaction_that_cannot_be_nothing_is_done(self, opened: Opened):
        """The error is that of the first part that cannot be."""
        async with opened() as session:
            await session.create("/a", b"x")
            before = await session.get("/a")

            with pytest.raises(OtherVersionError, match="/a"):
                await session.transact(
                    [
                        Write(path="/a", data=b"y"),
                        Create(path="/a/b", ephemeral=True),
                        Check(path="/a", version=0),
                        Delete(path="/no"),
                    ]
                )

            assert before == await session.get("/a")
            assert await session.exists("/a/b") is None

    @pytest.mark.parametrize(
        ("operation", "error"),
        [
            pytest.param(Create(path="/a"), ZnodeExistsError, id="create-there"),
            pytest.param(Create(path="/no/b"), NoSuchZnodeError, id="create-no-parent"),
            pytest.param(Write(path="/no", data=b""), NoSuchZnodeError, id="write-not-there"),
            pytest.param(Delete(path="/a"), HasChildrenError, id="delete-with-children"),
            pytest.param(Delete(path="/a/b", version=9), OtherVersionError, id="delete-version"),
        ],
    )
    async def test_each_part_fails_as_it_does_alone(
        self, opened: Opened, operation: Create | Write | Delete, error: type[Exception]
    ):
        """With the error of that call."""
        async with opened() as session:
            await session.make_path("/a/b")

            with pytest.raises(error, match=operation.path):
                await session.transact([Check(path="/a"), operation, Check(path="/no")])

    async def test_one_that_makes_and_deletes_leaves_only_the_counts(self, opened: Opened):
        """As the lock folder that is taken away with its last contender."""
        async with opened() as session:
            await session.make_path("/a/lock")
            await session.transact([Create(path="/a/lock/x"), Delete(path="/a/lock/x")])
            stat = await session.exists("/a/lock")
            await session.transact([Delete(path="/a/lock"), Delete(path="/a")])

            assert await session.exists("/a") is None
        assert stat is not None
        assert (2, 0) == (stat.cversion, stat.children)

    # ----------------------------------------------------------------------------- sessions

    async def test_an_ephemeral_znode_ends_with_its_session(self, opened: Opened):
        """At once when the block is left; a plain one stays."""
        async with opened() as watching:
            async with opened() as session:
                await session.create("/plain")
                await session.create("/brief", ephemeral=True)
                stat = await watching.exists("/brief")

            assert stat is not None
            assert session.id == stat.ephemeral_owner
            assert await watching.exists("/brief") is None
            assert await watching.exists("/plain") is not None

    async def test_an_ephemeral_znode_can_have_no_children(self, opened: Opened):
        """ZooKeeper would not know what becomes of them."""
        async with opened() as session:
            await session.create("/brief", ephemeral=True)

            with pytest.raises(NotAllowedError, match="/brief"):
                await session.create("/brief/child")

    async def test_two_sessions_are_two(self, opened: Opened):
        """What one makes the other sees."""
        async with opened() as one, opened() as other:
            assert one.id != other.id
            await one.create("/a", b"x")

            assert b"x" == (await other.get("/a"))[0]

    async def test_a_session_that_was_left_is_over(self, opened: Opened):
        """Every call says so, and so does whoever waits for it."""
        async with opened() as session:
            await session.wait_connected()

        with trio.fail_after(PATIENCE_S):
            await session.wait_lost()
        for call in (session.get("/"), session.create("/a"), session.wait_connected()):
            with pytest.raises(SessionLostError):
                await call

    # ------------------------------------------------------------------------------ watches

    async def test_a_watch_tells_what_happens_to_a_znode_and_below_it(self, opened: Opened):
        """In order, whoever did it, also before the znode is there; reads tell nothing."""
        async with opened() as session, opened() as other, session.watch("/a") as news:
            await other.create("/a")
            await other.create("/a/b")
            await session.get("/a/b")
            await other.write("/a/b", b"x")
            await other.delete("/a/b")
            await other.write("/a", b"y")
            await other.delete("/a")

            told = await read(news, 6)

        assert [
            (Happened.MADE, "/a"),
            (Happened.MADE, "/a/b"),
            (Happened.WRITTEN, "/a/b"),
            (Happened.DELETED, "/a/b"),
            (Happened.WRITTEN, "/a"),
            (Happened.DELETED, "/a"),
        ] == told

    async def test_a_watch_tells_what_its_own_session_does(self, opened: Opened):
        """And how a sequential znode came to be called."""
        async with opened() as session:
            await session.create("/a")
            async with session.watch("/a") as news:
                path = await session.create("/a/", sequence=True)

                assert [(Happened.MADE, path)] == await read(news, 1)

    async def test_a_watch_tells_nothing_of_neighbours(self, opened: Opened):
        """Not even of one whose name begins alike."""
        async with opened() as session, session.watch("/a") as news:
            await session.create("/ab")
            await session.create("/b")
            await session.create("/a")

            assert [(Happened.MADE, "/a")] == await read(news, 1)

    async def test_two_watches_are_told_each(self, opened: Opened):
        """One inside of the other as well; the end of one leaves the other."""
        async with opened() as session:
            await session.make_path("/a/b")
            async with session.watch("/a") as outer:
                async with session.watch("/a/b") as inner:
                    await session.create("/a/b/c")
                    assert [(Happened.MADE, "/a/b/c")] == await read(inner, 1)
                await session.create("/a/b/d")

                assert [(Happened.MADE, "/a/b/c"), (Happened.MADE, "/a/b/d")] == await read(
                    outer, 2
                )

    async def test_a_transaction_is_told_part_by_part(self, opened: Opened):
        """In its order; a check changes nothing, and what is not done is not told."""
        async with opened() as session:
            await session.make_path("/a/b")
            async with session.watch("/a") as news:
                with pytest.raises(NoSuchZnodeError):
                    await session.transact([Write(path="/a", data=b""), Check(path="/no")])
                await session.transact(
                    [
                        Check(path="/a"),
                        Create(path="/a/c"),
                        Write(path="/a/b", data=b"x"),
                        Delete(path="/a/b"),
                    ]
                )

                told = await read(news, 3)

        assert [
            (Happened.MADE, "/a/c"),
            (Happened.WRITTEN, "/a/b"),
            (Happened.DELETED, "/a/b"),
        ] == told

    async def test_the_end_of_a_session_is_told_of_its_ephemeral_znodes(self, opened: Opened):
        """Each as deleted."""
        async with opened() as watching:
            await watching.create("/a")
            async with watching.watch("/a") as news:
                async with opened() as session:
                    for name in ("/a/x", "/a/y"):
                        await session.create(name, ephemeral=True)

                told = await read(news, 4)

        assert [(Happened.MADE, "/a/x"), (Happened.MADE, "/a/y")] == told[:2]
        assert {(Happened.DELETED, "/a/x"), (Happened.DELETED, "/a/y")} == set(told[2:])

    async def test_what_is_read_after_news_is_no_older(self, opened: Opened):
        """Whoever is told of a write reads that write, or a later one."""
        async with opened() as session, opened() as other:
            await other.create("/a", b"0")
            async with session.watch("/a") as news:
                for number in range(1, 20):
                    await other.write("/a", b"%d" % number)
                    assert [(Happened.WRITTEN, "/a")] == await read(news, 1)
                    assert b"%d" % number == (await session.get("/a"))[0]

    async def test_a_slow_reader_is_told_that_it_missed_some(self, opened: Opened):
        """Once, and for the watched path; what comes after it is told again."""
        async with opened() as session, opened() as other:
            await other.create("/a")
            async with session.watch("/a") as news:
                for _ in range(3000):
                    await other.write("/a", b"")
                await _until_idle(session)
                told = list[tuple[Happened, str]]()
                while (Happened.MISSED, "/a") not in told:
                    told += await read(news, 1)
                assert set(told[:-1]) <= {(Happened.WRITTEN, "/a")}
                assert len(told) < 3000
                await other.create("/a/b")

                assert [(Happened.MADE, "/a/b")] == await read(news, 1)

    async def test_a_watch_ends_with_its_session(self, opened: Opened):
        """Whoever reads it comes to an end."""
        async with trio.open_nursery() as nursery, opened() as session:
            reading = trio.Event()

            async def follow() -> None:
                async with session.watch("/a") as news:
                    reading.set()
                    async for _ in news:
                        pass

            nursery.start_soon(follow)
            await reading.wait()
            nursery.cancel_scope.deadline = trio.current_time() + PATIENCE_S

        assert not nursery.cancel_scope.cancelled_caught

    # ------------------------------------------------------------------------------- chroot

    async def test_nobody_sees_the_chroot(self, opened: Opened):
        """Paths begin below it; its own znode is the root, and was made."""
        async with opened() as session:
            assert () == await session.children("/")
            async with session.watch("/") as news:
                await session.create("/a", ephemeral=True)

                assert [(Happened.MADE, "/a")] == await read(news, 1)
            assert ("/a",) == await session.transact([Write(path="/a", data=b"")])
            assert ("a",) == await session.children("/")


async def _until_idle(session: Session) -> None:
    """Wait until the server has told this session all that there was."""
    await session.exists("/")
    await trio.testing.wait_all_tasks_blocked(0.2)
