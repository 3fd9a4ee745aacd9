"""What nobody is left to tidy up: locks of vanished requests, requests of launchers that died.

Any launcher may do it, and several do on one tree. A thing is touched only after it was seen twice,
some time apart, and only as a lock or ZooKeeper itself makes sure that nobody needs it.
"""

import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import structlog
import trio

from trellis.zookeeper.errors import (
    DisconnectedError,
    HasChildrenError,
    NoSuchZnodeError,
    NotAllowedError,
    OtherVersionError,
)
from trellis.zookeeper.lock import Lock
from trellis.zookeeper.session import Delete, Write
from trellis_zuul.ground import Ground
from trellis_zuul.mirror import Znode
from trellis_zuul.paths import (
    NODES,
    REQUEST_LOCKS,
    name_of,
    node_lock_path,
    node_path,
    parent_of,
    request_lock_path,
    request_path,
)
from trellis_zuul.request_wire import UnreadableRequestError, ZuulState, read_request

log = structlog.get_logger()

TWICE_S: Final = 60.0
"""Two sightings must be at least so far apart, unless the configuration says otherwise."""
LOOKS: Final = 3
"""So often is looked between them."""
EVERY_S: Final = TWICE_S / LOOKS


class Sightings:
    """Since when each of some things has been seen, without a break.

    Args:
        lasts_s: for so long it must have been seen.
    """

    def __init__(self, lasts_s: float = TWICE_S) -> None:
        self._lasts_s = lasts_s
        self._since: dict[str, float] = {}

    def lasting(self, seen: Iterable[str], now: float) -> tuple[str, ...]:
        """Those of what is seen now that were seen at each look for so long."""
        self._since = {one: self._since.get(one, now) for one in seen}
        return tuple(one for one, since in self._since.items() if now - since >= self._lasts_s)


class Sweeps:
    """Runs on one session's ground; the mirrors must not run yet.

    Args:
        lasts_s: what is swept must have been seen for so long.
    """

    def __init__(self, ground: Ground, *, lasts_s: float = TWICE_S) -> None:
        self._ground, self._every_s = ground, lasts_s / LOOKS
        self._folders, self._stuck = Sightings(lasts_s), Sightings(lasts_s)
        self._bare = Sightings(lasts_s)
        # Kept as they change, so that a look costs what there is to sweep, not what there is.
        self._pending: set[str] = set()
        self._empty: set[str] = set()
        self._locks: dict[str, Lock] = {}
        """Those of which a contender of ours may be there still."""
        ground.requests.tell(self._request_told)
        ground.nodes.tell(self._node_told)

    async def run(self) -> None:
        """Look every now and then, until cancelled.

        Raises:
            SessionLostError: the session is over.
        """
        while True:
            await trio.sleep(self._every_s)
            try:
                await self._look()
            except DisconnectedError:
                await self._ground.session.wait_connected()
            except NotAllowedError as error:
                log.warning("zuul_sweep_forbidden", why=str(error))

    async def _look(self) -> None:
        for folder in tuple(self._locks):
            await self._locks[folder].release()
            del self._locks[folder]
        now = trio.current_time()
        for name in self._folders.lasting(self._left_folders(), now):
            await self._delete_folder(name)
        for name in self._stuck.lasting(self._left_requests(), now):
            await self._set_free(name)
        for name in self._bare.lasting(self._left_nodes(), now):
            await self._delete_empty(name)

    # ------------------------------------------------------------- locks of gone requests

    def _left_folders(self) -> Iterable[str]:
        """Lock folders whose request is gone and in which nobody is."""
        locks, requests = self._ground.request_locks, self._ground.requests
        for name in locks.children(REQUEST_LOCKS):
            if request_path(name) not in requests and not locks.children(request_lock_path(name)):
                yield name

    async def _delete_folder(self, name: str) -> None:
        # ZooKeeper deletes no folder in which somebody is.
        with contextlib.suppress(NoSuchZnodeError, HasChildrenError):
            await self._ground.session.delete(request_lock_path(name))

    # --------------------------------------------------------- requests of dead launchers

    def _request_told(self, path: str, _before: Znode | None, now: Znode | None) -> None:
        if now is not None and _is_pending(name_of(path), now.data):
            self._pending.add(name_of(path))
        else:
            self._pending.discard(name_of(path))

    def _left_requests(self) -> Iterable[str]:
        """Requests that somebody served who has them locked no longer."""
        for name in self._pending:
            if not self._ground.request_locks.children(request_lock_path(name)):
                yield name

    async def _set_free(self, name: str) -> None:
        """Have a request wait again for whoever can serve it."""
        session = self._ground.session

        async def act(lock: Lock) -> None:
            data, stat = await session.get(request_path(name))
            request = read_request(name, data)
            if request.state is not ZuulState.PENDING:
                return
            again = request.begun_again(self._ground.wall())
            await session.transact(
                [
                    Write(path=request_path(name), data=again, version=stat.version),
                    Delete(path=lock.path),
                ]
            )
            lock.forget()
            log.info("zuul_request_set_free", zuul_request=name)

        await self._locked(request_lock_path(name), act)

    # ------------------------------------------------------------------ nodes of nothing

    def _node_told(self, path: str, _before: Znode | None, now: Znode | None) -> None:
        if parent_of(path) != NODES:
            return
        # An ephemeral one is somebody's, and goes with him.
        stat = None if now is None or now.data else now.stat
        if stat is not None and not stat.ephemeral_owner:
            self._empty.add(name_of(path))
        else:
            self._empty.discard(name_of(path))

    def _left_nodes(self) -> Iterable[str]:
        """Znodes without data and without a lock.

        Whoever locks a node that was deleted meanwhile makes its znode anew, with nothing in it.
        """
        for name in self._empty:
            if not self._ground.nodes.children(node_lock_path(name)):
                yield name

    async def _delete_empty(self, name: str) -> None:
        session = self._ground.session

        async def act(lock: Lock) -> None:
            data, stat = await session.get(node_path(name))
            if data:
                return
            await session.transact(
                [
                    Delete(path=lock.path),
                    Delete(path=lock.folder),
                    Delete(path=node_path(name), version=stat.version),
                ]
            )
            lock.forget()

        await self._locked(node_lock_path(name), act)

    async def _locked(self, folder: str, act: Callable[[Lock], Awaitable[None]]) -> None:
        """Act under a lock, if it is to be had at once; what is no longer so is left alone."""
        lock = self._locks[folder] = Lock(self._ground.session, folder, token=self._token(folder))
        if await lock.try_acquire():
            try:
                await act(lock)
            except (
                NoSuchZnodeError,
                OtherVersionError,
                HasChildrenError,
                UnreadableRequestError,
            ) as error:
                log.debug("zuul_not_swept", folder=folder, why=str(error))
        if lock.held:
            await lock.release()
        del self._locks[folder]

    def _token(self, folder: str) -> str:
        """Names our contender: another than that of the life of the same request or node."""
        text = f"{self._ground.session.id} sweep {folder}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def _is_pending(name: str, data: bytes) -> bool:
    if b'"pending"' not in data:
        return False  # as most, which are not read for it
    try:
        return read_request(name, data).state is ZuulState.PENDING
    except UnreadableRequestError:
        return False
