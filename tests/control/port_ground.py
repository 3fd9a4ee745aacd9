"""The demand port on real records, with the real planner, over clouds that make and delete."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from types import SimpleNamespace
from typing import Any

import attrs
import trio

from trellis.control.amend import amend
from trellis.control.estimates import Estimates
from trellis.control.fleet import DYING, Fleet
from trellis.control.leases import Expiry
from trellis.control.lineage import open_lineage
from trellis.control.nudge import Nudge
from trellis.control.policy import InForce, LabelPolicy, Policy
from trellis.control.port import Port
from trellis.control.scheduling import Scheduling
from trellis.model.node import Node, NodeState
from trellis.model.quota import Limits, Resources
from trellis.model.records import Change
from trellis.model.request import Ask, Lease, NodeRequest
from trellis.scheduler.snapshot import QuotaView
from trellis.store.simulated import SimulatedLog
from trellis.store.store import Store
from trellis.testing.builders import NOW, a_pool, a_provider
from trellis.world import SteadyClock

LABELS = ("small", "large")
LOOK_S = 2.0


def wall() -> float:
    return NOW + trio.current_time()


def an_ask(labels=("small",), **parts: Any) -> Ask:
    """One of the demand source ``zuul``."""
    given = {"labels": tuple(labels), "requestor": "zuul-web", "source": "zuul", **parts}
    return Ask(**given)


class Ground:
    """A store and what runs on it; run again, it is a restart.

    Args:
        most: nodes of each provider at a time.
        boot_s: so long a launch takes.

    Attributes:
        paused: why providers launch nothing, by name.
        history: every durable change of a node, in order.
        fails: so many of the next launches fail.
    """

    def __init__(
        self,
        *,
        most: int = 10,
        providers: tuple[str, ...] = ("alpha",),
        boot_s: float = 20.0,
        min_ready: int = 0,
        max_hold_age_s: float = 0.0,
        fsync_s: float = 0.002,
        seed: int = 1,
    ) -> None:
        self.log = SimulatedLog(Random(seed), fsync_s=fsync_s)
        self.paused: dict[str, str] = {}
        self.history: list[Change] = []
        self.fails = 0
        self._most, self._names, self._boot_s = most, providers, boot_s
        self._min_ready, self._max_hold_age_s = min_ready, max_hold_age_s
        self._random = Random(seed)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Port]:
        """Run port, planner and clouds."""
        try:
            async with Store.open(self.log, deployment="ground", wall=wall) as self.store:
                await open_lineage(self.store, self._random)
                self.fleet = Fleet()
                for cls in (NodeRequest, Lease, Node):
                    self.fleet.load(self.store.all(cls).values())
                in_force = InForce(self._policy())
                world: Any = SimpleNamespace(
                    wall=SteadyClock(wall), random=self._random, connect=None
                )
                given: Any = {
                    "providers": {name: self._provider(name) for name in self._names},
                    "quotas": {name: SimpleNamespace(view=_unlimited) for name in self._names},
                }
                self.scheduling = Scheduling(
                    store=self.store,
                    fleet=self.fleet,
                    world=world,
                    in_force=in_force,
                    nudge=Nudge(),
                    **given,
                )
                self.store.subscribe(self._committed)
                self.port = Port(
                    store=self.store,
                    fleet=self.fleet,
                    world=world,
                    scheduling=self.scheduling,
                    in_force=in_force,
                    new_id=self.scheduling.new_id,
                    estimates=Estimates(),
                    providers={},
                )
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.scheduling.run)
                    nursery.start_soon(Expiry(self.store, self.fleet, world, in_force).run)
                    nursery.start_soon(self._clouds)
                    try:
                        yield self.port
                    finally:
                        nursery.cancel_scope.cancel()
        finally:
            self.log = self.log.reopen()

    def _committed(self, batch: Any) -> None:
        self.fleet.apply(batch.changes)
        self.history += [change for change in batch.changes if isinstance(change.after, Node)]
        self.scheduling.committed()

    def _policy(self) -> Policy:
        labels = {
            name: LabelPolicy(
                name=name,
                min_ready=0,
                max_ready_age_s=0.0,
                host_key_checking=False,  # else one long ready is looked at on the wire
                max_servers=None,
            )
            for name in LABELS
        }
        return Policy(
            labels=labels,
            offered=dict.fromkeys(self._names, frozenset(LABELS)),
            hashes={},
            min_ready={"small": self._min_ready} if self._min_ready else {},
            max_ready_age_s={},
            starve_after_s=600.0,
            launches_per_minute=1000,
            lease_ttl_s=600,
            max_lease_age_s=86400.0,
            max_hold_age_s=self._max_hold_age_s,
            alarm_age_s=3600.0,
            tenants={},
            label_limits={},
        )

    def _provider(self, name: str) -> Any:
        def view() -> Any:
            used = self.fleet.pool_used.get((name, "main"), Resources())
            pool = a_pool(LABELS, limits=Limits(instances=self._most), used=used)
            return a_provider(name, pools=[pool], paused=self.paused.get(name, ""))

        return SimpleNamespace(view=view, config=SimpleNamespace(cloud=name, region_name="one"))

    # ----------------------------------------------------------------------- the clouds

    async def _clouds(self) -> None:
        """What is launched becomes ready, what is to be deleted is gone."""
        while True:
            await trio.sleep(LOOK_S)
            for node in list(self.fleet.nodes.values()):
                if self.store.head(Node, node.id) is not node or node.set_apart:
                    continue
                if node.state in DYING:
                    await self._delete(node)
                elif node.state is NodeState.BUILDING and wall() - node.created_at > self._boot_s:
                    now = wall()
                    if self.fails:
                        self.fails -= 1
                        after = node.became(NodeState.FAILED, now)
                    else:
                        after = node.became(NodeState.READY, now, ready_at=now, checked_at=now)
                    await self.store.commit([Change(node, after)])

    async def _delete(self, node: Node) -> None:
        if node.state is not NodeState.DELETING:
            await self.store.commit([Change(node, node.became(NodeState.DELETING, wall()))])
        else:
            gone = node.became(NodeState.GONE, wall())
            await self.store.commit([Change(node, gone, archive=True)])

    # ------------------------------------------------------------------------ short ways

    async def served(self, labels=("small",), **parts: Any) -> NodeRequest:
        """Ask as a source, and wait until it is fulfilled."""
        request = await self.port.submit(an_ask(labels, **parts))
        with trio.fail_after(3600):
            return await self.port.wait(request.id)

    def node(self, node_id: str) -> Node | None:
        """A node as it is durable; None if it is gone."""
        return self.store.get(Node, node_id)

    async def lose(self, node_id: str) -> None:
        """A node dies while a request has it; one that is gone does not."""
        if self.store.head(Node, node_id) is None:
            return
        await amend(self.store, Node, node_id, lambda n: attrs.evolve(n, lost=True), why="died")

    async def empty(self, within_s: float = 3600.0) -> None:
        """Wait until there is no node, no request and no lease."""
        with trio.fail_after(within_s):  # noqa: ASYNC912
            while any(self.store.all(cls) for cls in (Node, NodeRequest, Lease)):  # noqa: ASYNC110
                await trio.sleep(LOOK_S)


def _unlimited(*, ours: Resources, freeing: Resources) -> QuotaView:
    return QuotaView(limits=Limits(), used=ours, freeing=freeing)
