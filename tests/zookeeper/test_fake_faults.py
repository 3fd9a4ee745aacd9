"""What befalls connections, sessions and servers, as the simulated ZooKeeper plays it."""

from random import Random

import pytest
import trio

from trellis.sim.cloud.spec import fixed
from trellis.sim.zookeeper import Called, Latency, Strike, fake_zookeeper
from trellis.zookeeper.errors import (
    DisconnectedError,
    NotAllowedError,
    SessionLostError,
    UnreachableServersError,
)
from trellis.zookeeper.session import Happened, News, Servers

TIMEOUT_S = 10.0
HOSTS = Servers(hosts=("zk:2181",), timeout_s=TIMEOUT_S)


def wall() -> float:
    """UTC of a simulation."""
    return 1_767_225_600.0 + trio.current_time() % 1000.0


@pytest.fixture
async def zookeeper():
    """One that answers at once."""
    async with fake_zookeeper(wall=wall, random=Random(1)) as fake:
        yield fake


@pytest.fixture
async def slow():
    """One whose answers take a tenth of a second."""
    latency = Latency(there=fixed(0.05), back=fixed(0.05))
    async with fake_zookeeper(wall=wall, random=Random(1), latency=latency) as fake:
        yield fake


def at_call(number: int, strike: Strike):
    """Strike one call of every session."""
    return lambda called: strike if called.number == number else None


@pytest.mark.parametrize(
    ("strike", "carried_out"), [(Strike.LOST_CALL, False), (Strike.LOST_ANSWER, True)]
)
async def test_a_call_in_doubt_was_carried_out_or_not(
    zookeeper, strike, carried_out, autojump_clock
):
    """Its client is told the same of both, and is connected again soon, in the same session."""
    async with zookeeper.open_session(HOSTS) as session:
        await session.create("/mine", ephemeral=True)
        zookeeper.on_call = at_call(2, strike)

        with pytest.raises(DisconnectedError, match="/a"):
            await session.create("/a")
        with pytest.raises(DisconnectedError):
            await session.get("/a")
        await session.wait_connected()

        assert carried_out == (await session.exists("/a") is not None)
        assert await session.exists("/mine") is not None


@pytest.mark.parametrize(
    ("strike", "carried_out"), [(Strike.LOST_SESSION, False), (Strike.LOST_SESSION_AFTER, True)]
)
async def test_a_session_can_end_at_a_call(zookeeper, strike, carried_out, autojump_clock):
    """Its ephemeral znodes are gone, and every call says that it is over."""
    async with zookeeper.open_session(HOSTS) as session:
        await session.create("/mine", ephemeral=True)
        zookeeper.on_call = at_call(2, strike)

        with pytest.raises(SessionLostError):
            await session.create("/a")
        await session.wait_lost()
        with pytest.raises(SessionLostError):
            await session.get("/a")

    assert carried_out == (zookeeper.tree.find("/a") is not None)
    assert zookeeper.tree.find("/mine") is None


async def test_a_session_outlives_a_cut_shorter_than_its_timeout(zookeeper, autojump_clock):
    """What it watches is told of as missed, once."""
    async with (
        zookeeper.open_session(HOSTS) as session,
        zookeeper.open_session(HOSTS) as other,
        session.watch("/a") as news,
    ):
        await session.create("/mine", ephemeral=True)
        zookeeper.cut(session, away_s=TIMEOUT_S - 1.0)
        await other.create("/a")
        await other.write("/a", b"x")

        await session.wait_connected()

        assert TIMEOUT_S - 1.0 == pytest.approx(trio.current_time(), abs=0.1)
        assert News(Happened.MISSED, "/a") == news.receive_nowait()
        with pytest.raises(trio.WouldBlock):
            news.receive_nowait()
        assert zookeeper.tree.find("/mine") is not None


async def test_a_session_cut_off_for_longer_expires_before_its_client_knows(
    zookeeper, autojump_clock
):
    """Its ephemeral znodes go at the timeout; the client learns it when it is connected again."""
    async with zookeeper.open_session(HOSTS) as session:
        await session.create("/mine", ephemeral=True)
        zookeeper.cut(session, away_s=30.0)

        await trio.sleep(TIMEOUT_S - 0.1)
        assert zookeeper.tree.find("/mine") is not None
        await trio.sleep(0.2)
        assert zookeeper.tree.find("/mine") is None
        with pytest.raises(DisconnectedError):
            await session.get("/")

        with pytest.raises(SessionLostError):
            await session.wait_connected()
        assert 30.0 == pytest.approx(trio.current_time(), abs=0.1)


async def test_a_client_that_dies_leaves_its_ephemeral_znodes_until_the_timeout(
    zookeeper, autojump_clock
):
    """Nobody says good-bye for it, though its block is left."""
    async with zookeeper.open_session(HOSTS) as session:
        await session.create("/mine", ephemeral=True)
        zookeeper.abandon(session)

    await trio.sleep(TIMEOUT_S - 0.1)
    assert zookeeper.tree.find("/mine") is not None
    await trio.sleep(0.2)
    assert zookeeper.tree.find("/mine") is None


async def test_a_client_that_leaves_without_connection_leaves_them_too(zookeeper, autojump_clock):
    """Its good-bye does not arrive."""
    async with zookeeper.open_session(HOSTS) as session:
        await session.create("/mine", ephemeral=True)
        zookeeper.cut(session, away_s=3.0)

    await trio.sleep(4.0)
    assert zookeeper.tree.find("/mine") is not None
    await trio.sleep(TIMEOUT_S)
    assert zookeeper.tree.find("/mine") is None


async def test_calls_wait_while_a_server_is_paused(zookeeper, autojump_clock):
    """They are carried out in their order when it goes on."""
    async with zookeeper.open_session(HOSTS) as session, trio.open_nursery() as nursery:
        await session.create("/a")
        zookeeper.pause(5.0)
        nursery.start_soon(session.create, "/a/b")
        await trio.sleep(4.0)
        assert zookeeper.tree.find("/a/b") is None

        await session.exists("/a")

        assert 5.0 == pytest.approx(trio.current_time())
        assert zookeeper.tree.find("/a/b") is not None


async def test_a_pause_too_long_for_a_client_leaves_its_call_in_doubt(zookeeper, autojump_clock):
    """It gives up the connection, and the call is carried out when the server goes on."""
    async with zookeeper.open_session(HOSTS) as session:
        zookeeper.pause(9.0)

        with pytest.raises(DisconnectedError):
            await session.create("/a")
        assert TIMEOUT_S * 2 / 3 == pytest.approx(trio.current_time())
        assert zookeeper.tree.find("/a") is None
        await session.wait_connected()

        assert await session.exists("/a") is not None


async def test_a_pause_longer_than_the_timeout_ends_some_sessions(zookeeper, autojump_clock):
    """Which of them is chance, as it is with a real one that wakes up."""
    lost = 0
    async with trio.open_nursery() as nursery:

        async def live() -> None:
            nonlocal lost
            async with zookeeper.open_session(HOSTS) as session:
                await trio.sleep(1.0)
                try:
                    await trio.sleep(60.0)
                    await session.wait_connected()
                    await session.get("/")
                except SessionLostError:
                    lost += 1

        for _ in range(20):
            nursery.start_soon(live)
        await trio.sleep(1.0)
        zookeeper.pause(20.0)

    assert 0 < lost < 20


async def test_a_server_started_again_has_all_that_it_had(zookeeper, autojump_clock):
    """Sessions too: who was connected is connected again, and has missed news."""
    async with zookeeper.open_session(HOSTS) as session, session.watch("/") as news:
        await session.create("/mine", ephemeral=True)
        await news.receive()
        zookeeper.restart(down_s=60.0)

        with pytest.raises(DisconnectedError):
            await session.get("/mine")
        await session.wait_connected()

        assert 60.0 == pytest.approx(trio.current_time())
        assert News(Happened.MISSED, "/") == await news.receive()
        assert await session.exists("/mine") is not None


async def test_no_session_is_opened_with_a_server_that_is_away(zookeeper, autojump_clock):
    """It says with which, and what to do; one that is back soon is waited for."""
    zookeeper.restart(down_s=25.0)
    with pytest.raises(UnreachableServersError, match="zk:2181"):
        async with zookeeper.open_session(HOSTS):
            pass
    await trio.sleep(10.0)

    async with zookeeper.open_session(HOSTS) as session:
        await session.get("/")

    assert 25.0 == pytest.approx(trio.current_time())


async def test_a_read_only_server_is_read(zookeeper, autojump_clock):
    """And says so to who writes; nothing is written."""
    async with zookeeper.open_session(HOSTS) as session:
        await session.create("/a")
        zookeeper.read_only = True

        with pytest.raises(NotAllowedError, match="read-only"):
            await session.write("/a", b"x")

        assert b"" == (await session.get("/a"))[0]


async def test_calls_of_one_session_are_carried_out_in_their_order(slow, autojump_clock):
    """Also those that were made at once; each takes its time on the way, together."""
    async with slow.open_session(HOSTS) as session:
        await session.create("/a")
        began = trio.current_time()
        made = list[str]()
        async with trio.open_nursery() as nursery:

            async def make(name: str) -> None:
                made.append(name)
                await session.create(f"/a/{name}-", sequence=True)

            for number in range(10):
                nursery.start_soon(make, str(number))

        names = sorted(await session.children("/a"), key=lambda name: name[-10:])
        assert made == [name[0] for name in names]
        assert 0.2 == pytest.approx(trio.current_time() - began)


async def test_a_call_that_was_cancelled_may_be_carried_out(slow, autojump_clock):
    """It was on its way; its answer is dropped."""
    async with slow.open_session(HOSTS) as session:
        with trio.move_on_after(0.01):
            await session.create("/a")
        await session.exists("/")

        assert slow.tree.find("/a") is not None


async def test_a_watch_that_was_cancelled_leaves_nothing(slow, autojump_clock):
    """Not even when the server heard of it after that."""
    async with slow.open_session(HOSTS) as session:
        with trio.move_on_after(0.01):
            async with session.watch("/"):
                pass
        await session.create("/a")

        assert {} == session.watches


async def test_everything_is_written_down(zookeeper, autojump_clock):
    """Who did what to which znode; and how many writes a transaction was."""
    async with zookeeper.opener("somebody")(HOSTS) as session:
        await session.create("/a", b"x", ephemeral=True)
        await session.get("/a")

    (made, gone) = zookeeper.history[-2:]
    assert ("somebody", session.id, Happened.MADE, "/a", b"x") == (
        made.who,
        made.session,
        made.happened,
        made.path,
        made.data,
    )
    assert (Happened.DELETED, True) == (gone.happened, gone.by_end)
    counts = zookeeper.counts["somebody"]
    assert (1, 1) == (counts.writes, counts.reads)


async def test_whoever_decides_what_befalls_a_call_sees_it(zookeeper, autojump_clock):
    """Its number, its name and its path."""
    seen = list[Called]()

    def look(called: Called) -> None:
        seen.append(called)

    zookeeper.on_call = look
    async with zookeeper.opener("somebody")(HOSTS) as session:
        await session.exists("/")
        await session.create("/a")

    assert [(1, "exists", "/"), (2, "create", "/a")] == [
        (called.number, called.call.name, called.call.path) for called in seen
    ]
    assert {"somebody"} == {called.who for called in seen}
