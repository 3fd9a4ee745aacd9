"""Nodes that Nodepool launched, for providers that are Trellis's now: seen through to their end.

Zuul goes on using them as it did. When it has let go of one, nobody else would delete it. A
provider is ours when it is configured here and no other launcher has a pool of it registered.

What is deleted is what Nodepool would have deleted itself: the server, those of earlier tries that
bear the same node's mark, and the floating IPs that lead to them.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

import structlog
import trio

from trellis.errors import AlreadyDoneError, RefusedError, UnknownIdError
from trellis.model.names import NodeId
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
from trellis_zuul.sweeps import LOOKS, TWICE_S, Sightings

log = structlog.get_logger()

AGAIN_S: Final = 300.0
"""When a node cannot be taken over now, it is tried again after so long."""
APPEARS_S: Final = 120.0
"""A server whose create was sent when its launcher died can be so late."""
_CONTEXT: Final = "taken_over"
_GONE: Final = "its znode is gone"


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
        lasts_s: a node must have been nobody's for so long.
    """

    def __init__(
        self,
        ground: Ground,
        own: Callable[[], Collection[str]],
        *,
        lasts_s: float = TWICE_S,
    ) -> None:
        self._ground, self._own, self._every_s = ground, own, lasts_s / LOOKS
        self._unmarked: set[str] = set()
        self._ended = Sightings(lasts_s)
        self._under_way: set[str] = set()
        self._taken: dict[str, tuple[NodeId, ...]] = {}
        """By their names in the tree, those that are nodes of Trellis's now."""
        self._said: set[str] = set()
        ground.nodes.tell(self._told)

    async def run(self) -> None:
        """Look every now and then, until cancelled.

        Raises:
            SessionLostError: the session is over (in a group).
        """
        for request in self._ground.port.asked_by(self._ground.source):
            if is_taken_over(request.ask.context):
                self._note(str(json.loads(request.ask.context)[_CONTEXT]), request.nodes)
        async with trio.open_nursery() as nursery:
            while True:
                await self._release_lost()
                await trio.sleep(self._every_s)
                for name in self._ended.lasting(self._left(), trio.current_time()):
                    if name not in self._under_way:
                        self._under_way.add(name)
                        nursery.start_soon(self._see_through, name)

    def _note(self, name: str, nodes: Sequence[NodeId]) -> None:
        self._taken[name] = tuple(dict.fromkeys((*self._taken.get(name, ()), *nodes)))

    async def _release_lost(self) -> None:
        """Release what was taken over and has no znode any more: somebody has deleted it.

        A crash, or whoever deleted it, came between its being taken over and its release.
        """
        for name in [name for name in self._taken if name not in self._under_way]:
            znode = self._ground.nodes.get(node_path(name))
            if znode is None or not znode.data:
                with contextlib.suppress(UnknownIdError):  # gone for longer than is known
                    await self._ground.port.release_nodes(self._taken[name], why=_GONE)
                self._taken.pop(name, None)

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
        """The providers that are ours alone; none while somebody's registration cannot be read."""
        offered = {pool.provider for pool in self._ground.port.offers()}
        own = self._own()
        unreadable = set[str]()
        for path in self._ground.pools:
            znode = self._ground.pools.get(path)
            try:
                component = read_object(b"" if znode is None else znode.data)
            except NotAnObjectError:
                unreadable.add(path)
                continue
            if component.get("id") in own:
                continue
            provider = component.get("provider_name")
            if isinstance(provider, str) and provider:
                offered.discard(provider)
            else:
                unreadable.add(path)
        for path in unreadable - self._said:
            log.warning(
                "zuul_foreign_nodes_left",
                path=path,
                why="it does not say whose pool it registers: it may be of any provider",
            )
        self._said = unreadable
        return frozenset() if unreadable else frozenset(offered)

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
            nodes = await self._take_over(name, document, stat)
        except RefusedError as error:
            log.warning("zuul_foreign_node_left", znode=name, why=str(error))
            return False
        if not nodes and _may_appear(document, stat, self._ground.wall()):
            return False
        if document.state is not ZnodeState.DELETING:
            deleting = document.written(ZnodeState.DELETING, self._ground.wall())
            stat = await session.write(node_path(name), deleting, version=stat.version)
        await port.release_nodes(
            [node.id for node in nodes], why="another launcher's node has been used"
        )
        for node in nodes:
            await self._wait_gone(node)
        await session.transact(
            [
                Delete(path=lock.path),
                Delete(path=lock.folder),
                Delete(path=node_path(name), version=stat.version),
            ]
        )
        lock.forget()
        self._taken.pop(name, None)
        log.info("zuul_foreign_node_ended", znode=name, provider=document.provider)
        return True

    async def _take_over(self, name: str, document: NodeDocument, stat: Stat) -> list[Node]:
        """Its servers as nodes of Trellis's: mostly one; none if there is none.

        Of a launch whose answer was lost Nodepool does not know the server, and makes another one.

        Raises:
            RefusedError: see `DemandPort.adopt`; some of them may be taken over already.
        """
        port, provider = self._ground.port, document.provider or ""
        known = str(document.whole.get("hostname") or f"np{name}")
        marks = {"nodepool_node_id": name, "nodepool_provider_name": provider}
        others = await port.foreign_servers(provider, name=f"np{name}", metadata=marks)
        servers = dict.fromkeys(others, f"np{name}")
        if document.external_id is not None:
            servers[document.external_id] = known
        nodes = list[Node]()
        label, key = document.label or "unknown", f"node {name} {stat.czxid:x}"
        for external_id, called in servers.items():
            is_known = external_id == document.external_id
            ask = Ask(
                labels=(label,),
                requestor="nodepool",
                source=self._ground.source,
                idempotency_key=key if is_known else f"{key} {external_id}",
                context=json.dumps({_CONTEXT: name}).encode(),
            )
            server = ForeignServer(
                provider=provider,
                pool=document.pool or "",
                label=label,
                external_id=external_id,
                name=called,
                resources=_resources(document.whole.get("resources")),
            )
            with contextlib.suppress(AlreadyDoneError):
                nodes.append(await port.adopt(ask, server))
                self._note(name, [nodes[-1].id])
        return nodes

    async def _wait_gone(self, node: Node) -> None:
        try:
            while node.state is not NodeState.GONE:
                node = await self._ground.port.wait_node(node.id, node)
        except UnknownIdError as error:
            log.debug("zuul_foreign_node_unknown", node=node.id, why=str(error))


def _may_appear(document: NodeDocument, stat: Stat, now: float) -> bool:
    """Whether a server may still come of a launch that was under way when its launcher died."""
    written_at = stat.modified_ms / 1000.0
    return document.state is ZnodeState.BUILDING and now < written_at + APPEARS_S


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
