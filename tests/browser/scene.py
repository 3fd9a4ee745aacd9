"""A busy deployment in memory: four clouds, a thousand nodes, five hundred requests that wait."""

import random
import sys
from collections import Counter
from pathlib import Path

import attrs

sys.path.insert(0, str(Path(__file__).parent.parent / "web"))

from face_fakes import T0, FakeBoard, FakePort, a_node, a_provider

from trellis.model.names import RequestId
from trellis.model.node import NodeState
from trellis.model.overview import Mishap, Overview, SlowNode, Spread, WaitingRequest
from trellis.model.provider import Pause
from trellis.model.quota import UNLIMITED, Limits, Resources
from trellis.model.request import Ask, Declined, NodeRequest, Placement, RequestState
from trellis.model.status import Health, LabelStatus, ProviderStatus

LABELS = {"debian-12": 40, "debian-12-large": 4, "fedora-41": 10, "ubuntu-24.04-nested-virt": 0}
REQUESTORS = ("zuul/gate", "zuul/check", "zuul/periodic", "ann@example.org")
STATES = {
    NodeState.IN_USE: 62, NodeState.BUILDING: 14, NodeState.READY: 12, NodeState.DELETING: 8,
    NodeState.USED: 2, NodeState.HOLD: 1, NodeState.FAILED: 1,
}  # fmt: skip
CLOUDS = {
    "ovh-bhs1": ("ovh", "BHS1"), "ovh-gra9": ("ovh", "GRA9"), "rax-dfw": ("rackspace", "DFW"),
    "hp-east": ("hpcloud", "region-b.geo-1"),
}  # fmt: skip


class Scene(FakeBoard):
    """The board of a busy deployment; the same for the same seed."""

    def __init__(self, port: FakePort, *, nodes: int = 1000, waiting: int = 500) -> None:
        super().__init__(port)
        self.at, self._chance = T0 + 7200, random.Random(1)
        for number in range(1, nodes + 1):
            self.add_node(number)
        for number in range(waiting):
            self.add_request(number)
        self.status = {name: self._provider(name) for name in CLOUDS}

    def add_node(self, number: int) -> None:
        chance, provider = self._chance, self._chance.choice(list(CLOUDS)[:3])
        (state,) = chance.choices(list(STATES), list(STATES.values()))
        age = chance.expovariate(1 / (4000 if state is NodeState.HOLD else 60))
        cloud, region = CLOUDS[provider]
        node = a_node(
            number, state=state, state_at=self.at - age, label=chance.choice(list(LABELS)),
            provider=provider, cloud=cloud, region=region,
        )  # fmt: skip
        self.port.nodes[node.id] = node

    def add_request(self, number: int) -> None:
        chance = self._chance
        labels = (chance.choice(list(LABELS)),) * chance.choice((1, 1, 1, 3))
        age = 1500.0 - number * 3
        request = NodeRequest(
            id=RequestId(f"{chance.getrandbits(128):032x}"),
            ask=Ask(labels=labels, requestor=chance.choice(REQUESTORS), tenant="openstack"),
            state=RequestState.REQUESTED, state_at=self.at - age, created_at=self.at - age,
        )  # fmt: skip
        if number % 5 == 1:
            place = Placement(provider="ovh-gra9", az=None, since=self.at - 20)
            request = request.became(RequestState.PENDING, self.at - 20, placement=place)
        self.port.requests[request.id] = request

    def _provider(self, name: str) -> ProviderStatus:
        cloud, region = CLOUDS[name]
        nodes = Counter(n.state.value for n in self.port.nodes.values() if n.provider == name)
        count = sum(nodes.values())
        status = a_provider(name)
        limits = Limits(instances=360, cores=720, ram_mib=2_880_000)
        changes: dict[str, object] = {}
        if name == "rax-dfw":
            pause = Pause(by="ann", reason="their API is slow", since=self.at - 900)
            limits = Limits(instances=UNLIMITED, cores=800, ram_mib=None)
            changes = {"pause": pause}
        if name == "hp-east":
            reason = "unavailable: POST /v2.0/tokens: connection refused"
            changes = {"health": Health.UNAVAILABLE, "reason": reason, "since": self.at - 4000}
        if name == "ovh-gra9":
            held = {"main: flavor b2-7, zone nova": "No valid host; tried again in 41 s"}
            changes = {"backoffs": held, "pools": (attrs.evolve(status.pools[0], missing={}),)}
        quota = attrs.evolve(
            status.quota, limits=limits, others=Resources(instances=9, cores=20, ram_mib=60_000),
            ours=Resources(instances=count, cores=2 * count, ram_mib=7000 * count),
        )  # fmt: skip
        return attrs.evolve(
            status, name=name, cloud=cloud, region=region, nodes=nodes, quota=quota,
            api_calls={"compute": 3 * count}, **changes,
        )  # fmt: skip

    def labels(self) -> tuple[LabelStatus, ...]:
        found = {name: Counter[str]() for name in LABELS}
        for node in self.port.nodes.values():
            found.setdefault(node.label, Counter())[node.state.value] += 1
        return tuple(
            LabelStatus(
                name=name, min_ready=LABELS.get(name, 0), missing={}, nodes=counts,
                offered_by=() if name.startswith("ubuntu") else ("ovh-bhs1/main",),
            )
            for name, counts in found.items()
        )  # fmt: skip

    def overview(self, most: int) -> Overview:
        waits = (RequestState.REQUESTED, RequestState.PENDING)
        waiting = sorted(
            (r for r in self.port.requests.values() if r.state in waits), key=lambda r: r.created_at
        )
        moving = [
            n
            for n in self.port.nodes.values()
            if n.state not in (NodeState.READY, NodeState.IN_USE)
        ]
        slow = sorted(moving, key=lambda node: node.state_at)
        mishap = Mishap(at=self.at - 310, node_id="0000000412", reason="No valid host was found.")
        return attrs.evolve(
            super().overview(0),
            waiting=tuple(map(self._waiting, waiting[:most], range(most))),
            slow=tuple(SlowNode(node=n, words=_words(n.state)) for n in slow[:most]),
            mishaps={"ovh-gra9": mishap},
            api_calls=26_120, launches={"ready": 9204, "failed": 41},
            wait_s=Spread(count=1000, p50=31.2, p95=188.0),
            boot_s=Spread(count=1000, p50=21.7, p95=46.1),
        )  # fmt: skip

    def _waiting(self, request: NodeRequest, ahead: int) -> WaitingRequest:
        if request.state is RequestState.PENDING:
            words = "It is placed on ovh-gra9: 0 of 1 nodes are ready; node 0000000871 waits for "
            return WaitingRequest(
                request=request, words=words + "server 6b1c9f0e to become active.",
                waits_for="its nodes to be ready", declined=(), estimate_s=14.2,
            )  # fmt: skip
        reasons = {
            "ovh-bhs1": "no room: cores 712 of 720",
            "rax-dfw": "paused by ann: their API is slow",
            "hp-east": "unavailable: POST /v2.0/tokens: connection refused",
        }
        return WaitingRequest(
            request=request, words="…", waits_for="a provider with room", ahead=ahead,
            declined=tuple(
                Declined(provider=name, reason=reason, at=self.at)
                for name, reason in reasons.items()
            ),
        )  # fmt: skip


def _words(state: NodeState) -> str:
    return {
        NodeState.BUILDING: "It waits for server 6b1c9f0e-2f5e-4c55 to become active.",
        NodeState.DELETING: "It is being deleted; still to be proved gone: server 6b1c9f0e-2f5e.",
        NodeState.HOLD: "It is held by ann: looking at a kernel oops.",
        NodeState.FAILED: "It is failed. Reason: no SSH banner within 300 s.",
    }.get(state, f"It is {state.value}.")
