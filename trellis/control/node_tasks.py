"""Each node of one provider that has to move has a task of its own, and never two."""

from collections.abc import Callable, Mapping
from typing import Final

import attrs
import structlog
import trio

from trellis.control.fleet import DYING
from trellis.control.health import ProviderHealth
from trellis.control.life import Life
from trellis.errors import StoreError
from trellis.model.names import NodeId
from trellis.model.node import Node, NodeState
from trellis.store.store import Store

log = structlog.get_logger()

FIRST_READ_S: Final = 90.0
BUG_PAUSE_S: Final = 60.0


@attrs.define(eq=False, kw_only=True)
class NodeTasks:
    """Launches and deletes nodes as their records say; made anew when the provider connects anew.

    Attributes:
        nodes: the live nodes of this provider.
        read_once: set once all that is needed to launch has been read.
    """

    name: str
    store: Store
    life: Life
    health: ProviderHealth
    nodes: Callable[[], Mapping[NodeId, Node]]
    read_once: trio.Event
    _at_work: set[NodeId] = attrs.field(factory=set, init=False)
    _work: trio.MemorySendChannel[NodeId] | None = attrs.field(default=None, init=False)

    async def run(self) -> None:
        """Give each node that has to move a task, one at a time, until cancelled."""
        # Unbounded on purpose: it holds ids of records that are in memory anyway.
        self._work, work = trio.open_memory_channel[NodeId](10_000_000)
        for known in list(self.nodes().values()):
            self.node_changed(known)
        async with trio.open_nursery() as nursery:
            async for node_id in work:
                node = self.nodes().get(node_id)
                if node is not None and node_id not in self._at_work and _has_to_move(node):
                    self._at_work.add(node_id)
                    nursery.start_soon(self._move, node_id)

    def node_changed(self, after: Node | None) -> None:
        """Have a node of this provider given a task if it has to move now and has none."""
        idle = after is not None and after.id not in self._at_work
        if after is not None and self._work is not None and idle and _has_to_move(after):
            self._work.send_nowait(after.id)

    async def _move(self, node_id: NodeId) -> None:
        """Launch a node that is to be launched, delete one that is to be deleted."""
        structlog.contextvars.bind_contextvars(node=node_id, provider=self.name)
        try:
            while (node := self.nodes().get(node_id)) is not None and _has_to_move(node):
                if self.store.head(Node, node_id) is None:
                    # A task of before a restart has ended it, which is on its way to the log.
                    await self.store.settled()
                    continue
                try:
                    await self._step(node)
                except StoreError:
                    raise
                except Exception as bug:
                    log.error("node_task_crashed", again_in_s=BUG_PAUSE_S, exc_info=bug)
                    await trio.sleep(BUG_PAUSE_S)
                    # A launch with a bug in it would crash again: its request gets another node.
                    await self.life.fail(node_id, f"a bug of Trellis ended its launch: {bug!r}")
                # What ended a launch may be staged only: the view shows it once it is durable.
                await self.store.settled()
        finally:
            self._at_work.discard(node_id)

    async def _step(self, node: Node) -> None:
        if node.state is not NodeState.BUILDING:
            await self.life.delete(node.id)
            return
        if node.server is None and (reason := self.life.unwanted(node)):
            await self.life.abort(node.id, reason)
            return
        # Nothing is known of the cloud right after a start: a launch would ask for it by itself.
        if not self.read_once.is_set():
            with trio.move_on_after(FIRST_READ_S):
                await self.read_once.wait()
        if self.read_once.is_set():
            await self.life.launch(node.id)
        else:
            await self.life.abort(node.id, self.health.reason)


def _has_to_move(node: Node) -> bool:
    launching = node.state is NodeState.BUILDING and not node.set_apart
    return launching or node.state in DYING
