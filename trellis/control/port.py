"""The demand port: what requestors may do, on the records alone. Here: requests and reasons.

It writes what is wanted and the tasks act on it. No cloud is asked anything, but about a server
that is to be taken over.
"""

import difflib
import math
from collections.abc import Callable, Mapping

import attrs
import trio

from trellis.control.adoption import adopted, check_found
from trellis.control.amend import amend
from trellis.control.changed import Changed
from trellis.control.estimates import Estimates
from trellis.control.explain import explain_node, explain_request
from trellis.control.fleet import Fleet
from trellis.control.handing_out import HandingOut
from trellis.control.leases import ended
from trellis.control.policy import InForce
from trellis.control.provider import RunningProvider
from trellis.control.scheduling import Scheduling
from trellis.errors import AlreadyDoneError, KeyReusedError, RefusedError, UnknownIdError
from trellis.model.asked import for_whom
from trellis.model.names import LeaseId, NodeId, RequestId
from trellis.model.node import Node, NodeState
from trellis.model.provider import ProviderRecord
from trellis.model.records import Change
from trellis.model.request import ENDED, Ask, Lease, NodeRequest, RequestState
from trellis.model.status import Explanation
from trellis.spi.demand import ForeignServer, OfferedPool
from trellis.store.staging import Committed
from trellis.store.store import Store
from trellis.world import World

MOST_LABELS = 100
_SOON_S = 0.05
_WAITING = frozenset({RequestState.REQUESTED, RequestState.PENDING})


class Port(HandingOut):
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
        providers: Mapping[str, RunningProvider],
    ) -> None:
        super().__init__(store=store, fleet=fleet, world=world, in_force=in_force)
        self._estimates = estimates
        self._scheduling, self._new_id = scheduling, new_id
        self._requests_changed, self._providers = Changed[RequestId](), providers
        self._offers_changed = Changed[None]()
        self._being_adopted: set[str] = set()
        """Servers on their way to be nodes, which the fleet does not show yet."""
        self._keys = {
            _key_of(r.ask): r.id
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
        staged = self._store.stage([Change(None, request)])
        assert staged is not None
        # Only now: a key of what cannot be recorded would lead to nothing for ever.
        if ask.idempotency_key is not None:
            self._keys[_key_of(ask)] = request.id
        await staged.durable()
        return request

    async def turn_away(self, ask: Ask, *, why: str) -> NodeRequest:
        """See `DemandPort.turn_away`."""
        if ask.idempotency_key is not None:
            if (live := await self._earlier_of_source(ask)) is not None:
                return await self._turned_away(live, why)
            key = (ask.requestor, ask.idempotency_key)
            earlier = await self._store.history_lookup(NodeRequest, key)
            if earlier is not None and earlier.reason == why:
                return earlier
        now = self._world.wall()
        request = NodeRequest(
            id=RequestId(self._new_id()),
            ask=ask,
            state=RequestState.FAILED,
            state_at=now,
            created_at=now,
            reason=why,
        )
        await self._store.commit([Change(None, request, why=why, archive=True)])
        return request

    async def _turned_away(self, live: NodeRequest, why: str) -> NodeRequest:
        now = self._world.wall()
        request = self._store.head(NodeRequest, live.id)
        if request is None or request.state is not RequestState.REQUESTED:
            return await self.request(live.id)
        failed = request.became(RequestState.FAILED, now, reason=why)
        await self._store.commit(
            [Change(request, failed, why=why, archive=True), *self._released(request, now)]
        )
        return failed

    async def _earlier(self, ask: Ask) -> NodeRequest | None:
        if ask.source is not None:
            return await self._earlier_of_source(ask)
        archived, key = None, _key_of(ask)
        if key not in self._keys:
            archived = await self._store.history_lookup(
                NodeRequest, (ask.requestor, ask.idempotency_key or "")
            )
        # Looked up again: another one of the same key may have come in meanwhile.
        live = self._keys.get(key)
        if live is None:
            return archived
        await self._store.settled()  # it may have come in at this very moment
        return await self.request(live)

    async def _earlier_of_source(self, ask: Ask) -> NodeRequest | None:
        """The live request of this key: a source knows by itself what it asks for once more."""
        while (live := self._keys.get(_key_of(ask))) is not None:
            await self._store.settled()  # it may have come in at this very moment, or be ending
            earlier = await self.request(live)
            if earlier.state not in ENDED:
                return earlier
        return None

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
        return await self._wait_while(request_id, _WAITING)

    async def wait_placed(self, request_id: RequestId) -> NodeRequest:
        """See `DemandPort.wait_placed`."""
        return await self._wait_while(request_id, frozenset({RequestState.REQUESTED}))

    async def _wait_while(
        self, request_id: RequestId, states: frozenset[RequestState]
    ) -> NodeRequest:
        while True:
            with self._requests_changed.watch(request_id) as changed:
                request = await self.request(request_id)
                if request.state not in states:
                    return request
                await changed.wait()

    def asked_by(self, source: str) -> tuple[NodeRequest, ...]:
        """See `DemandPort.asked_by`."""
        those = self._fleet.by_source.get(source, {}).values()
        return tuple(sorted(those, key=lambda request: (request.created_at, request.id)))

    async def cancel(
        self, request_id: RequestId, *, why: str = "cancelled by its requestor"
    ) -> NodeRequest:
        """See `DemandPort.cancel`."""
        # A place under way brings nodes that only the durable view shows.
        while self._store.head(NodeRequest, request_id) != self._store.get(NodeRequest, request_id):
            await self._store.settled()
        request = self._store.get(NodeRequest, request_id)
        if request is None:
            return await self.request(request_id)
        now = self._world.wall()
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
                changes.append(Change(node, node.freed(), why="its request was cancelled"))
            elif node.state is NodeState.BUILDING:
                dying = node.became(NodeState.DELETING, now, fault="its request was cancelled")
                changes.append(Change(node, dying))
        return changes

    async def reprioritise(
        self, request_id: RequestId, priority: int, *, rank: int = 0
    ) -> NodeRequest:
        """See `DemandPort.reprioritise`."""
        known = await self.request(request_id)
        if self._store.head(NodeRequest, request_id) is None:
            raise AlreadyDoneError(f"request {request_id} waits no longer")

        def change(request: NodeRequest) -> NodeRequest:
            if request.state not in _WAITING:
                raise AlreadyDoneError(f"request {request_id} is {request.state.value}")
            ask = attrs.evolve(request.ask, priority=priority, rank=rank)
            return attrs.evolve(request, ask=ask)

        # Ranks change all the time as those ahead go: that is no event in a request's life.
        why = f"priority is now {priority}" if known.ask.priority != priority else ""
        return await amend(self._store, NodeRequest, request_id, change, why=why)

    # ------------------------------------------------------------- what others launched

    async def foreign_servers(
        self, provider: str, *, name: str, metadata: Mapping[str, str]
    ) -> tuple[str, ...]:
        """See `DemandPort.foreign_servers`."""
        return await self._running(provider).foreign_servers(name, metadata)

    def _running(self, provider: str) -> RunningProvider:
        running = self._providers.get(provider)
        if running is None:
            raise RefusedError(
                f"there is no provider {provider!r}",
                remedy=_did_you_mean(provider, tuple(self._providers)),
            )
        return running

    async def adopt(self, ask: Ask, server: ForeignServer) -> Node:
        """See `DemandPort.adopt`."""
        assert ask.source is not None
        assert ask.idempotency_key is not None
        if (earlier := await self._earlier(ask)) is not None:
            (node,) = await self.nodes_of(earlier)
            return node
        running = self._running(server.provider)
        row, public, home = await running.look_at(server.external_id)
        check_found(server, row)
        # Looked up again: another one may have taken it over meanwhile.
        if (earlier := await self._earlier(ask)) is not None:
            (node,) = await self.nodes_of(earlier)
            return node
        owner = self._fleet.by_external.get(server.external_id)
        if owner is not None or server.external_id in self._being_adopted:
            raise RefusedError(
                f"server {server.external_id} is node {owner or 'of another request'} already",
                remedy="release that node; a server is taken over once",
            )
        changes = adopted(
            self._store,
            ask,
            server,
            public=public,
            home=home,
            cloud=running.config.cloud,
            now=self._world.wall(),
            request_id=RequestId(self._new_id()),
            lease_id=LeaseId(self._new_id()),
            ttl_s=self._in_force.policy.lease_ttl_s,
        )
        taken = changes[-1].after
        assert isinstance(taken, Node)
        assert taken.allocated_to is not None
        staged = self._store.stage(changes)
        assert staged is not None
        self._keys[_key_of(ask)] = taken.allocated_to
        self._being_adopted.add(server.external_id)
        await staged.durable()
        return taken

    # ------------------------------------------------------------------------- offers

    def offers(self) -> tuple[OfferedPool, ...]:
        """See `DemandPort.offers`."""
        now = self._world.wall()
        return tuple(
            attrs.evolve(pool, paused=self._is_paused(pool.provider, now))
            for pool in self._in_force.policy.pools
        )

    def _is_paused(self, provider: str, now: float) -> bool:
        record = self._store.get(ProviderRecord, provider)
        return record is not None and record.pause_at(now) is not None

    async def wait_offers(self, known: tuple[OfferedPool, ...]) -> tuple[OfferedPool, ...]:
        """See `DemandPort.wait_offers`."""
        await trio.lowlevel.checkpoint()
        while True:
            with self._offers_changed.watch(None) as changed:
                if (offers := self.offers()) != known:
                    return offers
                with trio.move_on_after(self._pause_ends_in()):
                    await changed.wait()

    def offers_changed(self) -> None:
        """To be called when another policy is in force."""
        self._offers_changed.tell(None)

    def _pause_ends_in(self) -> float:
        """When the next pause ends by itself: nobody tells of that."""
        now = self._world.wall()
        names = dict.fromkeys(pool.provider for pool in self._in_force.policy.pools)
        records = (self._store.get(ProviderRecord, name) for name in names)
        pauses = (one.pause_at(now) for one in records if one is not None)
        ends = (one.until for one in pauses if one is not None and one.until is not None)
        return max(min(ends, default=math.inf) - now, _SOON_S)

    # -------------------------------------------------------------------------- reasons

    async def explain_request(self, request_id: RequestId) -> Explanation:
        """See `DemandPort.explain_request`."""
        request = await self.request(request_id)
        history = await self._store.events_about(request_id, limit=500)
        waits = self._scheduling.waits
        explanation = explain_request(request, self._fleet, waits, tuple(history))
        outlook = self._estimates.outlook(request, self._fleet, waits, self._world.wall())
        whom = for_whom(request.ask)
        return attrs.evolve(
            explanation,
            words=f"{explanation.words} It is for {whom}." if whom else explanation.words,
            estimate_s=outlook.estimate_s,
            estimate_basis=outlook.basis,
        )

    async def explain_node(self, node_id: NodeId) -> Explanation:
        """See `DemandPort.explain_node`."""
        node = await self._node(node_id)
        history = await self._store.events_about(node_id, limit=500)
        asks = None if node.allocated_to is None else await self._asked_for(node.allocated_to)
        return explain_node(node, tuple(history), asks)

    async def _asked_for(self, request_id: RequestId) -> NodeRequest | None:
        live = self._fleet.requests.get(request_id)
        return live or await self._store.history(NodeRequest, request_id)

    # ------------------------------------------------------------------------ bookkeeping

    def _committed(self, committed: Committed) -> None:
        for change in committed.changes:
            request = change.after
            if isinstance(request, ProviderRecord):
                self.offers_changed()  # it may have been paused
            if isinstance(request, Node):
                self._nodes_changed.tell(request.id)
                if self._being_adopted:
                    self._being_adopted.discard(request.external_id or "")
            if not isinstance(request, NodeRequest):
                continue
            self._requests_changed.tell(request.id)
            if change.archive and request.ask.idempotency_key is not None:
                self._keys.pop(_key_of(request.ask), None)


def _key_of(ask: Ask) -> tuple[str, str, str]:
    return ask.source or "", ask.requestor, ask.idempotency_key or ""


def _same(earlier: Ask, ask: Ask) -> bool:
    """Whether they came in alike; what was left out has been filled in since.

    A priority may have been changed: it is no part of what was asked. Of a source the labels
    tell: another release of it may describe the same demand in other words.
    """
    if ask.source is not None:
        return earlier.labels == ask.labels
    ttl_s = earlier.lease_ttl_s if ask.lease_ttl_s is None else ask.lease_ttl_s
    return attrs.evolve(earlier, priority=ask.priority) == attrs.evolve(ask, lease_ttl_s=ttl_s)


def _did_you_mean(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, 3)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"there are: {', '.join(sorted(known)[:20]) or 'none'}"
