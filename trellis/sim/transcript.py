"""What requestors wrote down: one of the oracle's two sources. Nothing of the daemon is in it."""

import attrs

from trellis.model.names import NodeId


@attrs.frozen(kw_only=True)
class HandedOut:
    """One node as a requestor got it."""

    node_id: NodeId
    external_id: str
    provider: str
    az: str | None
    label: str
    host_keys: tuple[str, ...]


@attrs.define
class Transcript:
    """All that one requestor saw, with the times at which he saw it.

    Attributes:
        stream: the stream of demand that he belongs to.
        kept_until: when he gave the nodes back, or his lease may have ended at the earliest.
        ended: how it ended for him: fulfilled, failed, cancelled; "" while it has not.
        forgotten: what he was told is unknown though he had been given it; "" if nothing.
    """

    requestor: str
    labels: tuple[str, ...]
    filed_at: float
    stream: str = ""
    priority: int = 200
    tenant: str | None = None
    fulfilled_at: float | None = None
    nodes: tuple[HandedOut, ...] = ()
    kept_until: float | None = None
    ended: str = ""
    reason: str = ""
    forgotten: str = ""
