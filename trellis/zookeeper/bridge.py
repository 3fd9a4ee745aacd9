"""A real ZooKeeper's session for Trio: kazoo's client in its thread, and the way over.

Requests go straight into kazoo's queue, which wakes its thread. Answers, watch events and changes
of the connection come back through ``run_sync_soon``, in the order in which kazoo read them; so
whoever is told of a change and then reads, reads that change or a later one.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import outcome
import trio
from kazoo.exceptions import RolledBackError, RuntimeInconsistency
from kazoo.protocol import serialization as wire

from trellis.zookeeper.errors import (
    DisconnectedError,
    NoSuchZnodeError,
    NotAllowedError,
    SessionLostError,
    UnreachableServersError,
    ZnodeExistsError,
    ZooKeeperError,
)
from trellis.zookeeper.kazoo_client import AddWatch, Client, RemoveWatches
from trellis.zookeeper.kazoo_frames import DELETED, MADE
from trellis.zookeeper.paths import checked
from trellis.zookeeper.session import (
    ANY_VERSION,
    Create,
    Delete,
    Happened,
    News,
    Operation,
    Servers,
    Session,
    Stat,
    Write,
)
from trellis.zookeeper.translation import (
    AWAY,
    BROKE,
    OVER,
    error_of,
    request_of,
    size_of,
    stat_of,
)
from trellis.zookeeper.unreachable import Failures, ssl_context
from trellis.zookeeper.watches import Watch, Watches

GOODBYE_S: Final = 2.0
"""So long a server may take to acknowledge the end of a session; it expires without it."""
MOST_UNDER_WAY: Final = 100
"""So many requests are with kazoo at once; more would block Trio's thread in kazoo's wake-up."""
AWAY_TIMEOUTS: Final = 3.0
"""After so many session time-outs without a connection the session is taken for lost."""
LARGEST_REQUEST: Final = 1_000_000
"""ZooKeeper breaks the connection of whoever sends more (its ``jute.maxbuffer``)."""

_HAPPENED: Final = {MADE: Happened.MADE, DELETED: Happened.DELETED}


@asynccontextmanager
async def kazoo_session(servers: Servers) -> AsyncIterator[Session]:
    """See `trellis.zookeeper.session.OpenSession`.

    Waits for the first host that opens a session; gives up when each was tried and none did, or
    after the session's time-out. However the block is left, kazoo's threads are gone after it;
    that takes at most `GOODBYE_S`, or as long as a host's name is being resolved.

    A session without a connection for `AWAY_TIMEOUTS` times its time-out is taken for lost, as
    servers that were restored from a copy would refuse it for ever.

    Raises:
        UnreachableServersError: with the reason and the remedy for each host.
    """
    _refuse_unusable(servers)
    failures = Failures(servers)
    session = _KazooSession(servers, failures)
    client = session.client
    waking = _Waking(client)
    trio.lowlevel.add_instrument(waking)
    try:
        client.start()
        await session.wait_opened()
        if servers.chroot:
            await session.make_chroot()
        yield session
    finally:
        session.lose()
        trio.lowlevel.remove_instrument(waking)
        with trio.CancelScope(shield=True):  # bounded: the connection is cut
            await _stop(client)


def _refuse_unusable(servers: Servers) -> None:
    if servers.tls is not None:
        try:
            ssl_context(servers.tls)
        except OSError as error:
            raise UnreachableServersError(f"no session with ZooKeeper: {error}") from error


async def _stop(client: Client) -> None:
    async def cut_later() -> None:
        await trio.sleep(GOODBYE_S)
        client.cut()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cut_later)
        await trio.to_thread.run_sync(client.stop)
        nursery.cancel_scope.cancel()


class _Waking(trio.abc.Instrument):
    """Wakes kazoo's thread once for all that Trio's tasks have asked in one round.

    Two threads of Python compute in turns. Woken at once, kazoo's would take its turn in the
    middle of the round; here Trio is about to wait, and has no need of its own.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - the name is Trio's
        """See `trio.abc.Instrument`: called once a round."""
        self._client.wake()


class _Waiting:
    """A task that waits for an answer; its `set` methods are called in kazoo's thread."""

    def __init__(self, session: "_KazooSession", what: str) -> None:
        self._session = session
        self.what = what
        self.sent = -1
        """On which connection, by their count; -1 is on none yet."""
        self.task = trio.lowlevel.current_task()

    def set(self, value: object = None) -> None:
        """See `trellis.zookeeper.kazoo_client.Answer`."""
        self._session.post(self._session.answered, self, outcome.Value(value))

    def set_exception(self, exception: Exception) -> None:
        """See `trellis.zookeeper.kazoo_client.Answer`."""
        self._session.post(self._session.answered, self, outcome.Error(exception))


class _Told:
    """Carries what kazoo's threads tell over to Trio's."""

    def __init__(self, session: "_KazooSession") -> None:
        self._session = session

    def connected(self) -> None:
        """See `trellis.zookeeper.kazoo_client.Told`, as the others."""
        self._session.post(self._session.connect)

    def disconnected(self) -> None:
        self._session.post(self._session.disconnect)

    def lost(self) -> None:
        self._session.post(self._session.lose)

    def happened(self, kind: int, path: str) -> None:
        self._session.post(self._session.happened, kind, path)

    def round_failed(self) -> None:
        self._session.post(self._session.round_failed)


class _KazooSession:
    """See `trellis.zookeeper.session.Session`."""

    def __init__(self, servers: Servers, failures: Failures) -> None:
        self._servers, self._failures = servers, failures
        self._chroot = servers.chroot.rstrip("/")
        self._token = trio.lowlevel.current_trio_token()
        self.client = Client(servers, _Told(self), failures)
        self._id = 0
        self._connected = trio.Event()
        self._lost = trio.Event()
        self._round_failed = trio.Event()
        self._away_since = 0.0
        self._waiting: dict[_Waiting, None] = {}
        self._queue = deque[tuple[Any, _Waiting]]()
        self._under_way = 0
        self._connection = 0
        self._watches = Watches()
        self._posted = deque[tuple[Callable[..., None], tuple[Any, ...]]]()
        self._awaited = False
        """Whether Trio's thread will look at what was posted without being told again."""

    # ------------------------------------------------------------------- the session's calls

    @property
    def id(self) -> int:
        """See `Session.id`."""
        return self._id

    async def get(self, path: str) -> tuple[bytes, Stat]:
        """See `Session.get`."""
        data, stat = await self._call(f"get {path}", wire.GetData(self._whole(path), None))
        return data or b"", stat_of(stat)

    async def exists(self, path: str) -> Stat | None:
        """See `Session.exists`."""
        stat = await self._call(f"exists {path}", wire.Exists(self._whole(path), None))
        return None if stat is None else stat_of(stat)

    async def children(self, path: str) -> tuple[str, ...]:
        """See `Session.children`."""
        request = wire.GetChildren(self._whole(path), None)
        return tuple(await self._call(f"children {path}", request))

    async def create(
        self, path: str, data: bytes = b"", *, ephemeral: bool = False, sequence: bool = False
    ) -> str:
        """See `Session.create`."""
        operation = Create(path=path, data=data, ephemeral=ephemeral, sequence=sequence)
        return self._cut(await self._call(f"create {path}", self._request(operation)))

    async def make_path(self, path: str) -> None:
        """See `Session.make_path`."""
        if await self.exists(path) is not None:
            return
        try:
            await self.create(path)
        except ZnodeExistsError:
            return
        except NoSuchZnodeError:
            await self.make_path(path.rpartition("/")[0] or "/")
            await self.make_path(path)

    async def write(self, path: str, data: bytes, *, version: int = ANY_VERSION) -> Stat:
        """See `Session.write`."""
        operation = Write(path=path, data=data, version=version)
        return stat_of(await self._call(f"write {path}", self._request(operation)))

    async def delete(self, path: str, *, version: int = ANY_VERSION) -> None:
        """See `Session.delete`."""
        await self._call(f"delete {path}", self._request(Delete(path=path, version=version)))

    async def transact(self, operations: Sequence[Operation]) -> tuple[str, ...]:
        """See `Session.transact`."""
        if not operations:
            await trio.lowlevel.checkpoint()
            return ()
        request = wire.Transaction([self._request(one) for one in operations])
        results = await self._call(f"transact {operations[0].path}", request)
        for operation, result in zip(operations, results, strict=False):
            if isinstance(result, Exception) and not isinstance(
                result, RolledBackError | RuntimeInconsistency
            ):
                name = type(operation).__name__.lower()
                raise error_of(result, f"transact: {name} {operation.path}") from result
        if any(isinstance(result, Exception) for result in results):
            raise ZooKeeperError(f"transact {operations[0].path}: refused without a reason")
        return tuple(
            self._cut(result) if isinstance(operation, Create) else operation.path
            for operation, result in zip(operations, results, strict=True)
        )

    @asynccontextmanager
    async def watch(self, path: str) -> AsyncIterator[trio.MemoryReceiveChannel[News]]:
        """See `Session.watch`."""
        whole = self._whole(path)
        watch = Watch(path)
        self._watches.add(watch)
        try:
            await self._call(f"watch {path}", AddWatch(whole))
            with watch.news:
                yield watch.news
        finally:
            if self._watches.remove(watch) and self._usable:
                self.client.send(RemoveWatches(whole), None)
            watch.end()

    async def wait_connected(self) -> None:
        """See `Session.wait_connected`."""
        await self._connected.wait()
        if self._lost.is_set():
            raise SessionLostError(OVER)

    async def wait_lost(self) -> None:
        """See `Session.wait_lost`."""
        await self._lost.wait()

    # --------------------------------------------------------------------- its beginning, end

    async def wait_opened(self) -> None:
        """Wait for the session.

        Raises:
            UnreachableServersError: there is none.
        """
        with trio.move_on_after(self._servers.timeout_s):
            async with trio.open_nursery() as nursery:

                async def until(event: trio.Event) -> None:
                    await event.wait()
                    nursery.cancel_scope.cancel()

                nursery.start_soon(until, self._connected)
                nursery.start_soon(until, self._round_failed)
        if not self._usable:
            # It only asks, for seconds a host; who is cancelled need not wait for the answers.
            await trio.to_thread.run_sync(self._failures.ask_why, abandon_on_cancel=True)
            raise UnreachableServersError(f"no session with ZooKeeper: {self._failures.text()}")

    async def make_chroot(self) -> None:
        """Make the znode that all paths are below, if it is not there."""
        chroot, self._chroot = self._chroot, ""
        try:
            await self.make_path(chroot)
        except ZooKeeperError as error:
            raise UnreachableServersError(
                f"no session with ZooKeeper: the chroot cannot be made: {error}"
            ) from error
        self._chroot = chroot

    # ----------------------------------------------------- told by kazoo, in Trio's thread

    def post(self, act: Callable[..., None], *args: Any) -> None:
        """Have something done in Trio's thread, in the order of the calls; from any thread."""
        self._posted.append((act, args))
        if self._awaited:
            return
        self._awaited = True
        try:
            self._token.run_sync_soon(self._do_posted)
        except trio.RunFinishedError:
            return  # nobody is left to be told

    def _do_posted(self) -> None:
        # Before the first is taken: what comes later has this called again.
        self._awaited = False
        while self._posted:
            act, args = self._posted.popleft()
            act(*args)

    def answered(self, waiting: _Waiting, answer: outcome.Outcome[Any]) -> None:
        """An answer came; whoever was cancelled meanwhile does not want it."""
        if waiting.sent == self._connection:
            self._under_way -= 1
            self._send()
        if waiting in self._waiting:
            del self._waiting[waiting]
            trio.lowlevel.reschedule(waiting.task, answer)

    def connect(self) -> None:
        """There is a connection: what is asked from now on comes after the watches."""
        if self._lost.is_set():
            return
        session_id = self.client.session_id
        if session_id is None:
            return  # it is away again, which is about to be told
        self._id = session_id
        self._failures.again()
        for path in self._watches.paths:
            self.client.send(AddWatch(self._whole(path)), None)
        self._connected.set()
        self._watches.miss()

    def disconnect(self) -> None:
        """There is none; what was asked may or may not have been carried out."""
        if self._lost.is_set():
            return
        if self._connected.is_set():
            self._connected = trio.Event()
            self._away_since = trio.current_time()
        self._end_calls(DisconnectedError, BROKE)

    def lose(self) -> None:
        """The session is over."""
        if self._lost.is_set():
            return
        self._lost.set()
        self._connected.set()
        self._end_calls(SessionLostError, OVER)
        self._watches.end()

    def happened(self, kind: int, whole: str) -> None:
        """A watch event."""
        self._watches.tell(News(_HAPPENED.get(kind, Happened.WRITTEN), self._cut(whole)))

    def round_failed(self) -> None:
        """No host has opened a session, or taken it up again."""
        self._round_failed.set()
        away_s = trio.current_time() - self._away_since
        if self._id and not self._usable and away_s > AWAY_TIMEOUTS * self._servers.timeout_s:
            self.client.cut()
            self.lose()

    # ---------------------------------------------------------------------------- its calls

    @property
    def _usable(self) -> bool:
        return self._connected.is_set() and not self._lost.is_set()

    async def _call(self, what: str, request: Any) -> Any:
        if not self._usable:
            await trio.lowlevel.checkpoint()
        if self._lost.is_set():
            raise SessionLostError(f"{what}: {OVER}")
        if not self._connected.is_set():
            raise DisconnectedError(f"{what}: {AWAY}")
        if (size := size_of(request)) > LARGEST_REQUEST:
            raise NotAllowedError(
                f"{what}: {size} bytes are more than ZooKeeper takes ({LARGEST_REQUEST})"
            )
        waiting = _Waiting(self, what)
        self._waiting[waiting] = None
        self._queue.append((request, waiting))
        self._send()

        def forget(_: object) -> trio.lowlevel.Abort:
            self._waiting.pop(waiting, None)
            return trio.lowlevel.Abort.SUCCEEDED

        try:
            return await trio.lowlevel.wait_task_rescheduled(forget)
        except ZooKeeperError:
            raise
        except Exception as error:  # whatever kazoo makes of an answer belongs to this call
            raise error_of(error, what) from error

    def _send(self) -> None:
        """Hand to kazoo what was asked, in its order, as far as it may have it."""
        while self._queue and self._under_way < MOST_UNDER_WAY:
            request, waiting = self._queue.popleft()
            if waiting not in self._waiting:
                continue  # cancelled before it was sent
            waiting.sent = self._connection
            self._under_way += 1
            self.client.send(request, waiting)

    def _end_calls(self, error: type[ZooKeeperError], why: str) -> None:
        for waiting in self._waiting:
            ended = outcome.Error(error(f"{waiting.what}: {why}"))
            trio.lowlevel.reschedule(waiting.task, ended)
        self._waiting.clear()
        self._queue.clear()
        self._under_way = 0
        self._connection += 1

    def _request(self, operation: Operation) -> Any:
        sequence = isinstance(operation, Create) and operation.sequence
        return request_of(operation, self._whole(operation.path, sequence=sequence))

    def _whole(self, path: str, *, sequence: bool = False) -> str:
        checked(path, sequence=sequence)
        return path if not self._chroot else self._chroot + path if path != "/" else self._chroot

    def _cut(self, whole: str) -> str:
        return whole[len(self._chroot) :] or "/"
