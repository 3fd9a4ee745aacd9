"""From what Trellis knows to what the face shows."""

from datetime import UTC, datetime

from trellis.model.node import Node
from trellis.model.request import Declined, Lease, NodeRequest
from trellis.model.status import Outlook
from trellis.web.answers import (
    DeclinedAnswer,
    LeaseAnswer,
    NodeAnswer,
    RenewedAnswer,
    RequestAnswer,
    RequestSummary,
    ResourcesAnswer,
)


def moment(at: float) -> datetime:
    """UTC seconds since the epoch as what is written with a Z."""
    return datetime.fromtimestamp(at, UTC)


def maybe_moment(at: float | None) -> datetime | None:
    """The same for a time that may not have come."""
    return None if at is None else moment(at)


def seconds(length: float | None) -> float | None:
    """A length of time as it is shown: no finer than what it was taken from."""
    return None if length is None else round(length, 1)


def node_answer(node: Node, upload: str | None = None) -> NodeAnswer:
    """A node; never its lease.

    Args:
        upload: that it was made from, where that is known.
    """
    addresses = node.addresses
    size = node.shape.resources
    return NodeAnswer(
        id=node.id,
        label=node.label,
        state=node.state.value,
        provider=node.provider,
        cloud=node.cloud,
        region=node.region,
        az=node.az,
        external_id=node.external_id,
        hostname=node.hostname,
        interface_ip=addresses.interface_ip if addresses else None,
        public_ipv4=addresses.public_ipv4 if addresses else None,
        private_ipv4=addresses.private_ipv4 if addresses else None,
        public_ipv6=addresses.public_ipv6 if addresses else None,
        connection_type=node.login.connection_type,
        connection_port=node.login.connection_port,
        username=node.login.username,
        python_path=node.login.python_path,
        shell_type=node.login.shell_type,
        host_keys=node.host_keys,
        host_keys_proof="scanned" if node.host_keys else "none",
        resources=ResourcesAnswer(
            cores=size.cores, ram_mib=size.ram_mib, disk_gib=node.shape.disk_gib
        ),
        created_at=moment(node.created_at),
        ready_at=maybe_moment(node.ready_at),
        allocated_to=node.allocated_to,
        lost=node.lost,
        image=node.shape.image_name,
        image_id=node.shape.image_id,
        upload=upload,
    )


def declined_answer(declined: Declined) -> DeclinedAnswer:
    """A provider that could not serve."""
    return DeclinedAnswer(
        provider=declined.provider,
        reason=declined.reason,
        at=moment(declined.at),
        until=maybe_moment(declined.until),
    )


def request_summary(request: NodeRequest, outlook: Outlook) -> RequestSummary:
    """A request as a list shows it, without its lease."""
    return RequestSummary(
        id=request.id,
        state=request.state.value,
        labels=request.ask.labels,
        requestor=request.ask.requestor,
        tenant=request.ask.tenant,
        priority=request.ask.priority,
        created_at=moment(request.created_at),
        state_at=moment(request.state_at),
        placed_at=request.placement.provider if request.placement else None,
        reason=request.reason or outlook.words or None,
        estimate_s=seconds(outlook.estimate_s),
        node_ids=request.nodes,
        metadata=dict(request.ask.metadata),
        source=request.ask.source,
    )


def request_answer(
    request: NodeRequest, outlook: Outlook, lease: Lease | None, nodes: tuple[Node, ...]
) -> RequestAnswer:
    """A request as its requestor sees it: the one place that shows a lease's id."""
    ask = request.ask
    return RequestAnswer(
        id=request.id,
        state=request.state.value,
        labels=ask.labels,
        requestor=ask.requestor,
        tenant=ask.tenant,
        priority=ask.priority,
        provider=ask.provider,
        lease_ttl_s=ask.lease_ttl_s,
        metadata=dict(ask.metadata),
        source=ask.source,
        created_at=moment(request.created_at),
        state_at=moment(request.state_at),
        placed_at=request.placement.provider if request.placement else None,
        az=request.placement.az if request.placement else None,
        declined=tuple(declined_answer(declined) for declined in request.declined),
        reason=request.reason or outlook.words or None,
        estimate_s=seconds(outlook.estimate_s),
        estimate_basis=outlook.basis,
        lease=None
        if lease is None
        else LeaseAnswer(id=lease.id, expires_at=maybe_moment(lease.expires_at), ttl_s=lease.ttl_s),
        nodes=tuple(node_answer(node) for node in nodes),
    )


def renewed_answer(lease: Lease) -> RenewedAnswer:
    """A lease after its renewal; who renews it knows its id."""
    return RenewedAnswer(
        request_id=lease.request_id,
        expires_at=maybe_moment(lease.expires_at),
        ttl_s=lease.ttl_s,
        nodes=lease.nodes,
    )
