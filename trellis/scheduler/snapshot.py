"""What the scheduler sees: the world at one moment, indexed so that a pass costs what it decides.

The values are read by one synchronous pass and never kept, so the indexes of the fleet are
passed as they stand and nothing is copied.
"""

from collections.abc import Mapping, Sequence

import attrs

from trellis.model.names import NodeId, RequestId, UploadId
from trellis.model.node import Node
from trellis.model.quota import Limits, Resources
from trellis.model.request import NodeRequest
from trellis.spi.provider import Offer

QueueShape = tuple[tuple[str, ...], str | None, tuple[str, ...], str | None, bool, str | None]
"""What makes two waiting requests alike: labels, the provider they insist on, who declined, the
provider they prefer, whether nodes that are ready will do, and, as the last, the tenant, whose
limits they share."""

Spot = tuple[str, str | None]
"""A flavor's id and a zone: what capacity is short of."""


def queue_shape(request: NodeRequest) -> QueueShape:
    """The queue a waiting request stands in."""
    declined = tuple(sorted(d.provider for d in request.declined))
    ask = request.ask
    return ask.labels, ask.provider, declined, ask.prefers, ask.reuse, ask.tenant


def queue_key(request: NodeRequest) -> tuple[int, int, float, RequestId]:
    """The order of service: lower priority numbers first, then lower ranks, then the oldest."""
    return request.ask.priority, request.ask.rank, request.created_at, request.id


@attrs.frozen(kw_only=True)
class Held:
    """A breaker that is not closed, as a pass has to keep to it.

    Attributes:
        key: what tells it from others; one placement of a pass is its probe, not more.
        reason: why it is not closed and when it may be, in words.
        turn: something that a request waits for may go now, as its probe.
        shelf_turn: something that is kept ready may.
        left_s: seconds until a probe may go, if none is under way.
    """

    key: str
    reason: str
    turn: bool = False
    shelf_turn: bool = False
    left_s: float = 0.0


@attrs.frozen(kw_only=True)
class Track:
    """How the launches of a label at a provider have ended lately.

    Attributes:
        ready: so many became ready.
        failed: so many did not: they failed, or the cloud refused them.
        took_s: how long those that became ready took, in the middle of all cases; None while
            they are too few to tell.
    """

    ready: int = 0
    failed: int = 0
    took_s: float | None = None


@attrs.frozen(kw_only=True)
class PoolView:
    """One pool: its own limits, what its nodes use of them, and what it offers.

    Attributes:
        priority: pools with lower numbers are used first.
        weight: its share of the provider's nodes; None is 1 where another pool has one.
        freeing: the part of what its nodes use that is being deleted.
        missing: labels it is configured for and cannot make now, and why.
        ignores_quota: the cloud's own quota figures are wrong for it and not asked.
        spots_held: flavors and zones for which the cloud had no capacity.
        labels_held: by label, all else that holds its launches back.
        label_limits: most nodes of a label in the pool, where there is a limit.
        label_used: how many nodes of each label the pool has.
        label_freeing: how many of those are being deleted.
    """

    name: str
    limits: Limits
    used: Resources
    offers: Mapping[str, Offer]
    priority: int = 100
    weight: float | None = None
    freeing: Resources = attrs.field(factory=Resources)
    missing: Mapping[str, str] = attrs.field(factory=dict)
    ignores_quota: bool = False
    spots_held: Mapping[Spot, Held] = attrs.field(factory=dict)
    labels_held: Mapping[str, Sequence[Held]] = attrs.field(factory=dict)
    label_limits: Mapping[str, int] = attrs.field(factory=dict)
    label_used: Mapping[str, int] = attrs.field(factory=dict)
    label_freeing: Mapping[str, int] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class ProviderView:
    """One provider.

    Attributes:
        closed: why it cannot be used now; "" if it can.
        barred: why no create may be sent now, though what is ready there may be handed out.
        paused: why nothing may be launched on it, though what is ready there may be handed out.
        draining: its idle nodes are to be deleted.
        dropped: it is configured no longer, and only ends what it has.
        quota: name of the quota it draws on, which another provider may share.
        weight: its share of the nodes; None is 1 where another provider has one.
        launches_left: how many more launches may be under way; None is as many as are needed.
        turns_left: how many more creates have their turn soon, as the cloud's rate limit lets them
            through; None is as many as are needed. A set is let in as a whole if its first is.
        zone_nodes: how many nodes of ours each zone has, for spreading.
    """

    name: str
    closed: str
    quota: str
    launch_retries: int
    pools: Sequence[PoolView]
    weight: float | None = None
    launches_left: int | None = None
    turns_left: int | None = None
    barred: str = ""
    paused: str = ""
    draining: bool = False
    dropped: bool = False
    zone_nodes: Mapping[str | None, int] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class QuotaView:
    """One project's quota: the limits, and all that is spoken for, by us or by others.

    Attributes:
        limits: what may be used: as the cloud tells it, or lower where refusals taught better.
        told: the limits as the cloud tells them; None if they are the same.
        freeing: the part of it that is being deleted.
        refused: why it is held to be full after the cloud refused a create; "" if it is not.
        one_more: one node more than `limits` allows may be tried, inside of what the cloud tells.
    """

    limits: Limits
    used: Resources
    told: Limits | None = None
    freeing: Resources = attrs.field(factory=Resources)
    refused: str = ""
    one_more: bool = False

    @property
    def whole(self) -> Limits:
        """The limits as the cloud tells them: what could be used one day."""
        return self.limits if self.told is None else self.told


@attrs.frozen(kw_only=True)
class TenantView:
    """One tenant of the configuration: its limits, and what it holds of them.

    Attributes:
        share: its weight among tenants that wait at once; None is 1 where others have one.
    """

    limits: Limits
    used: Resources
    share: float | None = None


@attrs.frozen(kw_only=True)
class PendingView:
    """A placed request and the nodes that stand in its slots (building or ready).

    Attributes:
        ended: the last attempt for a slot that came to nothing.
    """

    request: NodeRequest
    nodes: Mapping[int, Node]
    ended: Mapping[int, NodeId] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Probe:
    """A launch that is wanted to try an upload of an image; nobody waits for its node.

    Attributes:
        offers: any of which will do, with that upload's image, the best first.
    """

    provider: str
    upload: UploadId
    offers: Sequence[Offer]
    reason: str


@attrs.frozen(kw_only=True)
class Snapshot:
    """The world at one moment.

    Attributes:
        pending: placed requests in which something may have changed.
        queues: waiting requests by shape, each in the order of service.
        idle: ready nodes that are nobody's, by provider and label, the oldest first.
        orphans: nodes in a slot of a request that is placed no longer, which nobody will want.
        warming: nodes being launched for nobody yet, by label.
        launches_left: how many launches the budget of this minute still allows.
        hashes: for provider, pool and label, what its nodes are made from now; an idle node
            made from anything else is replaced.
        tenants: those that the configuration names.
        tenant_nodes: how many nodes every tenant holds; "" stands for requests without one.
        label_limits: most nodes of a label over all providers, where there is a limit.
        label_used: how many nodes of each label are not proved gone.
        label_freeing: how many of those are being deleted.
        tracks: how launches have ended lately, by provider and label.
        tracked_s: so long is lately.
        probes: launches that are wanted to try images.
    """

    now: float
    providers: Mapping[str, ProviderView]
    quotas: Mapping[str, QuotaView]
    pending: Sequence[PendingView]
    queues: Mapping[QueueShape, Sequence[NodeRequest]]
    idle: Mapping[tuple[str, str], Mapping[NodeId, Node]]
    warming: Mapping[str, int]
    min_ready: Mapping[str, int]
    launches_left: int
    orphans: Sequence[Node] = ()
    max_ready_age_s: Mapping[str, float] = attrs.field(factory=dict)
    hashes: Mapping[tuple[str, str, str], str] = attrs.field(factory=dict)
    tenants: Mapping[str, TenantView] = attrs.field(factory=dict)
    tenant_nodes: Mapping[str, int] = attrs.field(factory=dict)
    label_limits: Mapping[str, int] = attrs.field(factory=dict)
    label_used: Mapping[str, int] = attrs.field(factory=dict)
    label_freeing: Mapping[str, int] = attrs.field(factory=dict)
    tracks: Mapping[tuple[str, str], Track] = attrs.field(factory=dict)
    tracked_s: float = 900.0
    probes: Sequence[Probe] = ()
    starve_after_s: float = 600.0
    recheck_after_s: float = 600.0

    def outdated(self, node: Node) -> bool:
        """Whether a node was made from another configuration of its label than now holds."""
        now = self.hashes.get((node.provider, node.pool, node.label))
        return now is not None and node.label_hash not in ("", now)
