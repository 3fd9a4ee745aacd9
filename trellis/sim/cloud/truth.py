"""What is true in a simulated cloud now, as values that an oracle may keep."""

import attrs

from trellis.sim.cloud.server_state import Server
from trellis.sim.cloud.servers import Servers


@attrs.frozen(kw_only=True)
class ServerView:
    """A server as it truly is now.

    Attributes:
        who: the account's user, or ``stranger``.
        reachable: its sshd answers.
        hostname: the name that its guest believes to have.
    """

    id: str
    name: str
    region: str
    status: str
    who: str
    metadata: dict[str, str]
    created_at: float
    active_at: float | None
    addresses: tuple[str, ...]
    reachable: bool
    hostname: str = ""


@attrs.frozen(kw_only=True)
class LooseView:
    """A floating IP, port, volume or keypair as it truly is now, with the server it serves."""

    id: str
    name: str
    region: str
    who: str
    description: str = ""
    server_id: str | None = None


@attrs.frozen(kw_only=True)
class Machine:
    """A server that is up and has an address reached from outside: what a back end makes real.

    Attributes:
        address: the first of `addresses`.
        addresses: all at which it is reached from outside, fixed and floating, IPv4 first.
        ssh_at: when its guest answers, in seconds of the cloud's clock; may be to come.
        host_key: 32 bytes, the server's own; servers of an image with a baked key share theirs.
        public_key: the line of the keypair it was created with, as ``ssh-ed25519 AAAA…``.
        state: Nova's status, as ``ACTIVE``.
    """

    server_id: str
    name: str
    region: str
    address: str
    addresses: tuple[str, ...]
    ssh_at: float
    host_key: bytes = attrs.field(repr=False)
    public_key: str | None
    state: str


def server_view(region: str, servers: Servers, server: Server, now: float) -> ServerView:
    """A server as it is now."""
    addresses = servers.network.addresses_of(server.id)
    return ServerView(
        id=server.id,
        name=server.name,
        region=region,
        status=server.now.status,
        who=server.who,
        metadata=dict(server.metadata),
        created_at=server.created,
        active_at=server.launched,
        addresses=tuple(row["addr"] for rows in addresses.values() for row in rows),
        reachable=server.ssh_at is not None and server.ssh_at <= now,
        hostname=servers.hostname(server),
    )
