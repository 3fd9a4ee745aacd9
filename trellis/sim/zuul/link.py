"""A process of Zuul's on ZooKeeper: its calls outlast a broken connection, not its session."""

from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import TypeVar

import trio

from trellis.sim.zuul.documents import Document, decoded, encoded
from trellis.zookeeper.errors import (
    DisconnectedError,
    HasChildrenError,
    NoSuchZnodeError,
)
from trellis.zookeeper.session import ANY_VERSION, Session, Stat

_T = TypeVar("_T")
_CONTENDER = "__lock__"


class Link:
    """One session, as kazoo's client with its retries has it.

    All calls raise `SessionLostError` once the session is over.
    """

    def __init__(self, session: Session, random: Random) -> None:
        self.session = session
        self.random = random

    async def again(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        """Ask until there is an answer: what was in doubt is asked a second time."""
        while True:
            try:
                return await ask()
            except DisconnectedError:
                await self.session.wait_connected()

    async def read(self, path: str) -> tuple[Document, Stat] | None:
        """A document; None if it is not there, or is none."""
        try:
            data, stat = await self.again(lambda: self.session.get(path))
        except NoSuchZnodeError:
            return None
        document = decoded(data)
        return None if document is None else (document, stat)

    async def write(self, path: str, document: Document, version: int = ANY_VERSION) -> None:
        """Write the whole of a document."""
        data = encoded(document)
        await self.again(lambda: self.session.write(path, data, version=version))

    async def create(self, path: str, document: Document, *, ephemeral: bool = False) -> str:
        """Make a znode with a number; one more may be made if the connection breaks."""
        data = encoded(document)
        await self.again(lambda: self.session.make_path(path.rpartition("/")[0]))
        return await self.again(
            lambda: self.session.create(path, data, sequence=True, ephemeral=ephemeral)
        )

    async def delete(self, path: str) -> bool:
        """Delete a znode; whether it was there."""
        try:
            await self.again(lambda: self.session.delete(path))
        except (NoSuchZnodeError, HasChildrenError):
            return False
        return True

    async def children(self, path: str) -> tuple[str, ...]:
        """The names below a znode; none if it is not there."""
        try:
            return await self.again(lambda: self.session.children(path))
        except NoSuchZnodeError:
            return ()


class KazooLock:
    """A lock as kazoo's recipe takes it: its folder is made first, with all that is above it."""

    def __init__(self, link: Link, folder: str) -> None:
        self._link, self._folder = link, folder
        self._prefix = f"{link.random.getrandbits(128):032x}{_CONTENDER}"
        self.contender = ""

    async def acquire(self, timeout_s: float = 0.0) -> bool:
        """Take the lock, waiting so long for it; whether it was had.

        Raises:
            NoSuchZnodeError: the folder was deleted while the contender was made.
        """
        deadline = trio.current_time() + timeout_s
        session = self._link.session
        await self._link.again(lambda: session.make_path(self._folder))
        await self._link.again(self._contend)
        while True:
            before = await self._before()
            if before is None:
                return True
            left_s = deadline - trio.current_time()
            if left_s <= 0.0:
                await self.release()
                return False
            await self._link.again(partial(self._wait_gone, before, left_s))

    async def release(self) -> None:
        """Give the lock up; the folder stays."""
        if self.contender:
            await self._link.delete(self.contender)

    async def _contend(self) -> None:
        for name in await self._link.session.children(self._folder):
            if name.startswith(self._prefix):  # made by a call whose answer was lost
                self.contender = f"{self._folder}/{name}"
                return
        self.contender = await self._link.session.create(
            f"{self._folder}/{self._prefix}", ephemeral=True, sequence=True
        )

    async def _before(self) -> str | None:
        names = await self._link.children(self._folder)
        mine = self.contender[-10:]
        earlier = [name for name in names if _CONTENDER in name and name[-10:] < mine]
        if not earlier:
            return None
        return f"{self._folder}/{max(earlier, key=lambda name: name[-10:])}"

    async def _wait_gone(self, path: str, at_most_s: float) -> None:
        session = self._link.session
        with trio.move_on_after(at_most_s):
            async with session.watch(path) as news:
                while await session.exists(path) is not None:
                    try:
                        await news.receive()
                    except trio.EndOfChannel:
                        return


async def no_lock_seen(link: Link, folder: str) -> bool:
    """Whether nobody holds or wants this lock now."""
    return not any(_CONTENDER in name for name in await link.children(folder))
