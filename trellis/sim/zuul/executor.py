"""An executor of Zuul's: locks the nodes of a build, uses them, and gives them back, or dies."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Final

import trio

from trellis.sim.zookeeper import FakeZooKeeper
from trellis.sim.zuul.documents import Document, node_lock, node_path, request_path
from trellis.sim.zuul.jobs import Job
from trellis.sim.zuul.link import KazooLock, Link
from trellis.sim.zuul.spec import ZuulSpec
from trellis.zookeeper.errors import (
    NoSuchZnodeError,
    NotAllowedError,
    SessionLostError,
    UnreachableServersError,
)
from trellis.zookeeper.session import Servers

LOCK_S: Final = 30.0
"""So long an executor waits for the lock of a node."""
SLOW_S: Final = 25.0
SESSION_S: Final = 40.0
SERVERS: Final = Servers(hosts=("zk01.example.org:2281",), timeout_s=SESSION_S)


class NotAcceptedError(Exception):
    """The nodes of a request could not be locked: the build ends with NODE_FAILURE."""


class Executor:
    """One executor; when its process ends, by a kill or a lost session, another is started.

    Args:
        name: of the executor.
        system_id: of its Zuul.
    """

    def __init__(
        self,
        name: str,
        system_id: str,
        *,
        zookeeper: FakeZooKeeper,
        spec: ZuulSpec,
        random: Random,
        wall: Callable[[], float],
    ) -> None:
        self.name = name
        self._system_id = system_id
        self._zookeeper, self._spec, self._random, self._wall = zookeeper, spec, random, wall
        self._link: Link | None = None
        self._up = trio.Event()
        self._builds: dict[trio.CancelScope, Job] = {}
        self._process: trio.CancelScope | None = None
        self.deaths = 0

    async def run(self) -> None:
        """Be there, until cancelled."""
        open_session = self._zookeeper.opener(f"zuul {self.name}")
        while True:
            try:
                with trio.CancelScope() as self._process:
                    async with open_session(SERVERS) as session:
                        self._link = Link(session, self._random)
                        self._up.set()
                        await session.wait_lost()
            except UnreachableServersError:
                continue
            finally:
                self._link = None
                self._up = trio.Event()
                self._end_builds()
            await trio.sleep(self._random.uniform(1.0, 10.0))

    def die(self) -> None:
        """End the process as a kill would: its session lives on until its timeout."""
        if self._link is None or self._process is None:
            return
        self.deaths += 1
        for session in self._zookeeper.sessions:
            if session.id == self._link.session.id:
                self._zookeeper.abandon(session)
        self._end_builds()
        self._process.cancel()

    def _end_builds(self) -> None:
        for scope, job in self._builds.items():
            job.excused = job.excused or "its executor died"
            if job.told.kept_until is None:
                job.told.kept_until = trio.current_time()
            scope.cancel()

    # -------------------------------------------------------------------------------- builds

    async def build(self, request_id: str, job: Job, *, unstarted: bool, hold: bool) -> str:
        """Run a build on the nodes of a fulfilled request; return when it has given them back.

        Returns:
            what came of it: ``done``, ``held``, ``unstarted``, ``lost`` with its executor, or
            ``node failure``.
        """
        while self._link is None:
            await self._up.wait()
        with trio.CancelScope() as scope:  # noqa: ASYNC912
            self._builds[scope] = job
            try:
                with suppress(SessionLostError):
                    return await self._build(
                        self._link, request_id, job, unstarted=unstarted, hold=hold
                    )
            except NotAcceptedError as error:
                job.told.reason = str(error)
                return "node failure"
            finally:
                del self._builds[scope]
        job.excused = job.excused or "its executor lost its session"
        if job.told.kept_until is None:
            job.told.kept_until = trio.current_time()
        return "lost"

    async def _build(
        self, link: Link, request_id: str, job: Job, *, unstarted: bool, hold: bool
    ) -> str:
        found = await link.read(request_path(request_id))
        if found is None:
            raise NotAcceptedError(f"the request {request_id} is gone")
        async with self._accepted(link, request_id, found[0], job) as nodes:
            if unstarted:
                job.told.kept_until = trio.current_time()
                return "unstarted"
            for node_id, document in nodes.items():
                document["state"], document["state_time"] = "in-use", self._wall()
                document["user_data"] = {
                    "zuul_system": self._system_id,
                    "project_name": "example/project",
                    "of_a_later_zuul": self._random.getrandbits(128),
                }
                await self._store(link, node_id, document)
            await trio.sleep(job.wanted.use_s)
            job.held = hold
            for node_id, document in nodes.items():
                document["state"], document["state_time"] = "used", self._wall()
                if hold:
                    self._hold(document)
                await self._store(link, node_id, document)
            if hold:
                return "held"
            job.told.kept_until = trio.current_time()
            return "done"

    @asynccontextmanager
    async def _accepted(
        self, link: Link, request_id: str, request: Document, job: Job
    ) -> AsyncIterator[dict[str, Document]]:
        """The nodes, locked, while the block lasts; the request is deleted, whatever comes."""
        locks, nodes = list[KazooLock](), dict[str, Document]()
        refusal = ""
        try:
            for node_id in request.get("nodes") or ():
                nodes[node_id] = await self._locked(link, request_id, node_id, job, locks)
        except (NotAcceptedError, NoSuchZnodeError, NotAllowedError) as error:
            refusal = str(error)
        if request.get("state") != "fulfilled":
            refusal = f"the request {request_id} is {request.get('state')}"
        await link.delete(request_path(request_id))
        try:
            if refusal:
                raise NotAcceptedError(refusal)
            yield nodes
        finally:
            if refusal and job.told.kept_until is None:
                job.told.kept_until = trio.current_time()
            for lock in locks:
                # Of one that dies nothing is released: its session's end does it.
                await lock.release()  # noqa: ASYNC102

    async def _locked(
        self, link: Link, request_id: str, node_id: str, job: Job, locks: list[KazooLock]
    ) -> Document:
        found = await link.read(node_path(node_id))
        if found is None:
            raise NotAcceptedError(f"the node {node_id} is gone")
        document = found[0]
        if document.get("allocated_to") != request_id:
            whose = document.get("allocated_to")
            raise NotAcceptedError(f"the node {node_id} is allocated to {whose}")
        if self._random.random() < self._spec.slow:
            await trio.sleep(self._random.uniform(0.0, SLOW_S))
        lock = KazooLock(link, node_lock(node_id))
        if not await lock.acquire(LOCK_S):
            raise NotAcceptedError(f"the lock of the node {node_id} was not to be had")
        # What it goes by is what it read before it had the lock.
        locks.append(lock)
        job.locked(node_id, document, lock.contender)
        return document

    def _hold(self, document: Document) -> None:
        document["state"] = "hold"
        document["hold_job"] = "tenant example/project job .*"
        document["comment"] = "look at this"
        seconds = self._random.choice((None, 0, 60, 90.5, "120"))
        if seconds is not None:
            document["hold_expiration"] = seconds

    async def _store(self, link: Link, node_id: str, document: Document) -> None:
        try:
            await link.write(node_path(node_id), {**document, "id": node_id})
        except NoSuchZnodeError:
            return  # Zuul logs it and goes on
