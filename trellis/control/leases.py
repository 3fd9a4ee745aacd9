"""Leases end: when their holder says so, or when their time is up."""

import attrs
import structlog
import trio

from trellis.control.fleet import Fleet
from trellis.control.policy import InForce
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

    Held nodes stay held. The batch is staged by the caller with no await between.
    """
    changes: list[Change] = [
        Change(lease, attrs.evolve(lease, ended_at=now), why=why, archive=True)
    ]
    request = store.head(NodeRequest, lease.request_id)
    if request is not None and request.state is RequestState.FULFILLED:
        changes.append(
            Change(request, request.became(RequestState.CLOSED, now), why=why, archive=True)
        )
    for node_id in lease.nodes:
        node = store.head(Node, node_id)
        if node is not None and node.state is NodeState.IN_USE:
            changes.append(Change(node, node.became(NodeState.USED, now), why=why))
    return changes


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
        """End holds older than ``max-hold-age``; 0 keeps them until a person deletes the node."""
        oldest = self._in_force.policy.max_hold_age_s
        if not oldest:
            return
        held = [
            node
            for node in self._fleet.nodes.values()
            if node.state is NodeState.HOLD and now - node.state_at > oldest
        ]
        for node in held:
            if self._store.head(Node, node.id) == node:
                used = node.became(NodeState.USED, now)
                await self._store.commit([Change(node, used, why="it reached max-hold-age")])

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
