"""The whole daemon on virtual time, under a seed: same seed, same story, to the last bit."""

import hashlib
import time
from collections.abc import Sequence
from functools import partial
from random import Random
from typing import Final

import attrs
import trio

from trellis.plugin_host import PluginHost, built_in_plugins
from trellis.sim.alarms import called_for, heard_by
from trellis.sim.catalogue import Struck
from trellis.sim.clock import VirtualClock, light_sleep
from trellis.sim.cloud.cloud import SimCloud
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.truth import ImageView, LooseView, ServerView
from trellis.sim.daemons import DaemonSpec, offers_of
from trellis.sim.entries import plugins_of
from trellis.sim.life import DaemonLife
from trellis.sim.loop import seeded_loop
from trellis.sim.mortal import living
from trellis.sim.only import Only
from trellis.sim.oracle import Violation, judge
from trellis.sim.points import Passes
from trellis.sim.report import Report, make_report
from trellis.sim.requestors import Requestors
from trellis.sim.scenario import Scenario
from trellis.sim.told import Moment, timeline
from trellis.sim.transcript import Transcript
from trellis.sim.version import simulation_version
from trellis.sim.zookeeper import FakeZooKeeper
from trellis.sim.zuul.story import TRELLIS, ZuulStory, trellis_of
from trellis.spi.registry import ProviderRegistry

EPOCH: Final = 1_767_225_600.0
"""The wall clock's time when a simulation begins, 2026-01-01."""
QUIET_S: Final = 660.0
_DELETE: Final = "DELETE compute /servers/*"


@attrs.frozen(kw_only=True)
class Outcome:
    """What came of one seed.

    Attributes:
        trace: hash of all that happened; equal for equal runs.
        lives: servers that were made and are gone again.
        figures: counts and times, by name; ``real_s`` alone is not of the simulated world.
        struck: how often each fault of the catalogue took effect.
        kill_points: at which points kills landed, and how many (`trellis.sim.points`).
        passed: how often each point was passed; awaits only while they were looked at.
        timeline: what is written down of the first violation's things, a line a moment.
        version: which simulation told it; another one may tell another story of this seed.
        report: waits, use of the clouds, cost and calls; None of a made-up outcome.
    """

    seed: int
    scenario: str
    trace: str
    violations: tuple[Violation, ...]
    lives: int
    figures: dict[str, float]
    struck: Struck = attrs.field(factory=Struck)
    kill_points: Passes = attrs.field(factory=Passes)
    passed: Passes = attrs.field(factory=Passes)
    timeline: tuple[str, ...] = ()
    version: str = attrs.field(factory=simulation_version)
    report: Report | None = None


def simulate(scenario: Scenario, seed: int) -> Outcome:
    """Run one seed to its end."""
    run, clock, no_bugs = _Run(scenario, seed), VirtualClock(), called_for(scenario)
    with seeded_loop(seed, clock), light_sleep(), heard_by(run.alarm, no_bugs=no_bugs):
        began = time.perf_counter()
        outcome = trio.run(run.main, clock=clock)
        real_s = round(time.perf_counter() - began, 2)
        return attrs.evolve(outcome, figures={**outcome.figures, "real_s": real_s})


def demand_chance(seed: int) -> Random:
    """The chance from which a seed's demand is drawn (`trellis.sim.demand.wanted`)."""
    return _chance(seed, "demand")


def _chance(seed: int, purpose: str) -> Random:
    """A source of chance of its own: what is left out of a story changes no other's."""
    return Random(f"{seed}:{purpose}")


def builtin_types() -> ProviderRegistry:
    """The provider types that come with Trellis."""
    return PluginHost(built_in_plugins()).providers


class _Run:
    """One story from its beginning to the verdict."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self._scenario, self._seed = scenario, seed
        only = scenario.only or Only()
        self._clouds: dict[str, SimCloud] = {}
        self.struck = Struck()
        """Faults of the hosts that took effect; the clouds' are in their ledgers."""
        self._alarms: list[Violation] = []
        self._moments: list[Moment] = []
        self._reported: frozenset[str] = frozenset()
        self._zuul: ZuulStory | None = None
        if scenario.zuul is not None:
            self._zuul = ZuulStory(
                scenario.zuul,
                random=self._chance("zuul"),
                wall=_wall,
                faults_end=scenario.faults_end,
                struck=self.struck,
                only=only.jobs,
                offers=offers_of(scenario.configuration, scenario.daemons),
            )
        plugins = plugins_of(scenario.configuration)
        self._daemons = [
            DaemonLife(
                scenario,
                spec,
                number=number,
                plugins=plugins,
                clouds=self._clouds,
                chance=self._chance,
                true_time=_wall,
                zookeeper=self._zookeeper(spec),
                struck=self.struck,
                moments=self._moments,
                alarm=self.alarm,
            )
            for number, spec in enumerate(scenario.daemons or (None,))
        ]
        self._requestors = Requestors(
            scenario.streams, self._daemons[0].door, demand_chance(seed), only=only.requests
        )

    def alarm(self, story: str) -> None:
        """Take down a bug that a living daemon logged."""
        mortal = living.get()
        if mortal is not None and mortal.alive:
            when = f"at {trio.current_time():.1f}"
            self._alarms.append(Violation(promise="bug", story=f"{when}: {story}"))

    def _chance(self, purpose: str) -> Random:
        return _chance(self._seed, purpose)

    def _zookeeper(self, spec: DaemonSpec | None) -> tuple[FakeZooKeeper, str] | None:
        if self._zuul is None:
            return None
        who = TRELLIS if spec is None else trellis_of(spec.deployment)
        return self._zuul.zookeeper, who

    # ------------------------------------------------------------------------- the story

    async def main(self) -> Outcome:
        """Demand, faults and kills; then quiet; then the verdict."""
        for spec in self._scenario.clouds:
            chance = self._chance(f"cloud {spec.name}")
            # The clock is named here: as a default it is the one that `seeded_loop` stands for.
            self._clouds[spec.name] = SimCloud(
                spec, clock=trio.current_time, wall=_wall, random=chance
            )
        async with trio.open_nursery() as nursery:
            for daemon in self._daemons:
                daemon.start(nursery)
            if self._zuul is not None:
                nursery.start_soon(self._zuul.run)
            await self._demand()
            await trio.sleep_until(max(trio.current_time(), self._scenario.faults_end))
            for daemon in self._daemons:
                daemon.stop_demand()
            await self._until_quiet()
            self._reported = self._leaks()
            nursery.cancel_scope.cancel()
        return self._outcome()

    async def _demand(self) -> None:
        """Let the requestors work; those who are never served must not hold up the verdict."""
        until, patience_s = self._scenario.faults_end, 2 * self._scenario.patience_s
        async with trio.open_nursery() as nursery:
            if self._zuul is not None:
                work = partial(self._zuul.work, not_before=until, patience_s=patience_s)
                nursery.start_soon(work)
            await self._requestors.run(not_before=until, patience_s=patience_s)

    async def _until_quiet(self) -> None:
        """Wait until the clouds hold nothing of ours for a while, or time is up.

        What was taken for gone may still come: ghosts have their time to appear. And what can
        only be reported has been looked for by then.
        """
        with trio.move_on_after(self._scenario.settle_s):
            quiet_since = trio.current_time()
            # Nothing in a cloud tells who looks from outside, and looking costs nothing here.
            while True:  # noqa: ASYNC110
                await trio.sleep(30.0)
                if any(map(_holds_ours, self._clouds.values())):
                    quiet_since = trio.current_time()
                elif trio.current_time() >= quiet_since + QUIET_S:
                    break

    def _leaks(self) -> frozenset[str]:
        """Ids of what a daemon reports as leaks, as an operator sees it."""
        cores = [daemon.door.core for daemon in self._daemons]
        leaks = [leak for core in cores if core is not None for leak in core.operator.leaks()]
        return frozenset(leak.external_id for leak in leaks)

    # ----------------------------------------------------------------------- the verdict

    def _outcome(self) -> Outcome:
        transcripts = self._transcripts()
        deleted = sum(
            fact.who == cloud.spec.credentials.username
            for cloud in self._clouds.values()
            for fact in cloud.ledger.of(What.SERVER_DELETED)
        )
        creates = sum(
            fact.who == cloud.spec.credentials.username
            for cloud in self._clouds.values()
            for fact in cloud.ledger.of(What.SERVER_CREATED)
        )
        refused = sum(len(c.ledger.of(What.QUOTA_REFUSED)) for c in self._clouds.values())
        calls = sum(cloud.ledger.total_calls for cloud in self._clouds.values())
        deletes = sum(c.ledger.calls.get(_DELETE, 0) for c in self._clouds.values())
        struck = sum((cloud.ledger.struck for cloud in self._clouds.values()), self.struck)
        waits = sorted(
            t.fulfilled_at - t.filed_at for t in transcripts if t.fulfilled_at is not None
        )
        violations = (
            *judge(
                self._scenario,
                self._clouds,
                transcripts,
                reported=self._reported,
                files=[path for daemon in self._daemons for path in daemon.files],
            ),
            *(self._zuul.violations() if self._zuul is not None else ()),
            *self._alarms,
        )
        return Outcome(
            seed=self._seed,
            scenario=self._scenario.name,
            trace=self._trace(transcripts),
            violations=violations,
            lives=deleted,
            figures={
                "requests": len(transcripts),
                "fulfilled": len(waits),
                "creates": creates,
                "kills": sum(daemon.kills for daemon in self._daemons),
                "quota_refusals": refused,
                "deletes_per_life": round(deletes / deleted, 3) if deleted else 0.0,
                "calls_per_life": round(calls / deleted, 2) if deleted else 0.0,
                "wait_p50_s": round(_percentile(waits, 0.5), 1),
                "wait_p95_s": round(_percentile(waits, 0.95), 1),
                "virtual_s": round(trio.current_time(), 1),
                **(self._zuul.figures() if self._zuul is not None else {}),
            },
            struck=struck,
            timeline=self._timeline(violations),
            kill_points=sum((daemon.killed for daemon in self._daemons), Passes()),
            passed=sum((daemon.passed for daemon in self._daemons), Passes()),
            report=make_report(
                scenario=self._scenario.name,
                seed=self._seed,
                clouds=self._clouds,
                transcripts=transcripts,
                broken=[violation.promise for violation in violations],
                prices=self._scenario.prices,
            ),
        )

    def _transcripts(self) -> list[Transcript]:
        """Those of all who wanted nodes of Trellis."""
        if self._zuul is None:
            return self._requestors.transcripts
        return [*self._requestors.transcripts, *self._zuul.transcripts]

    def _timeline(self, violations: Sequence[Violation]) -> tuple[str, ...]:
        if not violations:
            return ()
        transcripts = self._transcripts()
        return timeline(violations[0].about, self._clouds, transcripts, self._moments)

    def _trace(self, transcripts: list[Transcript]) -> str:
        digest = hashlib.sha256()
        for name in sorted(self._clouds):
            digest.update(self._clouds[name].ledger.digest().encode())
        for transcript in transcripts:
            digest.update(repr(attrs.astuple(transcript)).encode())
        if self._zuul is not None:
            digest.update(self._zuul.digest().encode())
        return digest.hexdigest()[:32]


def _holds_ours(cloud: SimCloud) -> bool:
    """Whether a cloud has anything left that can be known to be the account's."""
    things: tuple[ServerView | ImageView | LooseView, ...]
    things = (*cloud.servers(), *cloud.floating_ips(), *cloud.ports(), *cloud.volumes())
    things = (*things, *cloud.images(), *cloud.objects())
    ours, nobodys = cloud.spec.credentials.username, cloud.ledger.unattributable
    return any(thing.who == ours and thing.id not in nobodys for thing in things)


def _wall() -> float:
    return EPOCH + trio.current_time()


def _percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
