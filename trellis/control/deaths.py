"""Nodes that die while nobody waits for anything of them: ready ones, and those under a lease."""

from collections.abc import Callable, Collection, Mapping

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
        everybody: those of all providers: two of them may look at one project (rule 9).
        at_address: ids of those that are reached at an address.
        node_of: the node whose server has this id.
    """

    provider: Provider
    store: Store
    health: ProviderHealth
    wall: Callable[[], float]
    nodes: Callable[[], Mapping[NodeId, Node]]
    everybody: Callable[[], Mapping[NodeId, Node]]
    at_address: Callable[[str], Collection[NodeId]]
    node_of: Callable[[str], NodeId | None]
    _dead: dict[NodeId, str] = attrs.field(factory=dict, init=False)
    _unseen: dict[NodeId, Home] = attrs.field(factory=dict, init=False)
    _noticed: trio.Event = attrs.field(factory=trio.Event, init=False)

    def see_row(self, row: Instance) -> None:
        """Look at a row that nobody waits for."""
        node = self.nodes().get(self.node_of(row.external_id) or NodeId(""))
        if node is not None and node.state in _AT_REST and row.state in _DEAD:
            self._dead[node.id] = f"the cloud shows it as {row.state.value}"
            self._noticed.set()

    def see_ready(self, ready: Node) -> None:
        """Look whose address it has that has just become ready there.

        A floating IP or port that somebody has deleted by hand is given to another server, and
        the node that had it would lead its requestor to that one (P1). One with the same host
        key has failed before it came here (rule 11).
        """
        if ready.addresses is None:
            return
        address = ready.addresses.interface_ip
        for node_id in self.at_address(address):
            node = self.everybody()[node_id]
            if node.state in _AT_REST and node.home == ready.home:
                self._misled(node, ready)

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

    def _see_owners(self) -> None:
        """Look which addresses are another's, as an earlier process may have died before that."""
        owners = dict[tuple[str, Home | None], Node]()
        at_rest = [node for node in self.everybody().values() if node.state in _AT_REST]
        for node in sorted(at_rest, key=lambda node: node.ready_at or 0.0):
            if node.addresses is not None:
                owners[node.addresses.interface_ip, node.home] = node
        for node in at_rest:
            if node.addresses is not None:
                self._misled(node, owners[node.addresses.interface_ip, node.home])

    def _misled(self, node: Node, owner: Node) -> None:
        if node.id != owner.id and node.addresses is not None:
            address = node.addresses.interface_ip
            self._dead[node.id] = f"its address {address} leads to node {owner.id} now"
            self._noticed.set()

    async def run(self) -> None:
        """Record deaths as they are noticed, until cancelled."""
        self._see_owners()
        while True:
            await self._noticed.wait()
            self._noticed = trio.Event()
            unseen, self._unseen = self._unseen, {}
            for node_id, home in unseen.items():
                await self._look(node_id, home)
            dead, self._dead = self._dead, {}
            for node_id, how in dead.items():
                await self._mourn(node_id, how)

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

    async def _mourn(self, node_id: NodeId, how: str) -> None:
        fault = f"died: {how}"
        node = self.store.head(Node, node_id)
        if node is None or node.lost:
            return
        # One set apart may be somebody's, who has turned it off.
        # Nor can anybody tell here whether one that is given is in somebody's hands.
        if node.state is NodeState.READY and not node.set_apart and not node.given:
            after = node.became(NodeState.DELETING, self.wall(), fault=fault)
        elif node.state in _AT_REST:
            after = attrs.evolve(node, lost=True, fault=fault)
        else:
            return
        log.warning("node_died", node=node_id, state=node.state.value, how=how)
        await self.store.commit([Change(node, after, why=fault)])
