"""One daemon in a simulation: started, killed, reconfigured and started again on what it left."""

import math
from collections.abc import Callable, Mapping
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
from trellis.plugin_host import PluginHost
from trellis.sim.catalogue import Struck
from trellis.sim.changes import altered
from trellis.sim.cloud.cloud import SimCloud, connector
from trellis.sim.daemons import DaemonSpec, configuration_of
from trellis.sim.door import Door
from trellis.sim.entries import cloud_config
from trellis.sim.host import Host
from trellis.sim.image_story import SimulatedDisk, SimulatedGround, simulated_builders
from trellis.sim.mortal import Mortal, MortalLog, living
from trellis.sim.mortal_zookeeper import mortal_zookeeper
from trellis.sim.no_zookeeper import no_zookeeper
from trellis.sim.only import Only
from trellis.sim.points import LATE_POINTS, Passes
from trellis.sim.scenario import Scenario
from trellis.sim.told import Moment
from trellis.sim.zookeeper import FakeZooKeeper
from trellis.world import World

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
DOWN_MOSTLY_S: Final = 5.0
DOWN_AT_MOST_S: Final = 40.0


class DaemonLife:
    """A daemon with its configuration, its store, its host and all that befalls it.

    Args:
        scenario: the whole story.
        spec: which of several daemons it is; None is the only one.
        number: it is the so many-th of the daemons, from 0 on.
        plugins: what its configuration is read with.
        clouds: by name; known by the time that it is started.
        chance: a source of chance for a purpose, the same for all daemons.
        true_time: UTC as it is.
        zookeeper: the one it is given, and whose its sessions are; None is none.
        struck: counts the faults of its host that took effect.
        moments: takes down when it was killed and changed.
        alarm: is told of a bug that ended it.
    """

    def __init__(
        self,
        scenario: Scenario,
        spec: DaemonSpec | None,
        *,
        number: int,
        plugins: PluginHost,
        clouds: Mapping[str, SimCloud],
        chance: Callable[[str], Random],
        true_time: Callable[[], float],
        zookeeper: tuple[FakeZooKeeper, str] | None,
        struck: Struck,
        moments: list[Moment],
        alarm: Callable[[str], None],
    ) -> None:
        self._scenario, self._spec, self._number = scenario, spec, number
        self._only = scenario.only or Only()
        self._registry, self._sources = plugins.providers, plugins.demand_sources
        self._clouds, self._alarm, self._of_all = clouds, alarm, chance
        self._zookeeper, self._struck, self._moments = zookeeper, struck, moments
        self._disk = SimulatedDisk()
        self._original = self._configuration = self._read_configuration()
        self._changed = trio.Event()
        self.door = Door()
        self._mortal: Mortal | None = None
        self.kills = 0
        self._restarted: Mortal | None = None
        self._down_until = 0.0
        self._born = trio.Event()
        self.passed, self.killed = Passes(), Passes()
        self._host = Host(
            scenario.host,
            until=LAST_KILL * scenario.faults_end,
            true_time=true_time,
            clouds=clouds,
            rotates=self._own_clouds(),
            kill=self._kill_now,
            struck=struck,
            chance=self._chance("host"),
        )

    @property
    def files(self) -> tuple[str, ...]:
        """Those of images that are on its disk."""
        return tuple(self._disk.files)

    def _chance(self, purpose: str) -> Random:
        if self._spec is None:
            return self._of_all(purpose)
        return self._of_all(f"{purpose} of {self._spec.deployment}")

    def _own_clouds(self) -> frozenset[str]:
        """The clouds whose passwords are in the files of this daemon's host alone."""
        if self._spec is None:
            return frozenset(cloud.name for cloud in self._scenario.clouds)
        of_others = {
            provider.cloud
            for spec in self._scenario.daemons
            if spec is not self._spec
            for provider in self._read(spec).providers
        }
        return frozenset(x.cloud for x in self._original.providers) - of_others

    def _read_configuration(self) -> Configuration:
        return self._read(self._spec)

    def _read(self, spec: DaemonSpec | None) -> Configuration:
        text = self._scenario.configuration
        if spec is not None:
            text = configuration_of(text, spec)
        builders = simulated_builders(self._disk, Random(0))
        file = f"scenario {self._scenario.name}"
        found = parse(text, self._registry, builders, self._sources, file=file, folder=Path())
        return found.configuration

    # ------------------------------------------------------------------------- the story

    def start(self, nursery: trio.Nursery) -> None:
        """Have it live, with all that befalls it, until the nursery is cancelled."""
        nursery.start_soon(self._daemon, self._chance("daemon"))
        nursery.start_soon(self._killer, self._chance("kills"))
        nursery.start_soon(self._changer, self._chance("changes"))
        nursery.start_soon(self._host.run)
        if self._spec is not None and self._spec.killed_at:
            nursery.start_soon(self._outage, self._spec)

    def stop_demand(self) -> None:
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

    async def _daemon(self, chance: Random) -> None:
        """Start the daemon again and again, each time on what the last one left."""
        log = MortalLog(Random(chance.getrandbits(64)))
        while True:
            self._host.before_start(log.disk)
            with trio.CancelScope() as scope:
                mortal = Mortal(log, scope, passed=self.passed, killed=self.killed)
                self._mortal = log.owner = mortal
                living.set(mortal)
                self._born.set()
                await self._incarnation(mortal, Random(chance.getrandbits(64)))
            self.door.shut()
            self._mortal = None
            self._born = trio.Event()
            mortal.stop_counting()
            mortal.ended.set()
            if mortal.alive and not mortal.crashed:
                return
            if mortal is self._restarted:
                how = "started again with no ready nodes to keep"
            else:
                self.kills += 1
                self._struck["kills"] += not mortal.alive
                how = f"killed {mortal.died_at}" if not mortal.alive else "ended by a bug"
            self._note(f"is {how}")
            most_s = DOWN_AT_MOST_S if chance.random() < 0.1 else DOWN_MOSTLY_S
            await trio.sleep(chance.uniform(0.1, most_s))
            if trio.current_time() < self._down_until:
                await trio.sleep_until(self._down_until)
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
        if self._zookeeper is not None:
            tree, who = self._zookeeper
            world = attrs.evolve(world, zookeeper=mortal_zookeeper(tree, who, mortal))
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
                self.door.open(core)
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
            self._alarm(f"the daemon ended: {_innermost(bug)}")
            mortal.crashed = True

    def _note(self, what: str) -> None:
        name = "" if self._spec is None else f" {self._spec.deployment}"
        self._moments.append((trio.current_time(), f"the daemon{name} {what}"))

    async def _outage(self, spec: DaemonSpec) -> None:
        """Have it away for long."""
        await trio.sleep_until(spec.killed_at)
        self._down_until = spec.killed_at + spec.down_for
        self._kill_now()

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
            if not _is_left(number + self._number * self._scenario.kills, self._only.kills):
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
        known = sorted(x for x in self.passed if x.startswith("await ") is awaits)
        named = None
        if known and chance.random() < NAMED:
            rarity = [1.0 / math.sqrt(self.passed[point]) for point in known]
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
            if not _is_left(number + self._number * self._scenario.changes, self._only.changes):
                continue
            await trio.sleep_until(at)
            self._change(altered(self._original, of_this))
            self._note("has its configuration changed")
        await trio.sleep_until(self._scenario.faults_end)
        self._change(self._original)

    def _change(self, configuration: Configuration) -> None:
        if configuration != self._configuration:
            self._configuration = configuration
            self._changed.set()
            self._struck["changes"] += 1


def _is_left(number: int, only: tuple[int, ...] | None) -> bool:
    """Whether something still happens in a story that may have been shrunk."""
    return only is None or number in only


def _innermost(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return repr(error)
