"""A ZooKeeper that lets nobody write, or not everywhere: said plainly, and nothing is lost."""

import attrs
import pytest
import trio
from kazoo.client import KazooClient
from kazoo.security import OPEN_ACL_UNSAFE, make_acl, make_digest_acl

from tests.bench.connection import Connection
from tests.zookeeper.real_server import Quorum, RealZooKeeper
from tests.zuul.real.conftest import QUICK

pytestmark = pytest.mark.zuul

PATIENCE_S = 60.0
READ_ONLY = [make_acl("world", "anyone", read=True), make_digest_acl("admin", "secret", all=True)]
ACL = "an ACL forbids it: let our certificate or address have all rights"


@pytest.fixture
def two_zookeepers(tmp_path, site_authority):
    """Two servers that are a quorum together; the first is the one that all here speak to."""
    quorum = Quorum.of(2)
    first = RealZooKeeper(tmp_path / "first", site_authority, quorum=quorum)
    second = RealZooKeeper(tmp_path / "second", quorum=quorum, member=2)
    for server in (first, second):
        server.launch()
    for server in (first, second):
        server.wait_serves()
    yield first, second
    for server in (first, second):
        server.stop()


class Acls:
    """An administrator of ZooKeeper, who knows the password.

    Args:
        host: of the server.
        chroot: of the site.
    """

    def __init__(self, host, chroot):
        self._chroot = chroot
        self._client = KazooClient(host, auth_data=[("digest", "admin:secret")])

    def __enter__(self):
        self._client.start()
        return self

    def __exit__(self, *_):
        self._client.stop()
        self._client.close()

    def forbid(self, path):
        """Let nobody else write it, or make anything directly below it."""
        self._client.set_acls(self._chroot + path, READ_ONLY)

    def allow(self, path):
        """Let everybody."""
        self._client.set_acls(self._chroot + path, OPEN_ACL_UNSAFE)

    def touch(self, path):
        """Write what is there: who waits for news looks at it again."""
        self._client.set(self._chroot + path, self.look(path)[0])

    def look(self, path):
        """A znode's data and version."""
        data, stat = self._client.get(self._chroot + path)
        return data, stat.version


@pytest.fixture
def acls(site_zookeeper):
    """Called with a site: who decides who may write in its tree."""

    def of(site):
        return Acls(site_zookeeper.host, site.chroot)

    return of


async def source(site):
    """What the daemon says of its source of demand."""
    async with Connection(site.trellis.url) as face:
        (told,) = (await face.get("/api/v1/demand-sources"))["items"]
        return told


def says(site, *words):
    """Whether the daemon says all of these words about its source."""

    async def says():
        reason = (await source(site))["reason"]
        return all(word in reason for word in words)

    return says


def serves(site):
    """Whether the daemon says that its source is well."""

    async def serves():
        told = await source(site)
        return (told["state"], told["reason"]) == ("running", "")

    return serves


def logged(site, *words):
    """Whether a line of the daemon's log has all of these words."""

    async def logged():
        lines = site.trellis.daemon.log.read_text().splitlines()
        return any(all(word in line for word in words) for line in lines)

    return logged


async def run_job(zuul, request):
    """Wait for a request's nodes, use them, give them back; the ids of their servers."""
    await zuul.becomes(request, "fulfilled", within_s=PATIENCE_S)
    build = await zuul.do("accept", request=request)
    await zuul.do("use", request=request)
    await zuul.do("give_back", request=request)
    return [node["external_id"] for node in build["nodes"]]


async def test_a_zookeeper_that_is_read_only_is_told_and_has_lost_nothing(
    open_site, two_zookeepers
):
    """Without its quorum: who uses a node goes on, who waits is served when it is back."""
    first, second = two_zookeepers
    async with open_site(attrs.evolve(QUICK, slots=2), zookeeper=first, timeout_s=2.0) as site:
        zuul = site.zuul
        using = await zuul.do("submit", labels=["small"])
        await zuul.becomes(using, "fulfilled")
        (used,) = (await zuul.do("accept", request=using))["nodes"]
        await zuul.do("use", request=using)
        waiting = [await zuul.do("submit", labels=["small"]) for _ in range(2)]

        await trio.to_thread.run_sync(second.stop)
        await site.until(
            says(site, f"{first.secure_host}: it is read-only, as it has no quorum"),
            within_s=PATIENCE_S,
        )
        told = await source(site)
        assert "troubled" == told["state"]
        assert "bring up the other servers" in told["reason"]
        await trio.to_thread.run_sync(second.start)

        await site.until(serves(site), within_s=PATIENCE_S)
        await zuul.do("give_back", request=using)
        servers = [one for request in waiting for one in await run_job(zuul, request)]
        assert 3 == len({used["external_id"], *servers})
        await site.until(site.nothing_left)


async def test_a_tree_in_which_our_pools_may_not_be_registered_is_told(open_site, acls):
    """The znode is named, and served it is as soon as it may be."""
    async with open_site() as site:
        with acls(site) as admin:
            await site.until(serves(site))
            admin.forbid("/nodepool/components/pool")
            await site.trellis.daemon.kill()
            await site.trellis.start_daemon()
            await site.until(says(site, "create /nodepool/components/pool/", ACL))
            assert "troubled" == (await source(site))["state"]
            request = await site.zuul.do("submit", labels=["small"])
            admin.allow("/nodepool/components/pool")

            await run_job(site.zuul, request)
            await site.until(serves(site))
            await site.until(site.nothing_left)


async def test_one_request_that_may_not_be_written_holds_up_no_other(open_site, acls):
    """It is logged with its path and the remedy, stays as it is, and is served when it may be."""
    async with open_site() as site:
        zuul = site.zuul
        with acls(site) as admin:
            await site.until(serves(site))
            request = await zuul.do("submit", labels=["small"])
            path = f"/nodepool/requests/{request}"
            admin.forbid(path)
            before = admin.look(path)
            await site.until(logged(site, "zuul_request_forbidden", path, ACL))

            await run_job(zuul, await zuul.do("submit", labels=["small"]))
            assert before == admin.look(path)
            assert "running" == (await source(site))["state"]
            admin.allow(path)
            admin.touch(path)

            await run_job(zuul, request)
            await site.until(site.nothing_left)
