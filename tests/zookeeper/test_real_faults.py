"""A real ZooKeeper that dies, hangs and comes back; and what kazoo's threads do meanwhile."""

import logging
import socket
import threading

import attrs
import pytest
import trio
from kazoo.client import KazooClient

from trellis.zookeeper.bridge import GOODBYE_S, kazoo_session
from trellis.zookeeper.errors import (
    DisconnectedError,
    NotAllowedError,
    SessionLostError,
    UnreachableServersError,
)
from trellis.zookeeper.session import Create, Happened, News, Servers

pytestmark = pytest.mark.zuul

PATIENCE_S = 20.0


@pytest.fixture(autouse=True)
def no_thread_is_left():
    """kazoo's threads end with the block, however it is left; those of Trio's pool may stay."""
    before = set(threading.enumerate())
    yield
    left = [one for one in threading.enumerate() if one not in before]
    assert [] == [one for one in left if not one.name.startswith("Trio")]


@pytest.fixture
def servers(zookeeper):
    """The way to the test's own server."""
    return Servers(hosts=(zookeeper.host,), chroot="/below", timeout_s=4.0)


async def in_thread(act):
    """What blocks, while the session goes on."""
    await trio.to_thread.run_sync(act)


async def until_disconnected(session):
    """Call until it is told that the connection is away."""
    with trio.fail_after(PATIENCE_S):
        while True:
            await trio.lowlevel.checkpoint()
            try:
                await session.get("/")
            except DisconnectedError:
                return


async def test_a_server_killed_and_started_again_keeps_the_session(zookeeper, servers):
    """Calls fail meanwhile; afterwards the ephemeral znodes are there, and watches tell again."""
    async with kazoo_session(servers) as session, session.watch("/a") as news:
        own = session.id
        await session.create("/mine", ephemeral=True)
        await in_thread(zookeeper.kill)
        await until_disconnected(session)
        with pytest.raises(DisconnectedError, match="/a"):
            await session.create("/a")
        await in_thread(zookeeper.start)

        with trio.fail_after(PATIENCE_S):
            await session.wait_connected()
            assert News(Happened.MISSED, "/a") == await news.receive()
            assert own == session.id
            assert own == (await session.get("/mine"))[1].ephemeral_owner
            await session.create("/a")
            assert News(Happened.MADE, "/a") == await news.receive()


async def test_a_watch_goes_on_for_a_znode_that_changed_before_it_was_set_again(zookeeper, servers):
    """Whoever reads everything on MISSED, and then what it is told, knows all."""
    # A busy machine may take seconds to start the server again, and the session must not end.
    lasting = attrs.evolve(servers, timeout_s=PATIENCE_S)
    async with kazoo_session(lasting) as session, session.watch("/") as news:
        await in_thread(zookeeper.kill)
        await in_thread(zookeeper.start)
        async with kazoo_session(servers) as other:
            for number in range(200):
                await other.create(f"/{number}")
        with trio.fail_after(PATIENCE_S):
            known = set[str]()
            await trio.lowlevel.checkpoint()
            while len(known) < 200:
                piece = await news.receive()
                if piece.happened is Happened.MISSED:
                    known = set(await session.children("/"))
                else:
                    known.add(piece.path[1:])
        assert {str(number) for number in range(200)} == known


async def test_a_connection_that_is_never_answered_does_not_cost_the_session(zookeeper, servers):
    """ZooKeeper lets one hang that it accepted while it was starting (3.8: an error at its end)."""
    lasting = attrs.evolve(servers, timeout_s=6.0)
    async with kazoo_session(lasting) as session:
        own = session.id
        kazoo = session.client._client
        with socket.create_server((zookeeper.address, 0)) as silent:
            silent.settimeout(PATIENCE_S)
            hosts, kazoo.hosts = kazoo.hosts, [silent.getsockname()]
            await in_thread(zookeeper.kill)
            await in_thread(zookeeper.start)
            # The server counts from its start: two waits of a whole time-out would be too long.
            first, _ = await trio.to_thread.run_sync(silent.accept)
            second, _ = await trio.to_thread.run_sync(silent.accept)
            kazoo.hosts = hosts
        with first, second, trio.fail_after(PATIENCE_S):
            await session.wait_connected()
            assert own == session.id
            assert await session.exists("/")


async def test_a_server_that_hangs_is_noticed_within_the_timeout(zookeeper, servers):
    """The call under way is in doubt; the session is over if the server counted its silence."""
    async with kazoo_session(servers) as session:
        await session.get("/")
        zookeeper.pause()
        with trio.fail_after(servers.timeout_s), pytest.raises(DisconnectedError):
            await session.create("/a")
        with pytest.raises(DisconnectedError):
            await session.get("/")
        zookeeper.resume()

        with trio.fail_after(PATIENCE_S):
            try:
                await session.wait_connected()
                await session.exists("/a")
            except SessionLostError:
                await session.wait_lost()


def end_on_the_server(session, host):
    """Close the session behind its client's back: another connection takes it over, and ends it."""
    taking = KazooClient(hosts=host, client_id=session.client._client.client_id)
    taking.start()
    taking.stop()
    taking.close()


async def test_a_session_that_the_server_ended_is_over_for_good(zookeeper, servers):
    """kazoo would open another; nothing is ever written by it."""
    async with kazoo_session(servers) as other, kazoo_session(servers) as session:
        await session.create("/mine", ephemeral=True)
        async with session.watch("/") as news:
            await trio.to_thread.run_sync(end_on_the_server, session, zookeeper.host)
            with trio.fail_after(PATIENCE_S):
                await session.wait_lost()
                async for _ in news:
                    pass
        for call in (session.create("/late"), session.get("/"), session.wait_connected()):
            with pytest.raises(SessionLostError):
                await call
        await trio.sleep(1.0)

        assert () == await other.children("/")
        assert 1 == zookeeper.counted("zk_global_sessions")


async def test_a_server_that_stays_away_ends_the_session(zookeeper, servers):
    """After three of its timeouts, as it could also refuse us for ever."""
    async with kazoo_session(attrs.evolve(servers, timeout_s=1.0)) as session:
        await in_thread(zookeeper.kill)
        with trio.fail_after(PATIENCE_S):
            await session.wait_lost()
        with pytest.raises(SessionLostError):
            await session.get("/")


async def test_a_server_that_hangs_does_not_hold_up_the_end(zookeeper, servers):
    """The block is left soon, by its own end or by being cancelled."""
    for cancel in (False, True):
        with trio.CancelScope() as scope:
            async with kazoo_session(servers):
                zookeeper.pause()
                left = trio.current_time()
                if cancel:
                    scope.cancel()
                    await trio.sleep_forever()
        zookeeper.resume()

        assert trio.current_time() - left < GOODBYE_S + 1.5


@pytest.mark.parametrize("after_s", [0.0, 0.001, 0.005, 0.02, 0.1])
async def test_it_can_be_cancelled_at_any_moment(zookeeper, servers, after_s):
    """While it connects, while it makes its chroot, in the midst of calls."""
    with trio.move_on_after(after_s):
        async with kazoo_session(servers) as session, trio.open_nursery() as nursery:
            for number in range(300):
                nursery.start_soon(session.create, f"/{number}")

    async with kazoo_session(servers) as session:
        made = len(await session.children("/"))
    assert 0 <= made <= 300


async def test_many_calls_at_once_are_answered_in_their_order(servers):
    """Also more than kazoo is given at once."""
    async with kazoo_session(servers) as session:
        await session.create("/a")
        paths = dict[int, str]()

        async def make(number: int) -> None:
            paths[number] = await session.create("/a/", b"", sequence=True)

        async with trio.open_nursery() as nursery:
            for number in range(1000):
                nursery.start_soon(make, number)

        assert 1000 == len(set(paths.values())) == len(await session.children("/a"))


async def test_calls_cancelled_while_they_wait_do_not_stop_those_behind(servers):
    """Their answers are dropped."""
    async with kazoo_session(servers) as session:
        for _ in range(20):
            async with trio.open_nursery() as nursery:
                for _ in range(150):
                    nursery.start_soon(session.get, "/")
                await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()

        with trio.fail_after(PATIENCE_S):
            assert await session.exists("/") is not None


async def test_what_is_too_large_is_refused_before_it_is_sent(servers):
    """The server would break the connection, and again at each try."""
    async with kazoo_session(servers) as session:
        with pytest.raises(NotAllowedError, match="1000001 bytes"):
            await session.create("/a", bytes(1_000_001))
        with pytest.raises(NotAllowedError, match="1200000 bytes"):
            await session.transact(
                [Create(path=f"/{number}", data=bytes(600_000)) for number in range(2)]
            )

        assert () == await session.children("/")


async def test_of_several_servers_one_that_lives_is_enough(zookeeper, servers):
    """Those before it are tried and left."""
    hosts = ("127.0.0.1:1", "no-such-host.invalid:2181", zookeeper.host)
    async with kazoo_session(attrs.evolve(servers, hosts=hosts)) as session:
        assert await session.exists("/") is not None


async def test_no_server_at_all_is_told_with_the_reason_for_each():
    """At once, when all have refused."""
    servers = Servers(hosts=("127.0.0.1:1", "no-such-host.invalid:2181"), timeout_s=10.0)

    with trio.fail_after(8.0), pytest.raises(UnreachableServersError) as caught:
        async with kazoo_session(servers):
            raise AssertionError("there is no server")

    assert "127.0.0.1:1: nothing listens there" in str(caught.value)
    assert "no-such-host.invalid: the name does not resolve" in str(caught.value)


async def test_a_server_that_accepts_and_is_silent_is_told(zookeeper, servers):
    """As one that hangs. Whose patience ends first, kazoo's or ours, is chance."""
    zookeeper.pause()
    try:
        with pytest.raises(UnreachableServersError, match=r"no answer|did not answer"):
            async with kazoo_session(attrs.evolve(servers, timeout_s=1.0)):
                raise AssertionError("there is no server")
    finally:
        zookeeper.resume()


async def test_kazoo_writes_nothing_into_the_log(zookeeper, servers, caplog):
    """Not of a connection that breaks, nor of one that cannot be made."""
    caplog.set_level(logging.DEBUG)
    async with kazoo_session(servers) as session:
        await in_thread(zookeeper.kill)
        await until_disconnected(session)
    with pytest.raises(UnreachableServersError):
        async with kazoo_session(servers):
            raise AssertionError("there is no server")

    assert [] == caplog.records


async def test_an_address_of_ip_version_6(zookeeper, servers):
    """In brackets, as in a URL."""
    await in_thread(zookeeper.kill)
    zookeeper.address = "::1"
    await in_thread(zookeeper.start)

    async with kazoo_session(attrs.evolve(servers, hosts=(zookeeper.host,))) as session:
        assert zookeeper.host.startswith("[::1]:")
        assert await session.exists("/") is not None
