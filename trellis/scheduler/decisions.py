"""What the scheduler can decide. Each decision carries its reason, which `explain` shows."""

from collections.abc import Mapping

import attrs

from trellis.model.names import NodeId, UploadId
from trellis.model.node import Node
from trellis.model.request import Declined, NodeRequest
from trellis.scheduler.snapshot import QueueShape
from trellis.spi.provider import Offer


@attrs.frozen(kw_only=True)
class Launch:
    """Make a node; for a slot of a request, to be kept ready, or to try an image.

    Attributes:
        upload: the very upload it boots from; None leaves that to whoever makes the node.
    """

    provider: str
    offer: Offer
    az: str | None
    slot: int | None
    replaces: NodeId | None
    reason: str
    upload: UploadId | None = None


@attrs.frozen(kw_only=True)
class Place:
    """Give a waiting request its place, ready nodes that fit, and launches for the rest."""

    request: NodeRequest
    provider: str
    az: str | None
    take: tuple[tuple[int, Node], ...]
    launch: tuple[Launch, ...]
    reason: str


@attrs.frozen(kw_only=True)
class Refill:
    """Launch for the empty slots of a placed request; *free* no longer stand in them."""

    request: NodeRequest
    launch: tuple[Launch, ...]
    free: tuple[Node, ...]
    reason: str


@attrs.frozen(kw_only=True)
class Fulfil:
    """Hand out the nodes of a placed request, in the order of its labels."""

    request: NodeRequest
    nodes: tuple[Node, ...]
    reason: str


@attrs.frozen(kw_only=True)
class GiveUp:
    """Give up a request's place; its good nodes are free for others, and it waits again."""

    request: NodeRequest
    declined: Declined
    free: tuple[Node, ...]
    reason: str


@attrs.frozen(kw_only=True)
class RunShort:
    """Note since when a placed request has had an empty slot and no room to fill it."""

    request: NodeRequest
    free: tuple[Node, ...]
    reason: str


@attrs.frozen(kw_only=True)
class Fail:
    """End a request that no provider can serve."""

    request: NodeRequest
    reason: str


@attrs.frozen(kw_only=True)
class Recheck:
    """See whether a node that has long been ready still answers, before it is handed out."""

    node: Node
    reason: str


@attrs.frozen(kw_only=True)
class Warm:
    """Launch a node that is nobody's yet: to be kept ready, or to try an image."""

    launch: Launch


@attrs.frozen(kw_only=True)
class Retire:
    """Delete a ready node that is nobody's."""

    node: Node
    reason: str


Decision = Place | Refill | Fulfil | GiveUp | RunShort | Fail | Recheck | Warm | Retire


@attrs.frozen(kw_only=True)
class Plan:
    """The decisions of one pass, and why what still waits does.

    Attributes:
        waits: for each queue that is not empty, by provider, why its first request waits.
        unserved: something waits for room, so that room that becomes free is worth a pass.
    """

    decisions: tuple[Decision, ...]
    waits: Mapping[QueueShape, Mapping[str, str]]
    unserved: bool = True
