"""A site that moves from Nodepool to Trellis and back, below a chroot of its own."""

import itertools

import attrs
import pytest

from tests.zookeeper.certificates import Authority
from tests.zookeeper.real_server import RealZooKeeper
from tests.zuul.nodepool.both_sites import both_sites
from trellis.zookeeper.session import Servers, Tls

_CHROOTS = itertools.count()


@pytest.fixture(scope="module")
def moving_zookeeper(tmp_path_factory):
    """One over TLS for all sites, and whom they all believe."""
    authority = Authority(tmp_path_factory.mktemp("moving-ca"))
    zookeeper = RealZooKeeper(tmp_path_factory.mktemp("moving-zookeeper"), authority)
    zookeeper.start()
    yield zookeeper
    zookeeper.stop()


@pytest.fixture
async def site(moving_zookeeper, tmp_path):
    """Clouds and a Zuul; neither Nodepool nor Trellis runs yet."""
    authority = moving_zookeeper.authority
    chroot = f"/moving-{next(_CHROOTS)}"

    def servers(name):
        issued = authority.issue(name)
        return Servers(
            hosts=(moving_zookeeper.secure_host,),
            timeout_s=10.0,
            tls=Tls(cert=issued.cert, key=issued.key, ca=authority.ca),
        )

    mine, zuuls = (attrs.evolve(servers(name), chroot=chroot) for name in ("launcher", "zuul"))
    async with both_sites(mine, zuuls, tmp_path / "site") as running:
        yield running
