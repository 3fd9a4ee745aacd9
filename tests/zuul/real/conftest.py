"""A whole site on loopback: Zuul's own classes, ZooKeeper with TLS, Trellis, simulated clouds."""

import itertools
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from tests.bench.setup import ALPHA, NONE, CloudSetup, fixed
from tests.bench.stand import Stand, stand
from tests.bench.zuul_setup import ZuulSetup
from tests.zookeeper.certificates import Authority
from tests.zookeeper.real_server import RealZooKeeper
from tests.zuul.real.zuul_process import ZuulProcess, zuul_process
from trellis.zookeeper.session import Servers, Tls

_CHROOTS = itertools.count()
QUICK = attrs.evolve(ALPHA, boot=fixed(0.5), guest=NONE, delete=fixed(0.2))


@attrs.frozen
class Site:
    """What runs: Trellis with its clouds, Zuul, and the ZooKeeper between them."""

    trellis: Stand
    zuul: ZuulProcess
    zookeeper: RealZooKeeper
    chroot: str

    async def until(self, true, *, within_s: float = 30.0) -> None:
        """Wait until an async function says yes."""
        with trio.move_on_after(within_s):
            while not await true():  # noqa: ASYNC110  # another process has no event for us
                await trio.sleep(0.05)
            return
        raise TimeoutError(
            f"not so within {within_s:g} s: {getattr(true, '__name__', true)};"
            f" nodes {await self.zuul.do('nodes')}, servers {await self.trellis.servers()},"
            f" logs in {self.trellis.folder}"
        )

    async def told_of(self, request, state):
        """Wait until the scheduler was told that this request, and no other, has ended so."""

        async def told():
            return await self.zuul.do("events") == [[request, state]]

        await self.until(told)

    async def nodes_become(self, *states):
        """Wait until the tree has nodes of these states and no others; Zuul's cache may lag."""

        async def become():
            return sorted((await self.zuul.do("nodes")).values()) == sorted(states)

        await self.until(become)

    async def nothing_left(self) -> bool:
        """Whether there is neither a node in the tree nor a server in a cloud."""
        return not await self.zuul.do("nodes") and not await self.trellis.servers()


@pytest.fixture(scope="session")
def site_authority(tmp_path_factory):
    """Whom all of the site believe."""
    return Authority(tmp_path_factory.mktemp("site-ca"))


@pytest.fixture
def site_servers(site_authority):
    """The way to a ZooKeeper over TLS; for Zuul, and by its own certificate for Trellis."""

    def to(zookeeper, name):
        issued = site_authority.issue(name)
        return Servers(
            hosts=(zookeeper.secure_host,),
            timeout_s=10.0,
            tls=Tls(cert=issued.cert, key=issued.key, ca=site_authority.ca),
        )

    return to


@pytest.fixture(scope="module")
def site_zookeeper(tmp_path_factory, site_authority):
    """One for all sites, each below a chroot of its own."""
    zookeeper = RealZooKeeper(tmp_path_factory.mktemp("site-zookeeper"), site_authority)
    zookeeper.start()
    yield zookeeper
    zookeeper.stop()


@pytest.fixture
def open_site(site_zookeeper, site_servers, tmp_path):
    """Called: a running site, its Zuul and its Trellis below a new chroot.

    It may be given a ZooKeeper of its own, and the seconds after which Trellis's session is over.
    """

    @asynccontextmanager
    async def opened(*clouds: CloudSetup, zookeeper=site_zookeeper, timeout_s=10.0):
        chroot = f"/site-{next(_CHROOTS)}"
        mine = site_servers(zookeeper, "trellis")
        mine = attrs.evolve(mine, chroot=chroot, timeout_s=timeout_s)
        zuuls = attrs.evolve(site_servers(zookeeper, "zuul"), chroot=chroot)
        setup = ZuulSetup(servers=mine, clouds=clouds or (QUICK,))
        folder: Path = tmp_path / "trellis"
        async with (
            stand(setup, folder) as trellis,
            # Trellis has made the chroot, without which kazoo only warns.
            zuul_process(zuuls, tmp_path / "zuul.log") as zuul,
        ):
            yield Site(trellis, zuul, zookeeper, chroot)

    return opened
