"""The half of the demand port that is about what was handed out: leases and nodes."""

from collections.abc import Callable, Sequence

import attrs

from trellis.control.amend import amend
from trellis.control.changed import Changed
from trellis.control.fleet import Fleet
from trellis.control.leases import ended, returned, taken
from trellis.control.policy import InForce
from trellis.errors import AlreadyDoneError, UnknownIdError
from trellis.model.names import LeaseId, NodeId
from trellis.model.node import Node, NodeState
from trellis.model.records import Change
from trellis.model.request import Lease, NodeRequest
from trellis.store.store import Store
from trellis.world import World


class HandingOut:
    """Leases and nodes, as requestors may change them (`trellis.spi.demand.DemandPort`)."""

    def __init__(self, *, store: Store, fleet: Fleet, world: World, in_force: InForce) -> None:
        self._store, self._fleet, self._world = store, fleet, world
        self._in_force = in_force
        self._nodes_changed = Changed[NodeId]()

    # --------------------------------------------------------------------------- leases

    async def lease(self, lease_id: LeaseId) -> Lease:
        """See `DemandPort.lease`."""
        lease = self._fleet.leases.get(lease_id) or await self._store.history(Lease, lease_id)
        if lease is None:
            raise UnknownIdError(
                "there is no such lease", remedy="the id is in its request's answer, and only there"
            )
        return lease

    async def renew(self, lease_id: LeaseId) -> Lease:
        """See `DemandPort.renew`."""
        lease = await self.lease(lease_id)

        def change(lease: Lease) -> Lease:
            if lease.expires_at is None:
                return lease
            most = lease.created_at + self._in_force.policy.max_lease_age_s
            until = min(self._world.wall() + lease.ttl_s, most)
            if lease.expires_at >= most:
                raise AlreadyDoneError(
                    "the lease has reached max-lease-age",
                    remedy="ask for new nodes; a node can be held with 'trellis node hold'",
                )
            return attrs.evolve(lease, expires_at=max(lease.expires_at, until))

        if lease.ended_at is not None or self._store.head(Lease, lease_id) is None:
            raise AlreadyDoneError("the lease has ended", remedy="ask for new nodes")
        return await amend(self._store, Lease, lease_id, change)

    async def release(self, lease_id: LeaseId) -> None:
        """See `DemandPort.release`."""
        await self.lease(lease_id)
        lease = self._store.head(Lease, lease_id)
        if lease is not None:
            now = self._world.wall()
            await self._store.commit(ended(self._store, lease, now, "released by its holder"))

    # ---------------------------------------------------------------------------- nodes

    async def nodes_of(self, request: NodeRequest) -> tuple[Node, ...]:
        """See `DemandPort.nodes_of`."""
        return tuple([await self._node(node_id) for node_id in request.nodes])

    async def in_use(self, node_ids: Sequence[NodeId]) -> None:
        """See `DemandPort.in_use`."""

        def steps(nodes: Sequence[Node]) -> list[Change]:
            now, changes = self._world.wall(), list[Change]()
            for known in nodes:
                node = self._store.head(Node, known.id)
                if node is not None and (after := taken(node, now)) is not node:
                    changes.append(Change(node, after, why=after.fault or "handed out"))
            return changes

        await self._each(node_ids, steps)

    async def release_nodes(self, node_ids: Sequence[NodeId], *, why: str) -> None:
        """See `DemandPort.release_nodes`."""
        await self._each(
            node_ids, lambda nodes: returned(self._store, nodes, self._world.wall(), why)
        )

    async def give_back(self, node_ids: Sequence[NodeId], *, why: str) -> None:
        """See `DemandPort.give_back`."""
        await self._each(
            node_ids,
            lambda nodes: returned(self._store, nodes, self._world.wall(), why, unused=True),
        )

    async def _each(
        self, node_ids: Sequence[NodeId], steps: Callable[[Sequence[Node]], list[Change]]
    ) -> None:
        """Write what *steps* says of these nodes, all in one batch."""
        nodes = [await self._node(node_id) for node_id in dict.fromkeys(node_ids)]
        if changes := steps(nodes):
            await self._store.commit(changes)
        else:
            await self._store.settled()  # the same may have been written at this very moment

    async def hold(
        self, node_id: NodeId, *, by: str, reason: str, until: float | None = None
    ) -> Node:
        """See `DemandPort.hold`."""

        def change(node: Node) -> Node:
            if node.state is NodeState.HOLD and node.held_by == by:
                return attrs.evolve(node, hold_reason=reason, hold_until=until)
            if node.state not in (NodeState.IN_USE, NodeState.USED):
                raise AlreadyDoneError(
                    f"node {node_id} is {node.state.value}",
                    remedy="only a node that is in use or used can be held",
                )
            now = self._world.wall()
            return node.became(
                NodeState.HOLD, now, held_by=by, hold_reason=reason, hold_until=until
            )

        await self._node(node_id)
        if self._store.head(Node, node_id) is None:
            raise AlreadyDoneError(f"node {node_id} is gone")
        return await amend(self._store, Node, node_id, change, why=f"held by {by}: {reason}")

    async def wait_node(self, node_id: NodeId, known: Node) -> Node:
        """See `DemandPort.wait_node`."""
        while True:
            with self._nodes_changed.watch(node_id) as changed:
                node = await self._node(node_id)
                if node.state is not known.state:
                    return node
                await changed.wait()

    async def _node(self, node_id: NodeId) -> Node:
        node = self._fleet.nodes.get(node_id) or await self._store.history(Node, node_id)
        if node is None:
            raise UnknownIdError(
                f"there is no node {node_id}",
                remedy="'trellis node list' shows what there is, with --gone what there was",
            )
        return node
