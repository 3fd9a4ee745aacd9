"""The whole daemon on virtual time, under a seed: same seed, same story, to the last bit."""

import gc
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Final

import attrs
import trio
import trio.testing
from trio._core import _run

from trellis.accounts import Accounts
from trellis.config import Configuration, parse
from trellis.control.core import run_core
from trellis.errors import FencedError, StoreFailedError
from trellis.openstack.clouds import CloudConfig
from trellis.plugin_host import PluginHost, built_in_plugins
from trellis.sim.alarms import heard_by
from trellis.sim.changes import altered
from trellis.sim.cloud.cloud import SimCloud, connector
from trellis.sim.cloud.ledger import What
from trellis.sim.door import Door
from trellis.sim.mortal import Mortal, MortalLog
from trellis.sim.oracle import Violation, judge
from trellis.sim.requestors import Requestors, Transcript
from trellis.sim.scenario import Scenario
from trellis.spi.registry import ProviderRegistry
from trellis.store.simulated import SimulatedLog
from trellis.world import World

EPOCH: Final = 1_767_225_600.0
"""The wall clock's time when a simulation begins, 2026-01-01."""
MOST_CROSSINGS: Final = 6000
DOWN_AT_MOST_S: Final = 40.0
_DELETE: Final = "DELETE compute /servers/*"


@attrs.frozen(kw_only=True)
class Outcome:
    """What came of one seed.

    Attributes:
        trace: hash of all that happened; equal for equal runs.
        lives: servers that were made and are gone again.
        figures: counts and times, by name; ``real_s`` alone is not of the simulated world.
    """

    seed: int
    scenario: str
    trace: str
    violations: tuple[Violation, ...]
    lives: int
    figures: dict[str, float]


def simulate(scenario: Scenario, seed: int) -> Outcome:
    """Run one seed to its end."""
    run = _Run(scenario, seed)
    with _deterministic(seed), heard_by(run.alarm):
        began = time.perf_counter()
        clock = trio.testing.MockClock(autojump_threshold=0)
        outcome = trio.run(run.main, clock=clock)
        real_s = round(time.perf_counter() - began, 2)
        return attrs.evolve(outcome, figures={**outcome.figures, "real_s": real_s})


@contextmanager
def _deterministic(seed: int) -> Iterator[None]:
    """Have Trio draw its schedule from the seed: another seed is another interleaving."""
    before = _run._ALLOW_DETERMINISTIC_SCHEDULING, _run._r.getstate()
    setattr(_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)  # noqa: B010
    _run._r.seed(seed)
    collecting = gc.isenabled()
    # Finalizers at moments the collector chooses would be a second source of chance.
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
        setattr(_run, "_ALLOW_DETERMINISTIC_SCHEDULING", before[0])  # noqa: B010
        _run._r.setstate(before[1])


def builtin_types() -> ProviderRegistry:
    """The provider types that come with Trellis; a simulation loads no entry points."""
    return PluginHost(built_in_plugins()).providers


class _Run:
    """One story from its beginning to the verdict."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self._scenario, self._seed = scenario, seed
        self._random = Random(f"{scenario.name}:{seed}")
        self._registry = builtin_types()
        self._original = self._configuration = self._read_configuration()
        self._changed = trio.Event()
        self._clouds: dict[str, SimCloud] = {}
        self._door = Door()
        self._mortal: Mortal | None = None
        self._requestors = Requestors(scenario.demand, self._door, self._branch())
        self._kills = 0
        self._alarms: list[Violation] = []

    def alarm(self, story: str) -> None:
        """Take down a bug that a living daemon logged."""
        if self._mortal is not None and self._mortal.alive:
            when = f"at {trio.current_time():.1f}"
            self._alarms.append(Violation(promise="bug", story=f"{when}: {story}"))

    def _read_configuration(self) -> Configuration:
        text = self._scenario.configuration
        return parse(
            text, self._registry, file=f"scenario {self._scenario.name}", folder=Path()
        ).configuration

    def _branch(self) -> Random:
        return Random(self._random.getrandbits(64))

    # ------------------------------------------------------------------------- the story

    async def main(self) -> Outcome:
        """Demand, faults and kills; then quiet; then the verdict."""
        for spec in self._scenario.clouds:
            self._clouds[spec.name] = SimCloud(spec, wall=_wall, random=self._branch())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._daemon, self._branch())
            nursery.start_soon(self._killer, self._branch())
            nursery.start_soon(self._changer, self._branch())
            await self._demand()
            await trio.sleep_until(max(trio.current_time(), self._scenario.faults_end))
            await self._stop_demand()
            await self._until_quiet()
            nursery.cancel_scope.cancel()
        return self._outcome()

    async def _demand(self) -> None:
        """Let the requestors work; those who are never served must not hold up the verdict."""
        demand = self._scenario.demand
        last = max(demand.requests * demand.every_s * 2, self._scenario.faults_end)
        with trio.move_on_after(last + 2 * self._scenario.patience_s):
            await self._requestors.run()

    async def _stop_demand(self) -> None:
        """Nobody wants ready nodes any more: the daemon goes on with none configured.

        Where none were configured it is left alone: a restart forgets many a mistake.
        """
        if not any(x.min_ready for x in self._configuration.labels):
            return
        labels = tuple(attrs.evolve(x, min_ready=0) for x in self._configuration.labels)
        self._configuration = attrs.evolve(self._configuration, labels=labels)
        if self._mortal is not None:
            self._mortal.kill()

    async def _until_quiet(self) -> None:
        """Wait until the clouds hold nothing of ours, or time is up."""
        with trio.move_on_after(self._scenario.settle_s):
            # Nothing in a cloud tells who looks from outside, and looking costs nothing here.
            while any(  # noqa: ASYNC110
                server.who == cloud.spec.credentials.username
                for cloud in self._clouds.values()
                for server in cloud.servers()
            ):
                await trio.sleep(30.0)
            # What was taken for gone may still come: ghosts have their time to appear.
            await trio.sleep(600.0)

    # ------------------------------------------------------------------------ the daemon

    async def _daemon(self, chance: Random) -> None:
        """Start the daemon again and again, each time on what the last one left."""
        log: SimulatedLog = MortalLog(Random(chance.getrandbits(64)))
        while True:
            with trio.CancelScope() as scope:
                mortal = self._mortal = Mortal(log, scope)
                assert isinstance(log, MortalLog)
                log.owner = mortal
                await self._incarnation(mortal, Random(chance.getrandbits(64)))
            self._door.shut()
            self._mortal = None
            if mortal.alive and not mortal.crashed:
                return
            self._kills += 1
            await trio.sleep(chance.uniform(0.1, DOWN_AT_MOST_S))
            heir = MortalLog(Random(chance.getrandbits(64)))
            heir._disk = log._disk
            log = heir

    async def _incarnation(self, mortal: Mortal, chance: Random) -> None:
        world = World(
            wall=_wall,
            random=chance,
            connect=connector(self._clouds.values()),
            transport=mortal.transports(self._clouds),
        )
        accounts = Accounts(
            read=self._read_cloud,
            registry=self._registry,
            deployment=self._configuration.deployment,
            world=world,
        )
        try:
            async with run_core(
                self._configuration, world=world, record_log=mortal.log, accounts=accounts
            ) as core:
                self._door.open(core)
                while True:  # noqa: ASYNC913 - it ends by being cancelled
                    await self._changed.wait()
                    self._changed = trio.Event()
                    await core.take_up(self._configuration)
        except* (FencedError, StoreFailedError):
            if mortal.alive:
                raise
        except* Exception as bug:  # noqa: BLE001
            # A daemon that ends by a bug is started again, as an init system would do it.
            self.alarm(f"the daemon ended: {_innermost(bug)}")
            mortal.crashed = True

    def _read_cloud(self, name: str, region: str | None) -> CloudConfig:
        cloud = self._clouds[name]
        credentials = cloud.spec.credentials
        return CloudConfig(
            name=name,
            region_name=region or "",
            auth_type="v3password",
            auth={
                "auth_url": cloud.auth_url,
                "username": credentials.username,
                "password": credentials.password,
                "user_domain_name": credentials.user_domain,
                "project_name": credentials.project,
                "project_domain_name": credentials.project_domain,
            },
        )

    async def _killer(self, chance: Random) -> None:
        """Kill the daemon: half the times at a moment, half at a crossing of its seams."""
        scenario = self._scenario
        for number in range(scenario.kills):
            await trio.sleep_until(chance.uniform(0.5, 1.0) * scenario.faults_end
                                   * (number + 1) / (scenario.kills + 1))  # fmt: skip
            mortal = self._mortal
            if mortal is None:
                continue
            if chance.random() < 0.5:
                mortal.kill()
            else:
                mortal.die_at = mortal.crossings + chance.randint(1, MOST_CROSSINGS // 20)

    async def _changer(self, chance: Random) -> None:
        """Change the configuration now and then; in the end it is the first one again."""
        times = sorted(
            chance.uniform(0.0, self._scenario.faults_end) for _ in range(self._scenario.changes)
        )
        for at in times:
            await trio.sleep_until(at)
            self._change(altered(self._original, chance))
        await trio.sleep_until(self._scenario.faults_end)
        self._change(self._original)

    def _change(self, configuration: Configuration) -> None:
        if configuration != self._configuration:
            self._configuration = configuration
            self._changed.set()

    # ----------------------------------------------------------------------- the verdict

    def _outcome(self) -> Outcome:
        transcripts = self._requestors.transcripts
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
        waits = sorted(
            t.fulfilled_at - t.filed_at for t in transcripts if t.fulfilled_at is not None
        )
        return Outcome(
            seed=self._seed,
            scenario=self._scenario.name,
            trace=self._trace(transcripts),
            violations=(*judge(self._scenario, self._clouds, transcripts), *self._alarms),
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
            },
        )

    def _trace(self, transcripts: list[Transcript]) -> str:
        digest = hashlib.sha256()
        for name in sorted(self._clouds):
            digest.update(self._clouds[name].ledger.digest().encode())
        for transcript in transcripts:
            digest.update(repr(attrs.astuple(transcript)).encode())
        return digest.hexdigest()[:32]


def _innermost(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return repr(error)


def _wall() -> float:
    return EPOCH + trio.current_time()


def _percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
