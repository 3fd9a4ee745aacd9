"""Values for tests, each with sensible parts and every part replaceable by name."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from trellis.model.names import NodeId, RequestId
from trellis.model.node import Home, Login, Node, NodeState, Resource, ResourceKind, Shape
from trellis.model.quota import Limits, Resources
from trellis.model.request import Ask, NodeRequest, Placement, RequestState
from trellis.scheduler.snapshot import (
    PendingView,
    PoolView,
    ProviderView,
    QuotaView,
    Snapshot,
    queue_key,
    queue_shape,
)
from trellis.spi.provider import Offer

NOW = 1_767_225_600.0


def a_shape(**parts: Any) -> Shape:
    """A flavor of one core and 1 GiB, and an image."""
    given = {
        "flavor_id": "f1",
        "flavor_name": "ci-1c-1g",
        "image_id": "i1",
        "image_name": "tiny",
        "resources": Resources(instances=1, cores=1, ram_mib=1024),
    }
    return Shape(**{**given, **parts})


def a_node(number: int = 1, **parts: Any) -> Node:
    """A ready node of label ``small`` on provider ``alpha`` that is nobody's."""
    state = parts.pop("state", NodeState.READY)
    given: dict[str, Any] = {
        "id": NodeId(f"{number:010d}"),
        "label": "small",
        "state": state,
        "state_at": NOW,
        "created_at": NOW - 60,
        "provider": "alpha",
        "pool": "main",
        "cloud": "alpha",
        "region": "RegionOne",
        "shape": a_shape(),
        "login": Login(),
        "hostname": f"tr{number:010d}",
    }
    if state is not NodeState.BUILDING:
        given |= {"ready_at": NOW, "checked_at": NOW, "resources": (a_server(number),)}
    return Node(**{**given, **parts})


def a_server(number: int = 1, **parts: Any) -> Resource:
    """The server of a node, made and known by its id."""
    given = {"kind": ResourceKind.SERVER, "sent_at": NOW - 50, "external_id": f"server-{number}"}
    return Resource(**{**given, **parts})


def a_home(**parts: Any) -> Home:
    """A project in a region."""
    given = {"project_id": "p1", "region": "RegionOne", "endpoint": "http://alpha.sim/compute"}
    return Home(**{**given, **parts})


def a_request(number: int = 1, labels: Sequence[str] = ("small",), **parts: Any) -> NodeRequest:
    """A request for one small node that waits to be placed; parts of `Ask` go to the ask."""
    of_ask = {name: parts.pop(name) for name in list(parts) if name in attrs.fields_dict(Ask)}
    given: dict[str, Any] = {
        "id": RequestId(f"{number:032x}"),
        "ask": Ask(labels=tuple(labels), requestor="job", **of_ask),
        "state": RequestState.REQUESTED,
        "state_at": NOW - 10,
        "created_at": NOW - 10 + number / 1000,
    }
    return NodeRequest(**{**given, **parts})


def placed(request: NodeRequest, **parts: Any) -> NodeRequest:
    """The same request with a place on ``alpha``."""
    place = Placement(**{"provider": "alpha", "az": None, "since": NOW - 5, **parts})
    return request.became(RequestState.PENDING, NOW - 5, placement=place)


def an_offer(label: str = "small", pool: str = "main", **parts: Any) -> Offer:
    """What a pool offers for a label."""
    return Offer(**{"pool": pool, "label": label, "shape": a_shape(), **parts})


def a_pool(labels: Sequence[str] = ("small",), **parts: Any) -> PoolView:
    """A pool with one offer for each label and no limits of its own."""
    name = parts.pop("name", "main")
    offers = {label: an_offer(label, name) for label in labels}
    given = {"name": name, "limits": Limits(), "used": Resources(), "offers": offers}
    return PoolView(**{**given, **parts})


def a_provider(name: str = "alpha", **parts: Any) -> ProviderView:
    """An open provider with one pool."""
    given = {
        "name": name,
        "closed": "",
        "quota": name,
        "launch_retries": 3,
        "pools": [a_pool()],
    }
    return ProviderView(**{**given, **parts})


def a_snapshot(
    *,
    waiting: Sequence[NodeRequest] = (),
    pending: Sequence[PendingView] = (),
    idle: Sequence[Node] = (),
    providers: Sequence[ProviderView] | None = None,
    quotas: Mapping[str, QuotaView] | None = None,
    **parts: Any,
) -> Snapshot:
    """A world with one provider, unlimited quota and nothing in it."""
    those = [a_provider()] if providers is None else providers
    queues: dict[Any, list[NodeRequest]] = {}
    for request in sorted(waiting, key=queue_key):
        queues.setdefault(queue_shape(request), []).append(request)
    shelf: dict[tuple[str, str], dict[NodeId, Node]] = {}
    for node in idle:
        shelf.setdefault((node.provider, node.label), {})[node.id] = node
    given = {
        "now": NOW,
        "providers": {provider.name: provider for provider in those},
        "quotas": {p.quota: QuotaView(limits=Limits(), used=Resources()) for p in those}
        | dict(quotas or {}),
        "pending": list(pending),
        "queues": queues,
        "idle": shelf,
        "warming": {},
        "min_ready": {},
        "launches_left": 1000,
    }
    return Snapshot(**{**given, **parts})
