"""Nodes that Nodepool launched, for providers that are Trellis's now: seen through to their end.

Zuul goes on using them as it did. When it has let go of one, nobody else would delete it. A
provider is ours when it is configured here and no other launcher has a pool of it registered.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable
from typing import Final

import structlog
import trio

from trellis.errors import AlreadyDoneError, RefusedError, UnknownIdError
from trellis.model.node import Node, NodeState
from trellis.model.quota import Resources
from trellis.model.request import Ask
from trellis.spi.demand import ForeignServer
from trellis.zookeeper.errors import (
    DisconnectedError,
    HasChildrenError,
    NoSuchZnodeError,
    NotAllowedError,
    OtherVersionError,
)
from trellis.zookeeper.lock import Lock
from trellis.zookeeper.session import Delete, Stat
from trellis_zuul.ground import Ground
from trellis_zuul.mirror import Znode
from trellis_zuul.node_wire import DocumentError, NodeDocument, ZnodeState, read_node
from trellis_zuul.paths import NODES, name_of, node_lock_path, node_path, parent_of, request_path
from trellis_zuul.raw_object import NotAnObjectError, read_object
from trellis_zuul.sweeps import EVERY_S, Sightings

log = structlog.get_logger()

AGAIN_S: Final = 300.0
"""When a node cannot be taken over now, it is tried again after so long."""
_CONTEXT: Final = "taken_over"


def has_ended(
    document: NodeDocument, *, request_there: bool, written_at: float, now: float
) -> bool:
    """Whether nobody will use a node any more that nobody has locked.

    Args:
        request_there: the request that it is allocated to exists.
        written_at: when its znode was written, in UTC seconds.
    """
    match document.state:
        case ZnodeState.READY:
            return not request_there
        case ZnodeState.HOLD:
            until = document.hold_until(written_at)
            return until is not None and until <= now
        case ZnodeState.OTHER:
            return False
    return True


def is_taken_over(context: bytes) -> bool:
    """Whether a request of ours stands for a node of another launcher's, not for one of Zuul's."""
    return context.startswith(f'{{"{_CONTEXT}"'.encode())


class ForeignNodes:
    """Runs on one session's ground; the mirrors must not run yet.

    Args:
        own: the ids of our registered pools.
    """

    def __init__(self, ground: Ground, own: Callable[[], Collection[str]]) -> None:
        self._ground, self._own = ground, own
        self._unmarked: set[str] = set()
        self._ended = Sightings()
        self._under_way: set[str] = set()
        ground.nodes.tell(self._told)

    async def run(self) -> None:
        """Look every `EVERY_S`, until cancelled.

        Raises:
            SessionLostError: the session is over (in a group).
        """
        await self._release_lost()
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(EVERY_S)
                for name in self._ended.lasting(self._left(), trio.current_time()):
                    if name not in self._under_way:
                        self._under_way.add(name)
                        nursery.start_soon(self._see_through, name)

    async def _release_lost(self) -> None:
        """Release what was taken over by an earlier start and has no znode any more."""
        port = self._ground.port
        for request in port.asked_by(self._ground.source):
            context = request.ask.context
            if is_taken_over(context):
                name = str(json.loads(context)[_CONTEXT])
                if node_path(name) not in self._ground.nodes:
                    await port.release_nodes(request.nodes, why="its znode is gone")

    # ------------------------------------------------------------------------- looking

    def _told(self, path: str, _before: Znode | None, now: Znode | None) -> None:
        if parent_of(path) != NODES:
            return
        document = None if now is None else _read(now.data)
        if document is not None and document.mark is None and document.provider is not None:
            self._unmarked.add(name_of(path))
        else:
            self._unmarked.discard(name_of(path))

    def _left(self) -> Iterable[str]:
        if not self._unmarked:
            return
        ours = self._providers()
        for name in self._unmarked:
            znode = self._ground.nodes.get(node_path(name))
            locked = self._ground.nodes.children(node_lock_path(name))
            if znode is None or znode.stat is None or locked:
                continue
            document = _read(znode.data)
            if document is not None and self._is_over(document, znode.stat, ours):
                yield name

    def _providers(self) -> frozenset[str]:
        """The providers that are ours alone."""
        offered = {pool.provider for pool in self._ground.port.offers()}
        own = self._own()
        for path in self._ground.pools:
            znode = self._ground.pools.get(path)
            try:
                component = read_object(b"" if znode is None else znode.data)
            except NotAnObjectError:
                continue
            if component.get("id") not in own:
                offered.discard(str(component.get("provider_name")))
        return frozenset(offered)

    def _is_over(self, document: NodeDocument, stat: Stat, ours: frozenset[str]) -> bool:
        name = document.allocated_to
        return document.provider in ours and has_ended(
            document,
            request_there=name is not None and request_path(name) in self._ground.requests,
            written_at=stat.modified_ms / 1000.0,
            now=self._ground.wall(),
        )

    # ---------------------------------------------------------------------- its end

    async def _see_through(self, name: str) -> None:
        lock = Lock(
            self._ground.session,
            node_lock_path(name),
            identifier=b"trellis",
            token=_token(self._ground.session.id, name),
        )
        while True:
            try:
                if await lock.try_acquire() and not await self._end(name, lock):
                    await lock.release()
                    await trio.sleep(AGAIN_S)
                break
            except DisconnectedError:
                await self._ground.session.wait_connected()
            except (NoSuchZnodeError, OtherVersionError, HasChildrenError) as error:
                log.debug("zuul_foreign_node_changed", znode=name, why=str(error))
                await lock.release()
                break
            except NotAllowedError as error:
                log.warning("zuul_foreign_node_forbidden", znode=name, why=str(error))
                await trio.sleep(AGAIN_S)
        self._under_way.discard(name)

    async def _end(self, name: str, lock: Lock) -> bool:
        """Under its lock: have the server deleted, then the znode; whether they were."""
        session, port = self._ground.session, self._ground.port
        data, stat = await session.get(node_path(name))
        document = _read(data)
        if document is None or not self._is_over(document, stat, self._providers()):
            return False
        try:
            node = await self._take_over(name, document, stat)
        except RefusedError as error:
            log.warning("zuul_foreign_node_left", znode=name, why=str(error))
            return False
        if document.state is not ZnodeState.DELETING:
            deleting = document.written(ZnodeState.DELETING, self._ground.wall())
            stat = await session.write(node_path(name), deleting, version=stat.version)
        if node is not None:
            await port.release_nodes([node.id], why="another launcher's node has been used")
            await self._wait_gone(node)
        await session.transact(
            [
                Delete(path=lock.path),
                Delete(path=lock.folder),
                Delete(path=node_path(name), version=stat.version),
            ]
        )
        lock.forget()
        log.info("zuul_foreign_node_ended", znode=name, provider=document.provider)
        return True

    async def _take_over(self, name: str, document: NodeDocument, stat: Stat) -> Node | None:
        """Its server as a node of Trellis's; None if there is no server."""
        if document.external_id is None:
            return None
        label = document.label or "unknown"
        ask = Ask(
            labels=(label,),
            requestor="nodepool",
            source=self._ground.source,
            idempotency_key=f"node {name} {stat.czxid:x}",
            context=json.dumps({_CONTEXT: name}).encode(),
        )
        whole = document.whole
        server = ForeignServer(
            provider=document.provider or "",
            pool=document.pool or "",
            label=label,
            external_id=document.external_id,
            name=str(whole.get("hostname") or f"np{name}"),
            resources=_resources(whole.get("resources")),
        )
        try:
            return await self._ground.port.adopt(ask, server)
        except AlreadyDoneError:
            return None

    async def _wait_gone(self, node: Node) -> None:
        try:
            while node.state is not NodeState.GONE:
                node = await self._ground.port.wait_node(node.id, node)
        except UnknownIdError as error:
            log.debug("zuul_foreign_node_unknown", node=node.id, why=str(error))


def _read(data: bytes) -> NodeDocument | None:
    try:
        return read_node(data)
    except DocumentError:
        return None


def _resources(found: object) -> Resources:
    """What the other launcher counted for it; at least one instance."""
    sizes = found if isinstance(found, dict) else {}

    def size(key: str) -> int:
        value = sizes.get(key)
        return value if isinstance(value, int) and 0 <= value < 2**31 else 0

    return Resources(instances=1, cores=size("cores"), ram_mib=size("ram"))


def _token(session: int, name: str) -> str:
    return hashlib.sha256(f"{session} foreign {name}".encode()).hexdigest()[:32]
