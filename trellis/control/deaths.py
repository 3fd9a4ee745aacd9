"""Nodes that die while nobody waits for anything of them: ready ones, and those under a lease."""

from collections.abc import Callable, Mapping

import attrs
import structlog
import trio

from trellis.control.health import ProviderHealth
from trellis.errors import CloudError
from trellis.model.names import NodeId
from trellis.model.node import Home, Node, NodeState
from trellis.model.records import Change
from trellis.spi.provider import Instance, InstanceState, Listing, Provider
from trellis.store.store import Store

log = structlog.get_logger()

_AT_REST = frozenset({NodeState.READY, NodeState.IN_USE, NodeState.HOLD})
_DEAD = frozenset({InstanceState.ERROR, InstanceState.STOPPED, InstanceState.GONE})
MOST_LOOKS = 20
"""So many machines that a full list did not show are asked for one by one, at most."""


@attrs.define(eq=False, kw_only=True)
class Deaths:
    """Notices deaths in the lists of one provider, and records them (rule 8).

    Attributes:
        nodes: the live nodes of this provider.
        node_of: the node whose server has this id.
    """

    provider: Provider
    store: Store
    health: ProviderHealth
    wall: Callable[[], float]
    nodes: Callable[[], Mapping[NodeId, Node]]
    node_of: Callable[[str], NodeId | None]
    _dead: dict[NodeId, InstanceState] = attrs.field(factory=dict, init=False)
    _unseen: dict[NodeId, Home] = attrs.field(factory=dict, init=False)
    _noticed: trio.Event = attrs.field(factory=trio.Event, init=False)

    def see_row(self, row: Instance) -> None:
        """Look at a row that nobody waits for."""
        node = self.nodes().get(self.node_of(row.external_id) or NodeId(""))
        if node is not None and node.state in _AT_REST and row.state in _DEAD:
            self._dead[node.id] = row.state
            self._noticed.set()

    def see_full(self, listing: Listing) -> None:
        """Look for machines at rest that a full list does not show.

        Their absence proves nothing (rule 2): they are asked for by themselves.
        """
        shown = {row.external_id for row in listing.instances}
        for node in self.nodes().values():
            unseen = node.state in _AT_REST and node.external_id not in shown
            if unseen and len(self._unseen) < MOST_LOOKS:
                self._unseen[node.id] = listing.home
                self._noticed.set()

    async def run(self) -> None:
        """Record deaths as they are noticed, until cancelled."""
        while True:
            await self._noticed.wait()
            self._noticed = trio.Event()
            unseen, self._unseen = self._unseen, {}
            for node_id, home in unseen.items():
                await self._look(node_id, home)
            dead, self._dead = self._dead, {}
            for node_id, state in dead.items():
                await self._mourn(node_id, state)

    async def _look(self, node_id: NodeId, home: Home) -> None:
        node = self.nodes().get(node_id)
        if node is None or node.external_id is None or node.home != home:
            return
        try:
            row = await self.provider.get(node.external_id)
        except CloudError as error:
            self.health.failed(error)
        else:
            self.see_row(row)

    async def _mourn(self, node_id: NodeId, state: InstanceState) -> None:
        fault = f"died: the cloud shows it as {state.value}"
        node = self.store.head(Node, node_id)
        if node is None or node.lost:
            return
        if node.state is NodeState.READY:
            after = node.became(NodeState.DELETING, self.wall(), fault=fault)
        elif node.state in _AT_REST:
            after = attrs.evolve(node, lost=True, fault=fault)
        else:
            return
        log.warning("node_died", node=node_id, state=node.state.value, cloud=state.value)
        await self.store.commit([Change(node, after, why=fault)])
