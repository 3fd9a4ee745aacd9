"""A client's session with the simulated ZooKeeper."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import attrs
import trio

from trellis.sim.zookeeper.paths import checked
from trellis.sim.zookeeper.watches import Watch
from trellis.zookeeper.errors import (
    DisconnectedError,
    NoSuchZnodeError,
    SessionLostError,
    ZnodeExistsError,
)
from trellis.zookeeper.session import (
    ANY_VERSION,
    Check,
    Create,
    Delete,
    News,
    Operation,
    Stat,
    Write,
)

if TYPE_CHECKING:
    from trellis.sim.zookeeper.server import FakeZooKeeper

_T = TypeVar("_T")


@attrs.frozen
class Call:
    """What is asked of the server: the name of the method, the path it is about, the writes.

    Attributes:
        path: whole; of a transaction, that of its first write.
        writes: how many znodes it makes, writes or deletes.
    """

    name: str
    path: str
    writes: int = 0


@attrs.define(eq=False)
class Asked(Generic[_T]):
    """A call under way, and what has become of it.

    Attributes:
        forgotten: nobody waits for it, or its connection broke before it reached the server.
    """

    call: Call
    act: Callable[[], _T]
    answer: _T | None = None
    error: Exception | None = None
    forgotten: bool = False
    done: trio.Event = attrs.field(factory=trio.Event)


_AWAY: Final = "the connection to ZooKeeper is away"
_OVER: Final = "the session with ZooKeeper is over"


class FakeSession:
    """See `trellis.zookeeper.session.Session`. Made by `FakeZooKeeper.open_session`.

    What the server knows of it is here too; the client's methods never look at that part.
    """

    def __init__(
        self, server: "FakeZooKeeper", session_id: int, *, who: str, chroot: str, timeout_s: float
    ) -> None:
        self._server = server
        self._id = session_id
        self.who, self.chroot, self.timeout_s = who, chroot, timeout_s
        self._lost = trio.Event()
        self._connected = trio.Event()
        self._connected.set()
        # The server's side.
        self.connection = 0
        """Which connection it has: counted, so that what belongs to an earlier one is known."""
        self.expired = False
        self.away_until = 0.0
        self.asked_until = self.answered_until = 0.0
        self.under_way: dict[Asked[Any], None] = {}
        self.watches: dict[Watch, None] = {}

    # ------------------------------------------------------------------- the client's side

    @property
    def id(self) -> int:
        """See `Session.id`."""
        return self._id

    @property
    def connected(self) -> bool:
        """Whether calls can be made now."""
        return self._connected.is_set() and not self._lost.is_set()

    async def get(self, path: str) -> tuple[bytes, Stat]:
        """See `Session.get`."""
        whole = self._whole(path)

        def act() -> tuple[bytes, Stat]:
            znode = self._server.tree.znode(whole, "get")
            return znode.data, znode.stat

        return await self._ask(Call("get", whole), act)

    async def exists(self, path: str) -> Stat | None:
        """See `Session.exists`."""
        whole = self._whole(path)

        def act() -> Stat | None:
            znode = self._server.tree.find(whole)
            return None if znode is None else znode.stat

        return await self._ask(Call("exists", whole), act)

    async def children(self, path: str) -> tuple[str, ...]:
        """See `Session.children`."""
        whole = self._whole(path)

        def act() -> tuple[str, ...]:
            names = list(self._server.tree.znode(whole, "children").children)
            self._server.random.shuffle(names)
            return tuple(names)

        return await self._ask(Call("children", whole), act)

    async def create(
        self, path: str, data: bytes = b"", *, ephemeral: bool = False, sequence: bool = False
    ) -> str:
        """See `Session.create`."""
        operation = Create(path=path, data=data, ephemeral=ephemeral, sequence=sequence)
        return (await self._write("create", (operation,)))[0]

    async def make_path(self, path: str) -> None:
        """See `Session.make_path`."""
        if await self.exists(path) is not None:
            return
        try:
            await self.create(path)
        except ZnodeExistsError:
            return
        except NoSuchZnodeError:
            await self.make_path(path.rpartition("/")[0])
            await self.make_path(path)

    async def write(self, path: str, data: bytes, *, version: int = ANY_VERSION) -> Stat:
        """See `Session.write`."""
        whole = self._whole(path)

        def act() -> Stat:
            self._server.carry_out(self, (Write(path=whole, data=data, version=version),))
            return self._server.tree.znode(whole).stat

        return await self._ask(Call("write", whole, 1), act)

    async def delete(self, path: str, *, version: int = ANY_VERSION) -> None:
        """See `Session.delete`."""
        await self._write("delete", (Delete(path=path, version=version),))

    async def transact(self, operations: Sequence[Operation]) -> tuple[str, ...]:
        """See `Session.transact`."""
        if not operations:
            await trio.lowlevel.checkpoint()
            return ()
        return await self._write("transact", operations)

    @asynccontextmanager
    async def watch(self, path: str) -> AsyncIterator[trio.MemoryReceiveChannel[News]]:
        """See `Session.watch`."""
        watch = Watch(self._whole(path), self.chroot)

        def act() -> None:
            if not watch.ended:
                self.watches[watch] = None

        try:
            await self._ask(Call("watch", watch.path), act)
            with watch.news:
                yield watch.news
        finally:
            self.watches.pop(watch, None)
            watch.end()

    async def wait_connected(self) -> None:
        """See `Session.wait_connected`."""
        await self._connected.wait()
        if self._lost.is_set():
            raise SessionLostError(_OVER)

    async def wait_lost(self) -> None:
        """See `Session.wait_lost`."""
        await self._lost.wait()

    def _whole(self, path: str, *, sequence: bool = False) -> str:
        checked(path, sequence=sequence)
        return path if not self.chroot else self.chroot if path == "/" else self.chroot + path

    async def _write(self, name: str, operations: Sequence[Operation]) -> tuple[str, ...]:
        whole = tuple(
            attrs.evolve(
                one, path=self._whole(one.path, sequence=isinstance(one, Create) and one.sequence)
            )
            for one in operations
        )
        written = [one.path for one in whole if not isinstance(one, Check)]

        def act() -> tuple[str, ...]:
            return self._server.carry_out(self, whole)

        call = Call(name, (written or [whole[0].path])[0], len(written))
        cut = len(self.chroot)
        return tuple(path[cut:] for path in await self._ask(call, act))

    async def _ask(self, call: Call, act: Callable[[], _T]) -> _T:
        if not self.connected:
            await trio.lowlevel.checkpoint()
            self._refuse(call)
        asked = Asked(call, act)
        self._server.ask(self, asked)
        if asked.done.is_set():
            await trio.lowlevel.checkpoint()
        else:
            await asked.done.wait()
        if asked.error is not None:
            raise asked.error
        return asked.answer  # type: ignore[return-value]  # of this type if there is no error

    def _refuse(self, call: Call) -> None:
        what = f"{call.name} {call.path}: "
        if self._lost.is_set():
            raise SessionLostError(what + _OVER)
        raise DisconnectedError(what + _AWAY)

    # ------------------------------------------------------------------- the server's side

    def disconnect(self) -> None:
        """The connection broke: whoever waits for an answer on it waits no longer."""
        if not self.connected:
            return
        self.connection += 1
        self._connected = trio.Event()
        self._end_calls(DisconnectedError, "the connection to ZooKeeper broke before the answer")

    def connect(self) -> None:
        """There is a connection again: news that nobody could tell is missing."""
        self._connected.set()
        for watch in self.watches:
            watch.miss()

    def lose(self) -> None:
        """The client learns that the session is over."""
        if self._lost.is_set():
            return
        if self.connected:
            self.connection += 1
        self._lost.set()
        self._connected.set()
        self._end_calls(SessionLostError, _OVER)
        for watch in self.watches:
            watch.end()
        self.watches.clear()

    def _end_calls(self, error: type[Exception], why: str) -> None:
        for asked in self.under_way:
            asked.error = error(f"{asked.call.name} {asked.call.path}: {why}")
            asked.done.set()
        self.under_way.clear()
