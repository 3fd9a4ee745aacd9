"""The lock on the simulated ZooKeeper, where each of its calls can fail in each way."""

from random import Random

import pytest
import trio

from tests.zookeeper.lock_contract import FOLDER, LockContract, waiting_in_line
from trellis.sim.zookeeper import Strike, fake_zookeeper
from trellis.zookeeper.errors import DisconnectedError, SessionLostError
from trellis.zookeeper.lock import Lock
from trellis.zookeeper.session import Servers

HOSTS = Servers(hosts=("zk:2181",), chroot="/below")
CALLS = range(1, 12)
"""More than any of the methods makes; that each was struck is asserted where it counts."""


def wall() -> float:
    """UTC of a simulation."""
    return 1_767_225_600.0 + trio.current_time() % 1000.0


@pytest.fixture
async def zookeeper():
    """One that answers at once."""
    async with fake_zookeeper(wall=wall, random=Random(1)) as fake:
        yield fake


@pytest.fixture
def opened(zookeeper):
    """Sessions on it."""
    return lambda: zookeeper.open_session(HOSTS)


class TestLockOnTheFake(LockContract):
    """On the simulated one."""


def once(session, number, strike):
    """Strike one call of a session; tells in its list whether that call was made."""
    struck = []

    def on_call(called):
        if (called.session, called.number) != (session.id, number):
            return None
        struck.append(called.call.name)
        return strike

    return on_call, struck


async def again_when_connected(session, act):
    """What a user of the lock does after `DisconnectedError`."""
    while True:
        try:
            return await act()
        except DisconnectedError:
            await session.wait_connected()


@pytest.mark.parametrize("strike", [Strike.LOST_CALL, Strike.LOST_ANSWER], ids=["call", "answer"])
@pytest.mark.parametrize("number", CALLS)
@pytest.mark.parametrize("there", [False, True], ids=["new-folder", "folder"])
async def test_whatever_call_is_in_doubt_there_is_one_contender(
    zookeeper, opened, number, strike, there, autojump_clock
):
    """Tried again once connected, the lock is had; released, nothing is left."""
    async with opened() as watching:
        if there:
            await watching.make_path(FOLDER)
        async with opened() as session:
            zookeeper.on_call, struck = once(session, number, strike)
            lock = Lock(session, FOLDER)

            assert await again_when_connected(session, lock.try_acquire)

            assert 1 == len(await watching.children(FOLDER))
            await again_when_connected(session, lock.release)
            assert () == await watching.children(FOLDER)
    assert struck or number > 3


@pytest.mark.parametrize("strike", [Strike.LOST_CALL, Strike.LOST_ANSWER], ids=["call", "answer"])
@pytest.mark.parametrize("number", CALLS)
async def test_whatever_call_is_in_doubt_one_who_waits_keeps_the_place(
    zookeeper, opened, number, strike, autojump_clock
):
    """And has the lock in the end, with one contender."""
    async with opened() as holding:
        first = Lock(holding, FOLDER)
        assert await first.try_acquire()
        async with opened() as session, trio.open_nursery() as nursery:
            zookeeper.on_call, _ = once(session, number, strike)
            second = Lock(session, FOLDER)
            nursery.start_soon(again_when_connected, session, second.acquire)
            await waiting_in_line(holding, 2)
            await trio.sleep(60)
            assert not second.held
            assert 2 == len(await holding.children(FOLDER))
            await first.release()
            await trio.sleep(60)

            assert second.held
            assert second.path.endswith((await holding.children(FOLDER))[0])


@pytest.mark.parametrize("number", CALLS)
async def test_whenever_the_session_ends_the_lock_says_so(
    zookeeper, opened, number, autojump_clock
):
    """Waiting or taking; nothing of it stays."""
    async with opened() as holding:
        first = Lock(holding, FOLDER)
        assert await first.try_acquire()
        async with opened() as session:
            zookeeper.on_call, _ = once(session, number, Strike.LOST_SESSION_AFTER)
            with trio.move_on_after(60):
                with pytest.raises(SessionLostError):
                    await Lock(session, FOLDER).acquire()
        assert 1 == len(await holding.children(FOLDER))


@pytest.mark.parametrize("calls", range(1, 8))
async def test_whenever_it_is_cancelled_an_attempt_leaves_nothing(
    zookeeper, opened, calls, autojump_clock
):
    """Also while the answer to its create is under way."""
    async with opened() as watching:
        await watching.make_path(FOLDER)
        await watching.create(f"{FOLDER}/x-", ephemeral=True, sequence=True)
        async with opened() as session, trio.open_nursery() as nursery:
            own, scope = session.id, nursery.cancel_scope

            def on_call(called):
                if called.session == own and called.number == calls:
                    scope.cancel()

            zookeeper.on_call = on_call
            nursery.start_soon(Lock(session, FOLDER).acquire)
            await trio.sleep(60)
            scope.cancel()

        assert ("x-0000000000",) == await watching.children(FOLDER)
