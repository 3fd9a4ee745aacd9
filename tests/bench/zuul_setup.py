"""The clouds, and a daemon whose demand comes from Zuul through ZooKeeper; as YAML."""

from typing import Any

import attrs
import yaml

from tests.bench.setup import ALPHA, CloudSetup, Setup, written
from trellis.zookeeper.session import Servers


@attrs.frozen(kw_only=True)
class ZuulSetup:
    """See `tests.bench.setup.Setup`.

    Attributes:
        servers: the way to ZooKeeper, for the daemon.
    """

    servers: Servers
    clouds: tuple[CloudSetup, ...] = (ALPHA,)

    def scenario(self) -> str:
        """The file for `trellis cloud`."""
        return Setup(clouds=self.clouds).scenario()

    def configuration(self, port: int, ssh_port: int) -> str:
        """The file for `trellis serve`."""
        document = yaml.safe_load(Setup(clouds=self.clouds).configuration(port, ssh_port))
        host, _, zookeeper_port = self.servers.hosts[0].rpartition(":")
        source: dict[str, Any] = {
            "name": "zuul",
            "type": "zuul",
            "zookeeper-servers": [
                {"host": host, "port": int(zookeeper_port), "chroot": self.servers.chroot}
            ],
            "zookeeper-timeout": self.servers.timeout_s,
        }
        if (tls := self.servers.tls) is not None:
            source["zookeeper-tls"] = {key: str(getattr(tls, key)) for key in ("cert", "key", "ca")}
        document["demand-sources"] = [source]
        for provider in document["providers"]:
            for label in provider["pools"][0]["labels"]:
                label["username"] = "zuul"
        return written(document)
