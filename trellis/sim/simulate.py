"""The whole daemon on virtual time, under a seed: same seed, same story, to the last bit."""

import hashlib
import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

import attrs
import trio

from trellis.accounts import Accounts
from trellis.config import Configuration, parse
from trellis.control.core import Core, run_core
from trellis.errors import FencedError, StoreFailedError
from trellis.openstack.clouds import CloudConfig
from trellis.plugin_host import PluginHost, built_in_plugins
from trellis.sim.alarms import called_for, heard_by
from trellis.sim.catalogue import Struck
from trellis.sim.changes import altered
from trellis.sim.clock import VirtualClock, light_sleep
from trellis.sim.cloud.cloud import SimCloud, connector
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.truth import ImageView, LooseView, ServerView
from trellis.sim.door import Door
from trellis.sim.entries import cloud_config, plugins_of
from trellis.sim.host import Host
from trellis.sim.image_story import SimulatedDisk, SimulatedGround, simulated_builders
from trellis.sim.loop import seeded_loop
from trellis.sim.mortal import Mortal, MortalLog, living
from trellis.sim.mortal_zookeeper import mortal_zookeeper
from trellis.sim.no_zookeeper import no_zookeeper
from trellis.sim.only import Only
from trellis.sim.oracle import Violation, judge
from trellis.sim.points import LATE_POINTS, Passes
from trellis.sim.report import Report, make_report
from trellis.sim.requestors import Requestors
from trellis.sim.scenario import Scenario
from trellis.sim.told import Moment, timeline
from trellis.sim.transcript import Transcript
from trellis.sim.version import simulation_version
from trellis.sim.zuul.story import TRELLIS, ZuulStory
from trellis.spi.registry import ProviderRegistry
from trellis.world import World

EPOCH: Final = 1_767_225_600.0
"""The wall clock's time when a simulation begins, 2026-01-01."""
MOST_CROSSINGS: Final = 300
MOST_STEPS: Final = 4000
STEPS_OF_A_START: Final = 400
AT_START: Final = 0.3
"""Share of the kills that are meant for a daemon which has only just been started."""
NAMED: Final = 0.7
"""Share of the kills at seams and awaits whose point is chosen by its name."""
OVERDUE_S: Final = 15.0
"""A kill at a point that is not passed for so long comes at the next seam, then at a moment."""
MANY_KILLS: Final = 20
"""Of so many, the last one waits for a point that is passed late only."""
LATE_S: Final = 600.0
"""It waits so long."""
LAST_KILL: Final = 0.9
"""Kills come in this part of the time until the faults end, so that all of them do; of many, the
last one may come later."""
QUIET_S: Final = 660.0
DOWN_MOSTLY_S: Final = 5.0
DOWN_AT_MOST_S: Final = 40.0
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
        self._only = scenario.only or Only()
        plugins = plugins_of(scenario.configuration)
        self._registry, self._sources = plugins.providers, plugins.demand_sources
        self._disk = SimulatedDisk()
        self._original = self._configuration = self._read_configuration()
        self._changed = trio.Event()
        self._clouds: dict[str, SimCloud] = {}
        self._door = Door()
        self._mortal: Mortal | None = None
        self._requestors = Requestors(
            scenario.streams, self._door, demand_chance(seed), only=self._only.requests
        )
        self._kills = 0
        self._restarted: Mortal | None = None
        self._born = trio.Event()
        self._passed, self._killed = Passes(), Passes()
        self.struck = Struck()
        """Faults of the host's that took effect; the clouds' are in their ledgers."""
        self._host = Host(
            scenario.host,
            until=LAST_KILL * scenario.faults_end,
            true_time=_wall,
            clouds=self._clouds,
            kill=self._kill_now,
            struck=self.struck,
            chance=self._chance("host"),
        )
        self._zuul: ZuulStory | None = None
        if scenario.zuul is not None:
            self._zuul = ZuulStory(
                scenario.zuul,
                random=self._chance("zuul"),
                wall=_wall,
                faults_end=scenario.faults_end,
                struck=self.struck,
                only=self._only.jobs,
            )
        self._alarms: list[Violation] = []
        self._moments: list[Moment] = []
        self._reported: frozenset[str] = frozenset()

    def alarm(self, story: str) -> None:
        """Take down a bug that a living daemon logged."""
        if self._mortal is not None and self._mortal.alive:
            when = f"at {trio.current_time():.1f}"
            self._alarms.append(Violation(promise="bug", story=f"{when}: {story}"))

    def _read_configuration(self) -> Configuration:
        text = self._scenario.configuration
        builders = simulated_builders(self._disk, Random(0))
        file = f"scenario {self._scenario.name}"
        sources = self._sources
        found = parse(text, self._registry, builders, sources, file=file, folder=Path())
        return found.configuration

    def _chance(self, purpose: str) -> Random:
        return _chance(self._seed, purpose)

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
            nursery.start_soon(self._daemon, self._chance("daemon"))
            nursery.start_soon(self._killer, self._chance("kills"))
            nursery.start_soon(self._changer, self._chance("changes"))
            nursery.start_soon(self._host.run)
            if self._zuul is not None:
                nursery.start_soon(self._zuul.run)
            await self._demand()
            await trio.sleep_until(max(trio.current_time(), self._scenario.faults_end))
            await self._stop_demand()
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

    async def _stop_demand(self) -> None:
        """Nobody wants ready nodes or images any more: the daemon goes on with none configured.

        Where none were configured it is left alone: a restart forgets many a mistake.
        """
        wanted = any(x.min_ready for x in self._configuration.labels)
        if not wanted and not self._configuration.images:
            return
        labels = tuple(attrs.evolve(x, min_ready=0) for x in self._configuration.labels)
        # The first one too: at this very moment it may be the one to come back to.
        self._original = self._configuration = attrs.evolve(
            self._original, labels=labels, images=()
        )
        if self._mortal is not None:
            self._restarted = self._mortal
            self._mortal.kill()

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
        """Ids of what the daemon reports as leaks, as an operator sees it."""
        core = self._door.core
        leaks = core.operator.leaks() if core is not None else ()
        return frozenset(leak.external_id for leak in leaks)

    # ------------------------------------------------------------------------ the daemon

    async def _daemon(self, chance: Random) -> None:
        """Start the daemon again and again, each time on what the last one left."""
        log = MortalLog(Random(chance.getrandbits(64)))
        while True:
            self._host.before_start(log.disk)
            with trio.CancelScope() as scope:
                mortal = Mortal(log, scope, passed=self._passed, killed=self._killed)
                self._mortal = log.owner = mortal
                living.set(mortal)
                self._born.set()
                await self._incarnation(mortal, Random(chance.getrandbits(64)))
            self._door.shut()
            self._mortal = None
            self._born = trio.Event()
            mortal.stop_counting()
            mortal.ended.set()
            if mortal.alive and not mortal.crashed:
                return
            if mortal is self._restarted:
                how = "started again with no ready nodes to keep"
            else:
                self._kills += 1
                self.struck["kills"] += not mortal.alive
                how = f"killed {mortal.died_at}" if not mortal.alive else "ended by a bug"
            self._moments.append((trio.current_time(), f"the daemon is {how}"))
            most_s = DOWN_AT_MOST_S if chance.random() < 0.1 else DOWN_MOSTLY_S
            await trio.sleep(chance.uniform(0.1, most_s))
            heir = MortalLog(Random(chance.getrandbits(64)))
            heir._disk = log._disk
            log = heir

    async def _incarnation(self, mortal: Mortal, chance: Random) -> None:
        world = World(
            wall=self._host.wall,
            random=chance,
            connect=connector(self._clouds.values()),
            transport=mortal.transports(self._clouds),
            image_source=self._disk.source,
            zookeeper=no_zookeeper,
        )
        if self._zuul is not None:
            zookeeper = mortal_zookeeper(self._zuul.zookeeper, TRELLIS, mortal)
            world = attrs.evolve(world, zookeeper=zookeeper)
        of_builds = self._chance(f"builds from {trio.current_time()} on")
        builders = simulated_builders(self._disk, of_builds, lambda: mortal.alive)
        accounts = Accounts(
            read=self._read_cloud,
            registry=self._registry,
            deployment=self._configuration.deployment,
            world=world,
        )
        try:
            async with run_core(
                self._configuration,
                world=world,
                record_log=mortal.log,
                accounts=accounts,
                builders=builders,
                sources=self._sources,
                build_ground=SimulatedGround(self._disk),
            ) as core:
                self._door.open(core)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._reread, core)
                    while True:
                        await self._changed.wait()
                        self._changed = trio.Event()
                        await core.take_up(self._configuration)
        except* (FencedError, StoreFailedError):
            if mortal.alive and not self._host.excuses_end:
                raise
            # As a daemon that cannot write ends: an init system starts it again and again.
            mortal.crashed = True
        except* Exception as bug:  # noqa: BLE001
            # A daemon that ends by a bug is started again, as an init system would do it.
            self.alarm(f"the daemon ended: {_innermost(bug)}")
            mortal.crashed = True

    async def _reread(self, core: Core) -> None:
        """Have the daemon read its clouds' entries again when they have changed."""
        told = self._host.told
        while True:
            await told.wait()
            told = self._host.told
            await core.reread()

    def _kill_now(self) -> None:
        if self._mortal is not None:
            self._mortal.kill()

    def _read_cloud(
        self,
        name: str,
        region: str | None,
        *,
        profile: str | None = None,  # noqa: ARG002 - an entry that says all needs none
    ) -> CloudConfig:
        cloud = self._clouds[name]
        if cloud.spec.twin is not None:
            password = self._host.password(name)
            return cloud_config(cloud, self._registry, region or "", password=password)
        credentials = cloud.spec.credentials
        return CloudConfig(
            name=name,
            region_name=region or "",
            auth_type="v3password",
            auth={
                "auth_url": cloud.auth_url,
                "username": credentials.username,
                "password": self._host.password(name),
                "user_domain_name": credentials.user_domain,
                "project_name": credentials.project,
                "project_domain_name": credentials.project_domain,
            },
        )

    async def _killer(self, chance: Random) -> None:
        """Kill the daemon: at a moment, at a crossing of its seams, or at an await."""
        share_s = LAST_KILL * self._scenario.faults_end / max(1, self._scenario.kills)
        for number in range(self._scenario.kills):
            of_this = Random(chance.getrandbits(64))
            if self._only.kills is not None and number not in self._only.kills:
                continue
            at_start = of_this.random() < AT_START
            if not at_start:
                await trio.sleep_until((number + of_this.uniform(0.0, 0.9)) * share_s)
            while (mortal := self._mortal) is None:
                await self._born.wait()
            if MANY_KILLS <= self._scenario.kills == number + 1:
                # Each start begins the two sightings of a leak anew: with kills so close none
                # would ever land where leaks are ended.
                mortal.die_at_seam(of_this.choice(LATE_POINTS), 1)
                overdue_s = LATE_S
            else:
                self._appoint(mortal, of_this, STEPS_OF_A_START if at_start else MOST_STEPS)
                overdue_s = OVERDUE_S
            with trio.move_on_after(overdue_s):
                await mortal.died.wait()
            mortal.die_at_seam(None, 1)
            with trio.move_on_after(OVERDUE_S):
                await mortal.died.wait()
            mortal.kill()
            await mortal.ended.wait()

    def _appoint(self, mortal: Mortal, chance: Random, most_steps: int) -> None:
        """Choose the point of a kill, often by its name, so that rare ones have their turn."""
        kind = chance.choice(("moment", "seam", "seam", "await", "await"))
        if kind == "moment":
            mortal.kill()
            return
        awaits = kind == "await"
        known = sorted(x for x in self._passed if x.startswith("await ") is awaits)
        named = None
        if known and chance.random() < NAMED:
            rarity = [1.0 / math.sqrt(self._passed[point]) for point in known]
            named = chance.choices(known, rarity)[0]
        if awaits:
            mortal.die_at_await(named, chance.randint(1, most_steps))
        else:
            mortal.die_at_seam(named, 1 if named is not None else chance.randint(1, MOST_CROSSINGS))

    async def _changer(self, chance: Random) -> None:
        """Change the configuration now and then; in the end it is the first one again."""
        times = sorted(
            chance.uniform(0.0, self._scenario.faults_end) for _ in range(self._scenario.changes)
        )
        for number, at in enumerate(times):
            of_this = Random(chance.getrandbits(64))
            if self._only.changes is not None and number not in self._only.changes:
                continue
            await trio.sleep_until(at)
            self._change(altered(self._original, of_this))
            self._moments.append((trio.current_time(), "the configuration is changed"))
        await trio.sleep_until(self._scenario.faults_end)
        self._change(self._original)

    def _change(self, configuration: Configuration) -> None:
        if configuration != self._configuration:
            self._configuration = configuration
            self._changed.set()
            self.struck["changes"] += 1

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
                files=tuple(self._disk.files),
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
                "kills": self._kills,
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
            kill_points=self._killed,
            passed=self._passed,
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


def _innermost(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return repr(error)


def _wall() -> float:
    return EPOCH + trio.current_time()


def _percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
