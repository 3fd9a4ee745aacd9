"""Servers of a real ZooKeeper that have lost the others, and what is said of them."""

import attrs
import pytest
import trio

from tests.zookeeper.certificates import Authority
from tests.zookeeper.real_server import Quorum, RealZooKeeper
from trellis.zookeeper.bridge import kazoo_session
from trellis.zookeeper.errors import SessionLostError, UnreachableServersError
from trellis.zookeeper.session import Servers, Tls
from trellis.zookeeper.unreachable import mode_of

pytestmark = pytest.mark.zuul

PATIENCE_S = 40.0


@pytest.fixture
def two_servers(tmp_path):
    """Called: two that are a quorum together; the first has a port for TLS. Both are stopped."""
    quorums = []
    authority = Authority(tmp_path / "ca")

    def started(*, read_only):
        quorum = Quorum.of(2, read_only=read_only)
        first = RealZooKeeper(tmp_path / "first", authority, quorum=quorum)
        second = RealZooKeeper(tmp_path / "second", quorum=quorum, member=2)
        quorums.append((first, second))
        for server in (first, second):
            server.launch()
        for server in (first, second):
            server.wait_serves()
        issued = authority.issue("client")
        tls = Tls(cert=issued.cert, key=issued.key, ca=authority.ca)
        first.wait_secure(tls)
        return first, second, tls

    yield started
    for server in (one for quorum in quorums for one in quorum):
        server.stop()


async def told(servers, words):
    """Wait until the reason why there is no session has these words; a busy server is slow."""
    with trio.fail_after(PATIENCE_S):
        while words not in await _why_no_session(servers):  # noqa: ASYNC110 - a server tells nobody
            await trio.lowlevel.checkpoint()


async def _why_no_session(servers):
    with pytest.raises(UnreachableServersError) as caught:
        async with kazoo_session(servers):
            raise AssertionError("there should be no session")
    return str(caught.value)


@pytest.mark.parametrize("over_tls", [False, True])
async def test_a_server_that_is_read_only_is_told_and_the_session_goes_on_later(
    two_servers, over_tls
):
    """It says no word to us, who want to write; but it says what it is to whoever asks."""
    first, second, tls = two_servers(read_only=True)
    servers = Servers(
        hosts=(first.secure_host if over_tls else first.host,),
        chroot="/below",
        timeout_s=4.0,
        tls=tls if over_tls else None,
    )
    async with kazoo_session(servers) as session:
        await session.create("/kept")
        second.stop()
        with trio.fail_after(PATIENCE_S):
            await session.wait_lost()
        with pytest.raises(SessionLostError):
            await session.get("/kept")

    await told(servers, f"{servers.hosts[0]}: it is read-only, as it has no quorum")

    second.launch()
    await trio.to_thread.run_sync(second.wait_serves)
    async with kazoo_session(attrs.evolve(servers, timeout_s=PATIENCE_S)) as session:
        assert await session.exists("/kept")
        await session.create("/new")


async def test_a_server_without_a_quorum_is_told(two_servers):
    """One that does not even let itself be read."""
    first, second, _ = two_servers(read_only=False)
    second.stop()
    servers = Servers(hosts=(first.host,), timeout_s=2.0)

    await told(servers, f"{first.host}: it does not serve, as it has no quorum")


async def test_a_server_says_what_it_is(two_servers):
    """Without TLS, with it, and at the wrong port."""
    first, second, tls = two_servers(read_only=True)

    modes = {mode_of("127.0.0.1", one.port, None) for one in (first, second)}
    assert {"leader", "follower"} == modes
    assert mode_of("localhost", first.secure_port, tls) in modes
    assert "" == mode_of("localhost", first.secure_port, None)
    assert "" == mode_of("127.0.0.1", 1, None)
