"""A request: an ask for one or more nodes by label; and the lease that answers it."""

import enum
from collections.abc import Mapping
from typing import Any, Final

import attrs

from trellis.errors import TransitionError
from trellis.model.names import LeaseId, NodeId, RequestId


class RequestState(enum.Enum):
    """Where a request is; `REQUEST_TRANSITIONS` has every step there is."""

    REQUESTED = "requested"
    """It waits to be placed."""
    PENDING = "pending"
    """It has a place, one provider and zone, and its nodes are on their way there."""
    FULFILLED = "fulfilled"
    FAILED = "failed"
    CANCELLED = "cancelled"
    CLOSED = "closed"
    """It was fulfilled and its lease has ended."""


_S = RequestState
REQUEST_TRANSITIONS: Final = {
    _S.REQUESTED: frozenset({_S.PENDING, _S.FAILED, _S.CANCELLED}),
    _S.PENDING: frozenset({_S.REQUESTED, _S.FULFILLED, _S.FAILED, _S.CANCELLED}),
    _S.FULFILLED: frozenset({_S.CLOSED}),
    _S.FAILED: frozenset[RequestState](),
    _S.CANCELLED: frozenset[RequestState](),
    _S.CLOSED: frozenset[RequestState](),
}
ENDED: Final = frozenset({_S.FAILED, _S.CANCELLED, _S.CLOSED})


@attrs.frozen(kw_only=True)
class Ask:
    """What a requestor asks, as it came in.

    Attributes:
        lease_ttl_s: how long the lease lasts unless renewed; None is as configured.
        rank: orders requests of one priority: the lower first, the older among equals.
        prefers: a provider to be taken if it can serve the request; any other if it cannot.
        reuse: whether nodes that are ready already may be given to it.
        source: the demand source that asks, if it watches its requestors itself: its leases have
            no end, and it says when a node is handed out (`DemandPort.in_use`). Until then a node
            of a fulfilled request stays ready, and can be given back.
    """

    labels: tuple[str, ...]
    requestor: str
    tenant: str | None = None
    priority: int = 200
    provider: str | None = None
    lease_ttl_s: int | None = None
    metadata: Mapping[str, str] = attrs.field(factory=dict)
    idempotency_key: str | None = None
    rank: int = 0
    prefers: str | None = None
    reuse: bool = True
    source: str | None = None
    context: bytes = b""
    """Opaque to Trellis; kept for the demand source that asks."""


@attrs.frozen(kw_only=True)
class Declined:
    """One provider that could not serve a request, and why.

    Attributes:
        until: when it may be tried again; None is never, for this request.
    """

    provider: str
    reason: str
    at: float
    until: float | None = None

    def holds(self, now: float) -> bool:
        """Whether the provider is still out of the question."""
        return self.until is None or now < self.until


@attrs.frozen(kw_only=True)
class Placement:
    """Where a request's nodes are made: all on one provider and in one zone.

    Attributes:
        failures: launches that failed here so far; aborted ones do not count.
        refusals: launches refused for quota or capacity, or in doubt, so far.
        short_since: since when a slot has stood empty for lack of room.
    """

    provider: str
    az: str | None
    since: float
    failures: int = 0
    refusals: int = 0
    short_since: float | None = None


@attrs.frozen(kw_only=True)
class NodeRequest:
    """An ask, and what has become of it.

    Attributes:
        declined: providers given up for this request.
        nodes: the nodes handed out, in the order of ``ask.labels``; empty until fulfilled.
        reason: why it failed.
    """

    id: RequestId
    ask: Ask
    state: RequestState
    state_at: float
    created_at: float
    placement: Placement | None = None
    declined: tuple[Declined, ...] = ()
    lease_id: LeaseId | None = None
    nodes: tuple[NodeId, ...] = ()
    reason: str | None = None

    def became(self, state: RequestState, at: float, **changes: Any) -> "NodeRequest":
        """Take one step of life.

        Raises:
            TransitionError: the table has no such step.
        """
        if state not in REQUEST_TRANSITIONS[self.state]:
            raise TransitionError(f"request {self.id}: {self.state.value} → {state.value}")
        return attrs.evolve(self, state=state, state_at=at, **changes)


@attrs.frozen(kw_only=True)
class Lease:
    """The time-bound exclusive right of one requestor to the nodes of one request.

    Attributes:
        expires_at: None for a demand source that watches its requestors itself.
    """

    id: LeaseId
    request_id: RequestId
    requestor: str
    nodes: tuple[NodeId, ...]
    created_at: float
    ttl_s: int
    expires_at: float | None
    ended_at: float | None = None
