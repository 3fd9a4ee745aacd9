"""The Zuul side of a simulated story: the systems, their jobs, and ZooKeeper's troubles."""

import hashlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from random import Random
from typing import Final

import attrs
import trio

from trellis.sim.catalogue import Struck
from trellis.sim.demand import Wanted, wanted
from trellis.sim.oracle import Violation
from trellis.sim.transcript import Transcript
from trellis.sim.zookeeper import Called, FakeZooKeeper, Latency, Strike
from trellis.sim.zookeeper.session import FakeSession
from trellis.sim.zuul.executor import Executor
from trellis.sim.zuul.jobs import Job
from trellis.sim.zuul.launcher import PROVIDER, TAKES, OtherLauncher
from trellis.sim.zuul.oracle import cut_short, judge_zuul, per_life
from trellis.sim.zuul.scheduler import Scheduler
from trellis.sim.zuul.several import answered_alone, excuse, passed_over
from trellis.sim.zuul.spec import ZuulSpec

TRELLIS: Final = "trellis"
"""Whom the sessions of a single daemon belong to, in the history of the tree."""
_ALONE: Final[Mapping[str, Sequence[frozenset[str]]]] = {}
CUT_S: Final = 60.0
RESTART_S: Final = 8.0
OVER_S: Final = 1800.0
"""Jobs that are not over so long after the last one was filed, or given up, never are."""


def trellis_of(deployment: str) -> str:
    """Whom the sessions of one of several daemons belong to."""
    return f"{TRELLIS} {deployment}"


class ZuulStory:
    """All that goes on at ZooKeeper beside Trellis.

    Args:
        spec: what.
        random: its only source of chance.
        wall: true UTC.
        faults_end: when executors die no more and ZooKeeper has no more troubles.
        struck: counts what took effect.
        only: names of the jobs that are filed; None is all.
        others_take: share of what it could serve that the other launcher takes.
        offers: the labels of each pool of a daemon, by deployment, where there are several.
    """

    def __init__(
        self,
        spec: ZuulSpec,
        *,
        random: Random,
        wall: Callable[[], float],
        faults_end: float,
        struck: Struck,
        only: Collection[str] | None = None,
        others_take: float = TAKES,
        offers: Mapping[str, Sequence[frozenset[str]]] = _ALONE,
    ) -> None:
        def chance() -> Random:
            return Random(random.getrandbits(64))

        self._spec, self._faults_end, self._struck, self._only = spec, faults_end, struck, only
        self._offers = offers
        self._trellises = tuple(map(trellis_of, offers)) or (TRELLIS,)
        self._faulty, self._jobs_chance = chance(), chance()
        self.zookeeper = FakeZooKeeper(wall=wall, random=chance(), latency=Latency())
        self.zookeeper.on_call = self._strike
        self._launcher = OtherLauncher(
            tuple(dict.fromkeys(spec.demand.labels))[:1],
            zookeeper=self.zookeeper,
            random=chance(),
            wall=wall,
            takes=others_take,
            deployments=tuple(offers),
        )
        self._schedulers = [
            Scheduler(n, zookeeper=self.zookeeper, spec=spec, random=chance(), wall=wall)
            for n in range(spec.systems)
        ]
        for scheduler in self._schedulers:
            scheduler.executors = tuple(
                Executor(
                    f"{scheduler.name} executor {n}",
                    scheduler.system_id,
                    zookeeper=self.zookeeper,
                    spec=spec,
                    random=chance(),
                    wall=wall,
                )
                for n in range(spec.executors)
            )

    @property
    def jobs(self) -> list[Job]:
        """All jobs of all systems."""
        jobs = [job for scheduler in self._schedulers for job in scheduler.jobs]
        for job in jobs:
            job.elsewhere = any(node.provider == PROVIDER for node in job.told.nodes)
        return jobs

    # ---------------------------------------------------------------------------- the verdict

    @property
    def transcripts(self) -> list[Transcript]:
        """Those of the jobs that Trellis served, or should have."""
        cut_short(self.jobs, self.zookeeper.history)
        if self._offers:
            excuse(self.jobs, self.zookeeper.history, self._offers)
        return [job.told for job in self.jobs if not job.elsewhere]

    def violations(self) -> tuple[Violation, ...]:
        """What the judge of this side finds; to be called when all had time to settle."""
        return judge_zuul(self.zookeeper, self.jobs, self._trellises)

    def figures(self) -> dict[str, float]:
        """Counts, and what a node given to Zuul cost at ZooKeeper."""
        jobs = self.jobs
        given = sum(len(job.told.nodes) for job in jobs if not job.elsewhere)
        counts = [self.zookeeper.counts[x] for x in self._trellises if x in self.zookeeper.counts]
        writes, reads = per_life(counts, given)
        several = {}
        if self._offers:
            history, whose = self.zookeeper.history, {x: trellis_of(x) for x in self._offers}
            several["zuul_passed_over"] = float(passed_over(history, self._trellises))
            several["zuul_answered_alone"] = float(answered_alone(history, whose))
        return {
            **several,
            "zuul_jobs": len(jobs),
            "zuul_nodes": given,
            "zuul_elsewhere": sum(job.elsewhere for job in jobs),
            "zookeeper_writes_per_node": round(writes, 2),
            "zookeeper_reads_per_node": round(reads, 2),
        }

    def digest(self) -> str:
        """A hash of all that happened in the tree."""
        digest = hashlib.sha256()
        for change in self.zookeeper.history:
            digest.update(repr(attrs.astuple(change)).encode())
        return digest.hexdigest()

    # ------------------------------------------------------------------------------ the story

    async def run(self) -> None:
        """Be there, ZooKeeper and all who work on it, until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.zookeeper.run)
            for scheduler in self._schedulers:
                nursery.start_soon(scheduler.run)
                for executor in scheduler.executors:
                    nursery.start_soon(executor.run)
            if self._spec.other_launcher:
                nursery.start_soon(self._launcher.run)
            nursery.start_soon(self._deaths, Random(self._faulty.getrandbits(64)))
            for happens, times in self._troubles():
                chance = Random(self._faulty.getrandbits(64))
                nursery.start_soon(self._now_and_then, happens, times, chance)

    async def work(self, *, not_before: float, patience_s: float) -> None:
        """File all jobs, and return when the last one is over.

        Those that wait *patience_s* after the last one was filed, and so long after *not_before*,
        are given up.
        """
        drawn: list[Wanted] = list(wanted((self._spec.demand,), self._jobs_chance))
        last = max((one.at for one in drawn), default=0.0)
        give_up_at = max(last, not_before) + patience_s
        which = [self._jobs_chance.choice(self._schedulers) for _ in drawn]
        chances = [Random(self._jobs_chance.getrandbits(64)) for _ in drawn]
        with trio.move_on_at(give_up_at + OVER_S):  # noqa: ASYNC912
            async with trio.open_nursery() as nursery:
                for one, scheduler, chance in zip(drawn, which, chances, strict=True):
                    if self._only is None or one.requestor in self._only:
                        await trio.sleep_until(one.at)
                        nursery.start_soon(scheduler.job, one, give_up_at, chance)
        self._launcher.end()

    # -------------------------------------------------------------------------------- faults

    def _strike(self, called: Called) -> Strike | None:
        faults = self._spec.zookeeper
        if called.who not in self._trellises or trio.current_time() >= self._faults_end:
            return None
        dice = self._faulty.random()
        if dice < faults.call_lost:
            self._struck["call-lost"] += 1
            return Strike.LOST_CALL
        if dice < faults.call_lost + faults.answer_lost:
            self._struck["answer-lost"] += 1
            return Strike.LOST_ANSWER
        return None

    def _troubles(self) -> list[tuple[Callable[[Random], Awaitable[None]], int]]:
        faults = self._spec.zookeeper
        return [
            (self._lose_session, faults.session_lost),
            (self._cut, faults.cut_off),
            (self._pause, faults.server_paused),
            (self._restart, faults.server_restarted),
        ]

    async def _now_and_then(
        self, happens: Callable[[Random], Awaitable[None]], times: int, chance: Random
    ) -> None:
        for at in sorted(chance.uniform(0.0, self._faults_end) for _ in range(times)):
            await trio.sleep_until(at)
            await happens(chance)

    async def _deaths(self, chance: Random) -> None:
        executors = [one for scheduler in self._schedulers for one in scheduler.executors]
        times = (chance.uniform(0.0, self._faults_end) for _ in range(self._spec.executor_deaths))
        for at in sorted(times):
            await trio.sleep_until(at)
            executor = chance.choice(executors)
            before = executor.deaths
            executor.die()
            self._struck["executor-deaths"] += executor.deaths - before

    def _of_trellis(self, chance: Random) -> Sequence[FakeSession]:
        """The sessions of a daemon; which one is drawn where there are several."""
        who = self._trellises[0] if not self._offers else chance.choice(self._trellises)
        return [session for session in self.zookeeper.sessions if session.who == who]

    async def _lose_session(self, chance: Random) -> None:
        await trio.lowlevel.checkpoint()
        if sessions := self._of_trellis(chance):
            self._struck["session-lost"] += 1
            self.zookeeper.expire(*sessions)

    async def _cut(self, chance: Random) -> None:
        await trio.lowlevel.checkpoint()
        if sessions := self._of_trellis(chance):
            self._struck["cut-off"] += 1
            self.zookeeper.cut(*sessions, away_s=chance.uniform(0.1, CUT_S))

    async def _pause(self, chance: Random) -> None:
        await trio.lowlevel.checkpoint()
        self._struck["server-paused"] += 1
        self.zookeeper.pause(chance.uniform(0.1, self._spec.zookeeper.pause_s))

    async def _restart(self, chance: Random) -> None:
        await trio.lowlevel.checkpoint()
        self._struck["server-restarted"] += 1
        self.zookeeper.restart(chance.uniform(0.5, RESTART_S))
