"""A stage for requests: a simulated ZooKeeper, a scripted port, Zuul's and other launchers' hands.

The source runs whole, as in the daemon. Only what is behind the port is scripted.
"""

import json
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any

import attrs
import trio
from trellis_zuul.config import ZooKeeperServerConfig, ZuulConfig
from trellis_zuul.paths import (
    NODES,
    POOLS,
    REQUEST_LOCKS,
    REQUESTS,
    node_path,
    request_lock_path,
    request_path,
)
from trellis_zuul.source import ZuulSource

from tests.zuul.node_stage import (
    DEPLOYMENT,
    HOSTS,
    SOURCE,
    SYSTEM,
    Executor,
    ScriptedPort,
    a_fit_node,
    wall,
)
from trellis.errors import AlreadyDoneError, RefusedError
from trellis.model.node import NodeState
from trellis.model.request import ENDED, Ask, NodeRequest, RequestState
from trellis.sim.zookeeper import FakeZooKeeper, Latency, fake_zookeeper
from trellis.spi.demand import OfferedPool
from trellis.spi.registry import DemandContext
from trellis.testing.builders import a_request
from trellis.zookeeper.errors import NoSuchZnodeError
from trellis.zookeeper.session import Session

LIVE = frozenset({RequestState.REQUESTED, RequestState.PENDING, RequestState.FULFILLED})


def a_pool(*labels: str, provider: str = "alpha", pool: str = "main", **parts: Any) -> OfferedPool:
    given: dict[str, Any] = {"priority": 100, "paused": False, "max_servers": None}
    return OfferedPool(provider=provider, pool=pool, labels=frozenset(labels), **{**given, **parts})


class RequestPort(ScriptedPort):
    """The demand port with requests that are placed and fulfilled after a while.

    Attributes:
        pools: what is offered.
        place_s: how long a request waits for its place; None is for ever.
        boot_s: how long its nodes take.
        failing: labels of which no launch succeeds.
        turned_away: why, by Zuul's id.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__(nursery)
        self._pools: tuple[OfferedPool, ...] = (a_pool("small", "large"),)
        self._offers_changed = trio.Event()
        self.offers_asked = 0
        self.place_s: float | None = 1.0
        self.boot_s = 5.0
        self.failing: set[str] = set()
        self.submitted: list[Ask] = []
        self.turned_away: dict[str, str] = {}
        self._numbers = 0
        self._nodes_made = 0
        self._of_request: dict[str, trio.Event] = {}

    @property
    def pools(self) -> tuple[OfferedPool, ...]:
        return self._pools

    @pools.setter
    def pools(self, pools: tuple[OfferedPool, ...]) -> None:
        self._pools = pools
        self._offers_changed.set()
        self._offers_changed = trio.Event()

    def offers(self) -> tuple[OfferedPool, ...]:
        self.offers_asked += 1
        return self.pools

    async def wait_offers(self, known: tuple[OfferedPool, ...]) -> tuple[OfferedPool, ...]:
        await trio.lowlevel.checkpoint()
        while self.pools == known:
            await self._offers_changed.wait()
        return self.pools

    async def submit(self, ask: Ask) -> NodeRequest:
        await trio.lowlevel.checkpoint()
        offered = set[str]().union(*(pool.labels for pool in self.pools))
        for label in ask.labels:
            if label not in offered:
                raise RefusedError(f"there is no label {label!r}")
        for request in self.live():
            if request.ask.idempotency_key == ask.idempotency_key:
                assert request.ask.labels == ask.labels
                return request
        self._numbers += 1
        self.submitted.append(ask)
        request = NodeRequest(
            id=f"{self._numbers:032x}",  # type: ignore[arg-type]
            ask=ask,
            state=RequestState.REQUESTED,
            state_at=wall(),
            created_at=wall(),
        )
        self.requests[request.id] = request
        self._nursery.start_soon(self._fulfil, request.id)
        return request

    async def turn_away(self, ask: Ask, *, why: str) -> NodeRequest:
        await trio.lowlevel.checkpoint()
        self.turned_away[ask.metadata["zuul_request"]] = why
        for request in self.live():
            if request.ask.idempotency_key == ask.idempotency_key:
                if request.state is RequestState.REQUESTED:
                    self.took(request.id, RequestState.FAILED, reason=why)
                return self.requests[request.id]
        return a_request(state=RequestState.FAILED, reason=why)

    def live(self) -> list[NodeRequest]:
        return [one for one in self.requests.values() if one.state in LIVE]

    def asked_by(self, source: str) -> tuple[NodeRequest, ...]:
        return tuple(one for one in self.live() if one.ask.source == source)

    def go_on(self, request_id: str) -> None:
        """Have a request that was recorded by hand go its way."""
        self._nursery.start_soon(self._fulfil, request_id)

    async def _fulfil(self, request_id: str) -> None:
        if self.place_s is None:
            return
        await trio.sleep(self.place_s)
        if self.requests[request_id].state is RequestState.REQUESTED:
            self.took(request_id, RequestState.PENDING)
        if self.requests[request_id].state is not RequestState.PENDING:
            return
        await trio.sleep(self.boot_s)
        request = self.requests[request_id]
        if request.state is not RequestState.PENDING:
            return
        if set(request.ask.labels) & self.failing:
            self.took(request_id, RequestState.FAILED, reason="no launch succeeds")
            return
        made = []
        for label in request.ask.labels:
            self._nodes_made += 1
            node = a_fit_node(
                self._nodes_made, label=label, allocated_to=request_id, lease_id="lease"
            )
            self.nodes[node.id] = node
            made.append(node.id)
        self.took(request_id, RequestState.FULFILLED, nodes=tuple(made))

    def took(self, request_id: str, state: RequestState, **parts: Any) -> None:
        request = self.requests[request_id]
        self.requests[request_id] = attrs.evolve(request, state=state, state_at=wall(), **parts)
        if (changed := self._of_request.pop(request_id, None)) is not None:
            changed.set()

    async def wait(self, request_id: str) -> NodeRequest:
        return await self._wait_while(request_id, RequestState.REQUESTED, RequestState.PENDING)

    async def wait_placed(self, request_id: str) -> NodeRequest:
        return await self._wait_while(request_id, RequestState.REQUESTED)

    async def _wait_while(self, request_id: str, *states: RequestState) -> NodeRequest:
        await trio.lowlevel.checkpoint()
        while self.requests[request_id].state in states:
            await self._of_request.setdefault(request_id, trio.Event()).wait()
        return self.requests[request_id]

    async def cancel(self, request_id: str, *, why: str = "") -> NodeRequest:
        await trio.lowlevel.checkpoint()
        self.said.append(("cancel", request_id))
        request = self.requests[request_id]
        if request.state is RequestState.FULFILLED:
            await self.release_nodes(request.nodes, why="cancelled")
        elif request.state not in ENDED:
            self.took(request_id, RequestState.CANCELLED)
        return self.requests[request_id]

    async def reprioritise(self, request_id: str, priority: int, *, rank: int = 0) -> NodeRequest:
        await trio.lowlevel.checkpoint()
        request = self.requests[request_id]
        if request.state not in (RequestState.REQUESTED, RequestState.PENDING):
            raise AlreadyDoneError("it waits no longer")
        ask = attrs.evolve(request.ask, priority=priority, rank=rank)
        self.requests[request_id] = attrs.evolve(request, ask=ask)
        return self.requests[request_id]

    async def release_nodes(self, node_ids: Sequence[str], *, why: str) -> None:
        await super().release_nodes(node_ids, why=why)
        self._close(node_ids)

    async def give_back(self, node_ids: Sequence[str], *, why: str) -> None:
        await super().give_back(node_ids, why=why)
        self._close(node_ids)

    def _close(self, node_ids: Sequence[str]) -> None:
        """A request ends with the last of its nodes."""
        for request in self.live():
            if set(node_ids) & set(request.nodes) and not any(
                self.nodes[one].allocated_to == request.id
                and self.nodes[one].state in (NodeState.READY, NodeState.IN_USE, NodeState.HOLD)
                for one in request.nodes
            ):
                self.took(request.id, RequestState.CLOSED)

    def reason_to_wait(self) -> str:
        """What is not yet at its end; "" is nothing."""
        live = [f"{one.id[-3:]} {one.state.value}" for one in self.live()]
        nodes = [
            f"{one.id} {one.state.value}"
            for one in self.nodes.values()
            if one.state not in (NodeState.READY, NodeState.GONE)
            or (one.state is NodeState.READY and one.allocated_to is not None)
        ]
        return ", ".join(live + nodes)


@attrs.define(eq=False)
class RequestStage:
    """The tree and the port, and Zuul's hands."""

    zookeeper: FakeZooKeeper
    port: RequestPort
    session: Session
    """The scheduler's."""
    reports: list[str] = attrs.field(factory=list)
    asked: int = 0
    sources: int = 0

    async def ask(self, *labels: str, precedence: str = "200", **keys: Any) -> str:
        """Have Zuul file a request."""
        document = {
            "created_time": wall(),
            "event_id": f"event{self.asked}",
            "node_types": list(labels or ("small",)),
            "provider": None,
            "relative_priority": 0,
            "requestor": SYSTEM,
            "requestor_data": {
                "build_set_uuid": "b" * 32,
                "job_name": "job",
                "pipeline_name": "check",
                "span_info": {"trace_id": 2**127 + 12345, "start": 0.1 + 0.2},
                "tenant_name": "acme",
            },
            "state": "requested",
            "state_time": wall(),
            "tenant_name": "acme",
            **keys,
        }
        self.asked += 1
        return await self.put(json.dumps(document, sort_keys=True).encode(), precedence)

    async def put(self, data: bytes, precedence: str = "200") -> str:
        await self.session.make_path(REQUESTS)
        path = await self.session.create(f"{REQUESTS}/{precedence}-", data, sequence=True)
        return path.rpartition("/")[2]

    async def read(self, request: str) -> dict[str, Any] | None:
        """A request's document; None if there is none."""
        try:
            data, _stat = await self.session.get(request_path(request))
        except NoSuchZnodeError:
            return None
        return json.loads(data)

    async def write(self, request: str, **keys: Any) -> None:
        data, stat = await self.session.get(request_path(request))
        document = {**json.loads(data), **keys}
        await self.session.write(
            request_path(request), json.dumps(document).encode(), version=stat.version
        )

    async def state(self, request: str) -> str | None:
        document = await self.read(request)
        return None if document is None else document["state"]

    async def becomes(self, request: str, *states: str | None, within_s: float = 120.0) -> Any:
        """Wait for a request to take one of these states; its document then."""
        seen = None
        with trio.move_on_after(within_s):
            while True:
                seen = await self.read(request)
                if (None if seen is None else seen["state"]) in states:
                    return seen
                await trio.sleep(0.1)
        raise AssertionError(f"{request} is not {states} within {within_s:g} s but {seen}")

    async def cancel(self, request: str) -> None:
        await self.session.delete(request_path(request))

    async def lock(self, request: str, session: Session) -> str | None:
        """Take a request's lock as kazoo does, without waiting; the contender, if it is held."""
        folder = request_lock_path(request)
        await session.make_path(folder)
        name = f"{folder}/{uuid.uuid4().hex}__lock__"
        contender = await session.create(name, ephemeral=True, sequence=True)
        names = await session.children(folder)
        if min(names, key=lambda one: one[-10:]) == contender.rpartition("/")[2]:
            return contender
        await session.delete(contender)
        return None

    async def contenders(self) -> list[str]:
        """All that hold or want a request's lock."""
        found = []
        for name in await self.session.children(REQUEST_LOCKS):
            with suppress(NoSuchZnodeError):
                found += await self.session.children(f"{REQUEST_LOCKS}/{name}")
        return found

    async def nodes(self) -> list[str]:
        """The znodes of nodes that have data."""
        found = []
        for name in sorted(await self.session.children(NODES)):
            with suppress(NoSuchZnodeError):
                data, _stat = await self.session.get(node_path(name))
                if data:
                    found.append(name)
        return found

    async def register(self, session: Session, id_: str, *labels: str) -> str:
        """Register a pool of another launcher."""
        document = {"id": id_, "supported_labels": list(labels), "kind": "pool"}
        await session.make_path(POOLS)
        name = f"{POOLS}/{id_}"
        return await session.create(
            name, json.dumps(document).encode(), ephemeral=True, sequence=True
        )

    async def pools(self) -> list[dict[str, Any]]:
        found = []
        for name in sorted(await self.session.children(POOLS)):
            data, _stat = await self.session.get(f"{POOLS}/{name}")
            found.append(json.loads(data))
        return found

    async def all_ends(self, within_s: float = 600.0) -> None:
        """Wait until nothing is left of anything: not in the tree, not in Trellis."""
        why = ""
        with trio.move_on_after(within_s):
            while True:
                znodes = await self.nodes()
                contenders = await self.contenders()
                why = f"{self.port.reason_to_wait()} znodes {znodes} contenders {contenders}"
                if not (self.port.reason_to_wait() or znodes or contenders):
                    return
                await trio.sleep(1.0)
        raise AssertionError(f"left after {within_s:g} s: {why}")

    def writes_of_trellis(self) -> list[tuple[str, str]]:
        """What Trellis did to the tree, in order."""
        return [
            (one.happened.value, one.path)
            for one in self.zookeeper.history
            if one.who == "trellis" and not one.by_end
        ]

    def source(self, **parts: Any) -> ZuulSource:
        """Another launcher each time: its pools have ids of their own."""
        self.sources += 1
        return ZuulSource(
            ZuulConfig(
                name=SOURCE,
                type="zuul",
                zookeeper_servers=(ZooKeeperServerConfig(host="zk"),),
                **parts,
            ),
            DemandContext(
                deployment=DEPLOYMENT,
                wall=wall,
                random=Random(self.sources),
                zookeeper=self.zookeeper.opener("trellis"),
                report=self.reports.append,
            ),
        )

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[ZuulSource]:
        """The source runs while the block lasts."""
        source = self.source()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(source.run, self.port)
            yield source
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def another(self, who: str) -> AsyncIterator[Session]:
        """A session of somebody else's."""
        async with self.zookeeper.opener(who)(HOSTS) as session:
            yield session

    async def use(self, request: str, *znodes: str, for_s: float = 10.0) -> None:
        """Have an executor take the nodes of a request, use them, and let go of them."""
        async with self.another("executor") as session:
            executor = Executor(session)
            await executor.accept(request, *znodes)
            for znode in znodes:
                await executor.store(znode, "in-use", user_data={"zuul_system": SYSTEM})
            await trio.sleep(for_s)
            for znode in znodes:
                await executor.store(znode, "used")
                await executor.unlock(znode)


@asynccontextmanager
async def the_request_stage(
    *, latency: Latency | None = None, seed: int = 1
) -> AsyncIterator[RequestStage]:
    """A tree with nothing in it, and a port that serves."""
    async with (
        fake_zookeeper(wall=wall, random=Random(seed), latency=latency) as zookeeper,
        zookeeper.opener("zuul")(HOSTS) as session,
        trio.open_nursery() as nursery,
    ):
        for path in (REQUESTS, REQUEST_LOCKS, NODES, POOLS):
            await session.make_path(path)
        yield RequestStage(zookeeper, RequestPort(nursery), session)
        nursery.cancel_scope.cancel()


async def wait_for(holds: Callable[[], bool], within_s: float = 120.0) -> None:
    """Wait on the virtual clock for something to hold."""
    with trio.fail_after(within_s):
        await trio.lowlevel.checkpoint()
        while not holds():  # noqa: ASYNC110
            await trio.sleep(0.02)
