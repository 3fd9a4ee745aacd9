"""TLS with a real ZooKeeper: whom we believe, and what is said where that is not so."""

import datetime

import attrs
import pytest
import trio

from tests.zookeeper.certificates import Authority
from tests.zookeeper.real_server import RealZooKeeper
from trellis.zookeeper.bridge import kazoo_session
from trellis.zookeeper.errors import UnreachableServersError
from trellis.zookeeper.session import Servers, Tls

pytestmark = pytest.mark.zuul


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Whom the server and we believe."""
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def server(tmp_path_factory, authority, tls):
    """One with a port for TLS, and one without."""
    zookeeper = RealZooKeeper(tmp_path_factory.mktemp("zookeeper-tls"), authority)
    zookeeper.start()
    zookeeper.wait_secure(tls)
    yield zookeeper
    zookeeper.stop()


@pytest.fixture(scope="module")
def tls(authority):
    """As it should be."""
    issued = authority.issue("client")
    return Tls(cert=issued.cert, key=issued.key, ca=authority.ca)


@pytest.fixture
def servers(server, tls):
    """The way to the server."""
    return Servers(hosts=(server.secure_host,), timeout_s=4.0, tls=tls)


async def told(servers):
    """Why there is no session."""
    with trio.fail_after(10), pytest.raises(UnreachableServersError) as caught:
        async with kazoo_session(servers):
            raise AssertionError("there should be no session")
    return str(caught.value)


async def test_a_session_over_tls(servers):
    """Also with answers that come many in one record, and large ones in several."""
    async with kazoo_session(attrs.evolve(servers, chroot="/tls")) as session:
        await session.create("/a", bytes(500_000))
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for _ in range(500):
                    nursery.start_soon(session.exists, "/a")
            assert 500_000 == len((await session.get("/a"))[0])


async def test_answers_do_not_wait_for_the_next_heartbeat(servers):
    """What TLS has read ahead is seen, though the kernel has nothing more."""
    async with kazoo_session(servers) as session, session.watch("/") as news:
        began = trio.current_time()
        for number in range(300):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(session.create, f"/quick-{number}")
                nursery.start_soon(session.get, "/")
                nursery.start_soon(news.receive)

        assert trio.current_time() - began < 10 * servers.timeout_s / 3


async def test_a_server_of_another_authority_is_not_believed(servers, tls, tmp_path):
    """Not even if its name is right."""
    other = Authority(tmp_path / "other")

    text = await told(attrs.evolve(servers, tls=attrs.evolve(tls, ca=other.ca)))

    assert "of a CA that we do not believe" in text
    assert "zookeeper-tls: ca:" in text


async def test_a_server_of_another_name_is_not_believed(servers, server):
    """Any component of the site has a certificate of the same authority."""
    text = await told(attrs.evolve(servers, hosts=(f"127.0.0.1:{server.secure_port}",)))

    assert "its certificate is for another name" in text
    assert "zookeeper-servers" in text
    assert "check-name: false" in text


async def test_a_server_of_another_name_is_believed_where_the_name_is_not_looked_at(
    servers, server, tls
):
    """As by Zuul and Nodepool, which believe all that the authority has signed."""
    elsewhere = attrs.evolve(
        servers,
        hosts=(f"127.0.0.1:{server.secure_port}",),
        tls=attrs.evolve(tls, check_name=False),
    )
    async with kazoo_session(elsewhere) as session:
        assert (await session.exists("/zookeeper")) is not None


async def test_a_server_whose_certificate_has_expired_is_not_believed(servers, tls, tmp_path):
    """Its clock, ours, or its renewal."""
    authority = Authority(tmp_path / "ca")
    zookeeper = RealZooKeeper(
        tmp_path / "zookeeper", authority, certificate_lasts=datetime.timedelta(hours=-1)
    )
    zookeeper.start()
    try:
        issued = authority.issue("client")
        text = await told(
            Servers(
                hosts=(zookeeper.secure_host,),
                timeout_s=4.0,
                tls=Tls(cert=issued.cert, key=issued.key, ca=authority.ca),
            )
        )
    finally:
        zookeeper.stop()

    assert "its certificate has expired" in text


async def test_a_certificate_that_the_server_does_not_believe(servers, tls, tmp_path):
    """The server only closes the connection; what may be the cause is said."""
    issued = Authority(tmp_path / "other").issue("client")

    text = await told(attrs.evolve(servers, tls=Tls(cert=issued.cert, key=issued.key, ca=tls.ca)))

    assert "CA of our certificate" in text or "of a CA it believes" in text


async def test_tls_at_the_port_without(servers, server):
    """As when only the port was forgotten."""
    text = await told(attrs.evolve(servers, hosts=(f"localhost:{server.port}",)))

    assert "secureClientPort" in text


async def test_no_tls_at_the_port_with(servers):
    """As when only the files were forgotten."""
    text = await told(attrs.evolve(servers, tls=None))

    assert "zookeeper-tls" in text


@pytest.mark.parametrize("key", ["cert", "key", "ca"])
async def test_a_file_that_is_not_there_is_named(servers, tls, tmp_path, key):
    """Before anything is connected."""
    gone = tmp_path / "gone.pem"

    text = await told(attrs.evolve(servers, tls=attrs.evolve(tls, **{key: gone})))

    assert f"zookeeper-tls: {key}: cannot read {gone}: No such file" in text


@pytest.mark.parametrize("key", ["cert", "key", "ca"])
async def test_a_file_of_something_else_is_named(servers, tls, tmp_path, key):
    """Neither is it asked for a passphrase."""
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("nothing of the kind\n")

    text = await told(attrs.evolve(servers, tls=attrs.evolve(tls, **{key: wrong})))

    assert str(wrong) in text


async def test_a_renewed_certificate_is_taken_up_at_the_next_connection(
    servers, server, authority, tls, tmp_path
):
    """Without a restart."""
    good = authority.issue("renewed")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    other = Authority(tmp_path / "other").issue("old")
    cert.write_bytes(other.cert.read_bytes())
    key.write_bytes(other.key.read_bytes())
    changing = attrs.evolve(servers, tls=Tls(cert=cert, key=key, ca=tls.ca))
    await told(changing)

    cert.write_bytes(good.cert.read_bytes())
    key.write_bytes(good.key.read_bytes())

    async with kazoo_session(changing) as session:
        assert await session.exists("/") is not None
