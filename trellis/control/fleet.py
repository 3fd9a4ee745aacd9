"""The records, indexed: what there is of everything, kept up to date commit by commit.

Every index follows from the records alone; a restart builds them anew from the store.
"""

import bisect
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import TypeVar

import attrs

from trellis.control.host_keys import HostKeys
from trellis.control.tallies import Tallies
from trellis.model.names import LeaseId, NodeId, RequestId
from trellis.model.node import Node, NodeState
from trellis.model.provider import Lineage, ProviderRecord, StoreMeta
from trellis.model.quota import Resources
from trellis.model.records import Change, Record
from trellis.model.request import Lease, NodeRequest, RequestState
from trellis.scheduler.snapshot import QueueShape, queue_key, queue_shape

NOTHING = Resources()
K = TypeVar("K")
_ENDED = frozenset({NodeState.FAILED, NodeState.ABORTED})
DYING = frozenset({NodeState.USED, NodeState.FAILED, NodeState.ABORTED, NodeState.DELETING})

_UNCOUNTED = frozenset({
    "resources", "addresses", "wants_public", "launch_by", "boot_by", "active_at", "host_keys",
    "checked_at", "fault",
})  # fmt: skip
"""Fields of a node that change most often, and by which it is neither counted nor found."""
_COUNTED = attrgetter(*(x.name for x in attrs.fields(Node) if x.name not in _UNCOUNTED))

_WEIGHED = attrgetter("provider", "pool", "az", "label", "shape", "home", "tenant")


class Fleet:
    """Indexes over all live nodes, requests and leases.

    Attributes:
        quota_of: name of the quota a node draws on.
        dirty: placed requests in which something changed since the last pass.
        on_node: called for each node that changed, before and after (after is None when gone).
        news: since the last pass something has come up that the planner may act on at once.
        freed: since the last pass room has become free, or will soon.
    """

    def __init__(self, quota_of: Callable[[Node], str] = attrgetter("provider")) -> None:
        self.quota_of = quota_of
        self.nodes: dict[NodeId, Node] = {}
        self.by_provider: dict[str, dict[NodeId, Node]] = {}
        self.slots: dict[RequestId, dict[NodeId, Node]] = {}
        self.ended: dict[RequestId, dict[int, NodeId]] = {}
        self.idle: dict[tuple[str, str], dict[NodeId, Node]] = {}
        self.warming: Counter[str] = Counter()
        self.label_states = defaultdict[str, Counter[str]](Counter)
        self.provider_states = defaultdict[str, Counter[str]](Counter)
        self.zone_nodes = defaultdict[str, Counter[str | None]](Counter)
        self.quota_used: dict[str, Resources] = {}
        self.quota_freeing: dict[str, Resources] = {}
        self.pool_used: dict[tuple[str, str], Resources] = {}
        self.by_external: dict[str, NodeId] = {}
        self.by_address: dict[str, dict[NodeId, None]] = {}
        self.pool_freeing: dict[tuple[str, str], Resources] = {}
        self.tallies = Tallies(DYING)
        self.host_keys = HostKeys()
        self.requests: dict[RequestId, NodeRequest] = {}
        self.by_source: dict[str, dict[RequestId, NodeRequest]] = {}
        self.queues: dict[QueueShape, list[NodeRequest]] = {}
        self.pending: dict[RequestId, NodeRequest] = {}
        self.leases: dict[LeaseId, Lease] = {}
        self.lease_of: dict[RequestId, LeaseId] = {}
        self.dirty: dict[RequestId, None] = {}
        self.on_node: list[Callable[[Node | None, Node | None], None]] = []
        self.news, self.freed = True, True
        self._touched: set[RequestId] = set()
        self._unseen_behind: set[QueueShape] = set()

    def load(self, records: Iterable[Record]) -> None:
        """Take in what the store holds at the start."""
        for record in records:
            self._apply(None, record)

    def apply(self, changes: Iterable[Change]) -> None:
        """Take in a batch that has become durable."""
        for change in changes:
            self._apply(change.before, None if change.archive else change.after)
        # Only now: in the middle of a batch a request that is placed has no nodes yet.
        if self._touched:
            self.news = self.news or any(map(self._may_move, self._touched))
            self._touched.clear()

    def seen(self) -> None:
        """Note that a pass has looked at all there is now."""
        self.dirty.clear()
        self._unseen_behind.clear()
        self.news = self.freed = False

    def recount(self) -> None:
        """Count anew what is used of each quota, after `quota_of` has come to say otherwise."""
        self.quota_used.clear()
        self.quota_freeing.clear()
        for node in self.nodes.values():
            self._count_quota(node, +1)

    def sent(self, quota: str, but: Node) -> Resources:
        """What ours may use of a quota in the cloud now, without one node.

        That is all of which a create was sent and which is not proved gone.
        """
        return sum(
            (
                node.shape.resources
                for node in self.nodes.values()
                if node.server is not None and node.id != but.id and self.quota_of(node) == quota
            ),
            NOTHING,
        )

    def labels_used(self, labels: Iterable[str]) -> dict[str, int]:
        """How many nodes of these labels are not proved gone."""
        return {x: sum(self.label_states[x].values()) for x in labels if x in self.label_states}

    def labels_freeing(self, labels: Iterable[str]) -> dict[str, int]:
        """How many nodes of these labels are being deleted."""
        return {
            x: sum(self.label_states[x][state.value] for state in DYING)
            for x in labels
            if x in self.label_states
        }

    def is_building(self, node_id: NodeId) -> bool:
        """Whether a node is still being launched."""
        node = self.nodes.get(node_id)
        return node is not None and node.state is NodeState.BUILDING

    def waiting(self) -> int:
        """How many requests wait to be placed."""
        return sum(len(queue) for queue in self.queues.values())

    # ------------------------------------------------------------------------- the indexes

    def _apply(self, before: Record | None, after: Record | None) -> None:
        kind = before if before is not None else after
        match kind:
            case Node():
                self._node(
                    before if isinstance(before, Node) else None,
                    after if isinstance(after, Node) else None,
                )
            case NodeRequest():
                self._request(
                    before if isinstance(before, NodeRequest) else None,
                    after if isinstance(after, NodeRequest) else None,
                )
            case Lease():
                self._lease(
                    before if isinstance(before, Lease) else None,
                    after if isinstance(after, Lease) else None,
                )
            case ProviderRecord():
                self.news = True
            case StoreMeta() | Lineage():
                pass

    def _may_move(self, request_id: RequestId) -> bool:
        """Whether a placed request has an empty slot to fill, or all its nodes to be handed out.

        That one of its nodes has been in doubt for too long is for the resync to find.
        """
        request = self.pending.get(request_id)
        if request is None:
            return False
        nodes = self.slots.get(request_id, {})
        if len(nodes) < len(request.ask.labels):
            return True
        return all(node.state is NodeState.READY for node in nodes.values())

    def _node(self, before: Node | None, after: Node | None) -> None:
        if before is not None and after is not None and _counts_alike(before, after):
            self._replace_node(before, after)
        else:
            if before is not None:
                self._remove_node(before)
            if after is not None:
                self._add_node(after)
            if before is None or after is None or _weighed(before) != _weighed(after):
                if before is not None:
                    self._count(before, -1)
                if after is not None:
                    self._count(after, +1)
        self.host_keys.see(before, after)
        for node in (before, after):
            if node is not None and node.allocated_to in self.pending:
                self._touch(node.allocated_to)
        self._weigh(before, after)
        for tell in self.on_node:
            tell(before, after)

    def _touch(self, request_id: RequestId) -> None:
        self.dirty[request_id] = None
        self._touched.add(request_id)

    def _weigh(self, before: Node | None, after: Node | None) -> None:
        """Note whether a node's change is one the planner may act on, apart from its request's."""
        if before is None:
            self.news = self.news or (after is not None and after.idle)
            return
        if after is None:
            self.freed = True
            return
        left = before.allocated_to is not None and after.allocated_to != before.allocated_to
        # Who takes an idle node for a request has refilled the shelf in the same pass.
        lost = before.idle and not after.idle and after.allocated_to is None
        if before.state is not after.state:
            launching = before.state is NodeState.BUILDING
            ends = after.state in DYING and before.state not in DYING
            self.freed = self.freed or launching or (ends and self._helps_by_ending(before))
            left = left or (launching and after.state is not NodeState.READY)
        left = left or (_is_warming(before) and after.set_apart)
        if left or lost or (after.idle and not before.idle):
            self.news = True

    def _helps_by_ending(self, node: Node) -> bool:
        """Whether anything may go on as this node begins to end: its room is not free before it
        is gone, but its tenant holds it no longer, and idle nodes may be let go to join it.
        """
        return node.tenant is not None or any(self.idle.values())

    def _add_node(self, node: Node) -> None:
        self.nodes[node.id] = node
        self.by_provider.setdefault(node.provider, {})[node.id] = node
        self.label_states[node.label][node.state.value] += 1
        self.provider_states[node.provider][node.state.value] += 1
        if node.allocated_to is not None and _is_standing(node):
            self.slots.setdefault(node.allocated_to, {})[node.id] = node
        if node.state in _ENDED and node.allocated_to in self.pending and node.slot is not None:
            self.ended.setdefault(node.allocated_to, {})[node.slot] = node.id
        if node.idle:
            self.idle.setdefault((node.provider, node.label), {})[node.id] = node
        if _is_warming(node):
            self.warming[node.label] += 1
        if node.external_id is not None:
            self.by_external[node.external_id] = node.id
        self._take_address(node)

    def _replace_node(self, before: Node, node: Node) -> None:
        """Show the newer version of a node that counts where it counted before."""
        if before.addresses is not node.addresses:
            self._leave_address(before)
            self._take_address(node)
        self.nodes[node.id] = self.by_provider[node.provider][node.id] = node
        if node.allocated_to is not None and _is_standing(node):
            self.slots[node.allocated_to][node.id] = node
        if node.idle:
            self.idle[node.provider, node.label][node.id] = node
        if node.external_id is not None:
            self.by_external[node.external_id] = node.id

    def _remove_node(self, node: Node) -> None:
        del self.nodes[node.id]
        del self.by_provider[node.provider][node.id]
        self.label_states[node.label][node.state.value] -= 1
        self.provider_states[node.provider][node.state.value] -= 1
        if node.external_id is not None:
            self.by_external.pop(node.external_id, None)
        self._leave_address(node)
        if node.allocated_to is not None and _is_standing(node):
            standing = self.slots[node.allocated_to]
            del standing[node.id]
            if not standing:
                del self.slots[node.allocated_to]
        if node.idle:
            del self.idle[node.provider, node.label][node.id]
        if _is_warming(node):
            self.warming[node.label] -= 1

    def _take_address(self, node: Node) -> None:
        if node.addresses is not None:
            self.by_address.setdefault(node.addresses.interface_ip, {})[node.id] = None

    def _leave_address(self, node: Node) -> None:
        if node.addresses is not None:
            there = self.by_address[node.addresses.interface_ip]
            del there[node.id]
            if not there:
                del self.by_address[node.addresses.interface_ip]

    def _count(self, node: Node, sign: int) -> None:
        """Everything not proved gone is reserved, whatever its state."""
        size, pool = node.shape.resources, (node.provider, node.pool)
        self.zone_nodes[node.provider][node.az] += sign
        _add(self.pool_used, pool, size, sign)
        if node.state in DYING:
            _add(self.pool_freeing, pool, size, sign)
        self.tallies.count(node, sign)
        self._count_quota(node, sign)

    def _count_quota(self, node: Node, sign: int) -> None:
        quota, size = self.quota_of(node), node.shape.resources
        _add(self.quota_used, quota, size, sign)
        if node.state in DYING:
            _add(self.quota_freeing, quota, size, sign)

    def _request(self, before: NodeRequest | None, after: NodeRequest | None) -> None:
        self._sort_by_source(before, after)
        if before is not None:
            self.requests.pop(before.id, None)
            self.pending.pop(before.id, None)
            if after is None or after.state is not RequestState.PENDING:
                self.ended.pop(before.id, None)
            if before.state is RequestState.REQUESTED:
                self._leave_queue(before)
                self.news = self.news or after is None or after.state is RequestState.REQUESTED
                # What came while this one was being placed was behind it, and no pass saw it.
                self.news = self.news or queue_shape(before) in self._unseen_behind
        if after is not None:
            self.requests[after.id] = after
            if after.state is RequestState.REQUESTED:
                queue = self.queues.setdefault(queue_shape(after), [])
                bisect.insort(queue, after, key=queue_key)
                # Behind another one of its shape it waits as that one does, as long as that waits.
                if queue[0] is after:
                    self.news = True
                else:
                    self._unseen_behind.add(queue_shape(after))
            elif after.state is RequestState.PENDING:
                self.pending[after.id] = after
                self._touch(after.id)

    def _sort_by_source(self, before: NodeRequest | None, after: NodeRequest | None) -> None:
        request = after or before
        if request is None or (source := request.ask.source) is None:
            return
        if after is not None:
            self.by_source.setdefault(source, {})[after.id] = after
        elif (those := self.by_source.get(source)) is not None:
            those.pop(request.id, None)
            if not those:
                del self.by_source[source]

    def _leave_queue(self, request: NodeRequest) -> None:
        shape = queue_shape(request)
        queue = self.queues[shape]
        at = bisect.bisect_left(queue, queue_key(request), key=queue_key)
        del queue[at]
        if not queue:
            del self.queues[shape]

    def _lease(self, before: Lease | None, after: Lease | None) -> None:
        if before is not None:
            self.leases.pop(before.id, None)
            self.lease_of.pop(before.request_id, None)
        if after is not None:
            self.leases[after.id] = after
            self.lease_of[after.request_id] = after.id


def _is_standing(node: Node) -> bool:
    """Whether it stands in a slot of its request, on its way to be handed out with the others."""
    return node.state is NodeState.BUILDING or (node.state is NodeState.READY and not node.given)


def _is_warming(node: Node) -> bool:
    return node.state is NodeState.BUILDING and node.allocated_to is None and not node.set_apart


def _counts_alike(before: Node, after: Node) -> bool:
    """Whether a change touches nothing that nodes are counted or found by, but the server's id."""
    if _COUNTED(before) != _COUNTED(after):
        return False
    return before.external_id is None or before.external_id == after.external_id


def _weighed(node: Node) -> tuple[object, ...]:
    """All that `Fleet._count` goes by, what `Fleet.quota_of` reads included."""
    return _WEIGHED(node), node.state in DYING, node.allocated_to is None


def _add(into: dict[K, Resources], key: K, size: Resources, sign: int) -> None:
    now = into.get(key, NOTHING)
    into[key] = now + size if sign > 0 else now - size
