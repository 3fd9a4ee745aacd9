"""What is below one path of the tree, kept up to date by its watch.

The work for one change is one read, however much there is: a request among 5,000 costs what it
costs among 50. What the mirror shows may be old by one read; whoever acts on it acts with a version
or a lock, which ZooKeeper checks.
"""

import contextlib
import enum
from collections.abc import Callable, Iterator
from typing import Final

import attrs
import structlog
import trio

from trellis.zookeeper.errors import (
    DisconnectedError,
    NoSuchZnodeError,
    NotAllowedError,
    SessionLostError,
)
from trellis.zookeeper.session import Check, Happened, News, Session, Stat
from trellis_zuul.paths import name_of, parent_of

log = structlog.get_logger()

READS_AT_ONCE: Final = 32
"""Enough to fill a round trip of milliseconds, few enough to leave room for the calls of others."""


class Wanted(enum.Enum):
    """What is to be known of a znode."""

    DATA = "data"
    """Its data, what ZooKeeper keeps of it, and its children."""
    FOLDER = "folder"
    """Its children."""
    NAME = "name"
    """That it is there: a lock's contender."""


@attrs.frozen
class Znode:
    """A znode as it was last seen.

    Attributes:
        data: b"" where no data is wanted.
        stat: None where no data is wanted.
    """

    data: bytes = b""
    stat: Stat | None = None

    def is_same(self, other: "Znode | None") -> bool:
        """Whether both are one znode, written perhaps, and neither was made anew at its path."""
        if other is None or other.stat is None or self.stat is None:
            return False
        return other.stat.czxid == self.stat.czxid


Told = Callable[[str, Znode | None, Znode | None], None]
"""Is called with a path, what was there and what is; None is nothing. Must not block or raise."""


class Mirror:
    """The znodes below one path.

    Args:
        root: itself not among them; it need not be there.
        wanted: what is wanted of a path below it.
    """

    def __init__(self, session: Session, root: str, wanted: Callable[[str], Wanted]) -> None:
        self._session, self.root, self._wanted = session, root, wanted
        self._znodes: dict[str, Znode] = {}
        self._below: dict[str, set[str]] = {}
        self._told: list[Told] = []
        self._to_read: dict[str, None] = {}
        self._in_work: dict[str, object] = {}
        """By path, the token of the read whose answer counts. A path that changes meanwhile is
        read again, and the answer that comes without its token is dropped."""
        self._deep: set[str] = {root}
        """Paths of a reading of all whose children are still to be listed."""
        self._none_deep = trio.Event()
        self._gone_meanwhile: dict[str, list[set[str]]] = {}
        """By path that is being listed, what was told meanwhile to be gone from below it."""
        self._readers = trio.lowlevel.ParkingLot()
        self._asked, self._done = 1, 0
        self._ask, self._has_read = trio.Event(), trio.Event()

    # ------------------------------------------------------------------ what is there

    def __contains__(self, path: str) -> bool:
        return path in self._znodes

    def __iter__(self) -> Iterator[str]:
        return iter(self._znodes)

    def __len__(self) -> int:
        return len(self._znodes)

    def get(self, path: str) -> Znode | None:
        """The znode as it was last seen; None if there is none."""
        return self._znodes.get(path)

    def children(self, path: str) -> tuple[str, ...]:
        """The names of those directly below a path, sorted."""
        return tuple(sorted(name_of(child) for child in self._below.get(path, ())))

    def tell(self, told: Told) -> None:
        """Have *told* called at each change from now on, in the order in which they are seen."""
        self._told.append(told)

    # -------------------------------------------------------------- keeping up to date

    async def run(  # noqa: ASYNC114, ASYNC128 - `_start` says so
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Keep up to date; started when all was read once. Ends when the session does.

        Raises:
            SessionLostError: a call found that it is over.
        """
        async with self._session.watch(self.root) as news, trio.open_nursery() as nursery:
            for _ in range(READS_AT_ONCE):
                nursery.start_soon(self._read)
            nursery.start_soon(self._read_all_when_asked)
            nursery.start_soon(self._start, task_status)
            async for one in news:
                self._take(one)
            nursery.cancel_scope.cancel()
        if not self._done:
            raise SessionLostError(f"{self.root}: the session ended before all was read")

    async def refresh(self) -> None:
        """Read all anew: what is shown afterwards is no older than this call.

        Needed after a `DisconnectedError` only, when a write may have been carried out unseen. Any
        number of callers at a time share one reading.
        """
        self._asked += 1
        await self._wait_done(self._asked)

    async def _wait_done(self, asked: int) -> None:
        self._ask.set()
        while self._done < asked:
            await self._has_read.wait()

    async def _start(  # noqa: ASYNC114 - it is no start of its own
        self, task_status: trio.TaskStatus[None]
    ) -> None:
        await self._wait_done(1)
        task_status.started()

    def _take(self, news: News) -> None:
        match news.happened:
            case Happened.MISSED:
                self._asked += 1
                self._ask.set()
            case Happened.DELETED:
                self._forget(news.path)
            case Happened.MADE | Happened.WRITTEN if news.path != self.root:
                self._look_at(news.path)

    # -------------------------------------------------------------------- reading all

    async def _read_all_when_asked(self) -> None:
        while True:
            await self._ask.wait()
            self._ask = trio.Event()
            while self._done < self._asked:
                asked = self._asked
                try:
                    await self._read_all()
                except DisconnectedError:
                    await self._session.wait_connected()
                    continue
                self._done = asked
                done, self._has_read = self._has_read, trio.Event()
                done.set()

    async def _read_all(self) -> None:
        await self._pass_barrier()
        self._none_deep = trio.Event()
        self._deep.add(self.root)
        try:
            await self._list(self.root)
        except NoSuchZnodeError:
            for child in sorted(self._below.get(self.root, ())):
                self._look_at_unlisted(child)
        self._read_deeply(self.root)
        await self._none_deep.wait()

    async def _pass_barrier(self) -> None:
        """Make sure that what is read now is no older than any write that was answered before.

        A read is answered by one server, which may be behind the others; a transaction goes
        through them all, even one that changes nothing. What this session sent before a
        disconnection is carried out before it, or never.
        """
        with contextlib.suppress(NoSuchZnodeError):
            await self._session.transact([Check(path=self.root)])

    async def _list(self, path: str) -> None:
        """Look at all that is below a path, and at what was there before and is no longer."""
        before = frozenset(self._below.get(path, ()))
        # What is told meanwhile is newer than the list, though it may come to us before it.
        gone = set[str]()
        self._gone_meanwhile.setdefault(path, []).append(gone)
        try:
            names = await self._session.children(path)
        finally:
            self._gone_meanwhile[path].remove(gone)
            if not self._gone_meanwhile[path]:
                del self._gone_meanwhile[path]
        listed = {f"{path}/{name}" for name in names} - gone
        for child in sorted(before - listed - gone):
            self._look_at_unlisted(child)
        for child in sorted(listed):
            self._look_at(child, deep=True)

    def _look_at_unlisted(self, path: str) -> None:
        # One that may come again under its name is asked for, not given up: it may just have.
        if self._wanted(path) is Wanted.NAME:
            self._forget(path)
        else:
            self._look_at(path, deep=True)

    def _read_deeply(self, path: str) -> None:
        self._deep.discard(path)
        if not self._deep:
            self._none_deep.set()

    # ---------------------------------------------------------------- reading one znode

    def _look_at(self, path: str, *, deep: bool = False) -> None:
        wanted = self._wanted(path)
        deep = deep or path in self._deep  # what is still to be listed stays so
        if wanted is Wanted.NAME or (wanted is Wanted.FOLDER and not deep):
            self._keep(path, Znode())
            return
        if deep:
            self._deep.add(path)
        self._in_work.pop(path, None)
        self._to_read[path] = None
        self._readers.unpark()

    async def _read(self) -> None:
        while True:  # noqa: ASYNC913 - it waits, or calls
            while not self._to_read:
                await self._readers.park()
            path = next(iter(self._to_read))
            del self._to_read[path]
            token = self._in_work[path] = object()
            try:
                await self._read_one(path, token)
            except NoSuchZnodeError:
                if self._in_work.get(path) is token:
                    self._forget(path)
            except DisconnectedError:
                if self._in_work.get(path) is token:
                    self._look_at(path)
                await self._session.wait_connected()
            except NotAllowedError as error:
                # One that nobody lets us read is not ours to serve; the others are.
                log.warning("zookeeper_unreadable", path=path, why=str(error))
                if self._in_work.get(path) is token:
                    self._forget(path)

    async def _read_one(self, path: str, token: object) -> None:
        znode = Znode()
        if self._wanted(path) is Wanted.DATA:
            znode = Znode(*await self._session.get(path))
        if self._in_work.get(path) is not token:
            return
        if path in self._deep:
            await self._list_below(path, znode)
            if self._in_work.get(path) is not token:
                return
            self._read_deeply(path)
        del self._in_work[path]
        self._keep(path, znode)

    async def _list_below(self, path: str, znode: Znode) -> None:
        if znode.stat is None or znode.stat.children or self._below.get(path):
            await self._list(path)

    def _keep(self, path: str, znode: Znode) -> None:
        before = self._znodes.get(path)
        if before == znode:
            return
        self._znodes[path] = znode
        self._below.setdefault(parent_of(path), set()).add(path)
        self._say(path, before, znode)

    def _forget(self, path: str) -> None:
        # One that is gone before it was read is told of, too: somebody may know that it was made.
        unread = path in self._to_read or path in self._in_work
        self._to_read.pop(path, None)
        self._in_work.pop(path, None)
        for gone in self._gone_meanwhile.get(parent_of(path), ()):
            gone.add(path)
        for child in sorted(self._below.get(path, ())):
            self._forget(child)
        before = self._znodes.pop(path, None)
        siblings = self._below.get(parent_of(path))
        if siblings is not None:
            siblings.discard(path)
            if not siblings:
                del self._below[parent_of(path)]
        self._read_deeply(path)
        if before is not None or unread:
            self._say(path, before, None)

    def _say(self, path: str, before: Znode | None, now: Znode | None) -> None:
        for told in self._told:
            told(path, before, now)
