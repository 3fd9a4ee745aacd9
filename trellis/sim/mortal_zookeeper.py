"""ZooKeeper as one incarnation of the daemon has it: a seam at each call, and no good-bye."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, TypeVar

import trio

from trellis.sim.mortal import Mortal
from trellis.sim.points import znode_point
from trellis.sim.zookeeper import FakeZooKeeper
from trellis.sim.zookeeper.session import FakeSession
from trellis.zookeeper.session import (
    ANY_VERSION,
    News,
    OpenSession,
    Operation,
    Servers,
    Session,
    Stat,
)

_T = TypeVar("_T")
_NOTHING: Final = "/"


def mortal_zookeeper(zookeeper: FakeZooKeeper, who: str, mortal: Mortal) -> OpenSession:
    """Opens the sessions of one incarnation: a kill leaves them to their timeouts.

    Args:
        who: whose they are, for the history.
    """
    open_one = zookeeper.opener(who)

    @asynccontextmanager
    async def open_session(servers: Servers) -> AsyncIterator[Session]:
        async with open_one(servers) as session:
            assert isinstance(session, FakeSession)

            def fence() -> None:
                zookeeper.abandon(session)

            with mortal.fenced(fence):
                yield _MortalSession(session, mortal)

    return open_session


class _MortalSession:
    """See `Session`; passes a seam before and after each call."""

    def __init__(self, inner: FakeSession, owner: Mortal) -> None:
        self._inner, self._owner = inner, owner

    @property
    def id(self) -> int:
        """See `Session.id`."""
        return self._inner.id

    async def get(self, path: str) -> tuple[bytes, Stat]:
        """See `Session.get`."""
        return await self._passing("get", path, lambda: self._inner.get(path))

    async def exists(self, path: str) -> Stat | None:
        """See `Session.exists`."""
        return await self._passing("exists", path, lambda: self._inner.exists(path))

    async def children(self, path: str) -> tuple[str, ...]:
        """See `Session.children`."""
        return await self._passing("children", path, lambda: self._inner.children(path))

    async def create(
        self, path: str, data: bytes = b"", *, ephemeral: bool = False, sequence: bool = False
    ) -> str:
        """See `Session.create`."""
        return await self._passing(
            "create",
            path,
            lambda: self._inner.create(path, data, ephemeral=ephemeral, sequence=sequence),
        )

    async def make_path(self, path: str) -> None:
        """See `Session.make_path`."""
        await self._passing("make", path, lambda: self._inner.make_path(path))

    async def write(self, path: str, data: bytes, *, version: int = ANY_VERSION) -> Stat:
        """See `Session.write`."""
        return await self._passing(
            "write", path, lambda: self._inner.write(path, data, version=version)
        )

    async def delete(self, path: str, *, version: int = ANY_VERSION) -> None:
        """See `Session.delete`."""
        await self._passing("delete", path, lambda: self._inner.delete(path, version=version))

    async def transact(self, operations: Sequence[Operation]) -> tuple[str, ...]:
        """See `Session.transact`."""
        path = operations[-1].path if operations else _NOTHING
        return await self._passing("transact", path, lambda: self._inner.transact(operations))

    def watch(self, path: str) -> AbstractAsyncContextManager[trio.MemoryReceiveChannel[News]]:
        """See `Session.watch`."""
        return self._inner.watch(path)

    async def wait_connected(self) -> None:
        """See `Session.wait_connected`."""
        await self._inner.wait_connected()

    async def wait_lost(self) -> None:
        """See `Session.wait_lost`."""
        await self._inner.wait_lost()

    async def _passing(self, name: str, path: str, ask: Callable[[], Awaitable[_T]]) -> _T:
        point = znode_point(name, path)
        self._owner.pass_seam(f"{point}, before")
        answer = await ask()
        self._owner.pass_seam(f"{point}, after")
        return answer
