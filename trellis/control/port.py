"""The demand port: what requestors may do, on the records alone.

It asks no cloud anything: it writes what is wanted and the tasks act on it.
"""

import difflib
from collections.abc import Callable

import attrs
import trio

from trellis.control.amend import amend
from trellis.control.estimates import Estimates
from trellis.control.explain import explain_node, explain_request
from trellis.control.fleet import Fleet
from trellis.control.leases import ended
from trellis.control.policy import InForce
from trellis.control.scheduling import Scheduling
from trellis.errors import AlreadyDoneError, KeyReusedError, RefusedError, UnknownIdError
from trellis.model.names import LeaseId, NodeId, RequestId
from trellis.model.node import Node, NodeState
from trellis.model.records import Change
from trellis.model.request import ENDED, Ask, Lease, NodeRequest, RequestState
from trellis.model.status import Explanation
from trellis.store.staging import Committed
from trellis.store.store import Store
from trellis.world import World

MOST_LABELS = 100


class Port:
    """The one port through which demand comes in (`trellis.spi.demand.DemandPort`)."""

    def __init__(
        self,
        *,
        store: Store,
        fleet: Fleet,
        world: World,
        scheduling: Scheduling,
        in_force: InForce,
        new_id: Callable[[], str],
        estimates: Estimates,
    ) -> None:
        self._store, self._fleet, self._world = store, fleet, world
        self._estimates = estimates
        self._scheduling, self._new_id = scheduling, new_id
        self._in_force = in_force
        self._waiters: dict[RequestId, list[trio.Event]] = {}
        self._keys = {
            (r.ask.requestor, r.ask.idempotency_key): r.id
            for r in fleet.requests.values()
            if r.ask.idempotency_key is not None
        }
        store.subscribe(self._committed)

    # ------------------------------------------------------------------------- requests

    async def submit(self, ask: Ask) -> NodeRequest:
        """See `DemandPort.submit`."""
        self._check(ask)
        if ask.idempotency_key is not None and (earlier := await self._earlier(ask)) is not None:
            if not _same(earlier.ask, ask):
                raise KeyReusedError(
                    f"{ask.requestor} used the idempotency key {ask.idempotency_key!r} for "
                    f"another body, request {earlier.id}",
                    remedy="use a new key for a new request, or send the same body again",
                )
            return earlier
        if ask.lease_ttl_s is None:
            ask = attrs.evolve(ask, lease_ttl_s=self._in_force.policy.lease_ttl_s)
        now = self._world.wall()
        request = NodeRequest(
            id=RequestId(self._new_id()),
            ask=ask,
            state=RequestState.REQUESTED,
            state_at=now,
            created_at=now,
        )
        if ask.idempotency_key is not None:
            self._keys[ask.requestor, ask.idempotency_key] = request.id
        await self._store.commit([Change(None, request)])
        return request

    async def _earlier(self, ask: Ask) -> NodeRequest | None:
        archived = None
        if (ask.requestor, ask.idempotency_key) not in self._keys:
            archived = await self._store.history_lookup(
                NodeRequest, (ask.requestor, ask.idempotency_key or "")
            )
        # Looked up again: another one of the same key may have come in meanwhile.
        live = self._keys.get((ask.requestor, ask.idempotency_key or ""))
        if live is None:
            return archived
        await self._store.settled()  # it may have come in at this very moment
        return await self.request(live)

    def _check(self, ask: Ask) -> None:
        """Refuse what can never be served, before anything is recorded."""
        if not ask.labels:
            raise RefusedError("the request names no label", remedy="name at least one label")
        if len(ask.labels) > MOST_LABELS:
            raise RefusedError(
                f"the request names {len(ask.labels)} labels, {MOST_LABELS} is the most",
                remedy="ask for fewer nodes in one request: they all come from one zone",
            )
        policy = self._in_force.policy
        for label in ask.labels:
            if label not in policy.labels:
                raise RefusedError(
                    f"there is no label {label!r}",
                    remedy=_did_you_mean(label, tuple(policy.labels)),
                )
        offered = policy.offered
        if ask.provider is not None and ask.provider not in offered:
            raise RefusedError(
                f"there is no provider {ask.provider!r}",
                remedy=_did_you_mean(ask.provider, tuple(offered)),
            )
        wanted = frozenset(ask.labels)
        asked = [ask.provider] if ask.provider is not None else list(offered)
        if not any(wanted <= offered[name] for name in asked):
            where = "; ".join(
                f"{label}: {', '.join(n for n in asked if label in offered[n]) or 'nobody'}"
                for label in sorted(wanted)
            )
            raise RefusedError(
                "no provider offers all of these labels, and all nodes of a request come from "
                f"one ({where})",
                remedy="ask in separate requests, or offer the labels in one provider's pools",
            )

    async def request(self, request_id: RequestId) -> NodeRequest:
        """See `DemandPort.request`."""
        live = self._fleet.requests.get(request_id)
        if live is not None:
            return live
        archived = await self._store.history(NodeRequest, request_id)
        if archived is None:
            raise UnknownIdError(
                f"there is no request {request_id}",
                remedy="'trellis request list' shows what there is, with --gone what has ended",
            )
        return archived

    async def wait(self, request_id: RequestId) -> NodeRequest:
        """See `DemandPort.wait`."""
        while True:
            changed = trio.Event()
            waiters = self._waiters.setdefault(request_id, [])
            waiters.append(changed)
            try:
                request = await self.request(request_id)
                if request.state is RequestState.FULFILLED or request.state in ENDED:
                    return request
                await changed.wait()
            finally:
                waiters.remove(changed)
                if not waiters:
                    self._waiters.pop(request_id, None)

    async def nodes_of(self, request: NodeRequest) -> tuple[Node, ...]:
        """See `DemandPort.nodes_of`."""
        return tuple([await self._node(node_id) for node_id in request.nodes])

    async def cancel(self, request_id: RequestId) -> NodeRequest:
        """See `DemandPort.cancel`."""
        # A place under way brings nodes that only the durable view shows.
        while self._store.head(NodeRequest, request_id) != self._store.get(NodeRequest, request_id):
            await self._store.settled()
        request = self._store.get(NodeRequest, request_id)
        if request is None:
            return await self.request(request_id)
        now, why = self._world.wall(), "cancelled by its requestor"
        if request.state is RequestState.FULFILLED:
            lease = self._store.head(Lease, request.lease_id or "")
            if lease is not None:
                await self._store.commit(ended(self._store, lease, now, why))
            return await self.request(request_id)
        if request.state in ENDED:
            return request
        cancelled = request.became(RequestState.CANCELLED, now)
        await self._store.commit(
            [Change(request, cancelled, why=why, archive=True), *self._released(request, now)]
        )
        return cancelled

    def _released(self, request: NodeRequest, now: float) -> list[Change]:
        """Nodes of a cancelled request: never handed out, so a ready one may serve another."""
        changes = []
        for node_id in self._fleet.slots.get(request.id, {}):
            node = self._store.head(Node, node_id)
            if node is None or node.allocated_to != request.id:
                continue
            if node.state is NodeState.READY:
                free = attrs.evolve(node, allocated_to=None, slot=None, tenant=None)
                changes.append(Change(node, free, why="its request was cancelled"))
            elif node.state is NodeState.BUILDING:
                dying = node.became(NodeState.DELETING, now, fault="its request was cancelled")
                changes.append(Change(node, dying))
        return changes

    async def reprioritise(self, request_id: RequestId, priority: int) -> NodeRequest:
        """See `DemandPort.reprioritise`."""
        await self.request(request_id)

        def change(request: NodeRequest) -> NodeRequest:
            if request.state not in (RequestState.REQUESTED, RequestState.PENDING):
                raise AlreadyDoneError(f"request {request_id} is {request.state.value}")
            return attrs.evolve(request, ask=attrs.evolve(request.ask, priority=priority))

        return await amend(
            self._store, NodeRequest, request_id, change, why=f"priority is now {priority}"
        )

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

    async def hold(self, node_id: NodeId, *, by: str, reason: str) -> Node:
        """See `DemandPort.hold`."""

        def change(node: Node) -> Node:
            if node.state not in (NodeState.IN_USE, NodeState.USED):
                raise AlreadyDoneError(
                    f"node {node_id} is {node.state.value}",
                    remedy="only a node that is in use or used can be held",
                )
            return node.became(NodeState.HOLD, self._world.wall(), held_by=by, hold_reason=reason)

        await self._node(node_id)
        if self._store.head(Node, node_id) is None:
            raise AlreadyDoneError(f"node {node_id} is gone")
        return await amend(self._store, Node, node_id, change, why=f"held by {by}: {reason}")

    async def _node(self, node_id: NodeId) -> Node:
        node = self._fleet.nodes.get(node_id) or await self._store.history(Node, node_id)
        if node is None:
            raise UnknownIdError(
                f"there is no node {node_id}",
                remedy="'trellis node list' shows what there is, with --gone what there was",
            )
        return node

    # -------------------------------------------------------------------------- reasons

    async def explain_request(self, request_id: RequestId) -> Explanation:
        """See `DemandPort.explain_request`."""
        request = await self.request(request_id)
        history = await self._store.events_about(request_id, limit=500)
        waits = self._scheduling.waits
        explanation = explain_request(request, self._fleet, waits, tuple(history))
        outlook = self._estimates.outlook(request, self._fleet, waits, self._world.wall())
        return attrs.evolve(
            explanation, estimate_s=outlook.estimate_s, estimate_basis=outlook.basis
        )

    async def explain_node(self, node_id: NodeId) -> Explanation:
        """See `DemandPort.explain_node`."""
        node = await self._node(node_id)
        history = await self._store.events_about(node_id, limit=500)
        return explain_node(node, tuple(history))

    # ------------------------------------------------------------------------ bookkeeping

    def _committed(self, committed: Committed) -> None:
        for change in committed.changes:
            request = change.after
            if not isinstance(request, NodeRequest):
                continue
            for waiter in self._waiters.get(request.id, ()):
                waiter.set()
            if change.archive and request.ask.idempotency_key is not None:
                self._keys.pop((request.ask.requestor, request.ask.idempotency_key), None)


def _same(earlier: Ask, ask: Ask) -> bool:
    """Whether they came in alike; what was left out has been filled in since.

    A priority may have been changed: it is no part of what was asked.
    """
    ttl_s = earlier.lease_ttl_s if ask.lease_ttl_s is None else ask.lease_ttl_s
    return attrs.evolve(earlier, priority=ask.priority) == attrs.evolve(ask, lease_ttl_s=ttl_s)


def _did_you_mean(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, 3)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"there are: {', '.join(sorted(known)[:20]) or 'none'}"
