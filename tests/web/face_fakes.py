"""A demand port and a board in memory, and builders of what they hold."""

import difflib
from collections import Counter
from collections.abc import AsyncIterator, Mapping

import attrs
import trio
from image_fakes import FakeImages

from trellis.control.board import Measure, Page, Reset, Sample
from trellis.errors import AlreadyDoneError, KeyReusedError, RefusedError, UnknownIdError
from trellis.model.asked import job_of, pipeline_of, tenant_of, words_of
from trellis.model.breaker import BreakerState, BreakerStatus, Scope
from trellis.model.names import LeaseId, RequestId, node_id
from trellis.model.node import (
    Addresses,
    Login,
    Node,
    NodeState,
    Resource,
    ResourceKind,
    Shape,
)
from trellis.model.overview import Mishap, Overview, SlowNode, Spread, WaitingRequest
from trellis.model.provider import Pause
from trellis.model.quota import UNLIMITED, Limits, Resources
from trellis.model.records import Event
from trellis.model.request import ENDED, Ask, Declined, Lease, NodeRequest, Placement, RequestState
from trellis.model.status import (
    BudgetStatus,
    Explanation,
    Health,
    LabelStatus,
    Leak,
    Outlook,
    PlannedStep,
    PoolStatus,
    ProviderStatus,
    QuotaStatus,
    SourceState,
    SourceStatus,
    TenantStatus,
)

T0 = 1_790_000_000.5
"""2026-09-21T14:13:20.500000Z"""

LABELS = ("debian-12", "fedora-40")

MOVED_TO = "https://compute2.example.com/v2.1"
"""Where the credentials of every provider lead now."""


def a_node(number: int = 1, **changes: object) -> Node:
    node = Node(
        id=node_id(number), label="debian-12", state=NodeState.READY, state_at=T0,
        created_at=T0, provider="ovh-bhs1", pool="main", cloud="ovh", region="BHS1",
        shape=Shape(
            flavor_id="f", flavor_name="b2-7", image_id="i", image_name="debian",
            resources=Resources(instances=1, cores=2, ram_mib=7000), disk_gib=50,
        ),
        login=Login(username="zuul"), launch_by=T0 + 600, az="nova",
        hostname=f"ci-{number:010d}",
        resources=(Resource(kind=ResourceKind.SERVER, sent_at=T0, external_id=f"uuid-{number}"),),
        addresses=Addresses(interface_ip="203.0.113.7", public_ipv4="203.0.113.7"),
        host_keys=("ssh-ed25519 AAAA",), ready_at=T0 + 30,
    )  # fmt: skip
    return attrs.evolve(node, **changes)


def a_provider(name: str = "ovh-bhs1", **changes: object) -> ProviderStatus:
    used = Resources(instances=3, cores=6, ram_mib=21000)
    status = ProviderStatus(
        name=name, type="ovh", cloud="ovh", region="BHS1", health=Health.AVAILABLE, reason="",
        since=T0, pause=None,
        pools=(
            PoolStatus(
                name="main", labels=LABELS, limits=Limits(instances=120), used=used,
                missing={"fedora-40": "no image 'fedora-40'"},
            ),
        ),
        nodes={"ready": 2, "in-use": 1},
        quota=QuotaStatus(
            provider=name, limits=Limits(instances=100, cores=UNLIMITED), ours=used,
            others=Resources(instances=4), read_at=T0, refusals=1,
        ),
        backoffs={}, sweep="report", api_calls={"compute POST": 12},
    )  # fmt: skip
    return attrs.evolve(status, **changes)


def a_breaker(**changes: object) -> BreakerStatus:
    status = BreakerStatus(
        id="ovh-bhs1:image:0badcafe", provider="ovh-bhs1", scope=Scope.IMAGE,
        subject="image debian", state=BreakerState.OPEN, since=T0, failures=3,
        reason="no SSH", next_probe_s=42.0, probe=None,
        words="image debian: 3 launches failed in a row (no SSH); one is tried again in 42 s",
    )  # fmt: skip
    return attrs.evolve(status, **changes)


def a_source(**changes: object) -> SourceStatus:
    status = SourceStatus(
        name="zuul", type="zuul", state=SourceState.RUNNING, since=T0, reason="",
        requests={"requested": 2, "fulfilled": 5},
    )  # fmt: skip
    return attrs.evolve(status, **changes)


def an_event(number: int, type: str = "node.ready", subject: str = "0000000001") -> Event:
    return Event(id=number, at=T0 + number, type=type, subject=subject, about=("abc",), why="seen")


class FakePort:
    """Requests stay as they are until a test fulfils or fails them."""

    def __init__(self) -> None:
        self.requests: dict[str, NodeRequest] = {}
        self.leases: dict[str, Lease] = {}
        self.nodes: dict[str, Node] = {}
        self.asks: list[Ask] = []
        self.held: list[tuple[str, str, str]] = []
        self.waiters = 0
        self.waited = trio.Event()
        self._changed: dict[str, trio.Event] = {}

    # what a test does

    def fulfil(self, request_id: str) -> NodeRequest:
        request = self.requests[request_id]
        nodes = []
        for slot, label in enumerate(request.ask.labels):
            node = a_node(
                len(self.nodes) + 1, label=label, state=NodeState.IN_USE,
                allocated_to=request.id, slot=slot,
            )  # fmt: skip
            self.nodes[node.id] = node
            nodes.append(node.id)
        lease = Lease(
            id=LeaseId(f"{len(self.leases) + 1:032x}"), request_id=request.id,
            requestor=request.ask.requestor, nodes=tuple(nodes), created_at=T0,
            ttl_s=request.ask.lease_ttl_s or 3600,
            expires_at=T0 + (request.ask.lease_ttl_s or 3600),
        )  # fmt: skip
        self.leases[lease.id] = lease
        return self._set(
            request, state=RequestState.FULFILLED, nodes=tuple(nodes), lease_id=lease.id,
            placement=Placement(provider="ovh-bhs1", az="nova", since=T0),
        )  # fmt: skip

    def fail(self, request_id: str, reason: str) -> NodeRequest:
        return self._set(self.requests[request_id], state=RequestState.FAILED, reason=reason)

    def _set(self, request: NodeRequest, **changes: object) -> NodeRequest:
        after = attrs.evolve(request, **changes)
        self.requests[after.id] = after
        self._changed.pop(after.id, trio.Event()).set()
        return after

    # the port

    async def submit(self, ask: Ask) -> NodeRequest:
        for label in ask.labels:
            if label not in LABELS:
                near = difflib.get_close_matches(label, LABELS)
                raise RefusedError(f"there is no label {label!r}", remedy=f"did you mean {near}?")
        for request in self.requests.values():
            if ask.idempotency_key and request.ask.idempotency_key == ask.idempotency_key:
                if request.ask != ask:
                    raise KeyReusedError(f"the key {ask.idempotency_key!r} was used before")
                return request
        self.asks.append(ask)
        request = NodeRequest(
            id=RequestId(f"{0xABC000 + len(self.requests):032x}"), ask=ask,
            state=RequestState.REQUESTED, state_at=T0, created_at=T0,
        )  # fmt: skip
        self.requests[request.id] = request
        return request

    async def request(self, request_id: RequestId) -> NodeRequest:
        if request_id not in self.requests:
            raise UnknownIdError(f"there is no request {request_id}")
        return self.requests[request_id]

    async def wait(self, request_id: RequestId) -> NodeRequest:
        self.waiters += 1
        self.waited.set()
        try:
            while (await self.request(request_id)).state.value in ("requested", "pending"):
                await self._changed.setdefault(request_id, trio.Event()).wait()
        finally:
            self.waiters -= 1
        return self.requests[request_id]

    async def nodes_of(self, request: NodeRequest) -> tuple[Node, ...]:
        return tuple(self.nodes[one] for one in request.nodes)

    async def cancel(self, request_id: RequestId) -> NodeRequest:
        request = await self.request(request_id)
        if request.state in ENDED:
            return request
        ended = RequestState.CLOSED if request.lease_id else RequestState.CANCELLED
        return self._set(request, state=ended)

    async def reprioritise(self, request_id: RequestId, priority: int) -> NodeRequest:
        request = await self.request(request_id)
        if request.state is not RequestState.REQUESTED:
            raise AlreadyDoneError(f"request {request_id} is {request.state.value}")
        return self._set(request, ask=attrs.evolve(request.ask, priority=priority))

    async def lease(self, lease_id: LeaseId) -> Lease:
        if lease_id not in self.leases:
            raise UnknownIdError("there is no such lease")
        return self.leases[lease_id]

    async def renew(self, lease_id: LeaseId) -> Lease:
        lease = await self.lease(lease_id)
        if lease.ended_at is not None:
            raise AlreadyDoneError("the lease has ended", remedy="ask for new nodes")
        self.leases[lease_id] = attrs.evolve(lease, expires_at=T0 + 7200)
        return self.leases[lease_id]

    async def release(self, lease_id: LeaseId) -> None:
        lease = await self.lease(lease_id)
        self.leases[lease_id] = attrs.evolve(lease, ended_at=T0)

    async def hold(self, node_id: str, *, by: str, reason: str) -> Node:
        if node_id not in self.nodes:
            raise UnknownIdError(f"there is no node {node_id}")
        self.held.append((node_id, by, reason))
        self.nodes[node_id] = attrs.evolve(self.nodes[node_id], state=NodeState.HOLD)
        return self.nodes[node_id]

    async def explain_request(self, request_id: RequestId) -> Explanation:
        request = await self.request(request_id)
        return self._explanation(request_id, request.state.value)

    async def explain_node(self, node_id: str) -> Explanation:
        if node_id not in self.nodes:
            raise UnknownIdError(f"there is no node {node_id}")
        return self._explanation(node_id, self.nodes[node_id].state.value)

    def _explanation(self, subject: str, state: str) -> Explanation:
        return Explanation(
            subject=subject, state=state, since=T0, words="It waits for quota.",
            waits_for="quota: cores", declined=(
                Declined(provider="rax", reason="no such label", at=T0),
            ), history=(an_event(1),),
        )  # fmt: skip


class FakeBoard:
    """Shows the nodes and requests of a port, and what a test puts in."""

    def __init__(self, port: FakePort) -> None:
        self.port = port
        self.images = FakeImages()
        self.status = {"ovh-bhs1": a_provider()}
        self.log: list[Event] = [an_event(number) for number in (1, 2, 3)]
        self.oldest, self.host_keys = 0, True
        self.readiness = (True, "")
        self.outlooks: dict[str, Outlook] = {}
        self.acts: list[tuple[object, ...]] = []
        self.at = T0 + 100
        self.why = "ovh-bhs1: no room for 4 cores"
        self._news = trio.Event()
        self.followers, self.left, self.crowd = 0, trio.Event(), trio.Event()
        self.sources = {source.name: source for source in (a_source(),)}
        self.open_breakers = {one.id: one for one in (a_breaker(),)}
        self.known_leaks = {
            "ovh-bhs1:server:u9": Leak(
                id="ovh-bhs1:server:u9", provider="ovh-bhs1", kind="server", external_id="u9",
                node_id="0000000099", first_seen=T0, sightings=2, note="waits for a word",
            )
        }  # fmt: skip

    def tell(self, event: Event) -> None:
        self.log.append(event)
        news, self._news = self._news, trio.Event()
        news.set()

    async def nodes(
        self, *, gone=False, state=None, label=None, provider=None, limit=200, after=None
    ):  # type: ignore[no-untyped-def]
        chosen = [
            node
            for node in self.port.nodes.values()
            if state in (None, node.state)
            and label in (None, node.label)
            and provider in (None, node.provider)
            and (node.state is NodeState.GONE) == gone
            and node.id > (after or "")
        ]
        more = chosen[limit - 1].id if len(chosen) > limit else None
        return Page(items=tuple(chosen[:limit]), next=more)

    async def node(self, node_id: str) -> Node:
        if node_id not in self.port.nodes:
            raise UnknownIdError(f"there is no node {node_id}")
        return self.port.nodes[node_id]

    async def delete_node(self, node_id: str, by: str) -> Node:
        node = await self.node(node_id)
        self.acts.append(("delete", node_id, by))
        return attrs.evolve(node, state=NodeState.DELETING)

    async def requests(
        self, *, gone=False, state=None, requestor=None, tenant=None, pipeline=None, job=None,
        limit=200, after=None,
    ):  # type: ignore[no-untyped-def]  # fmt: skip
        chosen = [
            request
            for request in self.port.requests.values()
            if state in (None, request.state)
            and requestor in (None, request.ask.requestor)
            and tenant in (None, tenant_of(request.ask))
            and pipeline in (None, pipeline_of(request.ask))
            and job in (None, job_of(request.ask))
        ]
        return Page(items=tuple(chosen[:limit]))

    async def find_requests(self, word: str, most: int) -> tuple[NodeRequest, ...]:
        if word in self.port.requests:
            return (self.port.requests[word],)
        found = [r for r in self.port.requests.values() if word in words_of(r.ask)]
        return tuple(reversed(found))[:most]

    def overdue(self) -> Mapping[str, int]:
        return {"request": 0, "node": 0}

    def demand_sources(self) -> tuple[SourceStatus, ...]:
        return tuple(self.sources.values())

    async def end_demand(self, name: str, by: str) -> int:
        if name not in self.sources:
            raise UnknownIdError(f"there is no demand source {name!r}")
        if self.sources[name].state is not SourceState.DROPPED:
            raise RefusedError(f"demand source {name!r} is configured", remedy="take it out")
        self.acts.append(("end", name, by))
        return sum(self.sources.pop(name).requests.values())

    def request_counts(self) -> dict[RequestState, int]:
        return Counter(request.state for request in self.port.requests.values())

    def outlook(self, request: NodeRequest) -> Outlook:
        waits = request.state in (RequestState.REQUESTED, RequestState.PENDING)
        words = "It waits for quota." if waits else ""
        return self.outlooks.get(request.id, Outlook(words=words, estimate_s=None, basis=""))

    def api_calls(self) -> dict[str, dict[str, int]]:
        return {"ovh": {"compute POST": 12}}

    def labels(self) -> tuple[LabelStatus, ...]:
        return (
            LabelStatus(
                name="debian-12", min_ready=2, offered_by=("ovh-bhs1/main",), missing={},
                nodes={"ready": 2},
            ),
            LabelStatus(
                name="fedora-40", min_ready=0, offered_by=(),
                missing={"ovh-bhs1/main": "no image 'fedora-40'; near: 'fedora-41'"}, nodes={},
                host_key_checking=self.host_keys,
            ),
        )  # fmt: skip

    def providers(self) -> tuple[ProviderStatus, ...]:
        return tuple(self.status.values())

    def provider(self, name: str) -> ProviderStatus:
        if name not in self.status:
            raise UnknownIdError(f"there is no provider {name!r}", remedy="there is: ovh-bhs1")
        return self.status[name]

    async def pause(self, name: str, by: str, reason: str, for_s: float | None) -> ProviderStatus:
        until = None if for_s is None else T0 + for_s
        return self._set(name, Pause(by=by, reason=reason, since=T0, until=until))

    async def resume(self, name: str) -> ProviderStatus:
        return self._set(name, None)

    async def drain(self, name: str, by: str, reason: str) -> ProviderStatus:
        return self._set(name, Pause(by=by, reason=reason, since=T0, drain=True))

    async def accept_move(
        self, name: str, endpoint: str, project_id: str | None, by: str
    ) -> ProviderStatus:
        status = self.provider(name)
        if endpoint != MOVED_TO:
            raise RefusedError(f"the credentials lead to {MOVED_TO}", remedy="look again")
        return status

    def _set(self, name: str, pause: Pause | None) -> ProviderStatus:
        self.status[name] = attrs.evolve(self.provider(name), pause=pause)
        return self.status[name]

    def quota(self) -> tuple[QuotaStatus, ...]:
        return tuple(provider.quota for provider in self.status.values())

    def tenants(self) -> tuple[TenantStatus, ...]:
        limits = Limits(instances=10, cores=40)
        held = Resources(instances=3, cores=6, ram_mib=21000)
        named = TenantStatus(name="openstack", limits=limits, held=held, waiting=2, share=2.0)
        nobody = TenantStatus(name="", limits=Limits(), held=Resources(), waiting=1)
        return named, nobody

    def budget(self) -> BudgetStatus:
        return BudgetStatus(limit=3000, used=7)

    def breakers(self) -> tuple[BreakerStatus, ...]:
        return tuple(self.open_breakers.values())

    async def reset_breaker(self, breaker_id: str, by: str, reason: str) -> None:
        if breaker_id not in self.open_breakers:
            raise UnknownIdError(f"no breaker {breaker_id!r} is open")
        del self.open_breakers[breaker_id]
        self.acts.append(("reset", breaker_id, by, reason))

    def leaks(self) -> tuple[Leak, ...]:
        return tuple(self.known_leaks.values())

    async def delete_leak(self, leak_id: str) -> Leak:
        return self._leak("delete", leak_id)

    async def adopt_leak(self, leak_id: str) -> Leak:
        return self._leak("adopt", leak_id)

    def _leak(self, act: str, leak_id: str) -> Leak:
        if leak_id not in self.known_leaks:
            raise UnknownIdError(f"there is no leak {leak_id}")
        self.acts.append((act, leak_id))
        return attrs.evolve(self.known_leaks[leak_id], note=f"{act} is under way")

    def plan(self) -> tuple[PlannedStep, ...]:
        return (PlannedStep(action="launch", subject="debian-12", reason="min-ready lacks 1"),)

    def overview(self, most: int) -> Overview:
        requests = [r for r in self.port.requests.values() if r.state not in ENDED]
        waiting = [r for r in requests if r.state is not RequestState.FULFILLED]
        slow = [
            n for n in self.port.nodes.values() if n.state in (NodeState.BUILDING, NodeState.HOLD)
        ]
        return Overview(
            deployment="ci-main", at=self.at, started_at=T0, last_event=self.last_event(),
            waiting=tuple(
                WaitingRequest(
                    request=request, words=self.why, waits_for="a provider with room",
                    declined=(Declined(provider="ovh-bhs1", reason=self.why, at=T0),),
                )
                for request in waiting[:most]
            ),
            nodes=Counter(node.state.value for node in self.port.nodes.values()),
            slow=tuple(SlowNode(node=node, words="It waits.") for node in slow[:most]),
            api_calls=12, launches={"ready": 4, "failed": 1},
            mishaps={"ovh-bhs1": Mishap(at=T0, node_id="0000000009", reason="no valid host")},
            wait_s=Spread(count=3, p50=21.5, p95=44.0), boot_s=Spread(count=0, p50=None, p95=None),
        )  # fmt: skip

    def last_event(self) -> int:
        return self.log[-1].id if self.log else 0

    async def events(self, after: int) -> AsyncIterator[Event | Reset]:
        self.followers += 1
        if self.followers == 20:
            self.crowd.set()
        try:
            if after < self.oldest or after > self.last_event():
                after = self.last_event()
                yield Reset(id=after, why="that event is no longer kept")
            while True:
                news = self._news
                for event in [event for event in self.log if event.id > after]:
                    after = event.id
                    yield event
                await news.wait()
        finally:
            self.followers -= 1
            self.left.set()

    def ready(self) -> tuple[bool, str]:
        return self.readiness

    def measures(self) -> tuple[Measure, ...]:
        return (
            Measure(
                name="trellis_launches", kind="counter", help="Launches by how they ended.",
                samples=(Sample(value=7, labels={"provider": "ovh-bhs1", "end": "ready"}),),
            ),
            Measure(
                name="trellis_launch_seconds", kind="histogram", help="How long launches took.",
                samples=(
                    Sample(value=1, labels={"le": "10"}, suffix="_bucket"),
                    Sample(value=2, labels={"le": "+Inf"}, suffix="_bucket"),
                    Sample(value=2, suffix="_count"),
                    Sample(value=33.5, suffix="_sum"),
                ),
            ),
        )  # fmt: skip
