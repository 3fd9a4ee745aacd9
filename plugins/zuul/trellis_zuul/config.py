"""What the configuration says of a Zuul: where its ZooKeeper is, and how to get there."""

from pathlib import Path

import attrs

from trellis.spi.config import (
    DemandSourceConfig,
    Seconds,
    at_least,
    at_most,
    not_empty,
)
from trellis.zookeeper.session import Servers, Tls


def _a_path(_instance: object, _field: object, value: str) -> None:
    if value and (not value.startswith("/") or value.endswith("/") or "//" in value):
        raise ValueError(f"must be a path from / on, as /zuul, and not {value!r}")


def _servers(_instance: object, _field: object, value: "tuple[ZooKeeperServerConfig, ...]") -> None:
    if not value:
        raise ValueError("must name at least one server, as [{host: zk01.example.org}]")
    if len(chroots := {server.chroot for server in value}) > 1:
        said = ", ".join(sorted(chroot or "none" for chroot in chroots))
        raise ValueError(f"must have one chroot for all servers, not {said}")


@attrs.frozen(kw_only=True)
class ZooKeeperServerConfig:
    """One server of the ZooKeeper that Zuul uses.

    Attributes:
        host: its name or address.
        port: 2281 for TLS, 2181 for plain, unless the site has others.
        chroot: path below which Zuul keeps its tree, the same for all servers.
    """

    host: str = attrs.field(validator=not_empty)
    port: int = attrs.field(default=2281, validator=(at_least(1), at_most(65535)))
    chroot: str = attrs.field(default="", validator=_a_path)


@attrs.frozen(kw_only=True)
class ZooKeeperTlsConfig:
    """The files by which we and ZooKeeper's servers know each other, in PEM.

    Attributes:
        cert: our certificate.
        key: its key.
        ca: the authority that signed the servers' certificates.
        check_name: whether a server's certificate must be for the name that stands in
            ``zookeeper-servers``; false trusts whatever this authority has signed, as Nodepool did.
    """

    cert: Path
    key: Path
    ca: Path
    check_name: bool = True


@attrs.frozen(kw_only=True)
class ZuulConfig(DemandSourceConfig):
    """A Zuul, or several that share one tree: their requests are served as Nodepool would.

    Attributes:
        zookeeper_servers: the servers of the ZooKeeper that Zuul uses.
        zookeeper_tls: what TLS needs, which Zuul always has on; left out, connections are plain.
        zookeeper_timeout: a session without a sign of life for so long is over. Locks of a
            daemon that died are held for so long.
        take_over_after: what another launcher left behind (nodes, requests, locks) must have been
            seen for so long, without a break, before it is seen to here. Longer than a launcher
            takes to restart.
    """

    zookeeper_servers: tuple[ZooKeeperServerConfig, ...] = attrs.field(validator=_servers)
    zookeeper_tls: ZooKeeperTlsConfig | None = None
    zookeeper_timeout: Seconds = attrs.field(
        default=Seconds(10), validator=(at_least(1), at_most(600))
    )
    take_over_after: Seconds = attrs.field(
        default=Seconds(60), validator=(at_least(1), at_most(3600))
    )

    @property
    def servers(self) -> Servers:
        """As a session is opened with."""
        tls = self.zookeeper_tls
        return Servers(
            hosts=tuple(_host_port(server) for server in self.zookeeper_servers),
            chroot=self.zookeeper_servers[0].chroot,
            timeout_s=self.zookeeper_timeout,
            tls=None if tls is None else Tls(**attrs.asdict(tls)),
        )


def _host_port(server: ZooKeeperServerConfig) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{host}:{server.port}"
