"""Records and stores for the tests of the store."""

import random
from collections.abc import Sequence
from typing import Any

from trellis.model.names import LeaseId, NodeId, RequestId, node_id
from trellis.model.node import Login, Node, NodeState, Resource, ResourceKind, Shape
from trellis.model.quota import Resources
from trellis.model.records import Change
from trellis.model.request import Ask, Lease, NodeRequest, RequestState
from trellis.store.log import Entry
from trellis.store.simulated import SimulatedLog

SHAPE = Shape(
    flavor_id="7",
    flavor_name="b2-7",
    image_id="cafe",
    image_name="debian-12",
    resources=Resources(instances=1, cores=2, ram_mib=7000),
    disk_gib=50,
)


def a_node(number: int = 1, **changes: Any) -> Node:
    """A node that is being launched."""
    values: dict[str, Any] = {
        "id": node_id(number),
        "label": "debian-12",
        "state": NodeState.BUILDING,
        "state_at": 100.0,
        "created_at": 100.0,
        "provider": "ovh-bhs1",
        "pool": "main",
        "cloud": "ovh",
        "region": "BHS1",
        "shape": SHAPE,
        "login": Login(username="zuul"),
        "launch_by": 1900.0,
        "resources": (Resource(kind=ResourceKind.SERVER, sent_at=101.0),),
    }
    return Node(**{**values, **changes})


def a_request(number: int = 1, *, key: str | None = None, **changes: Any) -> NodeRequest:
    """A request that waits to be placed."""
    values: dict[str, Any] = {
        "id": RequestId(f"{number:032x}"),
        "ask": Ask(
            labels=("debian-12",),
            requestor="zuul",
            metadata={"job": "unit"},
            context=b"\x00\xff",
            idempotency_key=key,
        ),
        "state": RequestState.REQUESTED,
        "state_at": 100.0,
        "created_at": 100.0,
    }
    return NodeRequest(**{**values, **changes})


def a_lease(lease_id: str = "5ec2e7" + "0" * 26) -> Lease:
    """A lease of one node."""
    return Lease(
        id=LeaseId(lease_id),
        request_id=RequestId(f"{1:032x}"),
        requestor="zuul",
        nodes=(NodeId("0000000001"),),
        created_at=100.0,
        ttl_s=3600,
        expires_at=3700.0,
    )


def new(*records: Any) -> list[Change]:
    """Changes that make these records."""
    return [Change(None, record) for record in records]


class WallClock:
    """A wall clock that a test sets."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class CountingLog(SimulatedLog):
    """A simulated log that notes how many commits each append carries."""

    def __init__(self) -> None:
        super().__init__(random.Random(1))
        self.sizes: list[int] = []

    async def append(self, entries: Sequence[Entry]) -> None:
        self.sizes.append(len(entries))
        await super().append(entries)
