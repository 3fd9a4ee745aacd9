"""What a simulated daemon reaches in the place of ZooKeeper, where its story has none."""

from contextlib import AbstractAsyncContextManager

from trellis.zookeeper.errors import UnreachableServersError
from trellis.zookeeper.session import Servers, Session


def no_zookeeper(servers: Servers) -> AbstractAsyncContextManager[Session]:
    """Refuse to open a session.

    A configuration that is simulated may be an operator's own: nodes that are made up must never
    be offered in the tree that it names.

    Raises:
        UnreachableServersError: always.
    """
    raise UnreachableServersError(
        f"{', '.join(servers.hosts)}: a simulation reaches nothing outside; "
        "a story with `zuul` brings a ZooKeeper of its own"
    )
