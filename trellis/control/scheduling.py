"""The scheduler's loop: nudge, snapshot, pure plan, commit. The tasks act on what it commits."""

from collections.abc import Callable, Mapping, Sequence

import attrs
import structlog
import trio

from trellis.control.explain import by_reason
from trellis.control.fleet import NOTHING, Fleet
from trellis.control.images.choice import Choice, dress
from trellis.control.images.here import login_of
from trellis.control.launch_budget import LaunchBudget
from trellis.control.lineage import mark_of
from trellis.control.nudge import Nudge
from trellis.control.policy import InForce
from trellis.control.provider import RunningProvider
from trellis.control.quota import Quota
from trellis.control.recheck import Rechecks
from trellis.control.tracks import LATELY_S, Tracks
from trellis.errors import ConflictError
from trellis.model.image import Upload, UploadState
from trellis.model.names import LeaseId, NodeId, node_id
from trellis.model.node import Node, NodeState
from trellis.model.provider import StoreMeta
from trellis.model.records import Change
from trellis.model.request import Lease, NodeRequest, Placement, RequestState
from trellis.model.status import PlannedStep
from trellis.scheduler.decisions import (
    Decision,
    Fail,
    Fulfil,
    GiveUp,
    Launch,
    Place,
    Plan,
    Recheck,
    Refill,
    Retire,
    RunShort,
    Warm,
)
from trellis.scheduler.memory import Memory
from trellis.scheduler.plan import plan
from trellis.scheduler.snapshot import PendingView, Probe, QueueShape, Snapshot, TenantView
from trellis.store.store import Store
from trellis.world import World

log = structlog.get_logger()

RESYNC_S = 5.0
"""So long at most until everything is looked at again, whatever nudges were lost."""


class Scheduling:
    """Runs the planner and commits its decisions, one pass after the other.

    Attributes:
        waits: why the first request of each queue waits, by provider, as of the last pass.
        nudge: asks for a pass soon.
        budget: the launches of the last minute.
        tracks: how launches have ended lately; the caller tells it of changes.
    """

    def __init__(
        self,
        *,
        store: Store,
        fleet: Fleet,
        world: World,
        in_force: InForce,
        providers: Mapping[str, RunningProvider],
        quotas: Mapping[str, Quota],
        nudge: Nudge,
        choice: Choice | None = None,
        probes: Callable[[], Sequence[Probe]] = tuple,
        tracks: Tracks | None = None,
    ) -> None:
        self._store, self._fleet, self._world, self._in_force = store, fleet, world, in_force
        self._providers, self._quotas, self.nudge = providers, quotas, nudge
        self._choice, self._probes = choice, probes
        self.budget = LaunchBudget()
        self.tracks = Tracks() if tracks is None else tracks
        self.waits: Mapping[QueueShape, Mapping[str, str]] = {}
        self._unserved = True
        self._memory = Memory()
        self._rechecks = Rechecks(store=store, world=world)

    def committed(self) -> None:
        """Plan soon if what has become durable is anything to the planner."""
        if self._fleet.news or (self._fleet.freed and self._unserved):
            self.nudge()

    async def run(self) -> None:
        """Plan and act until cancelled."""
        await self.budget.load(self._store, self._world)
        await self.tracks.load(self._store, self._world)
        async with trio.open_nursery() as nursery:
            look_at_all = trio.current_time()
            while True:
                everything = trio.current_time() >= look_at_all
                if everything:
                    look_at_all = trio.current_time() + RESYNC_S
                    self._fleet.dirty.update(dict.fromkeys(self._fleet.pending))
                found = plan(self.snapshot(everything=everything), self._memory)
                self._fleet.seen()
                self.waits, self._unserved = found.waits, found.unserved
                await self._act(found, nursery)
                await self.nudge.wait(at_most=max(0.0, look_at_all - trio.current_time()))

    def would_do(self) -> tuple[PlannedStep, ...]:
        """What a pass would decide now, and why what waits does; nothing is done."""
        found = plan(self.snapshot())
        steps = [_step(decision) for decision in found.decisions]
        for (labels, *_), reasons in found.waits.items():
            why = by_reason(reasons)
            steps.append(PlannedStep(action="wait", subject=", ".join(labels), reason=why))
        return tuple(steps)

    # ------------------------------------------------------------------------ the snapshot

    def _orphans(self) -> list[Node]:
        """Nodes that stand in a slot of a request that is not placed any more: a safety net."""
        return [
            node
            for request_id, nodes in sorted(self._fleet.slots.items())
            if request_id not in self._fleet.pending
            for node in nodes.values()
        ]

    def snapshot(self, *, everything: bool = True) -> Snapshot:
        """The world as it is now; what only the resync looks at is in it if *everything* is."""
        fleet, now, policy = self._fleet, self._world.wall(), self._in_force.policy
        held = fleet.tallies.held
        pending = [
            PendingView(
                request=request,
                nodes={
                    node.slot: node
                    for node in fleet.slots.get(request_id, {}).values()
                    if node.slot is not None
                },
                ended=fleet.ended.get(request_id, {}),
            )
            for request_id in sorted(fleet.dirty)
            if (request := fleet.pending.get(request_id)) is not None
        ]
        return Snapshot(
            now=now,
            providers={name: running.view() for name, running in self._providers.items()},
            quotas={
                name: quota.view(
                    ours=fleet.quota_used.get(name, NOTHING),
                    freeing=fleet.quota_freeing.get(name, NOTHING),
                )
                for name, quota in self._quotas.items()
            },
            pending=pending,
            queues=fleet.queues,
            idle=fleet.idle,
            warming=fleet.warming,
            min_ready=policy.min_ready,
            max_ready_age_s=policy.max_ready_age_s,
            hashes=policy.hashes,
            orphans=self._orphans() if everything else (),
            launches_left=policy.launches_per_minute - self.budget.used(),
            starve_after_s=policy.starve_after_s,
            tenants={
                name: TenantView(
                    limits=tenant.limits,
                    used=held.get(name, NOTHING),
                    share=tenant.share,
                )
                for name, tenant in policy.tenants.items()
            },
            tenant_nodes={name: size.instances for name, size in held.items()},
            label_limits=policy.label_limits,
            label_used=fleet.labels_used(policy.label_limits),
            label_freeing=fleet.labels_freeing(policy.label_limits),
            tracks=self.tracks.at(now),
            tracked_s=LATELY_S,
            probes=self._probes(),
        )

    # -------------------------------------------------------------------------- the acts

    async def _act(self, found: Plan, nursery: trio.Nursery) -> None:
        """Commit each decision as a batch of its own, all in one wait for durability.

        A decision overtaken by somebody else's write is dropped: the next pass sees the world
        as it is then.
        """
        staged = []
        overtaken = False
        for decision in found.decisions:
            if isinstance(decision, Recheck):
                if decision.node.provider in self._providers:
                    nursery.start_soon(self._rechecks.recheck, decision.node)
                continue
            try:
                changes = self._changes(decision)
                staged.append(self._store.stage(changes))
            except ConflictError as conflict:
                log.debug("decision_overtaken", decision=type(decision).__name__, by=str(conflict))
                overtaken = True
            else:
                self.budget.spend(
                    sum(c.before is None and isinstance(c.after, Node) for c in changes)
                )
        for commit in staged:
            if commit is not None:
                await commit.durable()
        if overtaken:
            # Without this the next pass would see the same world and decide the same.
            await self._store.settled()
            self.nudge()

    def _changes(self, decision: Decision) -> list[Change]:
        match decision:
            case Place():
                return self._place(decision)
            case Refill():
                return self._refill(decision)
            case Fulfil():
                return self._fulfil(decision)
            case GiveUp():
                return self._give_up(decision)
            case RunShort():
                return self._run_short(decision)
            case Fail():
                failed = decision.request.became(
                    RequestState.FAILED, self._world.wall(), reason=decision.reason
                )
                return [Change(decision.request, failed, archive=True)]
            case Warm():
                self._refuse_crowd((decision.launch,))
                return self._launches((decision.launch,), None)
            case Retire():
                gone = decision.node.became(NodeState.DELETING, self._world.wall())
                return [Change(decision.node, gone, why=decision.reason)]
            case Recheck():
                return []

    def _place(self, decision: Place) -> list[Change]:
        self._refuse_crowd(decision.launch)
        now, request = self._world.wall(), decision.request
        place = Placement(provider=decision.provider, az=decision.az, since=now)
        pending = request.became(RequestState.PENDING, now, placement=place)
        return [
            Change(request, pending, why=decision.reason),
            *(
                Change(
                    node,
                    attrs.evolve(
                        node, allocated_to=request.id, slot=slot, tenant=request.ask.tenant
                    ),
                )
                for slot, node in decision.take
            ),
            *self._launches(decision.launch, request),
        ]

    def _refill(self, decision: Refill) -> list[Change]:
        place = decision.request.placement
        assert place is not None
        refusals = place.refusals + len(decision.free)
        place = attrs.evolve(place, short_since=None, refusals=refusals)
        # The request is part of the batch even where nothing of it changes: if it is being
        # cancelled at this moment, nothing may be launched for it any more.
        return [
            Change(decision.request, attrs.evolve(decision.request, placement=place)),
            *_freed(decision.free),
            *self._launches(decision.launch, decision.request),
        ]

    def _fulfil(self, decision: Fulfil) -> list[Change]:
        now, request = self._world.wall(), decision.request
        ttl_s = request.ask.lease_ttl_s or self._in_force.policy.lease_ttl_s
        lease = Lease(
            id=LeaseId(self.new_id()),
            request_id=request.id,
            requestor=request.ask.requestor,
            nodes=tuple(node.id for node in decision.nodes),
            created_at=now,
            ttl_s=ttl_s,
            expires_at=None if request.ask.source is not None else now + ttl_s,
        )
        fulfilled = request.became(
            RequestState.FULFILLED, now, lease_id=lease.id, nodes=lease.nodes
        )
        return [
            Change(request, fulfilled, why=decision.reason),
            Change(None, lease),
            *(Change(node, _leased(node, lease, now)) for node in decision.nodes),
        ]

    def _give_up(self, decision: GiveUp) -> list[Change]:
        request = decision.request
        again = request.became(
            RequestState.REQUESTED,
            self._world.wall(),
            placement=None,
            declined=(
                *(d for d in request.declined if d.provider != decision.declined.provider),
                decision.declined,
            ),
        )
        why = f"{decision.declined.provider} given up: {decision.reason}"
        return [Change(request, again, why=why), *_freed(decision.free)]

    def _run_short(self, decision: RunShort) -> list[Change]:
        place = decision.request.placement
        assert place is not None
        short = attrs.evolve(place, short_since=self._world.wall())
        after = attrs.evolve(decision.request, placement=short)
        why = f"waits for room to replace a node: {decision.reason}"
        return [Change(decision.request, after, why=why), *_freed(decision.free)]

    def _launches(self, launches: tuple[Launch, ...], request: NodeRequest | None) -> list[Change]:
        """New nodes, with numbers from the store that are never given twice."""
        if not launches:
            return []
        now = self._world.wall()
        meta = self._store.head(StoreMeta, "store")
        assert meta is not None
        changes = [Change(meta, attrs.evolve(meta, next_node=meta.next_node + len(launches)))]
        for number, launch in enumerate(launches, meta.next_node):
            node = self._new_node(node_id(number), launch, request, now)
            changes.append(Change(None, node, why=launch.reason))
        return changes

    def _new_node(
        self, new_id: NodeId, launch: Launch, request: NodeRequest | None, now: float
    ) -> Node:
        config, policy = self._providers[launch.provider].config, self._in_force.policy
        offer, upload = launch.offer, self._upload_for(launch, new_id)
        login, label = offer.login, offer.label
        if upload is not None:
            offer, login = dress(offer, upload), login_of(login, upload.login)
        if label in policy.labels and not policy.labels[label].host_key_checking:
            login = attrs.evolve(login, host_key_checking=False)
        return Node(
            id=new_id,
            label=label,
            state=NodeState.BUILDING,
            state_at=now,
            created_at=now,
            provider=launch.provider,
            pool=offer.pool,
            cloud=config.cloud,
            region=config.region_name or "",
            shape=offer.shape,
            login=login,
            label_hash=policy.hashes.get((launch.provider, offer.pool, label), ""),
            az=launch.az,
            hostname=f"tr{new_id}",
            origin=mark_of(self._store),
            allocated_to=request.id if request is not None else None,
            slot=launch.slot,
            tenant=request.ask.tenant if request is not None else None,
            replaces=launch.replaces,
        )

    def _upload_for(self, launch: Launch, new_id: NodeId) -> Upload | None:
        """The upload a node boots from; None where its image is one of the cloud's own.

        Raises:
            ConflictError: there is none any more.
        """
        image = launch.offer.image
        if image is None or self._choice is None:
            return None
        if launch.upload is not None:
            upload = self._choice.named(launch.upload)
        else:
            upload = self._choice.for_launch(launch.provider, image, new_id)
        # As it is on its way to be: one that is to be deleted is not booted from any more.
        head = self._store.head(Upload, upload.id) if upload is not None else None
        if head is None or head.state is not UploadState.READY:
            raise ConflictError(f"image {image} is not at {launch.provider} any more")
        return head

    def _refuse_crowd(self, launches: tuple[Launch, ...]) -> None:
        """See that an image nothing came up from yet does not take a whole pass's launches.

        Raises:
            ConflictError: enough of it are under way by now; the next pass knows.
        """
        if self._choice is None:
            return
        for launch in launches:
            if launch.offer.image is None or launch.upload is not None:
                continue
            stable = self._choice.choose(launch.provider, launch.offer.image)
            if stable is not None and (why := self._choice.why_full(stable)):
                raise ConflictError(why)

    def new_id(self) -> str:
        """128 random bits in hexadecimal."""
        return f"{self._world.random.getrandbits(128):032x}"


def _leased(node: Node, lease: Lease, now: float) -> Node:
    """The node under its lease; that it is handed out a demand source says by itself."""
    if lease.expires_at is None:
        return attrs.evolve(node, lease_id=lease.id)
    return node.became(NodeState.IN_USE, now, lease_id=lease.id)


def _freed(nodes: tuple[Node, ...]) -> list[Change]:
    return [Change(node, node.freed(), why="free for others") for node in nodes]


def _step(decision: Decision) -> PlannedStep:
    match decision:
        case Warm(launch=launch):
            return PlannedStep(
                action="launch",
                subject=f"{launch.offer.label} on {launch.provider}",
                reason=launch.reason,
            )
        case Retire(node=node) | Recheck(node=node):
            name = type(decision).__name__.lower()
            return PlannedStep(action=name, subject=f"node {node.id}", reason=decision.reason)
        case _:
            name = {"GiveUp": "give up", "RunShort": "wait"}.get(
                type(decision).__name__, type(decision).__name__.lower()
            )
            subject = f"request {decision.request.id}"
            return PlannedStep(action=name, subject=subject, reason=decision.reason)
