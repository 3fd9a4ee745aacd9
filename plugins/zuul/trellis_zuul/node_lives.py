"""All nodes in the tree that bear our mark: each has a life, begun as its znode is first seen."""

import contextlib
from collections import defaultdict
from typing import Final

import structlog
import trio

from trellis.errors import StoreError
from trellis.zookeeper.errors import DisconnectedError, SessionLostError
from trellis_zuul.ground import Ground
from trellis_zuul.marks import Marks
from trellis_zuul.mirror import Znode
from trellis_zuul.node_life import NodeLife
from trellis_zuul.node_wire import DocumentError, read_node
from trellis_zuul.paths import NODES, name_of, node_path, parent_of

log = structlog.get_logger()

_ID_PART: Final = NODES.count("/") + 1
FIRST_WAIT_S: Final = 1.0
MOST_WAIT_S: Final = 300.0
UNSEEN_S: Final = 5.0
"""Long after it was made the mirror shows a znode, unless it is gone already."""


class NodeLives:
    """Runs the lives on one session's ground. A change costs as much as the lives it is about."""

    def __init__(self, ground: Ground, marks: Marks) -> None:
        self._ground, self._marks = ground, marks
        self._lives: dict[str, NodeLife] = {}
        self._of_request: defaultdict[str, set[str]] = defaultdict(set)

    @property
    def znodes(self) -> frozenset[str]:
        """The znodes whose lives are under way."""
        return frozenset(self._lives)

    async def run(  # noqa: ASYNC114 - it is started by `_serve` alone
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Run until cancelled; started when each znode that is there has its life.

        Raises:
            SessionLostError: the session is over.
        """
        async with trio.open_nursery() as nursery:

            def node_told(path: str, _before: Znode | None, now: Znode | None) -> None:
                znode_id = path.split("/")[_ID_PART]
                if znode_id in self._lives:
                    self._lives[znode_id].nudge()
                elif now is not None and parent_of(path) == NODES:
                    self._begin(znode_id, nursery)

            def request_told(path: str, _before: Znode | None, _now: Znode | None) -> None:
                for znode_id in self._of_request.get(name_of(path), ()):
                    self._lives[znode_id].nudge()

            self._ground.nodes.tell(node_told)
            self._ground.requests.tell(request_told)
            for path in tuple(self._ground.nodes):
                if parent_of(path) == NODES:
                    self._begin(name_of(path), nursery)
            task_status.started()
            while True:
                await trio.sleep(UNSEEN_S)
                with contextlib.suppress(DisconnectedError):
                    await self._end_unseen(nursery)

    async def _end_unseen(self, nursery: trio.Nursery) -> None:
        """See to the ends of those that somebody removed before the mirror had seen them."""
        for name, mark in self._marks.unseen(UNSEEN_S).items():
            path = node_path(name)
            if await self._ground.session.exists(path) is not None:
                continue
            # While it was asked the mirror may have shown it, and a life has begun and ended.
            if name in self._lives or not self._marks.forget_unseen(name):
                continue
            life = self._lives[name] = NodeLife(self._ground, name, mark)
            nursery.start_soon(self._run, life, None, nursery)

    def _begin(self, znode_id: str, nursery: trio.Nursery) -> None:
        znode = self._ground.nodes.get(node_path(znode_id))
        if znode is None or not znode.data:
            return
        try:
            document = read_node(znode.data)
        except DocumentError:
            return  # Nobody's that we know: it is looked at again when it is written.
        mark = document.mark
        if mark is None or not mark.is_of(self._ground.deployment, self._ground.source):
            return
        life = self._lives[znode_id] = NodeLife(self._ground, znode_id, mark)
        nursery.start_soon(self._run, life, document.allocated_to, nursery)

    async def _run(self, life: NodeLife, request: str | None, nursery: trio.Nursery) -> None:
        if request is not None:
            self._of_request[request].add(life.znode_id)
        wait_s = FIRST_WAIT_S
        while True:
            try:
                await life.run()
                break
            except Exception as crash:
                if _ends_all(crash):
                    raise
                # One node of which we make nothing must not take the others with it.
                log.error("zuul_node_crashed", znode=life.znode_id, exc_info=crash)
            await trio.sleep(wait_s)
            wait_s = min(2 * wait_s, MOST_WAIT_S)
        del self._lives[life.znode_id]
        if request is not None:
            self._of_request[request].discard(life.znode_id)
            if not self._of_request[request]:
                del self._of_request[request]
        if node_path(life.znode_id) in self._ground.nodes and not life.over:
            self._begin(life.znode_id, nursery)


def _ends_all(crash: Exception) -> bool:
    """Whether there is no going on for any life: the session, or Trellis's store, is lost."""
    if isinstance(crash, BaseExceptionGroup):
        return crash.subgroup((SessionLostError, StoreError)) is not None
    return isinstance(crash, SessionLostError | StoreError)
