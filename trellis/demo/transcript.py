"""What requestors wrote down: one of the judge's two sources."""

import attrs


@attrs.frozen(kw_only=True)
class HandedOut:
    """One node as a requestor got it."""

    node_id: str
    external_id: str
    provider: str
    az: str | None
    label: str


@attrs.define(kw_only=True)
class Transcript:
    """All that one requestor saw; times are Trio's.

    Attributes:
        kept_until: when he began to give the nodes back.
        ended: how it ended for him: fulfilled, failed, cancelled; "" while it has not.
        reason: why it failed.
    """

    requestor: str
    labels: tuple[str, ...]
    filed_at: float
    fulfilled_at: float | None = None
    nodes: tuple[HandedOut, ...] = ()
    kept_until: float | None = None
    ended: str = ""
    reason: str = ""
