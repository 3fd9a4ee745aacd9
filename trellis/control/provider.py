"""One provider at work: its watcher, launches, deletions, quota and sweep, under one roof.

It shares its account and the store with others, nothing else (P5). When it crashes it is
started again and goes on from the records.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Protocol

import attrs
import structlog
import trio

from trellis.control.attached import Attached
from trellis.control.deaths import Deaths
from trellis.control.fleet import DYING, Fleet
from trellis.control.health import PROJECT_CHANGED, ProviderHealth
from trellis.control.holds import Breaker, Holds
from trellis.control.life import Life
from trellis.control.nudge import Nudge
from trellis.control.past import creates_of_a_day
from trellis.control.quota import Quota
from trellis.control.quota_watch import QuotaWatch
from trellis.control.ssh_scan import NotReachableError, scan
from trellis.control.sweep import Sweep
from trellis.control.watcher import Watcher
from trellis.errors import (
    CloudError,
    ConfigError,
    ConflictError,
    MisconfiguredError,
    StoreError,
)
from trellis.model.names import NodeId
from trellis.model.node import Home, Node, NodeState
from trellis.model.provider import Pause, ProviderRecord, StoreMeta
from trellis.model.quota import Limits, Resources
from trellis.model.records import Change
from trellis.model.status import Health
from trellis.scheduler.snapshot import PoolView, ProviderView, Spot
from trellis.spi.config import PoolConfig, ProviderConfig
from trellis.spi.provider import Inventory, Listing, Offer, Provider
from trellis.store.store import Store
from trellis.world import World

log = structlog.get_logger()

INVENTORY_EVERY_S = 900.0
PROBE_FIRST_S = 5.0
FIRST_READ_S = 90.0
BUG_PAUSE_S = 60.0
PROBE_MOST_S = 60.0
CHECK_AT_MOST_S = 10.0
CREATES_END_IN_S = 10.0
NOT_CONFIGURED = "it is configured no longer: what it has is ended, nothing is launched"


class Connected(Protocol):
    """A provider made, and what is known of its calls."""

    @property
    def provider(self) -> Provider:
        """The provider."""
        ...

    @property
    def account(self) -> Hashable:
        """What tells its account from others: providers that share one share its calls."""
        ...

    def api_calls(self) -> Mapping[str, int]:
        """Calls of the account so far by service and verb."""
        ...

    def creates_left(self) -> int | None:
        """How many creates the limit of a day still allows; None if there is no such limit."""
        ...

    def note_past(self, times: Iterable[float]) -> None:
        """Count creates of before this process, in UTC seconds, against that limit."""
        ...

    def outdated(self) -> bool:
        """Whether the way to the cloud is configured otherwise now; connecting anew takes it."""
        ...


class Connect(Protocol):
    """Makes the provider of a configuration, on the account it shares with others."""

    async def __call__(self, config: ProviderConfig) -> Connected:
        """Do no I/O but reading credentials. Cancelled, it leaves nothing behind.

        Raises:
            ConfigError: there is no such cloud or region, or no usable credentials.
        """
        ...


@attrs.frozen(kw_only=True)
class _Works:
    """What moves while the provider is connected; made anew when it is started again."""

    connected: Connected
    provider: Provider
    watcher: Watcher
    deaths: Deaths
    life: Life
    quota: QuotaWatch
    sweep: Sweep


class RunningProvider:
    """One configured provider and all that moves in it.

    Attributes:
        dropped: it is configured no longer: it ends what it has, and launches nothing.
        resting: its task crashed, and is started again only after a while.
        inventory: what its labels came to in the cloud, as last read.
        spots: flavors and zones held back after *No valid host*, by pool.
        labels: pools' labels held back for idle nodes after failed launches.
    """

    def __init__(
        self,
        *,
        config: ProviderConfig,
        deployment: str,
        connect: Connect,
        store: Store,
        fleet: Fleet,
        quota: Quota,
        world: World,
        nudge: Callable[[], None],
        dropped: bool = False,
    ) -> None:
        self.config, self.quota = config, quota
        self.dropped, self.resting = dropped, False
        self._deployment, self._connect = deployment, connect
        self._store, self._fleet, self._world, self._nudge = store, fleet, world, nudge
        self.inventory: Inventory | None = None
        self.health = ProviderHealth(config.name, world.wall, self._health_changed)
        self.spots: Holds[tuple[str, Spot]] = Holds(world.wall, first_s=30.0, most_s=600.0)
        self.labels: Holds[tuple[str, str]] = Holds(world.wall, first_s=15.0, most_s=600.0, after=3)
        self._inventory_wanted, self._quota_wanted = Nudge(), Nudge()
        quota.wakers.append(self._quota_wanted)
        self.creates = Breaker(world.wall, after=3, first_s=30.0, most_s=600.0)
        self._read_once = trio.Event()
        self._works: _Works | None = None
        self._at_work: set[NodeId] = set()
        self._work: trio.MemorySendChannel[NodeId] | None = None
        self._round: trio.CancelScope | None = None
        fleet.on_node.append(self._node_changed)

    def nodes(self) -> Mapping[NodeId, Node]:
        """The live nodes of this provider."""
        return self._fleet.by_provider.get(self.config.name, {})

    # ------------------------------------------------------------------------ the tasks

    async def run(self) -> None:
        """Do the provider's work until cancelled."""
        self.resting = False
        while True:  # noqa: ASYNC913 - it ends only by being cancelled
            with trio.CancelScope() as self._round:
                await self._work_connected(await self._connected())

    def take_up(self, config: ProviderConfig, quota: Quota) -> None:
        """Be seen as another configuration says, at once; `restart` has its work follow."""
        self.config = config
        self.dropped = False
        self.inventory = None  # what a label came to, it may come to no longer
        if quota is not self.quota:
            self.quota.wakers.remove(self._quota_wanted)
            quota.wakers.append(self._quota_wanted)
            self.quota = quota
        self._nudge()

    async def restart(self) -> None:
        """Connect anew and work by the configuration, as after a restart of this provider alone.

        Launches and deletions go on from their records. Creates whose answer is still to come
        are waited for a while: cut off, they would be in doubt. Cancelled meanwhile, it sends no
        create until it is restarted.
        """
        if self._works is not None:
            with trio.move_on_after(CREATES_END_IN_S):
                await self._works.life.no_more_creates()
        if self._round is not None:
            self._round.cancel()

    async def reread(self) -> None:
        """Connect anew if the way to the cloud is configured otherwise by now."""
        if self._works is not None and self._works.connected.outdated():
            log.info("provider_reconnects", provider=self.config.name)
            await self.restart()

    def drop(self) -> None:
        """End what it has by its last configuration, and launch nothing any more."""
        self.dropped = True
        if self._works is not None:
            self._works.life.reconsider()
        self._nudge()

    def close(self) -> None:
        """Leave the fleet and the quota, which outlive it; `run` must be over or about to end."""
        self._fleet.on_node.remove(self._node_changed)
        self.quota.wakers.remove(self._quota_wanted)

    async def _work_connected(self, connected: Connected) -> None:
        """Do the work until the way to the cloud has to be made anew."""
        if connected.creates_left() is not None:
            connected.note_past(await creates_of_a_day(self._store, self.config.name, self._world))
        works = self._works = self._furnish(connected)
        self._at_work.clear()
        async with works.provider.open(), trio.open_nursery() as nursery:
            nursery.start_soon(self._until_outdated, connected, nursery.cancel_scope)
            nursery.start_soon(works.watcher.run)
            nursery.start_soon(works.sweep.run)
            nursery.start_soon(works.deaths.run)
            nursery.start_soon(works.quota.run)
            nursery.start_soon(self._keep_inventory, works)
            await self._dispatch(works.life, nursery)

    def crashed(self, _name: str, crash: Exception) -> None:
        """Note that its task crashed and will be started again."""
        self.resting = True
        self.health.closed_for(f"a bug ended its task, it is started again: {crash!r}")

    async def _connected(self) -> Connected:
        """Make the provider; while its credentials cannot be read, try again and again."""
        wait_s = PROBE_FIRST_S
        while True:
            try:
                return await self._connect(self.config)
            except ConfigError as error:
                self.health.failed(MisconfiguredError("; ".join(error.faults)))
            await trio.sleep(wait_s)
            wait_s = min(PROBE_MOST_S, wait_s * 2)

    async def _until_outdated(self, connected: Connected, work: trio.CancelScope) -> None:
        """End the work of a provider that cannot be used once its cloud is configured otherwise.

        One that works keeps what it has (rule 6).
        """
        while True:
            await trio.sleep(PROBE_FIRST_S)
            if self.health.state is Health.UNAVAILABLE and connected.outdated():
                break
        log.info("provider_reconnects", provider=self.config.name)
        work.cancel()

    def _furnish(self, connected: Connected) -> _Works:
        provider = connected.provider
        attached = Attached(
            provider=self.config.name,
            deployment=self._deployment,
            store=self._store,
            wall=self._world.wall,
        )
        sweep = Sweep(
            name=self.config.name,
            deployment=self._deployment,
            provider=provider,
            health=self.health,
            mode=self.config.sweep,
            wall=self._world.wall,
            issued=self._issued,
            attached=attached,
            estrange=self._estrange,
            # Of all providers: two of them may look at one project (rule 9).
            nodes=lambda: self._fleet.nodes,
            words=self.record,
        )
        deaths = Deaths(
            provider=provider,
            store=self._store,
            health=self.health,
            wall=self._world.wall,
            nodes=self.nodes,
            node_of=self._fleet.by_external.get,
        )

        def see_full(listing: Listing) -> None:
            sweep.see(listing)
            deaths.see_full(listing)

        watcher = Watcher(
            provider,
            deployment=self._deployment,
            health=self.health,
            foreign=self._foreign_home,
            on_attached=attached.see,
            on_row=deaths.see_row,
            on_full=see_full,
        )
        life = Life(
            config=self.config,
            deployment=self._deployment,
            provider=provider,
            store=self._store,
            world=self._world,
            watcher=watcher,
            health=self.health,
            quota=self.quota,
            attached=attached.see,
            twin_of=self._fleet.host_keys.claim,
            spots=self.spots,
            labels=self.labels,
            creates=self.creates,
            read_anew=self._inventory_wanted,
            unwanted=self._not_offered,
        )
        return _Works(
            connected=connected,
            provider=provider,
            watcher=watcher,
            deaths=deaths,
            life=life,
            sweep=sweep,
            quota=QuotaWatch(
                provider=provider,
                quota=self.quota,
                fleet=self._fleet,
                health=self.health,
                nudge=self._nudge,
                wanted=self._quota_wanted,
            ),
        )

    async def _dispatch(self, life: Life, nursery: trio.Nursery) -> None:
        """Give each node that has to move a task of its own, one at a time."""
        # Unbounded on purpose: it holds ids of records that are in memory anyway.
        self._work, work = trio.open_memory_channel[NodeId](10_000_000)
        for node_id in list(self.nodes()):
            self._work.send_nowait(node_id)
        async for node_id in work:
            node = self.nodes().get(node_id)
            if node is not None and node_id not in self._at_work and _has_to_move(node):
                self._at_work.add(node_id)
                nursery.start_soon(self._move, life, node_id)

    async def _move(self, life: Life, node_id: NodeId) -> None:
        """Launch a node that is to be launched, delete one that is to be deleted."""
        structlog.contextvars.bind_contextvars(node=node_id, provider=self.config.name)
        try:
            while (node := self.nodes().get(node_id)) is not None and _has_to_move(node):
                try:
                    await self._step(life, node)
                except StoreError:
                    raise
                except Exception as bug:
                    log.error("node_task_crashed", again_in_s=BUG_PAUSE_S, exc_info=bug)
                    await trio.sleep(BUG_PAUSE_S)
                    # A launch with a bug in it would crash again: its request gets another node.
                    await life.fail(node_id, f"a bug of Trellis ended its launch: {bug!r}")
                # What ended a launch may be staged only: the view shows it once it is durable.
                await self._store.settled()
        finally:
            self._at_work.discard(node_id)

    async def _step(self, life: Life, node: Node) -> None:
        if node.state is not NodeState.BUILDING:
            await life.delete(node.id)
            return
        if node.server is None and (reason := self._not_offered(node)):
            await life.abort(node.id, reason)
            return
        # Nothing is known of the cloud right after a start: a launch would ask for it by itself.
        with trio.move_on_after(FIRST_READ_S):
            await self._read_once.wait()
        if self._read_once.is_set():
            await life.launch(node.id)
        else:
            await life.abort(node.id, self.health.reason)

    def _not_offered(self, node: Node) -> str:
        """Why a node must not be created that was decided upon under an earlier configuration."""
        if self.dropped:
            return NOT_CONFIGURED
        pool = self.config.pool(node.pool)
        if pool is None or pool.label(node.label) is None:
            return f"label {node.label} of pool {node.pool} is configured no longer"
        return ""

    def _node_changed(self, before: Node | None, after: Node | None) -> None:
        node = after or before
        if node is None or node.provider != self.config.name:
            return
        if self._works is not None:
            self._works.life.node_changed(before, after)
        idle = after is not None and after.id not in self._at_work
        if after is not None and self._work is not None and idle and _has_to_move(after):
            self._work.send_nowait(after.id)

    async def _keep_inventory(self, works: _Works) -> None:
        """Read what the labels come to; while the provider cannot be used, try again and again.

        It opens when everything has been read once: labels, quota, and a full list of servers,
        without which a node id could be given that is out there already (rule 1).
        """
        wait_s = PROBE_FIRST_S
        while True:
            try:
                inventory = await works.provider.inventory()
                if self.quota.reading is None:
                    await works.quota.read()
            except CloudError as error:
                self.health.failed(error)
                await trio.sleep(wait_s)
                wait_s = min(PROBE_MOST_S, wait_s * 2)
                continue
            if works.life.config is not self.config:
                # It was read by an earlier configuration, as was what it says of each label.
                await trio.sleep_forever()  # what ends the work ends this too
            self.inventory = inventory
            if foreign := self._foreign_home(inventory.home):
                self.health.closed_for(foreign, kind=PROJECT_CHANGED)
                await trio.sleep(wait_s)
                wait_s = min(PROBE_MOST_S, wait_s * 2)
                continue
            await works.watcher.listed.wait()
            self.health.opened()
            self._read_once.set()
            wait_s = PROBE_FIRST_S
            self._nudge()
            for (pool, label), reason in inventory.missing.items():
                log.warning("label_missing", pool=pool, label=label, reason=reason)
            await self._inventory_wanted.wait(at_most=INVENTORY_EVERY_S)
            await trio.sleep(PROBE_FIRST_S)  # however often it is wanted

    def _health_changed(self) -> None:
        """Tell the planner, and have one who has become unusable probed."""
        self._nudge()
        if self.health.state is Health.UNAVAILABLE:
            self._inventory_wanted()

    def _foreign_home(self, home: Home) -> str:
        """Why this is not the project our records speak of; "" if it is (rule 2)."""
        for node in self.nodes().values():
            if node.home is not None and node.home != home:
                return (
                    f"{PROJECT_CHANGED}: node {node.id} is recorded in project "
                    f"{node.home.project_id} at {node.home.endpoint}, the credentials lead to "
                    f"{home.project_id} at {home.endpoint}. Nothing is concluded about its nodes: "
                    f"correct the entry {self.config.cloud} in clouds.yaml, or give the new "
                    "project a provider of its own"
                )
        return ""

    # ------------------------------------------------------------------ doubt

    async def recheck(self, node: Node) -> None:
        """See whether a node that has long been ready is still there; delete it if not (rule 8)."""
        fault = await self._changed_since(node)
        now = self._world.wall()
        if fault:
            after = node.became(NodeState.DELETING, now, fault=fault)
        else:
            after = attrs.evolve(node, checked_at=now)
        try:
            await self._store.commit([Change(node, after)])
        except ConflictError:
            log.debug("recheck_outrun", node=node.id)

    async def _changed_since(self, node: Node) -> str:
        """Why a node is not what became ready; "" if it is."""
        assert node.addresses is not None
        try:
            with trio.fail_after(CHECK_AT_MOST_S):
                keys = await scan(
                    self._world.connect,
                    node.addresses.interface_ip,
                    node.login.connection_port,
                    entropy=self._world.random.randbytes,
                )
        except (NotReachableError, trio.TooSlowError) as error:
            return f"ready, but it does not answer any more: {error or 'no answer in time'}"
        if set(keys) != set(node.host_keys):
            return "ready, but it shows other host keys than when it became so"
        return ""

    def _estrange(self, strangers: Mapping[str, NodeId]) -> None:
        """Remember things with node ids never issued here, and never issue those (rule 1).

        They stay strange, however far our own numbers rise, until a person decides.
        """
        meta = self._store.head(StoreMeta, "store")
        assert meta is not None
        record = self._store.head(ProviderRecord, self.config.name)
        known = record or ProviderRecord(name=self.config.name)
        new = tuple(one for one in strangers if one not in known.strange)
        highest = max((int(number) for number in strangers.values()), default=0)
        changes: list[Change] = []
        if new:
            after = attrs.evolve(known, strange=(*known.strange, *new))
            why = f"{len(new)} things carry node ids that were never issued here"
            changes.append(Change(record, after, why=why))
        if highest >= meta.next_node:
            changes.append(Change(meta, attrs.evolve(meta, next_node=highest + 1)))
        self._store.stage(changes)

    def _issued(self, node_id: NodeId) -> bool:
        meta = self._store.head(StoreMeta, "store")
        return meta is not None and node_id.isdigit() and int(node_id) < meta.next_node

    # ---------------------------------------------------------------------- the planner's view

    def view(self) -> ProviderView:
        """The provider as the planner sees it."""
        offers = self.inventory.offers if self.inventory is not None else {}
        pause = self._pause()
        return ProviderView(
            name=self.config.name,
            paused=f"paused by {pause.by}: {pause.reason}" if pause is not None else "",
            draining=self.dropped or (pause is not None and pause.drain),
            dropped=self.dropped,
            closed=NOT_CONFIGURED if self.dropped else self.health.closed,
            barred=self.creates.reason or self._day_used_up(),
            quota=self.quota.name,
            launch_retries=self.config.launch_retries,
            launches_left=self._launches_left(),
            pools=[
                PoolView(
                    name=pool.name,
                    limits=own_limits(pool),
                    missing={
                        label.name: self.missing(pool.name, label.name)
                        for label in pool.labels
                        if (pool.name, label.name) not in offers
                    },
                    ignores_quota=pool.ignore_provider_quota,
                    used=self._fleet.pool_used.get((self.config.name, pool.name), Resources()),
                    freeing=self._fleet.pool_freeing.get(
                        (self.config.name, pool.name), Resources()
                    ),
                    offers={
                        label.name: offers[pool.name, label.name]
                        for label in pool.labels
                        if (pool.name, label.name) in offers
                    },
                    spots_held={s: h for (p, s), h in self.spots.held.items() if p == pool.name},
                    labels_held={x: h for (p, x), h in self.labels.held.items() if p == pool.name},
                )
                for pool in self.config.pools
            ],
            zone_nodes=self._fleet.zone_nodes.get(self.config.name, {}),
        )

    def _launches_left(self) -> int | None:
        most, today = self.config.max_concurrency, self._creates_left()
        if most is None:
            return today
        states = self._fleet.provider_states.get(self.config.name)
        left = most - (states[NodeState.BUILDING.value] if states is not None else 0)
        return left if today is None else min(left, today)

    def _creates_left(self) -> int | None:
        """What the limit of a day allows beyond the launches that are still to be sent."""
        left = self._works.connected.creates_left() if self._works is not None else None
        if left is None:
            return None
        building = (n for n in self.nodes().values() if n.state is NodeState.BUILDING)
        return max(0, left - sum(node.external_id is None for node in building))

    def _day_used_up(self) -> str:
        if self._creates_left() != 0:
            return ""
        most = self.config.limits.creates_per_day
        return f"the {most or ''} creates that limits.creates-per-day allows in 24 h are used up"

    def offer(self, pool: str, label: str) -> Offer | None:
        """What a label of a pool came down to in the cloud, if it did."""
        return self.inventory.offers.get((pool, label)) if self.inventory is not None else None

    def missing(self, pool: str, label: str) -> str:
        """Why a label of a pool cannot be made now."""
        if self.inventory is None:
            return self.health.reason or "the cloud has not been read yet"
        return self.inventory.missing.get((pool, label), "")

    @property
    def sweep(self) -> Sweep | None:
        """Its sweep; None while it is not connected."""
        return self._works.sweep if self._works is not None else None

    @property
    def account(self) -> Hashable | None:
        """What tells its account from others; None while it is not connected."""
        return self._works.connected.account if self._works is not None else None

    def api_calls(self) -> Mapping[str, int]:
        """Calls of its account so far, by service and verb."""
        return self._works.connected.api_calls() if self._works is not None else {}

    def record(self) -> ProviderRecord:
        """What is remembered of it over restarts."""
        return self._store.head(ProviderRecord, self.config.name) or ProviderRecord(
            name=self.config.name
        )

    def _pause(self) -> Pause | None:
        """The pause in force, if there is one."""
        pause = self.record().pause
        over = pause is not None and pause.until is not None and pause.until <= self._world.wall()
        return None if over else pause


def own_limits(pool: PoolConfig) -> Limits:
    """A pool's own limits; what is left out binds nothing."""
    return Limits(instances=pool.max_servers, cores=pool.max_cores, ram_mib=pool.max_ram)


def _has_to_move(node: Node) -> bool:
    return node.state is NodeState.BUILDING or node.state in DYING
