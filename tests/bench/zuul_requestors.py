"""Zuul's part in the tree, for many jobs at once: the same writes, over two sessions of ours."""

import json
import time
from typing import Any, Final

import attrs
import trio

from tests.bench.arithmetic import Life
from trellis.zookeeper.lock import Lock
from trellis.zookeeper.session import Happened, Session

REQUESTS: Final = "/nodepool/requests"
NODES: Final = "/nodepool/nodes"
SYSTEM: Final = "5" * 32
_ANSWERS: Final = ("fulfilled", "failed")


@attrs.define(kw_only=True)
class ZuulRequestors:
    """As `tests.bench.requestors.Requestors`, through ZooKeeper.

    Attributes:
        scheduler: session that files requests and sees their answers.
        executor: session that locks and uses nodes.
        lives: those that were served and let go, in the order of that.
        refused: requests that failed.
        writes: how many znodes were made, written or deleted for these lives, on our side.
        reads: how many calls only read.
    """

    scheduler: Session
    executor: Session
    hold_s: float = 0.0
    lives: list[Life] = attrs.field(factory=list)
    refused: list[str] = attrs.field(factory=list)
    writes: int = 0
    reads: int = 0
    _answers: dict[str, trio.Event] = attrs.field(factory=dict)
    _stop: bool = False

    def stop(self) -> None:
        """Have no more requests filed; those that are go on to their end."""
        self._stop = True

    async def keep(self, number: int, *, ramp_s: float) -> None:
        """Keep so many jobs going until `stop`, then until the last has ended."""
        async with trio.open_nursery() as watching:
            await watching.start(self._watch)
            async with trio.open_nursery() as nursery:
                for place in range(number):
                    nursery.start_soon(self._again_and_again, ramp_s * place / number)
            watching.cancel_scope.cancel()

    async def file(self, *, rank: int = 0) -> str:
        """File a request; its path."""
        now = time.time()
        document = {
            "node_types": ["small"],
            "requestor": SYSTEM,
            "requestor_data": {
                "build_set_uuid": "b" * 32,
                "tenant_name": "acme",
                "pipeline_name": "check",
                "job_uuid": "c" * 32,
                "job_name": "job",
                "span_info": {"trace_id": 2**127 + 12345},
            },
            "provider": None,
            "relative_priority": rank,
            "event_id": "e" * 32,
            "tenant_name": "acme",
            "created_time": now,
            "state": "requested",
            "state_time": now,
        }
        self.writes += 1
        return await self.scheduler.create(
            f"{REQUESTS}/200-", json.dumps(document).encode(), sequence=True
        )

    def faults(self) -> list[str]:
        """What must never be: a request not served, a server handed out twice."""
        found = list(self.refused)
        owners: dict[str, str] = {}
        for life in self.lives:
            other = owners.setdefault(life.server_id, life.request_id)
            if other != life.request_id:
                found.append(f"{life.server_id} was given to {other} and to {life.request_id}")
        return found

    async def _watch(  # noqa: ASYNC114 - it is started by `keep` alone
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Tell of each write of a request; the answer is read by whoever waits."""
        async with self.scheduler.watch(REQUESTS) as news:
            task_status.started()
            async for piece in news:
                if piece.happened is Happened.MISSED:
                    raise RuntimeError("the bench reads too slowly: its figures mean nothing")
                if piece.path in self._answers:
                    self._answers[piece.path].set()

    async def _again_and_again(self, delay_s: float) -> None:
        await trio.sleep(delay_s)
        while not self._stop:
            await self._live()

    async def _live(self) -> None:
        life = Life(key="", filed=time.monotonic())
        path = await self.file()
        life.key = life.request_id = path.rpartition("/")[2]
        answer = await self._answer(path)
        life.ready = time.monotonic()
        if answer["state"] != "fulfilled":
            self.refused.append(f"request {life.request_id}: {answer['state']}")
            return
        (node_id,) = answer["nodes"]
        await self._use(f"{NODES}/{node_id}", path, life)
        self.lives.append(life)

    async def _answer(self, path: str) -> dict[str, Any]:
        while True:
            self._answers[path] = trio.Event()
            self.reads += 1
            document: dict[str, Any] = json.loads((await self.scheduler.get(path))[0])
            if document["state"] in _ANSWERS:
                del self._answers[path]
                return document
            await self._answers[path].wait()

    async def _use(self, path: str, request: str, life: Life) -> None:
        """As an executor: lock it, look again, delete the request, use it, let go of it."""
        data, stat = await self.executor.get(path)
        node = json.loads(data)
        if node["allocated_to"] != life.request_id or node["state"] != "ready":
            self.refused.append(f"{path} is {node['state']} for {node['allocated_to']}")
            return
        life.node_id = node["driver_data"]["trellis"]["node"]
        life.server_id, life.provider = node["external_id"], node["provider"]
        lock = Lock(self.executor, f"{path}/lock")
        await lock.acquire()
        await self.executor.delete(request)
        stat = await self.executor.write(path, _as(node, "in-use"), version=stat.version)
        if self.hold_s:
            await trio.sleep(self.hold_s)
        life.released = time.monotonic()
        await self.executor.write(path, _as(node, "used"), version=stat.version)
        await lock.release()
        self.reads += 2  # the node, and who is in the folder of its lock
        self.writes += 6  # folder and contender of the lock, request, two states, contender


async def make_roots(session: Session) -> None:
    """The folders that Zuul makes."""
    for path in (REQUESTS, "/nodepool/requests-lock", NODES):
        await session.make_path(path)


def _as(node: dict[str, Any], state: str) -> bytes:
    return json.dumps({**node, "state": state, "state_time": time.time()}).encode()
