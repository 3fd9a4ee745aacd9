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


@attrs.frozen(kw_only=True)
class LooseView:
    """A floating IP, port or keypair as it truly is now; ``server_id`` while it serves one."""

    id: str
    name: str
    region: str
    who: str
    description: str = ""
    server_id: str | None = None


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
    )
