"""A small world in which plans are carried out as the daemon carries them out, without clouds.

The records' indexes (`Fleet`), the snapshot and the changes that a decision comes to are the
daemon's own; only clouds, clock and store are left out: what is launched becomes ready when a
test says so.
"""

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import attrs
from hypothesis import strategies as st

from trellis.control.fleet import DYING, Fleet
from trellis.control.nudge import Nudge
from trellis.control.policy import InForce, Policy, TenantPolicy
from trellis.control.scheduling import Scheduling
from trellis.model.names import RequestId
from trellis.model.node import Node, NodeState
from trellis.model.provider import StoreMeta
from trellis.model.quota import Limits, Resources
from trellis.model.records import Change
from trellis.model.request import Ask, Lease, NodeRequest, RequestState
from trellis.scheduler.decisions import Decision, Plan
from trellis.scheduler.plan import plan
from trellis.scheduler.snapshot import PoolView, ProviderView, QuotaView, Snapshot
from trellis.spi.provider import Offer
from trellis.testing.builders import NOW, a_shape

NOTHING = Resources()
SIZES = {
    "small": Resources(instances=1, cores=1, ram_mib=1024, ports=1),
    "large": Resources(instances=1, cores=4, ram_mib=4096, ports=1),
}
LABELS = tuple(SIZES)
ZONES = ((), ("a",), ("a", "b"))


@attrs.frozen(kw_only=True)
class PoolSpec:
    """A pool: its own limits, and the most nodes of each label it offers (None: no limit)."""

    limits: Limits
    labels: Mapping[str, int | None]
    zones: tuple[str, ...] = ()
    ignores_quota: bool = False


@attrs.frozen(kw_only=True)
class ProviderSpec:
    """A provider, and the name of the quota that it draws on."""

    quota: str
    pools: tuple[PoolSpec, ...]
    most_launches: int | None = None
    paused: bool = False
    priority: int = 100
    weight: float | None = None


@attrs.frozen(kw_only=True)
class WorldSpec:
    """What there is, before anything is asked for."""

    providers: Mapping[str, ProviderSpec]
    quotas: Mapping[str, Limits]
    others: Mapping[str, Resources] = attrs.field(factory=dict)
    tenants: Mapping[str, TenantPolicy] = attrs.field(factory=dict)
    label_limits: Mapping[str, int] = attrs.field(factory=dict)
    min_ready: Mapping[str, int] = attrs.field(factory=dict)
    budget: int = 1000


class _Store:
    """As much of the store as decisions are turned into changes with."""

    def __init__(self) -> None:
        self.meta = StoreMeta(deployment="model")

    def head(self, cls: type, _key: str) -> StoreMeta | None:
        return self.meta if cls is StoreMeta else None


class _Budget:
    def __init__(self) -> None:
        self.spent = 0

    def used(self) -> int:
        return self.spent

    def spend(self, launches: int) -> None:
        self.spent += launches


class World:
    """Records, and the passes over them.

    Attributes:
        now: UTC seconds.
        handed_out: requests that were fulfilled, with their nodes.
    """

    def __init__(self, spec: WorldSpec) -> None:
        self.spec, self.now, self._asked = spec, NOW, 0
        self.store, self.budget = _Store(), _Budget()
        self.fleet = Fleet(quota_of=lambda node: spec.providers[node.provider].quota)
        self.handed_out: dict[RequestId, tuple[str, ...]] = {}
        self.failed: dict[RequestId, str] = {}
        policy = Policy(
            labels={}, offered={}, hashes={}, min_ready=spec.min_ready, max_ready_age_s={},
            starve_after_s=600.0, launches_per_minute=spec.budget, lease_ttl_s=3600,
            max_lease_age_s=86400.0, max_hold_age_s=0.0, alarm_age_s=3600.0, tenants=spec.tenants,
            label_limits=spec.label_limits,
        )  # fmt: skip
        ids = iter(range(10**9))
        given: Any = {
            "store": self.store,
            "fleet": self.fleet,
            "world": SimpleNamespace(
                wall=lambda: self.now, random=SimpleNamespace(getrandbits=lambda _: next(ids))
            ),
            "in_force": InForce(policy),
            "providers": {
                name: SimpleNamespace(
                    config=SimpleNamespace(cloud=name, region_name="one"),
                    view=lambda name=name: self._view(name),
                )
                for name in spec.providers
            },
            "quotas": {
                name: SimpleNamespace(
                    view=lambda name=name, **of_ours: self._quota(name, **of_ours)
                )
                for name in spec.quotas
            },
        }
        self.scheduling = Scheduling(nudge=Nudge(), **given)
        self.scheduling.budget = self.budget  # type: ignore[assignment]
        self.fleet.on_node.append(self._tell_tracks)

    def _tell_tracks(self, before: Node | None, after: Node | None) -> None:
        if after is not None:
            self.scheduling.tracks.see(Change(before, after))

    def _quota(self, name: str, *, ours: Resources, freeing: Resources) -> QuotaView:
        used = ours + self.spec.others.get(name, NOTHING)
        return QuotaView(limits=self.spec.quotas[name], used=used, freeing=freeing)

    def _view(self, name: str) -> ProviderView:
        provider, fleet = self.spec.providers[name], self.fleet
        states = fleet.provider_states.get(name, {})
        left = provider.most_launches
        pools = []
        for number, pool in enumerate(provider.pools):
            key = name, f"p{number}"
            pools.append(
                PoolView(
                    name=key[1],
                    priority=provider.priority,
                    limits=pool.limits,
                    used=fleet.pool_used.get(key, NOTHING),
                    freeing=fleet.pool_freeing.get(key, NOTHING),
                    ignores_quota=pool.ignores_quota,
                    offers={label: an_offer(label, key[1], pool.zones) for label in pool.labels},
                    label_limits={x: n for x, n in pool.labels.items() if n is not None},
                    label_used=fleet.tallies.labels.get(key, {}),
                    label_freeing=fleet.tallies.labels_freeing.get(key, {}),
                )
            )
        return ProviderView(
            name=name,
            closed="",
            paused="paused by ada" if provider.paused else "",
            quota=provider.quota,
            weight=provider.weight,
            launch_retries=3,
            launches_left=None if left is None else left - states.get("building", 0),
            pools=pools,
            zone_nodes=fleet.zone_nodes.get(name, {}),
        )

    # ------------------------------------------------------------------------ what happens

    def ask(self, labels: Iterable[str], **parts: Any) -> RequestId:
        """File a request."""
        self._asked += 1
        request = NodeRequest(
            id=RequestId(f"{self._asked:032x}"),
            ask=Ask(labels=tuple(labels), requestor="model", **parts),
            state=RequestState.REQUESTED,
            state_at=self.now,
            created_at=self.now + self._asked / 1e6,
        )
        self.fleet.apply([Change(None, request)])
        return request.id

    def snapshot(self) -> Snapshot:
        """All there is, as at a resync."""
        self.fleet.dirty.update(dict.fromkeys(self.fleet.pending))
        return self.scheduling.snapshot()

    def step(self) -> Plan:
        """One pass, carried out."""
        found = plan(self.snapshot())
        self.fleet.seen()
        self.carry_out(found.decisions)
        return found

    def carry_out(self, decisions: Iterable[Decision]) -> None:
        """Do as the daemon does with each decision."""
        for decision in decisions:
            changes = self.scheduling._changes(decision)
            for change in changes:
                match change.after:
                    case StoreMeta() as meta:
                        self.store.meta = meta
                    case NodeRequest(state=RequestState.FULFILLED) as request:
                        assert request.id not in self.handed_out
                        self.handed_out[request.id] = request.nodes
                    case NodeRequest(state=RequestState.FAILED) as request:
                        self.failed[request.id] = request.reason or ""
                    case _:
                        pass
            self.budget.spend(sum(c.before is None and isinstance(c.after, Node) for c in changes))
            self.fleet.apply(changes)

    def settle(self, most: int = 10) -> list[Plan]:
        """Passes until one decides nothing; *most* are allowed."""
        passes = []
        while (found := self.step()).decisions:
            passes.append(found)
            assert len(passes) <= most, [type(d).__name__ for d in found.decisions]
        return passes

    def boot(self, but: Iterable[Node] = ()) -> None:
        """All that is being launched becomes ready, but for some."""
        left_out = {node.id for node in but}
        for node in list(self.fleet.nodes.values()):
            if node.state is NodeState.BUILDING and node.id not in left_out:
                ready = node.became(
                    NodeState.READY, self.now, ready_at=self.now, checked_at=self.now
                )
                self.fleet.apply([Change(node, ready)])

    def fail(self, node: Node) -> None:
        """A launch fails, after its create was sent."""
        failed = node.became(NodeState.FAILED, self.now, launch_by=self.now)
        self.fleet.apply([Change(node, failed)])

    def release(self, request_id: RequestId) -> None:
        """The lease of a request ends: its nodes are used."""
        request = self.fleet.requests[request_id]
        lease = self.fleet.leases[request.lease_id] if request.lease_id else None
        assert isinstance(lease, Lease)
        closed = request.became(RequestState.CLOSED, self.now)
        changes = [Change(request, closed, archive=True), Change(lease, lease, archive=True)]
        for node_id in request.nodes:
            node = self.fleet.nodes[node_id]
            over = NodeState.DELETING if node.given else NodeState.USED
            changes.append(Change(node, node.became(over, self.now)))
        self.fleet.apply(changes)

    def delete(self) -> None:
        """The clouds delete all that is to be deleted."""
        for node in list(self.fleet.nodes.values()):
            if node.state in DYING:
                dying = node
                if node.state is not NodeState.DELETING:
                    dying = node.became(NodeState.DELETING, self.now)
                gone = dying.became(NodeState.GONE, self.now)
                self.fleet.apply([Change(node, gone, archive=True)])

    # -------------------------------------------------------------------- what is too much

    def excesses(self) -> dict[str, float]:
        """By limit, how far it is exceeded by what is there."""
        fleet, spec, found = self.fleet, self.spec, dict[str, float]()
        for name, limits in spec.quotas.items():
            trusting = sum(
                (
                    node.shape.resources
                    for node in fleet.nodes.values()
                    if spec.providers[node.provider].quota == name and not self._ignores(node)
                ),
                spec.others.get(name, NOTHING),
            )
            _over(found, f"quota {name}", limits, trusting)
        for name, provider in spec.providers.items():
            for number, pool in enumerate(provider.pools):
                key = name, f"p{number}"
                _over(found, f"pool {key}", pool.limits, fleet.pool_used.get(key, NOTHING))
                counts = fleet.tallies.labels.get(key, {})
                for label, most in pool.labels.items():
                    if most is not None:
                        found[f"{label} in pool {key}"] = counts.get(label, 0) - most
            building = fleet.provider_states.get(name, {}).get("building", 0)
            if provider.most_launches is not None:
                found[f"launches of {name}"] = building - provider.most_launches
        for tenant, policy in spec.tenants.items():
            held = fleet.tallies.held.get(tenant, NOTHING)
            _over(found, f"tenant {tenant}", policy.limits, held)
        for label, most in spec.label_limits.items():
            found[f"label {label}"] = fleet.labels_used([label]).get(label, 0) - most
        found["launch budget"] = self.budget.spent - spec.budget
        return found

    def _ignores(self, node: Node) -> bool:
        pools = self.spec.providers[node.provider].pools
        return pools[int(node.pool[1:])].ignores_quota


def _over(found: dict[str, float], what: str, limits: Limits, used: Resources) -> None:
    for field in attrs.fields(Resources):
        limit = getattr(limits, field.name)
        if limit is not None:
            found[f"{what}: {field.name}"] = getattr(used, field.name) - limit


def an_offer(label: str, pool: str, zones: tuple[str, ...]) -> Offer:
    """What a label comes down to, everywhere alike."""
    shape = a_shape(flavor_id=f"flavor-{label}", resources=SIZES[label])
    return Offer(pool=pool, label=label, shape=shape, zones=zones)


# ------------------------------------------------------------------------------ strategies

few = st.one_of(st.none(), st.integers(0, 6))
limits = st.builds(
    Limits,
    instances=few,
    cores=st.one_of(st.none(), st.integers(0, 20)),
    ram_mib=st.one_of(st.none(), st.integers(0, 20).map(lambda n: n * 1024)),
)
pools = st.builds(
    PoolSpec,
    limits=limits,
    labels=st.dictionaries(st.sampled_from(LABELS), few, min_size=1),
    zones=st.sampled_from(ZONES),
    ignores_quota=st.booleans(),
)
tenants = st.dictionaries(
    st.sampled_from(["acme", "zeta"]),
    st.builds(
        TenantPolicy,
        name=st.just(""),
        limits=limits,
        share=st.one_of(st.none(), st.sampled_from([0.5, 1.0, 3.0])),
    ),
)


@st.composite
def worlds(draw: Any) -> WorldSpec:
    """One to three providers, which may share a quota."""
    names = ["alpha", "beta", "gamma"][: draw(st.integers(1, 3))]
    providers = {
        name: ProviderSpec(
            quota=draw(st.sampled_from(["q1", "q2"])),
            pools=tuple(draw(st.lists(pools, min_size=1, max_size=2))),
            most_launches=draw(few),
            paused=draw(st.sampled_from([False, False, False, True])),
            priority=draw(st.sampled_from([100, 100, 50])),
            weight=draw(st.sampled_from([None, None, 0.5, 3.0])),
        )
        for name in names
    }
    quotas = {name: draw(limits) for name in ("q1", "q2")}
    return WorldSpec(
        providers=providers,
        quotas=quotas,
        others={"q1": draw(st.sampled_from([NOTHING, Resources(instances=2, cores=3)]))},
        tenants=draw(tenants),
        label_limits=draw(st.dictionaries(st.sampled_from(LABELS), st.integers(0, 5))),
        min_ready=draw(st.dictionaries(st.sampled_from(LABELS), st.integers(0, 3))),
        budget=draw(st.sampled_from([2, 1000])),
    )


asks = st.fixed_dictionaries(
    {
        "labels": st.lists(st.sampled_from(LABELS), min_size=1, max_size=4),
        "tenant": st.sampled_from([None, "acme", "zeta"]),
        "priority": st.sampled_from([100, 200]),
        "provider": st.sampled_from([None, None, None, "alpha"]),
        "prefers": st.sampled_from([None, None, "beta", "nobody"]),
        "rank": st.integers(0, 1),
        "reuse": st.sampled_from([True, True, False]),
        "source": st.sampled_from([None, "zuul"]),
    }
)
