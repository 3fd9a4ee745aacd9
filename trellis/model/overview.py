"""The state of everything at one moment: what a live view shows, in one piece."""

from collections.abc import Mapping

import attrs

from trellis.model.node import Node
from trellis.model.request import Declined, NodeRequest


@attrs.frozen(kw_only=True)
class WaitingRequest:
    """A request that is not fulfilled yet, and why.

    Attributes:
        words: a sentence or two for a person.
        waits_for: what would move it on.
        ahead: how many like it are served before it.
        declined: providers that cannot serve it now, each with the reason.
        estimate_s: seconds until its nodes are likely to be ready; None if nobody can tell.
    """

    request: NodeRequest
    words: str
    waits_for: str
    declined: tuple[Declined, ...]
    ahead: int = 0
    estimate_s: float | None = None


@attrs.frozen(kw_only=True)
class SlowNode:
    """A node on its way to somewhere, or kept, and what it waits for."""

    node: Node
    words: str


@attrs.frozen(kw_only=True)
class Spread:
    """How a figure was spread over its last samples; None where there are none.

    Attributes:
        count: how many samples these are.
    """

    count: int
    p50: float | None
    p95: float | None


@attrs.frozen(kw_only=True)
class Mishap:
    """The last launch that went wrong at a provider."""

    at: float
    node_id: str
    reason: str


@attrs.frozen(kw_only=True)
class Overview:
    """What records and counts say of the whole at one moment.

    Attributes:
        at: that moment, in UTC seconds.
        started_at: since when the counts run: the start of the daemon.
        last_event: id of the newest event that it takes account of.
        notices: what is wrong with the daemon itself, each a sentence for people.
        waiting: the requests that wait longest, oldest first.
        nodes: how many there are by state.
        slow: the nodes that have been longest in a state they should leave, longest first.
        api_calls: calls to all clouds.
        launches: launches that ended, by how.
        mishaps: by provider.
        wait_s: seconds from request to fulfilment.
        boot_s: seconds from the decision to launch to ready.
    """

    deployment: str
    at: float
    started_at: float
    last_event: int
    waiting: tuple[WaitingRequest, ...]
    nodes: Mapping[str, int]
    slow: tuple[SlowNode, ...]
    api_calls: int
    launches: Mapping[str, int]
    mishaps: Mapping[str, Mishap]
    wait_s: Spread
    boot_s: Spread
    notices: tuple[str, ...] = ()
