"""A scheduler of Zuul's: files the requests of its jobs, revises them, and cancels them."""

import math
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Final, TypeVar

import trio

from trellis.sim.demand import Wanted
from trellis.sim.transcript import Transcript
from trellis.sim.zookeeper import FakeZooKeeper
from trellis.sim.zuul.documents import (
    REQUESTS,
    Document,
    node_lock,
    node_path,
    request_document,
    request_lock,
    request_path,
)
from trellis.sim.zuul.executor import SERVERS, Executor
from trellis.sim.zuul.jobs import Job
from trellis.sim.zuul.link import KazooLock, Link
from trellis.sim.zuul.spec import ZuulSpec
from trellis.zookeeper.errors import (
    DisconnectedError,
    NoSuchZnodeError,
    NotAllowedError,
    OtherVersionError,
    SessionLostError,
    UnreachableServersError,
)
from trellis.zookeeper.session import Happened

_T = TypeVar("_T")
NOBODYS_LABEL: Final = "nobody-has-it"
CLEANUP_S: Final = 60.0
HOLD_S: Final = (20.0, 200.0)
"""A held node is given free by a person so long after."""
AGAIN_S: Final = 10.0
_NEVER_REVISED: Final = 100


class Scheduler:
    """One Zuul system's scheduler.

    Args:
        number: of the system.
        executors: of this system.
    """

    def __init__(
        self,
        number: int,
        *,
        zookeeper: FakeZooKeeper,
        spec: ZuulSpec,
        random: Random,
        wall: Callable[[], float],
    ) -> None:
        self.name = f"zuul {number}"
        self.system_id = f"{random.getrandbits(128):032x}"
        self._zookeeper, self._spec, self._random, self._wall = zookeeper, spec, random, wall
        self.executors: Sequence[Executor] = ()
        self.jobs: list[Job] = []
        self._link: Link | None = None
        self._up = trio.Event()
        self._mine: dict[str, trio.Event] = {}
        """By request that is wanted still, what is set when it has changed."""
        self._chances: dict[str, Random] = {}
        self.revised = 0

    async def run(self) -> None:
        """Be connected, revise and clean up, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow)
            nursery.start_soon(self._revise)
            nursery.start_soon(self._clean_up)

    async def _follow(self) -> None:
        open_session = self._zookeeper.opener(f"{self.name} scheduler")
        while True:
            try:
                async with open_session(SERVERS) as session:
                    link = Link(session, self._random)
                    await link.again(lambda s=session: s.make_path(REQUESTS))  # type: ignore[misc]
                    async with session.watch(REQUESTS) as news:
                        self._link = link
                        self._up.set()
                        self._all_changed()
                        async for one in news:
                            if one.happened is Happened.MISSED:
                                self._all_changed()
                            elif (id := one.path.rpartition("/")[2]) in self._mine:
                                self._mine[id].set()
            except (UnreachableServersError, SessionLostError, DisconnectedError):
                pass
            finally:
                self._link = None
                self._up = trio.Event()
            await trio.sleep(self._random.uniform(0.5, 3.0))

    def _all_changed(self) -> None:
        for event in self._mine.values():
            event.set()

    async def _ask(self, ask: Callable[[Link], Awaitable[_T]]) -> _T:
        """Ask with this session or a later one."""
        while True:
            while self._link is None:
                await self._up.wait()
            try:
                return await ask(self._link)
            except SessionLostError:
                await trio.sleep(0.1)

    # ---------------------------------------------------------------------------------- jobs

    async def job(
        self, wanted: Wanted, give_up_at: float, chance: Random, *, provider: str | None = None
    ) -> Job:
        """Have one job done; return when it is over for Zuul.

        Args:
            give_up_at: when it is cancelled if it still waits.
            chance: all that is drawn for it.
            provider: that its parent runs on.
        """
        told = Transcript(
            requestor=f"{self.name} {wanted.requestor}",
            labels=wanted.labels,
            filed_at=trio.current_time(),
            stream=wanted.stream,
            priority=wanted.priority,
            tenant=wanted.tenant,
        )
        job = Job(self.name, wanted, chance, told)
        self.jobs.append(job)
        spec = self._spec
        cancel_at = math.inf
        if wanted.cancel_after_s is not None:
            cancel_at = trio.current_time() + wanted.cancel_after_s
        cancel_on = ""
        if chance.random() < spec.cancel_at_write:
            cancel_on = chance.choice(("pending", "fulfilled", "accepting", "accepting"))
        if chance.random() < spec.alternatives:
            await self._attempt(job, (NOBODYS_LABEL,), provider, min(cancel_at, give_up_at), "")
            if told.ended == "failed":
                told.ended = ""
        if not told.ended:
            until = min(cancel_at, give_up_at)
            await self._attempt(job, wanted.labels, provider, until, cancel_on)
        if told.ended == "cancelled" and trio.current_time() >= give_up_at:
            told.ended, told.reason = "", f"nobody answered: {told.reason}"
        return job

    async def _attempt(
        self,
        job: Job,
        labels: tuple[str, ...],
        provider: str | None,
        until: float,
        cancel_on: str,
    ) -> None:
        """File a request and see it to its end; what came of it is in the transcript."""
        wanted, told = job.wanted, job.told
        priority = wanted.priority - (provider is not None)
        document = request_document(
            labels,
            system=self.system_id,
            job=wanted.requestor,
            tenant=wanted.tenant or "example",
            now=self._wall(),
            provider=provider,
            relative_priority=job.chance.randint(0, 5),
            random=job.chance,
        )
        prefix = f"{REQUESTS}/{priority:0>3}-"
        path = await self._ask(lambda link: link.create(prefix, document))
        request_id = path.rpartition("/")[2]
        job.requests.append(request_id)
        changed = self._mine[request_id] = trio.Event()
        try:
            answer = await self._answer(request_id, until, cancel_on, changed)
            if answer == "fulfilled":
                told.fulfilled_at = trio.current_time()
                await self._run_on(request_id, job, cancel_on)
                return
        finally:
            self._mine.pop(request_id, None)
        last = await self._ask(lambda link: link.read(path))
        await self._ask(lambda link: link.delete(path))
        told.ended = "failed" if answer == "failed" else "cancelled"
        state = "gone" if last is None else last[0].get("state")
        told.reason = f"the request {request_id} {answer}, its state is {state}"
        if answer == "vanished":
            told.ended, told.reason = "failed", f"the request {request_id} was deleted by somebody"

    async def _answer(
        self, request_id: str, until: float, cancel_on: str, changed: trio.Event
    ) -> str:
        """How a request was answered; ``cancelled`` if it was not in time, or is to be."""
        while True:
            changed = self._mine[request_id] = trio.Event()
            found = await self._ask(lambda link: link.read(request_path(request_id)))
            if found is None:
                return "vanished"
            state = str(found[0].get("state"))
            if state == cancel_on:
                return "cancelled"
            if state in ("fulfilled", "failed"):
                return state
            with trio.move_on_at(until) as scope:
                await changed.wait()
            if scope.cancelled_caught:
                return "cancelled"

    async def _run_on(self, request_id: str, job: Job, cancel_on: str) -> None:
        chance, spec = job.chance, self._spec
        executor = chance.choice(self.executors)
        unstarted, hold = chance.random() < spec.unstarted, chance.random() < spec.hold
        child = chance.random() < spec.children
        async with trio.open_nursery() as nursery:
            if cancel_on == "accepting":
                nursery.start_soon(self._dequeue, request_id, job, chance.uniform(0.0, 0.05))
            await trio.sleep(chance.uniform(0.0, 0.1))
            came = await executor.build(request_id, job, unstarted=unstarted, hold=hold)
        job.told.ended = "fulfilled"
        if came == "lost":
            await self._ask(lambda link: link.delete(request_path(request_id)))
        if came == "node failure" or len(job.told.nodes) < len(job.told.labels):
            job.told.ended = "cancelled" if job.excused else "failed"
            job.told.fulfilled_at = None
        if job.held:
            await self._free_held(job)
        if came == "done" and child and job.told.nodes:
            at = job.told.nodes[0].provider
            wanted = Wanted(
                at=trio.current_time(),
                requestor=f"{job.wanted.requestor}-child",
                stream=job.wanted.stream,
                labels=job.wanted.labels[:1],
                use_s=job.wanted.use_s / 2,
                priority=job.wanted.priority,
                tenant=job.wanted.tenant,
            )
            await self.job(wanted, math.inf, chance, provider=at)

    async def _dequeue(self, request_id: str, job: Job, after_s: float) -> None:
        """Cancel a job while its executor is about to lock the nodes."""
        await trio.sleep(after_s)
        job.excused = "it was dequeued"
        await self._ask(lambda link: link.delete(request_path(request_id)))

    async def _free_held(self, job: Job) -> None:
        """Have a person free the held nodes: read first, then locked, then written."""
        ends = [trio.current_time() + job.chance.uniform(*HOLD_S)]
        for node in job.told.nodes:
            node_id = str(node.node_id).removeprefix("znode ")
            found = await self._ask(lambda link, n=node_id: link.read(node_path(n)))  # type: ignore[misc]
            seconds = float(found[0].get("hold_expiration") or 0.0) if found is not None else 0.0
            if found is not None and seconds:
                # It counts from when Zuul meant to write it, not from when it could.
                ago_s = self._wall() - float(found[0]["state_time"])
                ends.append(trio.current_time() + seconds - ago_s - 1.0)
        if job.told.kept_until is None:
            job.told.kept_until = min(ends)
        await trio.sleep_until(ends[0])
        for node in job.told.nodes:
            node_id = str(node.node_id).removeprefix("znode ")
            while not await self._ask(lambda link, n=node_id: self._marked_used(link, n)):  # type: ignore[misc]  # noqa: ASYNC110
                await trio.sleep(AGAIN_S)

    async def _marked_used(self, link: Link, node_id: str) -> bool:
        found = await link.read(node_path(node_id))
        if found is None or found[0].get("state") == "used":
            return True
        lock = KazooLock(link, node_lock(node_id))
        try:
            if not await lock.acquire():
                return False
            await link.write(node_path(node_id), {**found[0], "id": node_id, "state": "used"})
        except (NoSuchZnodeError, NotAllowedError):
            return True
        finally:
            await lock.release()  # noqa: ASYNC102
        return True

    # ------------------------------------------------------------------- what goes on besides

    async def _revise(self) -> None:
        """Revise the relative priority of some that wait, as items ahead of them go."""
        while True:
            await trio.sleep(self._random.expovariate(1.0 / self._spec.revise_every_s))
            waiting = list(self._mine)
            for request_id in self._random.sample(waiting, min(3, len(waiting))):
                await self._ask(lambda link, r=request_id: self._revised(link, r))  # type: ignore[misc]

    async def _revised(self, link: Link, request_id: str) -> None:
        """As Zuul does it: with what it knows, under the lock if that is free."""
        found = await link.read(request_path(request_id))
        if found is None:
            return
        document: Document = {
            **found[0],
            "relative_priority": self._random.randint(0, _NEVER_REVISED),
        }
        if document.get("state") not in ("requested", "pending"):
            return
        lock = KazooLock(link, request_lock(request_id))
        try:
            if await lock.acquire():
                await link.write(request_path(request_id), document, found[1].version)
                self.revised += 1
        except (NoSuchZnodeError, OtherVersionError):
            return
        finally:
            await lock.release()  # noqa: ASYNC102

    async def _clean_up(self) -> None:
        """Delete requests of ours that no job knows: of a create that was made twice."""
        while True:
            await trio.sleep(CLEANUP_S)
            known = {request_id for job in self.jobs for request_id in job.requests[-2:]}
            for request_id in await self._ask(lambda link: link.children(REQUESTS)):
                if request_id in known:
                    continue
                found = await self._ask(lambda link, r=request_id: link.read(request_path(r)))  # type: ignore[misc]
                if found is None or found[0].get("requestor") != self.system_id:
                    continue
                filed_at = float(found[0]["created_time"])
                if self._wall() - filed_at > CLEANUP_S / 2:
                    await self._ask(lambda link, r=request_id: link.delete(request_path(r)))  # type: ignore[misc]
