"""The providers at work: those configured, and those dropped that have something left.

A configuration may change while nodes live by the last one (design §5b, rule 6). A provider that
changed goes on from its records, as after a restart. One that was dropped or renamed ends what
it has by its last configuration, which the store keeps without secrets.
"""

from collections.abc import Iterable
from functools import partial
from typing import Protocol

import attrs
import structlog
import trio

from trellis.config import remember
from trellis.control.breakers import Everywhere
from trellis.control.connected import Connected
from trellis.control.fleet import Fleet
from trellis.control.images.here import SharedImages
from trellis.control.nudge import Nudge
from trellis.control.provider import RunningProvider
from trellis.control.quota import Quota, quota_name
from trellis.control.supervise import supervise
from trellis.errors import ConfigError
from trellis.model.node import Home, Node
from trellis.model.provider import ProviderRecord
from trellis.model.records import Change
from trellis.spi.config import ProviderConfig
from trellis.store.store import Store
from trellis.world import World

log = structlog.get_logger()

TEND_EVERY_S = 5.0


class Accounts(Protocol):
    """What the roster needs of the accounts."""

    async def connect(self, config: ProviderConfig) -> Connected:
        """See `trellis.control.connected.Connect`."""
        ...

    def recall(self, text: str) -> ProviderConfig:
        """Read a remembered configuration.

        Raises:
            ConfigError: it cannot be read any more.
        """
        ...

    def leave(self, name: str) -> None:
        """A provider has ended; its account ends with its last one."""
        ...


class Roster:
    """Starts, changes and ends providers as the configuration says.

    Attributes:
        running: the providers at work, by name, those of the configuration in its order.
        quotas: the quotas they draw on, by name.
        everywhere: the breakers that are about all of them.
    """

    def __init__(
        self,
        configs: Iterable[ProviderConfig],
        *,
        deployment: str,
        accounts: Accounts,
        store: Store,
        fleet: Fleet,
        world: World,
        nudge: Nudge,
        images: SharedImages,
    ) -> None:
        self._deployment, self._accounts, self._images = deployment, accounts, images
        self._store, self._fleet, self._world, self._nudge = store, fleet, world, nudge
        self.running: dict[str, RunningProvider] = {}
        self.quotas: dict[str, Quota] = {}
        self.everywhere = Everywhere(store, world, fleet.is_building)
        self._scopes: dict[str, trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None
        self._lost: set[str] = set()
        self._configured = tuple(configs)
        fleet.quota_of = self._quota_of
        for config in self._configured:
            self._add(config)
        self._take_in_strays()
        fleet.recount()

    # ------------------------------------------------------------------------ the tasks

    async def run(self) -> None:
        """Run all providers, those that come later too, until cancelled."""
        await self._store.commit(self._to_remember())
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for running in list(self.running.values()):
                nursery.start_soon(self._keep, running)
            while True:
                await trio.sleep(TEND_EVERY_S)
                await self._tend()

    async def _keep(self, running: RunningProvider) -> None:
        name = running.config.name
        with trio.CancelScope() as self._scopes[name]:
            await supervise(name, running.run, on_crash=running.crashed)

    async def _tend(self) -> None:
        """End the dropped ones that have nothing left; see to nodes that have no provider.

        A leak that is being deleted is something left; one that is only reported is not.
        """
        await self._store.settled()
        for running in list(self.running.values()):
            busy = running.nodes() or running.images.has_uploads() or running.is_sweeping
            if running.dropped and not busy:
                await self._end(running)
        self._forget_quotas()
        for running in self._take_in_strays():
            self._start(running)

    # --------------------------------------------------------------------------- changes

    async def take_up(self, configs: Iterable[ProviderConfig]) -> None:
        """Work by these configurations from now on."""
        self._configured = tuple(configs)
        # Staged before anything is launched by them, so on record before that is.
        self._store.stage(self._to_remember())
        before, changed = dict(self.running), list[RunningProvider]()
        for config in self._configured:
            running = self.running.get(config.name)
            if running is None:
                self._start(self._add(config))
            elif running.config != config or running.dropped:
                log.info("provider_changes", provider=config.name)
                same = (running.config.cloud, running.config.region_name) == (
                    config.cloud,
                    config.region_name,
                )
                running.take_up(config, running.quota if same else self._quota(config))
                if running.resting:
                    # What made it crash may be what has been changed: it is tried at once.
                    running.resting = False
                    self._scopes[config.name].cancel()
                    self._start(running)
                else:
                    changed.append(running)
        named = {config.name for config in self._configured}
        for name, running in before.items():
            if name not in named and not running.dropped:
                log.info("provider_dropped", provider=name, nodes=len(running.nodes()))
                running.drop()
        self._in_order()
        self._images.nudge()
        # What counts against which quota may be another one now.
        self._fleet.recount()
        self._nudge()
        async with trio.open_nursery() as nursery:
            for running in changed:
                nursery.start_soon(running.restart)
            await self._store.settled()

    async def reread(self) -> None:
        """Have those whose way to the cloud is configured otherwise by now connect anew."""
        async with trio.open_nursery() as nursery:
            for running in self.running.values():
                nursery.start_soon(running.reread)

    def at_fault(self, node: Node) -> str:
        """Why a launch that failed says nothing of its image; "" where it may."""
        running = self.running.get(node.provider)
        if running is None:
            return "its provider is configured no longer"
        if running.health.closed:
            return running.health.closed
        return "nothing comes up there" if running.breakers.region_fails() else ""

    def _in_order(self) -> None:
        names = [config.name for config in self._configured]
        names += [name for name in self.running if name not in names]
        ordered = {name: self.running[name] for name in names}
        self.running.clear()
        self.running.update(ordered)

    def _add(self, config: ProviderConfig, *, dropped: bool = False) -> RunningProvider:
        running = self.running[config.name] = RunningProvider(
            config=config,
            deployment=self._deployment,
            connect=self._accounts.connect,
            store=self._store,
            fleet=self._fleet,
            quota=self._quota(config),
            quota_at=self._quota_at,
            world=self._world,
            nudge=self._nudge,
            everywhere=self.everywhere,
            images=self._images,
            dropped=dropped,
        )
        return running

    def _start(self, running: RunningProvider) -> None:
        # Before `run` there is no nursery yet, and `run` starts all there are.
        if self._nursery is not None:
            self._nursery.start_soon(self._keep, running)

    async def _end(self, running: RunningProvider) -> None:
        name = running.config.name
        leaks = [leak.id for leak in running.leaks()]
        why = "dropped, and nothing of it is left"
        if leaks:
            log.warning("provider_ended", provider=name, why=f"{why} but leaks", leaks=leaks)
        else:
            log.info("provider_ended", provider=name, why=why)
        del self.running[name]
        self._scopes.pop(name).cancel()
        running.close()
        self._accounts.leave(name)
        record = self._store.head(ProviderRecord, name)
        if record is not None and record.configuration:
            after = attrs.evolve(record, configuration="")
            await self._store.commit([Change(record, after, why="dropped, and nothing is left")])

    # ------------------------------------------------------------- after it left the file

    def _to_remember(self) -> list[Change]:
        """Keep the configurations, so that one that is dropped while we are down can be ended."""
        changes = list[Change]()
        for config in self._configured:
            record = self._store.head(ProviderRecord, config.name)
            text = remember(config)
            if record is None or record.configuration != text:
                after = attrs.evolve(record or ProviderRecord(name=config.name), configuration=text)
                changes.append(Change(record, after))
        return changes

    def _take_in_strays(self) -> list[RunningProvider]:
        """Run those that have something left and are not configured, by their last one."""
        taken_in = []
        for name in dict.fromkeys((*self._fleet.by_provider, *self._images.book.providers())):
            nodes = self._fleet.by_provider.get(name, {})
            uploads = self._images.book.at_provider(name)
            if name in self.running or name in self._lost or not (nodes or uploads):
                continue
            record = self._store.head(ProviderRecord, name)
            try:
                if record is None or not record.configuration:
                    raise ConfigError(["its last configuration is not on record"])
                config = self._accounts.recall(record.configuration)
            except ConfigError as error:
                self._lost.add(name)
                log.error(
                    "provider_not_configured",
                    provider=name,
                    nodes=len(nodes),
                    images=len(uploads),
                    why="; ".join(error.faults),
                    remedy="put it back, with max-servers: 0, until they are gone",
                )
                continue
            log.warning("provider_dropped", provider=name, nodes=len(nodes), images=len(uploads))
            taken_in.append(self._add(config, dropped=True))
        return taken_in

    # --------------------------------------------------------------------------- quotas

    def _quota(self, config: ProviderConfig) -> Quota:
        """A quota under a provisional name, until a login tells whose project it is."""
        return self._named_quota(f"{config.cloud}/{config.region_name or ''}")

    def _quota_at(self, home: Home) -> Quota:
        """The quota of a project and region; providers of one project share it (rule 9)."""
        quota = self._named_quota(quota_name(home))
        quota.home = home
        return quota

    def _named_quota(self, name: str) -> Quota:
        if name not in self.quotas:
            self.quotas[name] = Quota(
                name,
                self._world.wall,
                now=trio.current_time,
                sent=partial(self._fleet.sent, name),
            )
        return self.quotas[name]

    def _forget_quotas(self) -> None:
        """Forget those nobody draws on: what was read of them will not hold later."""
        used = {running.quota.name for running in self.running.values()}
        for name in [name for name in self.quotas if name not in used]:
            del self.quotas[name]

    def _quota_of(self, node: Node) -> str:
        # What was made counts where it was made, whatever its provider is known to draw on.
        if node.home is not None:
            return quota_name(node.home)
        # One without configuration draws on nothing but itself.
        running = self.running.get(node.provider)
        return running.quota.name if running is not None else node.provider
