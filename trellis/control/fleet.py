"""The records, indexed: what there is of everything, kept up to date commit by commit.

Every index follows from the records alone; a restart builds them anew from the store.
"""

import bisect
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeVar

from trellis.control.host_keys import HostKeys
from trellis.model.names import LeaseId, NodeId, RequestId
from trellis.model.node import Node, NodeState
from trellis.model.quota import Resources
from trellis.model.records import Change, Record
from trellis.model.request import Lease, NodeRequest, RequestState
from trellis.scheduler.snapshot import QueueShape, queue_key, queue_shape

NOTHING = Resources()
K = TypeVar("K")
_STANDING = frozenset({NodeState.BUILDING, NodeState.READY})
_ENDED = frozenset({NodeState.FAILED, NodeState.ABORTED})
DYING = frozenset({NodeState.USED, NodeState.FAILED, NodeState.ABORTED, NodeState.DELETING})


class Fleet:
    """Indexes over all live nodes, requests and leases.

    Attributes:
        quota_of: name of the quota a provider draws on.
        dirty: placed requests in which something changed since the last pass.
        on_node: called for each node that changed, before and after (after is None when gone).
    """

    def __init__(self, quota_of: Callable[[str], str] = str) -> None:
        self.quota_of = quota_of
        self.nodes: dict[NodeId, Node] = {}
        self.by_provider: dict[str, dict[NodeId, Node]] = {}
        self.slots: dict[RequestId, dict[NodeId, Node]] = {}
        self.ended: dict[RequestId, dict[int, NodeId]] = {}
        self.idle: dict[tuple[str, str], dict[NodeId, Node]] = {}
        self.warming: Counter[str] = Counter()
        self.label_states: dict[str, Counter[str]] = {}
        self.provider_states: dict[str, Counter[str]] = {}
        self.zone_nodes: dict[str, Counter[str | None]] = {}
        self.quota_used: dict[str, Resources] = {}
        self.quota_freeing: dict[str, Resources] = {}
        self.pool_used: dict[tuple[str, str], Resources] = {}
        self.by_external: dict[str, NodeId] = {}
        self.pool_freeing: dict[tuple[str, str], Resources] = {}
        self.host_keys = HostKeys()
        self.requests: dict[RequestId, NodeRequest] = {}
        self.queues: dict[QueueShape, list[NodeRequest]] = {}
        self.pending: dict[RequestId, NodeRequest] = {}
        self.leases: dict[LeaseId, Lease] = {}
        self.lease_of: dict[RequestId, LeaseId] = {}
        self.dirty: dict[RequestId, None] = {}
        self.on_node: list[Callable[[Node | None, Node | None], None]] = []

    def load(self, records: Iterable[Record]) -> None:
        """Take in what the store holds at the start."""
        for record in records:
            self._apply(None, record)

    def apply(self, changes: Iterable[Change]) -> None:
        """Take in a batch that has become durable."""
        for change in changes:
            self._apply(change.before, None if change.archive else change.after)

    def recount(self) -> None:
        """Count anew what is used of each quota, after `quota_of` has come to say otherwise."""
        self.quota_used.clear()
        self.quota_freeing.clear()
        for node in self.nodes.values():
            self._count_quota(node, +1)

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
            case _:
                pass

    def _node(self, before: Node | None, after: Node | None) -> None:
        if before is not None:
            self._remove_node(before)
        if after is not None:
            self._add_node(after)
        self.host_keys.see(before, after)
        for node in (before, after):
            if node is not None and node.allocated_to in self.pending:
                self.dirty[node.allocated_to] = None
        for tell in self.on_node:
            tell(before, after)

    def _add_node(self, node: Node) -> None:
        self.nodes[node.id] = node
        self.by_provider.setdefault(node.provider, {})[node.id] = node
        self.label_states.setdefault(node.label, Counter())[node.state.value] += 1
        self.provider_states.setdefault(node.provider, Counter())[node.state.value] += 1
        self._count(node, +1)
        if node.allocated_to is not None and node.state in _STANDING:
            self.slots.setdefault(node.allocated_to, {})[node.id] = node
        if node.state in _ENDED and node.allocated_to in self.pending and node.slot is not None:
            self.ended.setdefault(node.allocated_to, {})[node.slot] = node.id
        if node.idle:
            self.idle.setdefault((node.provider, node.label), {})[node.id] = node
        if node.state is NodeState.BUILDING and node.allocated_to is None:
            self.warming[node.label] += 1
        if node.external_id is not None:
            self.by_external[node.external_id] = node.id

    def _remove_node(self, node: Node) -> None:
        del self.nodes[node.id]
        del self.by_provider[node.provider][node.id]
        self.label_states[node.label][node.state.value] -= 1
        self.provider_states[node.provider][node.state.value] -= 1
        self._count(node, -1)
        if node.external_id is not None:
            self.by_external.pop(node.external_id, None)
        if node.allocated_to is not None and node.state in _STANDING:
            standing = self.slots[node.allocated_to]
            del standing[node.id]
            if not standing:
                del self.slots[node.allocated_to]
        if node.idle:
            del self.idle[node.provider, node.label][node.id]
        if node.state is NodeState.BUILDING and node.allocated_to is None:
            self.warming[node.label] -= 1

    def _count(self, node: Node, sign: int) -> None:
        """Everything not proved gone is reserved, whatever its state."""
        size, pool = node.shape.resources, (node.provider, node.pool)
        zones = self.zone_nodes.setdefault(node.provider, Counter())
        zones[node.az] += sign
        _add(self.pool_used, pool, size, sign)
        if node.state in DYING:
            _add(self.pool_freeing, pool, size, sign)
        self._count_quota(node, sign)

    def _count_quota(self, node: Node, sign: int) -> None:
        quota, size = self.quota_of(node.provider), node.shape.resources
        _add(self.quota_used, quota, size, sign)
        if node.state in DYING:
            _add(self.quota_freeing, quota, size, sign)

    def _request(self, before: NodeRequest | None, after: NodeRequest | None) -> None:
        if before is not None:
            self.requests.pop(before.id, None)
            self.pending.pop(before.id, None)
            if after is None or after.state is not RequestState.PENDING:
                self.ended.pop(before.id, None)
            if before.state is RequestState.REQUESTED:
                self._leave_queue(before)
        if after is not None:
            self.requests[after.id] = after
            if after.state is RequestState.REQUESTED:
                queue = self.queues.setdefault(queue_shape(after), [])
                bisect.insort(queue, after, key=queue_key)
            elif after.state is RequestState.PENDING:
                self.pending[after.id] = after
                self.dirty[after.id] = None

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


def _add(into: dict[K, Resources], key: K, size: Resources, sign: int) -> None:
    now = into.get(key, NOTHING)
    into[key] = now + size if sign > 0 else now - size
