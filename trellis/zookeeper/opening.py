"""The way to a real ZooKeeper: through kazoo, which is imported only when it is asked for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from trellis.zookeeper.errors import UnreachableServersError
from trellis.zookeeper.session import Servers, Session


@asynccontextmanager
async def open_session(servers: Servers) -> AsyncIterator[Session]:
    """See `OpenSession`.

    Raises:
        UnreachableServersError: kazoo is not installed, or no server could be reached.
    """
    try:
        from trellis.zookeeper.bridge import kazoo_session
    except ImportError as error:
        raise UnreachableServersError(
            f"kazoo is not installed ({error}): pip install 'trellis-ci[zookeeper]'"
        ) from error
    async with kazoo_session(servers) as session:
        yield session
