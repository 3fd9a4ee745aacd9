"""A stage for the lives of nodes: a simulated ZooKeeper, a scripted port and a Zuul's executor."""

import json
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import attrs
import trio
from trellis_zuul.ground import Ground, ground_of
from trellis_zuul.marks import Marks
from trellis_zuul.node_lives import NodeLives
from trellis_zuul.node_wire import Handover, ready_document
from trellis_zuul.paths import NODES, node_lock_path, node_path, request_path

from trellis.errors import AlreadyDoneError, UnknownIdError
from trellis.model.node import Addresses, Login, Node, NodeState
from trellis.model.request import NodeRequest, RequestId, RequestState
from trellis.sim.zookeeper import FakeZooKeeper, Latency, fake_zookeeper
from trellis.testing.builders import a_node, a_request
from trellis.zookeeper.errors import DisconnectedError, NoSuchZnodeError, SessionLostError
from trellis.zookeeper.session import Servers, Session

HOSTS = Servers(hosts=("zk:2181",), timeout_s=10.0)
DEPLOYMENT, SOURCE, SYSTEM = "ci", "zuul", "system-1"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITEST"
EPOCH = 1_767_225_600.0


def wall() -> float:
    """UTC; trio's test clock starts anywhere."""
    return EPOCH + trio.current_time()


def a_fit_node(number: int = 1, **parts: Any) -> Node:
    """A ready node with all that Zuul wants to know of it."""
    given: dict[str, Any] = {
        "addresses": Addresses(
            interface_ip=f"192.0.2.{number}",
            public_ipv4=f"192.0.2.{number}",
            private_ipv4=f"10.0.0.{number}",
        ),
        "host_keys": (KEY,),
        "login": Login(username="zuul"),
    }
    return a_node(number, **{**given, **parts})


class ScriptedPort:
    """The demand port on a few records: what a source may do with nodes, and what comes of it.

    Attributes:
        said: what was asked of it, in order.
        deletion_s: how long a node takes to be gone.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nodes: dict[str, Node] = {}
        self.requests: dict[str, NodeRequest] = {}
        self.said: list[tuple[str, str]] = []
        self.deletion_s = 3.0
        self._nursery = nursery
        self._changed = trio.Event()

    def fulfilled(self, number: int, *nodes: int) -> NodeRequest:
        """Record a fulfilled request with nodes of these numbers."""
        request = a_request(
            number,
            ["small"] * len(nodes),
            source=SOURCE,
            state=RequestState.FULFILLED,
            nodes=tuple(a_node(n).id for n in nodes),
        )
        self.requests[request.id] = request
        for n in nodes:
            node = a_fit_node(n, allocated_to=request.id, lease_id="lease-1")
            self.nodes[node.id] = node
        return request

    async def request(self, request_id: RequestId) -> NodeRequest:
        await trio.lowlevel.checkpoint()
        try:
            return self.requests[request_id]
        except KeyError:
            raise UnknownIdError(f"there is no request {request_id}") from None

    def asked_by(self, source: str) -> tuple[NodeRequest, ...]:
        return tuple(r for r in self.requests.values() if r.ask.source == source)

    async def nodes_of(self, request: NodeRequest) -> tuple[Node, ...]:
        await trio.lowlevel.checkpoint()
        return tuple(self._node(one) for one in request.nodes)

    async def wait_node(self, node_id: str, known: Node) -> Node:
        while self._node(node_id).state is known.state:
            await self._changed.wait()
        return self._node(node_id)

    async def in_use(self, node_ids: Sequence[str]) -> None:
        await self._say("in_use", node_ids)
        for one in node_ids:
            if self._node(one).state is NodeState.READY:
                self.become(one, NodeState.IN_USE)

    async def hold(self, node_id: str, *, by: str, reason: str, until: float | None = None) -> Node:
        await self._say("hold", [node_id])
        if self._node(node_id).state not in (NodeState.IN_USE, NodeState.USED):
            raise AlreadyDoneError(f"node {node_id} cannot be held")
        self.become(node_id, NodeState.HOLD, held_by=by, hold_reason=reason, hold_until=until)
        return self.nodes[node_id]

    async def release_nodes(self, node_ids: Sequence[str], *, why: str) -> None:
        assert why
        await self._say("release", node_ids)
        for one in node_ids:
            state = self._node(one).state
            if state in (NodeState.IN_USE, NodeState.HOLD):
                self.become(one, NodeState.USED)
                self._nursery.start_soon(self._delete, one)
            elif state is NodeState.READY:
                self.become(one, NodeState.DELETING)
                self._nursery.start_soon(self._delete, one)

    async def give_back(self, node_ids: Sequence[str], *, why: str) -> None:
        assert why
        await self._say("give_back", node_ids)
        for one in node_ids:
            node = self._node(one)
            assert node.state is NodeState.READY, "a node that was handed out is given back"
            self.nodes[one] = node.freed()
            self._tell()

    def become(self, node_id: str, state: NodeState, **changes: Any) -> None:
        """Have a node take a step."""
        node = self._node(node_id)
        self.nodes[node_id] = attrs.evolve(node, state=state, state_at=wall(), **changes)
        self._tell()

    async def _delete(self, node_id: str) -> None:
        await trio.sleep(self.deletion_s)
        self.become(node_id, NodeState.GONE)

    async def _say(self, what: str, node_ids: Sequence[str]) -> None:
        await trio.lowlevel.checkpoint()
        self.said.extend((what, one) for one in node_ids)

    def _node(self, node_id: str) -> Node:
        try:
            return self.nodes[node_id]
        except KeyError:
            raise UnknownIdError(f"there is no node {node_id}") from None

    def _tell(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    def words(self, number: int = 1) -> list[str]:
        """What was asked of it about one node, without what was said again."""
        said = [what for what, one in self.said if one == a_node(number).id]
        return [what for at, what in enumerate(said) if at == 0 or said[at - 1] != what]


class Executor:
    """What Zuul's executor does with nodes, call for call; it does not read after it locked."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.documents: dict[str, dict[str, Any]] = {}
        self._contenders: dict[str, str] = {}

    async def read(self, znode: str, request: str) -> None:
        data, _stat = await self.session.get(node_path(znode))
        document = json.loads(data)
        assert document["allocated_to"] == request, "the node is another request's"
        self.documents[znode] = {"id": znode, **document}

    async def lock(self, znode: str, patience_s: float = 30.0) -> bool:
        """kazoo's lock: its folder is made with all that is above it."""
        folder = node_lock_path(znode)
        await self.session.make_path(folder)
        name = f"{folder}/{uuid.UUID(int=len(self._contenders)).hex}__lock__"
        contender = await self.session.create(name, ephemeral=True, sequence=True)
        with trio.move_on_after(patience_s):
            while True:
                names = await self.session.children(folder)
                if min(names, key=lambda name: name[-10:]) == contender.rpartition("/")[2]:
                    self._contenders[znode] = contender
                    return True
                await trio.sleep(0.05)
        await self.session.delete(contender)
        return False

    async def accept(self, request: str, *znodes: str) -> None:
        """Lock the nodes of a request, then delete it."""
        for znode in znodes:
            await self.read(znode, request)
            assert await self.lock(znode), "the node stays locked"
        await self.session.delete(request_path(request))

    async def store(self, znode: str, state: str, **keys: Any) -> None:
        document = {**self.documents[znode], "state": state, "state_time": wall(), **keys}
        self.documents[znode] = document
        await self.session.write(node_path(znode), json.dumps(document).encode())

    async def unlock(self, znode: str) -> None:
        await self.session.delete(self._contenders.pop(znode))

    async def use(self, request: str, znode: str, *, for_s: float = 60.0) -> None:
        """A whole build on one node."""
        await self.accept(request, znode)
        await self.store(znode, "in-use", user_data={"zuul_system": SYSTEM})
        await trio.sleep(for_s)
        await self.store(znode, "used")
        await self.unlock(znode)


@attrs.define(eq=False)
class Stage:
    """The tree, the port, and hands in the tree that are not ours."""

    zookeeper: FakeZooKeeper
    port: ScriptedPort
    session: Session
    """A scheduler's, or anybody's."""

    async def ask(self, name: str, *, state: str = "requested", **keys: Any) -> None:
        """Put a request into the tree, as it stands when nodes are made for it."""
        document = {
            "state": state,
            "state_time": wall(),
            "node_types": ["small"],
            "requestor": SYSTEM,
            "requestor_data": {},
            "provider": None,
            "event_id": None,
            **keys,
        }
        await self.session.make_path(request_path(name))
        await self.session.write(request_path(name), json.dumps(document).encode())

    async def offer(self, request: NodeRequest, name: str, *, fulfil: bool = True) -> list[str]:
        """Make the znodes of a fulfilled request's nodes, and answer Zuul's request with them."""
        await self.ask(name, state="pending")
        made = []
        for node_id in request.nodes:
            to = Handover(
                deployment=DEPLOYMENT,
                source=SOURCE,
                zuul_request=name,
                request=request.id,
                requestor=SYSTEM,
                tenant=None,
                launcher=None,
            )
            data = ready_document(self.port.nodes[node_id], to, wall())
            path = await self.session.create(f"{NODES}/", data, sequence=True)
            made.append(path.rpartition("/")[2])
        if fulfil:
            await self.ask(name, state="fulfilled", nodes=made)
        return made

    async def document(self, znode: str) -> dict[str, Any] | None:
        try:
            data, _stat = await self.session.get(node_path(znode))
        except NoSuchZnodeError:
            return None
        return json.loads(data) if data else {}

    async def folders(self) -> set[str]:
        """All that is below the nodes' root."""
        found, paths = set(), [NODES]
        while paths:
            path = paths.pop()
            for name in await self.session.children(path):
                found.add(f"{path}/{name}")
                paths.append(f"{path}/{name}")
        return {path.removeprefix(f"{NODES}/") for path in found}


@asynccontextmanager
async def the_stage(*, latency: Latency | None = None, seed: int = 1) -> AsyncIterator[Stage]:
    """A tree with nothing in it, and a port that has nothing."""
    async with (
        fake_zookeeper(wall=wall, random=Random(seed), latency=latency) as zookeeper,
        zookeeper.opener("zuul")(HOSTS) as session,
        trio.open_nursery() as nursery,
    ):
        await session.make_path(NODES)
        yield Stage(zookeeper, ScriptedPort(nursery), session)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def an_executor(stage: Stage) -> AsyncIterator[Executor]:
    """One with a session of its own; leaving the block is its orderly end."""
    async with stage.zookeeper.opener("executor")(HOSTS) as session:
        yield Executor(session)


def a_ground(stage: Stage, session: Session) -> Ground:
    return ground_of(
        session,
        stage.port,  # type: ignore[arg-type]
        deployment=DEPLOYMENT,
        source=SOURCE,
        wall=wall,
        random=Random(3),
    )


@asynccontextmanager
async def lives_on(stage: Stage) -> AsyncIterator[tuple[NodeLives, Ground]]:
    """All lives, on one session that nothing befalls that ends it."""
    async with (
        stage.zookeeper.opener("trellis")(HOSTS) as session,
        trio.open_nursery() as nursery,
    ):
        ground = a_ground(stage, session)
        for mirror in ground.mirrors:
            await nursery.start(mirror.run)
        lives = NodeLives(ground, Marks(ground.nodes, deployment=DEPLOYMENT, source=SOURCE))
        await nursery.start(lives.run)
        yield lives, ground
        nursery.cancel_scope.cancel()


async def live_on(stage: Stage) -> None:
    """All lives, on one session after the other, until cancelled: as the source runs them."""
    while True:
        try:
            async with stage.zookeeper.opener("trellis")(HOSTS) as session:
                ground = a_ground(stage, session)
                async with trio.open_nursery() as nursery:
                    for mirror in ground.mirrors:
                        await nursery.start(mirror.run)
                    nursery.start_soon(
                        NodeLives(
                            ground, Marks(ground.nodes, deployment=DEPLOYMENT, source=SOURCE)
                        ).run
                    )
                    await session.wait_lost()
                    nursery.cancel_scope.cancel()
        except* (SessionLostError, DisconnectedError):
            await trio.sleep(0.1)


async def wait_until(holds: Callable[[], bool], within_s: float = 300.0) -> None:
    """Wait on the virtual clock for something to hold."""
    ends_at = trio.current_time() + within_s
    while True:
        await trio.sleep(0.05)
        if holds():
            return
        assert trio.current_time() < ends_at, f"it does not hold after {within_s:g} s"
