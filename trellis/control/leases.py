"""Leases end: when their holder says so, when their time is up, or with their last node."""

from collections.abc import Collection, Iterable

import attrs
import structlog
import trio

from trellis.control.fleet import Fleet
from trellis.control.policy import InForce
from trellis.model.names import LeaseId, NodeId
from trellis.model.node import Node, NodeState
from trellis.model.records import Change
from trellis.model.request import Lease, NodeRequest, RequestState
from trellis.store.store import Store
from trellis.world import World

log = structlog.get_logger()

GRACE_S = 600.0
"""At a start and after a jump of the clock every lease gets at least so long (rule 5)."""
LOOK_EVERY_S = 5.0
JUMP_S = 30.0


def ended(store: Store, lease: Lease, now: float, why: str) -> list[Change]:
    """The changes that end a lease: its request is closed, its nodes are used.

    Nodes that a person holds stay held. The batch is staged by the caller with no await between.
    """
    return _without(store, lease, lease.nodes, now, why, unused=False)


def returned(
    store: Store, nodes: Iterable[Node], now: float, why: str, *, unused: bool = False
) -> list[Change]:
    """The changes by which nodes leave their leases; with its last node a lease ends.

    Nodes that have left already, or have no lease, change nothing. The batch is staged by the
    caller with no await between.

    Args:
        nodes: as the caller knows them; those that are gone count too.
        unused: they were never handed out: those that are ready are nobody's again.
    """
    leaving: dict[LeaseId, dict[NodeId, None]] = {}
    for known in nodes:
        node = store.head(Node, known.id) or known
        if node.lease_id is not None:
            leaving.setdefault(node.lease_id, {})[node.id] = None
    changes = list[Change]()
    for lease_id, node_ids in leaving.items():
        lease = store.head(Lease, lease_id)
        if lease is not None:
            changes += _without(store, lease, node_ids, now, why, unused=unused)
    return changes


def _without(
    store: Store, lease: Lease, leaving: Collection[NodeId], now: float, why: str, *, unused: bool
) -> list[Change]:
    """The changes that take nodes from a lease."""
    request = store.head(NodeRequest, lease.request_id)
    left = tuple(node_id for node_id in lease.nodes if node_id not in leaving)
    changes = list[Change]()
    if not left:
        changes.append(Change(lease, attrs.evolve(lease, ended_at=now), why=why, archive=True))
        if request is not None and request.state is RequestState.FULFILLED:
            closed = request.became(RequestState.CLOSED, now)
            changes.append(Change(request, closed, why=why, archive=True))
    elif left != lease.nodes:
        changes.append(Change(lease, attrs.evolve(lease, nodes=left)))
    holder = request.ask.source if request is not None else None
    for node_id in lease.nodes:
        node = store.head(Node, node_id) if node_id in leaving else None
        if node is not None and (after := _after_lease(node, now, why, holder, unused)) is not node:
            changes.append(Change(node, after, why=why))
    return changes


def _after_lease(node: Node, now: float, why: str, holder: str | None, unused: bool) -> Node:
    """What becomes of a node when its lease is over."""
    match node.state:
        case NodeState.READY if node.set_apart:
            return attrs.evolve(node, lease_id=None)
        case NodeState.READY if unused and not node.lost:
            return node.freed()
        case NodeState.READY:
            # It may have been handed out without our being told, or has died.
            return node.became(NodeState.DELETING, now, fault=node.fault or why)
        case NodeState.HOLD if holder is not None and node.held_by == holder:
            return node.became(NodeState.USED, now)
        case NodeState.IN_USE:
            return node.became(NodeState.USED, now)
        case _:
            return node


def taken(node: Node, now: float) -> Node:
    """The node as it is once it is handed out, or may be: nobody else is given it any more."""
    if node.state is not NodeState.READY or node.set_apart:
        return node
    if node.given:
        return node.became(NodeState.IN_USE, now)
    return node.became(NodeState.DELETING, now, fault="it may have been handed out by mistake")


class Expiry:
    """Ends leases and holds whose time is up.

    The wall clock may jump: after a jump, as after a start, no lease ends for ten minutes.
    """

    def __init__(self, store: Store, fleet: Fleet, world: World, in_force: InForce) -> None:
        self._store, self._fleet, self._world, self._in_force = store, fleet, world, in_force
        self._not_before = world.wall() + GRACE_S

    async def run(self) -> None:
        """Look at all leases every few seconds, until cancelled."""
        clock = self._world.wall
        off_s = clock.off_s
        if off_s < -JUMP_S:
            # Which of the two is wrong nobody can tell; what is on record keeps its length.
            log.warning(
                "clock_behind_store",
                by_s=round(-off_s),
                remedy="see that NTP keeps the clock; if it is right, it was ahead once, and times "
                "shown are ahead by so much still: they come back by 3 min an hour",
            )
        while True:
            await trio.sleep(LOOK_EVERY_S)
            moved_s, off_s = clock.off_s - off_s, clock.off_s
            now = clock()
            if abs(moved_s) > JUMP_S:
                log.warning(
                    "clock_jumped",
                    by_s=round(moved_s),
                    leases_get_at_least_s=GRACE_S,
                    remedy="see that NTP keeps the clock; times shown catch up by 3 min an hour",
                )
                self._not_before = now + GRACE_S
            if now >= self._not_before:
                await self._end_expired(now)
                await self._let_go(now)

    async def _let_go(self, now: float) -> None:
        """End holds whose time is up, and those older than ``max-hold-age``, where it is not 0."""
        oldest = self._in_force.policy.max_hold_age_s
        held = [
            (node, why)
            for node in self._fleet.nodes.values()
            if node.state is NodeState.HOLD and (why := _over(node, now, oldest))
        ]
        for node, why in held:
            if self._store.head(Node, node.id) == node:
                used = node.became(NodeState.USED, now)
                await self._store.commit([Change(node, used, why=why)])

    async def _end_expired(self, now: float) -> None:
        expired = [
            lease
            for lease in self._fleet.leases.values()
            if lease.expires_at is not None and lease.expires_at <= now
        ]
        for lease in expired:
            current = self._store.head(Lease, lease.id)
            # Renewed or ended while others were being ended: look again next time.
            if current == lease:
                log.info("lease_expired", request=lease.request_id, requestor=lease.requestor)
                await self._store.commit(ended(self._store, lease, now, "the lease expired"))


def _over(node: Node, now: float, oldest_s: float) -> str:
    """Why a hold ends now; "" while it does not."""
    if node.hold_until is not None and node.hold_until <= now:
        return "its hold has ended"
    return "it reached max-hold-age" if oldest_s and now - node.state_at > oldest_s else ""
