"""What holds of a `Lock` on every `Session`: the simulated ZooKeeper's, and a real one's."""

import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
import trio

from trellis.zookeeper.errors import NoSuchZnodeError
from trellis.zookeeper.lock import Lock, contenders
from trellis.zookeeper.session import Check, Create, Delete, Session, Write

Opened = Callable[[], AbstractAsyncContextManager[Session]]
FOLDER = "/deep/down/lock"
PATIENCE_S = 10.0


async def waiting_in_line(session: Session, count: int) -> None:
    """Wait until so many contenders stand at the lock."""
    async with session.watch(FOLDER) as news:
        while len(contenders(await session.children(FOLDER))) < count:
            with trio.fail_after(PATIENCE_S):
                await news.receive()


class LockContract:
    """Facts about locks. `opened` as that of `SessionContract`."""

    async def test_a_free_lock_is_taken_as_kazoo_takes_it(self, opened: Opened):
        """The folder is made, and in it a contender with the name that others look for."""
        async with opened() as session:
            lock = Lock(session, FOLDER, identifier=b"who")

            assert await lock.try_acquire()

            assert lock.held
            names = await session.children(FOLDER)
            data, stat = await session.get(lock.path)
        assert re.fullmatch(r"[0-9a-f]{32}__lock__0000000000", names[0])
        assert (b"who", session.id, 1) == (data, stat.ephemeral_owner, len(names))

    async def test_a_folder_that_is_there_is_used(self, opened: Opened):
        """As each but the first of a lock's holders finds one."""
        async with opened() as session:
            await session.make_path(FOLDER)
            lock = Lock(session, FOLDER)

            assert await lock.try_acquire()
            assert 1 == len(await session.children(FOLDER))

    async def test_a_lock_seen_free_that_another_has_taken_since_is_not_taken(self, opened: Opened):
        """What was seen saves a look; whoever came since is found before it is said to be held."""
        async with opened() as one, opened() as other:
            await one.make_path(FOLDER)
            assert await Lock(one, FOLDER).try_acquire()
            lock = Lock(other, FOLDER)

            assert not await lock.try_acquire(seen=())

            assert not lock.held
            assert 1 == len(await other.children(FOLDER))

    async def test_a_folder_seen_free_that_is_gone_by_now_is_made(self, opened: Opened):
        """Its lock is taken as that of any folder which is not there."""
        async with opened() as session:
            lock = Lock(session, FOLDER)

            assert await lock.try_acquire(seen=())

            assert [lock.path] == [f"{FOLDER}/{name}" for name in await session.children(FOLDER)]

    async def test_a_lock_nobody_ever_wanted_is_taken_together_with_a_write(self, opened: Opened):
        """Both are done, and it is held as any other."""
        async with opened() as session:
            await session.make_path("/deep/down")
            await session.create("/of", b"old")
            lock = Lock(session, FOLDER, identifier=b"who")

            assert await lock.take_new(Write(path="/of", data=b"new", version=0))

            assert b"new" == (await session.get("/of"))[0]
            assert b"who" == (await session.get(lock.path))[0]
            await lock.release()
            assert () == await session.children(FOLDER)

    @pytest.mark.parametrize("why", ["folder-there", "written-meanwhile", "gone", "no-parent"])
    async def test_neither_is_done_if_one_of_them_cannot_be(self, opened: Opened, why: str):
        """No contender is left, and nothing is written."""
        async with opened() as session:
            await session.make_path(FOLDER if why == "folder-there" else "/deep/down")
            if why == "no-parent":
                await session.delete("/deep/down")
            if why != "gone":
                await session.create("/of", b"old")
            if why == "written-meanwhile":
                await session.write("/of", b"other")
            lock = Lock(session, FOLDER)

            assert not await lock.take_new(Write(path="/of", data=b"new", version=0))

            assert not lock.held
            if why == "folder-there":
                assert () == await session.children(FOLDER)
            else:
                assert await session.exists(FOLDER) is None
            if why != "gone":
                assert b"new" != (await session.get("/of"))[0]

    async def test_a_lock_that_another_has_is_let_alone(self, opened: Opened):
        """Nothing is written where it can be seen before."""
        async with opened() as one, opened() as other:
            assert await Lock(one, FOLDER).try_acquire()
            before = await one.exists(FOLDER)
            lock = Lock(other, FOLDER)

            assert not await lock.try_acquire()

            assert not lock.held
            assert before == await one.exists(FOLDER)

    async def test_the_contender_of_any_client_counts(self, opened: Opened):
        """Whatever stands before its digits."""
        async with opened() as session:
            await session.make_path(FOLDER)
            await session.create(f"{FOLDER}/_c_x-lock-", ephemeral=True, sequence=True)

            assert not await Lock(session, FOLDER).try_acquire()

    async def test_what_is_no_contender_does_not_count(self, opened: Opened):
        """It has no digits at its end."""
        async with opened() as session:
            await session.make_path(f"{FOLDER}/note")

            assert await Lock(session, FOLDER).try_acquire()

    async def test_a_released_lock_can_be_taken_by_another(self, opened: Opened):
        """The folder stays; to release it twice is as once."""
        async with opened() as one, opened() as other:
            lock = Lock(one, FOLDER)
            assert await lock.try_acquire()

            await lock.release()
            await lock.release()

            assert not lock.held
            assert () == await one.children(FOLDER)
            assert await Lock(other, FOLDER).try_acquire()

    async def test_what_was_never_taken_can_be_released(self, opened: Opened):
        """Even where there is no folder."""
        async with opened() as session:
            await Lock(session, FOLDER).release()

            assert await session.exists(FOLDER) is None

    async def test_a_session_s_end_releases_its_locks(self, opened: Opened):
        """Whoever waits has it then."""
        async with opened() as other, trio.open_nursery() as nursery:
            lock = Lock(other, FOLDER)
            async with opened() as one:
                assert await Lock(one, FOLDER).try_acquire()
                nursery.start_soon(lock.acquire)
                await waiting_in_line(one, 2)
                assert not lock.held
            nursery.cancel_scope.deadline = trio.current_time() + PATIENCE_S
        assert lock.held

    async def test_those_who_wait_come_in_their_order(self, opened: Opened):
        """One at a time."""
        order = list[int]()
        async with opened() as one, opened() as two, opened() as three:
            first = Lock(one, FOLDER)
            assert await first.try_acquire()

            async def take(session: Session, number: int) -> None:
                lock = Lock(session, FOLDER)
                await lock.acquire()
                order.append(number)
                await lock.release()

            with trio.fail_after(PATIENCE_S):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(take, two, 2)
                    await waiting_in_line(one, 2)
                    nursery.start_soon(take, three, 3)
                    await waiting_in_line(one, 3)
                    order.append(1)
                    await first.release()

            assert [1, 2, 3] == order
            assert () == await one.children(FOLDER)

    async def test_one_who_waits_no_longer_leaves_no_contender(self, opened: Opened):
        """Else nobody behind it would ever have the lock."""
        async with opened() as one, opened() as two:
            first, second = Lock(one, FOLDER), Lock(two, FOLDER)
            assert await first.try_acquire()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(second.acquire)
                await waiting_in_line(one, 2)
                nursery.cancel_scope.cancel()

            assert 1 == len(await one.children(FOLDER))
            assert not second.held

    async def test_the_same_lock_made_again_in_a_session_is_the_same(self, opened: Opened):
        """A task that begins anew finds what it had: there are never two contenders."""
        async with opened() as session:
            assert await Lock(session, FOLDER).try_acquire()
            again = Lock(session, FOLDER)

            assert await again.try_acquire()

            assert 1 == len(await session.children(FOLDER))
            await again.release()
            assert () == await session.children(FOLDER)

    async def test_two_of_one_session_exclude_each_other_with_names_of_their_own(
        self, opened: Opened
    ):
        """As two daemons in one simulation might want."""
        async with opened() as session:
            assert await Lock(session, FOLDER, token="a" * 32).try_acquire()

            assert not await Lock(session, FOLDER, token="b" * 32).try_acquire()

    async def test_a_write_with_the_lock_s_path_needs_the_lock(self, opened: Opened):
        """A holder that has lost it without knowing changes nothing."""
        async with opened() as session, opened() as other:
            lock = Lock(session, FOLDER)
            assert await lock.try_acquire()
            await session.transact([Check(path=lock.path), Create(path="/made")])
            await other.delete(lock.path)

            with pytest.raises(NoSuchZnodeError):
                await session.transact([Check(path=lock.path), Create(path="/not-made")])

            assert await session.exists("/made") is not None
            assert await session.exists("/not-made") is None

    async def test_a_lock_is_deleted_with_what_it_guards(self, opened: Opened):
        """Contender, folder and znode in one transaction; then it may be taken anew."""
        async with opened() as session:
            lock = Lock(session, FOLDER)
            assert await lock.try_acquire()

            await session.transact(
                [Delete(path=lock.path), Delete(path=FOLDER), Delete(path="/deep/down")]
            )
            lock.forget()

            assert not lock.held
            assert await lock.try_acquire()
