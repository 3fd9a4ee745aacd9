"""Another launcher on the tree, of Nodepool's kind: registers, declines, serves, deletes."""

from collections.abc import Callable, Collection
from random import Random
from typing import Final

import trio

from trellis.sim.zookeeper import FakeZooKeeper
from trellis.sim.zuul.documents import (
    NODES,
    POOLS,
    REQUESTS,
    Document,
    decoded,
    node_lock,
    node_path,
    request_lock,
    request_path,
)
from trellis.sim.zuul.executor import SERVERS
from trellis.sim.zuul.link import KazooLock, Link
from trellis.zookeeper.errors import (
    DisconnectedError,
    HasChildrenError,
    NoSuchZnodeError,
    OtherVersionError,
    SessionLostError,
    UnreachableServersError,
)

LAUNCHER: Final = "nodepool-launcher-1"
PROVIDER: Final = "static-rack"
PASS_S: Final = 7.0
"""Between two of its looks at all requests."""
TAKES: Final = 0.1
"""Share of the requests that it takes though Trellis could serve them as well."""


class OtherLauncher:
    """One pool of machines of its own.

    Args:
        labels: that it can serve as well as Trellis.
        takes: share of the requests for these that it takes.
        deployments: of Trellis's daemons, where there are several.
    """

    def __init__(
        self,
        labels: tuple[str, ...],
        *,
        zookeeper: FakeZooKeeper,
        random: Random,
        wall: Callable[[], float],
        takes: float = TAKES,
        deployments: Collection[str] = (),
    ) -> None:
        self._labels, self._takes, self._deployments = labels, takes, deployments
        self._zookeeper, self._random, self._wall = zookeeper, random, wall
        self._id = f"{LAUNCHER}-PoolWorker.{PROVIDER}-main-{random.getrandbits(128):032x}"
        self._machines = 0
        self._mine: dict[str, str] = {}
        """By node, the request that it was made for."""
        self._passed_on: set[str] = set()
        self._ends = False

    def end(self) -> None:
        """Take nothing new from now on: only what is there is seen to its end."""
        self._ends = True

    async def run(self) -> None:
        """Work until cancelled."""
        open_session = self._zookeeper.opener(LAUNCHER)
        while True:
            try:
                async with open_session(SERVERS) as session:
                    link = Link(session, self._random)
                    await link.create(f"{POOLS}/{LAUNCHER}-", self._component(), ephemeral=True)
                    while True:
                        await self._pass(link)
                        await trio.sleep(PASS_S)
            except (SessionLostError, UnreachableServersError, DisconnectedError):
                await trio.sleep(1.0)

    def _component(self) -> Document:
        return {
            "id": self._id,
            "provider_name": PROVIDER,
            "supported_labels": list(self._labels),
            "priority": 100,
        }

    async def _pass(self, link: Link) -> None:
        for request_id in sorted(await link.children(REQUESTS)):
            if request_id not in self._passed_on:
                await self._consider(link, request_id)
        for node_id in list(self._mine):
            await self._see_off(link, node_id)

    async def _consider(self, link: Link, request_id: str) -> None:
        found = await link.read(request_path(request_id))
        if found is None or found[0].get("state") != "requested":
            return
        can = set(found[0].get("node_types") or ()) <= set(self._labels)
        if can and (self._ends or self._random.random() >= self._takes):
            self._passed_on.add(request_id)  # it is busy, and never gets to it
            return
        if not can and self._id in (found[0].get("declined_by") or ()):
            return
        lock = KazooLock(link, request_lock(request_id))
        try:
            if not await lock.acquire():
                return
            found = await link.read(request_path(request_id))
            if found is not None and found[0].get("state") == "requested":
                serve = self._serve if can else self._decline
                await serve(link, request_id, found[0], found[1].version)
        except (NoSuchZnodeError, OtherVersionError):
            return
        finally:
            await lock.release()  # noqa: ASYNC102

    async def _decline(self, link: Link, request_id: str, request: Document, version: int) -> None:
        declined = [*(request.get("declined_by") or ()), self._id]
        registered, there = set[str](), set[str]()
        for name in await link.children(POOLS):
            found = await link.read(f"{POOLS}/{name}")
            if found is not None:
                registered.add(str(found[0].get("id")))
                there.add(str(found[0].get("hostname")))
        if registered <= {self._id} or not there.issuperset(self._deployments):
            # Nodepool would fail it at once. That Trellis has been away for longer than its
            # session lasts is no fault of a request, and not what is looked for here.
            return
        state = "failed" if registered <= set(declined) else "requested"
        document = {**request, "declined_by": declined, "state": state, "state_time": self._wall()}
        await link.write(request_path(request_id), document, version)

    async def _serve(self, link: Link, request_id: str, request: Document, version: int) -> None:
        document = {**request, "state": "pending", "state_time": self._wall()}
        await link.write(request_path(request_id), document, version)
        await trio.sleep(self._random.uniform(0.0, 5.0))
        nodes = []
        for label in request["node_types"]:
            self._machines += 1
            path = await link.create(f"{NODES}/", self._node(label, request_id))
            nodes.append(path.rpartition("/")[2])
            self._mine[nodes[-1]] = request_id
        document = {
            **document,
            "nodes": nodes,
            "state": "fulfilled",
            "state_time": self._wall(),
        }
        await link.write(request_path(request_id), document, version + 1)

    def _node(self, label: str, request_id: str) -> Document:
        return {
            "allocated_to": request_id,
            "state": "ready",
            "state_time": self._wall(),
            "type": [label],
            "provider": PROVIDER,
            "launcher": LAUNCHER,
            "pool": "main",
            "az": None,
            "external_id": f"machine-{self._machines}",
            "interface_ip": f"192.0.2.{self._machines % 250 + 1}",
            "host_keys": [f"ssh-ed25519 AAAAmachine{self._machines}"],
            "connection_type": "ssh",
            "connection_port": 22,
        }

    async def _see_off(self, link: Link, node_id: str) -> None:
        """Delete a node of ours that nobody uses any more."""
        try:
            data, _ = await link.again(lambda: link.session.get(node_path(node_id)))
        except NoSuchZnodeError:
            self._mine.pop(node_id, None)
            return
        document = decoded(data)
        state = document.get("state") if document is not None else "used"
        if state == "ready" and await link.read(request_path(self._mine[node_id])) is not None:
            return
        if state == "hold":
            assert document is not None
            seconds = float(document.get("hold_expiration") or 0.0)
            if not seconds or self._wall() < float(document["state_time"]) + seconds:
                return
        lock = KazooLock(link, node_lock(node_id))
        if not await lock.acquire():
            return
        await lock.release()
        try:
            await link.again(lambda: link.session.delete(node_lock(node_id)))
            await link.again(lambda: link.session.delete(node_path(node_id)))
        except (HasChildrenError, NoSuchZnodeError):
            return
        self._mine.pop(node_id, None)
