"""The one port through which demand comes in, and what a demand source is.

The REST face, Zuul and every other source call the same port.
"""

from typing import Protocol

from trellis.model.names import LeaseId, NodeId, RequestId
from trellis.model.node import Node
from trellis.model.request import Ask, Lease, NodeRequest
from trellis.model.status import Explanation


class DemandPort(Protocol):
    """Ask for nodes, wait for them, keep them, give them back.

    Every method that changes something returns when the change is durable. One that is
    cancelled may or may not have taken effect: look again.
    """

    async def submit(self, ask: Ask) -> NodeRequest:
        """Record a request, or answer with the earlier one of the same idempotency key.

        Raises:
            RefusedError: no such label (with near matches), labels that share no provider, no
                labels or too many, the key was used for another body; nothing is recorded.
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

    async def cancel(self, request_id: RequestId) -> NodeRequest:
        """End a request at any moment; a fulfilled one has its lease released.

        Raises:
            UnknownIdError: there is none.
        """
        ...

    async def reprioritise(self, request_id: RequestId, priority: int) -> NodeRequest:
        """Change the priority of a request that still waits.

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

    async def hold(self, node_id: NodeId, *, by: str, reason: str) -> Node:
        """Keep a node that is in use or used from being deleted.

        Raises:
            UnknownIdError: there is none.
            AlreadyDoneError: it is in no state to be held.
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
