"""The one port through which demand comes in, and what a demand source is.

The REST face, Zuul and every other source call the same port.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import attrs

from trellis.model.names import LeaseId, NodeId, RequestId
from trellis.model.node import Addresses, Node
from trellis.model.quota import Resources
from trellis.model.request import Ask, Lease, NodeRequest
from trellis.model.status import Explanation


@attrs.frozen(kw_only=True)
class OfferedPool:
    """A pool, as those see it who ask for nodes.

    Attributes:
        labels: that it offers.
        priority: pools with lower numbers are used first.
        paused: its provider launches nothing now, by a person's word.
        max_servers: most nodes at a time; None is no limit, 0 launches nothing.
        shut: labels among them of which limits of 0 in the pool let nothing be launched.
        unchecked: labels among them whose nodes' host keys are not read.
        attributes: what the configuration hands on with each node (``node-attributes``).
    """

    provider: str
    pool: str
    labels: frozenset[str]
    priority: int
    paused: bool
    max_servers: int | None
    shut: frozenset[str] = frozenset()
    unchecked: frozenset[str] = frozenset()
    attributes: Mapping[str, str] = attrs.field(factory=dict, hash=False)

    @property
    def launches(self) -> frozenset[str]:
        """The labels that the configuration lets it launch; paused or not."""
        return frozenset() if self.max_servers == 0 else self.labels - self.shut


@attrs.frozen(kw_only=True)
class ForeignServer:
    """A server that another launcher made and that is to be taken over.

    Attributes:
        provider: one that is configured here, for the project and region where the server is.
        pool: under whose limits it counts; one that is not configured has none.
        external_id: the cloud's id of it.
        name: what the cloud calls it: one of another name is left alone.
        resources: what it uses of the quota.
    """

    provider: str
    pool: str
    label: str
    external_id: str
    name: str
    resources: Resources
    az: str | None = None
    addresses: Addresses | None = None
    host_keys: tuple[str, ...] = ()


class DemandPort(Protocol):
    """Ask for nodes, wait for them, keep them, give them back.

    Every method that changes something returns when the change is durable. One that is
    cancelled may or may not have taken effect: look again.
    """

    async def submit(self, ask: Ask) -> NodeRequest:
        """Record a request, or answer with the earlier one of the same idempotency key.

        A source (`Ask.source`) is answered with a live one only, whose labels are the same: once
        the earlier one has ended, it may ask again with its key.

        Raises:
            RefusedError: no such label (with near matches), labels that share no provider, no
                labels or too many, the key was used for another body; nothing is recorded.
        """
        ...

    async def turn_away(self, ask: Ask, *, why: str) -> NodeRequest:
        """Record a request that a source can never have served, as failed, to be explained.

        Nothing is launched for it. If the one of its key still waits for a place, it is that one
        that fails; if it has one by now, it is left as it is, and the answer. One of its key that
        was turned away for the same reason in the last 24 hours is not recorded again.
        """
        ...

    async def request(self, request_id: RequestId) -> NodeRequest:
        """The request as it is, or as it ended within ``history-age``.

        Raises:
            UnknownIdError: there is none.
        """
        ...

    async def wait(self, request_id: RequestId) -> NodeRequest:
        """Wait until the request is fulfilled, failed, cancelled or closed.

        Raises:
            UnknownIdError: there is none.
        """
        ...

    async def nodes_of(self, request: NodeRequest) -> tuple[Node, ...]:
        """The nodes handed out to a fulfilled request, in the order of its labels."""
        ...

    async def cancel(
        self, request_id: RequestId, *, why: str = "cancelled by its requestor"
    ) -> NodeRequest:
        """End a request at any moment; a fulfilled one has its lease released.

        Raises:
            UnknownIdError: there is none.
        """
        ...

    async def wait_placed(self, request_id: RequestId) -> NodeRequest:
        """Wait until a request has a place, or has ended.

        Raises:
            UnknownIdError: there is none.
        """
        ...

    def asked_by(self, source: str) -> tuple[NodeRequest, ...]:
        """The live requests of a source (`Ask.source`), the oldest first: also of earlier starts.

        Fulfilled ones stay live until each of their nodes was released or given back.
        """
        ...

    async def reprioritise(
        self, request_id: RequestId, priority: int, *, rank: int = 0
    ) -> NodeRequest:
        """Change the priority of a request that still waits, and its rank within it.

        Raises:
            UnknownIdError: there is none.
            AlreadyDoneError: it waits no longer.
        """
        ...

    async def lease(self, lease_id: LeaseId) -> Lease:
        """The lease as it is, or as it ended.

        Raises:
            UnknownIdError: there is none.
        """
        ...

    async def renew(self, lease_id: LeaseId) -> Lease:
        """Move the end of the lease its time to live from now, up to ``max-lease-age``.

        Raises:
            UnknownIdError: there is none.
            AlreadyDoneError: it has ended, or has reached its greatest age.
        """
        ...

    async def release(self, lease_id: LeaseId) -> None:
        """End the lease: its nodes are used and will be deleted. Fine on one that has ended.

        Raises:
            UnknownIdError: there never was one.
        """
        ...

    async def in_use(self, node_ids: Sequence[NodeId]) -> None:
        """Note that nodes of a fulfilled request are handed out, or may be: nobody else gets them.

        For requests of a source only; fine on nodes that are in use already or past it.

        Raises:
            UnknownIdError: there is none of one of these ids.
        """
        ...

    async def release_nodes(self, node_ids: Sequence[NodeId], *, why: str) -> None:
        """Have nodes of a fulfilled request deleted: they are used, or held no longer.

        One that is ready still is deleted too: it may have been handed out. One that a person
        holds leaves its lease and stays. The lease ends with its last node, and the request is
        closed. Fine on nodes that are released already, or gone.

        Raises:
            UnknownIdError: there is none of one of these ids.
        """
        ...

    async def give_back(self, node_ids: Sequence[NodeId], *, why: str) -> None:
        """Give back nodes that were never handed out: ready ones may be given to another request.

        For requests of a source only. One that was handed out (`in_use`) is released instead: it
        is the caller's word, not its own knowledge, that a node was never handed out. One that
        died meanwhile (`Node.lost`) is deleted.

        Raises:
            UnknownIdError: there is none of one of these ids.
        """
        ...

    async def hold(
        self, node_id: NodeId, *, by: str, reason: str, until: float | None = None
    ) -> Node:
        """Keep a node that is in use or used from being deleted; or change one's own hold.

        Args:
            by: who holds it. A source gives its own name (`Ask.source`): `release_nodes` ends
                such a hold, and no other.
            until: when the hold ends by itself, in UTC seconds; None is upon a word. It ends at
                ``max-hold-age`` in any case.

        Raises:
            UnknownIdError: there is none.
            AlreadyDoneError: it is in no state to be held.
        """
        ...

    async def wait_node(self, node_id: NodeId, known: Node) -> Node:
        """Wait until a node's state is another than that of *known*; the node as it is then.

        Raises:
            UnknownIdError: there is none.
        """
        ...

    async def foreign_servers(
        self, provider: str, *, name: str, metadata: Mapping[str, str]
    ) -> tuple[str, ...]:
        """The ids of the servers of this name that bear all of this metadata; without ours.

        Another launcher's may be found so whose ids it does not know.

        Raises:
            RefusedError: there is no such provider, or it cannot be asked now.
        """
        ...

    async def adopt(self, ask: Ask, server: ForeignServer) -> Node:
        """Take over a server that another launcher made; it is deleted when it is released.

        It becomes a node in use, of a fulfilled request of the source, and the floating IPs that
        lead to it are the node's: they are deleted with it. May be repeated.

        Args:
            ask: of a source, for the one label, with an idempotency key of the server's own.

        Raises:
            AlreadyDoneError: the server is gone.
            RefusedError: there is no such provider, it cannot be asked now, or the server is
                another one than was meant, or a node's already; nothing is recorded.
        """
        ...

    def offers(self) -> tuple[OfferedPool, ...]:
        """What could be asked for now: each pool of each provider, by the configuration in force.

        A pool whose provider does not answer, or is paused, is among them and says so.
        """
        ...

    async def wait_offers(self, known: tuple[OfferedPool, ...]) -> tuple[OfferedPool, ...]:
        """Wait until what is offered is something else than *known*; what it is then.

        Look again now and then all the same: it is told of a change as soon as it is known here.
        """
        ...

    async def explain_request(self, request_id: RequestId) -> Explanation:
        """Say what a request waits for, since when, what was tried and who declined.

        Raises:
            UnknownIdError: there is none.
        """
        ...

    async def explain_node(self, node_id: NodeId) -> Explanation:
        """Say what a node waits for, since when and what was tried.

        Raises:
            UnknownIdError: there is none.
        """
        ...


class DemandSource(Protocol):
    """Something that turns outside demand into requests on the port."""

    async def run(self, port: DemandPort) -> None:
        """Serve until cancelled. A crash is reported and the source started again."""
        ...
