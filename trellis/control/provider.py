"""One provider at work: its watcher, launches, deletions, quota and sweep, under one roof.

It shares its account and the store with others, nothing else (P5). When it crashes it is
started again and goes on from the records.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping

import attrs
import structlog
import trio

from trellis.control.breakers import Breakers, Everywhere
from trellis.control.connected import Connect, Connected
from trellis.control.create_line import CreateLine
from trellis.control.fleet import Fleet
from trellis.control.health import PROJECT_CHANGED, ProviderHealth
from trellis.control.homes import foreign, moved
from trellis.control.images.here import ImagesHere, SharedImages, same_but_image
from trellis.control.images.uploading import Uploading
from trellis.control.nudge import Nudge
from trellis.control.past import creates_of_a_day
from trellis.control.provider_view import NOT_CONFIGURED, Shelves, missing, provider_view
from trellis.control.provider_works import ProviderWorks
from trellis.control.quota import Quota
from trellis.errors import (
    CloudError,
    ConfigError,
    MisconfiguredError,
    RefusedError,
)
from trellis.images.snapshot import ProviderPlace
from trellis.model.image import Upload
from trellis.model.names import NodeId
from trellis.model.node import Home, Node, NodeState
from trellis.model.provider import Pause, ProviderRecord
from trellis.model.quota import Resources
from trellis.model.status import Health, Leak, QuirkStatus
from trellis.scheduler.snapshot import ProviderView
from trellis.spi.config import ProviderConfig
from trellis.spi.provider import (
    Instance,
    InstanceState,
    Inventory,
    Offer,
    Provider,
    PublicAddress,
)
from trellis.store.store import Store
from trellis.world import World

log = structlog.get_logger()

INVENTORY_EVERY_S = 900.0
PROBE_FIRST_S = 5.0
PROBE_MOST_S = 60.0
CREATES_END_IN_S = 10.0
PROBE_TURN_S = 120.0
"""So much longer than a launch may take its node may be a probe: it waits for its turn first."""


class RunningProvider:
    """One configured provider and all that moves in it.

    Attributes:
        dropped: it is configured no longer: it ends what it has, and launches nothing.
        resting: its task crashed, and is started again only after a while.
        inventory: what its labels came to in the cloud, as last read; which upload of an own
            image they boot from, `offered` adds.
        images: what it has to do with images.
        breakers: what of its launches is left alone after failures.
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
        quota_at: Callable[[Home], Quota],
        world: World,
        nudge: Callable[[], None],
        everywhere: Everywhere,
        images: SharedImages,
        dropped: bool = False,
    ) -> None:
        self.config, self.quota = config, quota
        self.images = ImagesHere(config.name, images)
        self._quota_at = quota_at
        self.dropped, self.resting = dropped, False
        self._deployment, self._connect = deployment, connect
        self._store, self._fleet, self._world, self._nudge = store, fleet, world, nudge
        self.inventory: Inventory | None = None
        self.health = ProviderHealth(config.name, world.wall, self._health_changed)
        self.breakers = Breakers(
            config.name,
            store=store,
            world=world,
            everywhere=everywhere,
            building=fleet.is_building,
            probe_s=lambda: self.config.launch_timeout + PROBE_TURN_S,
            changed=self._breakers_changed,
            on_trial=images.choice.on_trial,
        )
        self._inventory_wanted, self._quota_wanted = Nudge(), Nudge()
        self._look_again = Nudge()
        self._shut = trio.Event()
        quota.wakers.append(self._quota_wanted)
        self._read_once = trio.Event()
        self._works: ProviderWorks | None = None
        self._create_line = CreateLine(
            config.name,
            fleet=fleet,
            turns=lambda: self._works.connected if self._works is not None else None,
            taken_back=self._reconsider,
        )
        self._shelves = Shelves()
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
        self.images.taken_up()
        self._draw_on(quota)
        self._nudge()

    def _draw_on(self, quota: Quota) -> None:
        """Have this quota from now on: it is known now whose project it is."""
        if quota is self.quota:
            return
        self.quota.wakers.remove(self._quota_wanted)
        quota.wakers.append(self._quota_wanted)
        self.quota = quota
        if self._works is not None:
            self._works.life.quota = self._works.quota.quota = quota
        self._fleet.recount()

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
        elif self._works is not None:
            self._works.connected.reconsider()
        # What kept it from being used may be what has been corrected.
        self._look_again()

    def drop(self) -> None:
        """End what it has by its last configuration, and launch nothing any more."""
        self.dropped = True
        self._reconsider()
        self._nudge()

    def _reconsider(self) -> None:
        """Have launches that are not sent end their wait where they are wanted no longer."""
        if self._works is not None:
            self._works.life.waits.reconsider()

    def close(self) -> None:
        """Leave the fleet and the quota, which outlive it; `run` must be over or about to end."""
        self.breakers.close()
        self._fleet.on_node.remove(self._node_changed)
        self.quota.wakers.remove(self._quota_wanted)

    async def _work_connected(self, connected: Connected) -> None:
        """Do the work until the way to the cloud has to be made anew."""
        if connected.creates_left() is not None:
            connected.note_past(await creates_of_a_day(self._store, self.config.name, self._world))
        works = self._works = self._furnish(connected)
        self.images.connected(works.provider)
        self.breakers.resumed()
        async with works.provider.open(), trio.open_nursery() as nursery:
            nursery.start_soon(self._until_outdated, connected, nursery.cancel_scope)
            nursery.start_soon(works.watcher.run)
            nursery.start_soon(self.breakers.run)
            nursery.start_soon(works.sweep.run)
            nursery.start_soon(works.images.run)
            nursery.start_soon(works.deaths.run)
            nursery.start_soon(works.quota.run)
            nursery.start_soon(self._create_line.run)
            nursery.start_soon(self._keep_inventory, works)
            await works.nodes.run()

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
                self._note_health(wait_s)
            await self._look_again.wait(at_most=wait_s)
            wait_s = min(PROBE_MOST_S, wait_s * 2)

    async def _until_outdated(self, connected: Connected, work: trio.CancelScope) -> None:
        """End the work of a provider that cannot be used once its cloud is configured otherwise.

        One that works keeps what it has (rule 6).
        """
        while True:
            if self.health.state is not Health.UNAVAILABLE:
                self._shut = trio.Event()
                await self._shut.wait()
            await trio.sleep(PROBE_FIRST_S)
            if self.health.state is Health.UNAVAILABLE and connected.outdated():
                break
        log.info("provider_reconnects", provider=self.config.name)
        work.cancel()

    def _furnish(self, connected: Connected) -> ProviderWorks:
        return ProviderWorks.furnish(
            config=self.config,
            deployment=self._deployment,
            connected=connected,
            store=self._store,
            world=self._world,
            fleet=self._fleet,
            nodes=self.nodes,
            health=self.health,
            breakers=self.breakers,
            create_line=self._create_line,
            images=self.images,
            quota=self.quota,
            quota_wanted=self._quota_wanted,
            inventory_wanted=self._inventory_wanted,
            read_once=self._read_once,
            nudge=self._nudge,
            foreign=self._foreign_home,
            unwanted=self._not_offered,
            stale=self._offer_is_stale,
            words=self.record,
        )

    def _not_offered(self, node: Node) -> str:
        """Why a node must not be created that was decided upon under an earlier configuration."""
        if self.dropped:
            return NOT_CONFIGURED
        pool = self.config.pool(node.pool)
        if pool is None or pool.label(node.label) is None:
            return f"label {node.label} of pool {node.pool} is configured no longer"
        raw = self.inventory.offers.get((node.pool, node.label)) if self.inventory else None
        if bad := self.images.against(node, raw):
            return bad
        if late := self._create_line.against(node.id):
            return late
        if broken := self.breakers.against(node):
            return broken
        if pool.ignore_provider_quota:
            return ""
        return self.quota.overbooked(node, self._fleet.quota_used.get(self.quota.name, Resources()))

    def _node_changed(self, before: Node | None, after: Node | None) -> None:
        node = after or before
        if node is None or node.provider != self.config.name:
            return
        if after is not None and before is None and after.state is NodeState.BUILDING:
            self.breakers.launched(after)
        elif after is None or after.state not in (NodeState.BUILDING, NodeState.READY):
            self.breakers.ended(node.id)  # one that became ready says so itself
        self._create_line.note(node.id, after)
        if self._works is not None:
            self._works.life.waits.node_changed(before, after)
            ready = after is not None and after.state is NodeState.READY
            if (
                after is not None
                and ready
                and before is not None
                and before.state is not after.state
            ):
                self._works.deaths.see_ready(after)
            self._works.nodes.node_changed(after)

    async def _keep_inventory(self, works: ProviderWorks) -> None:
        """Read what the labels come to; while the provider cannot be used, try again and again.

        It opens when everything has been read once: labels, quota, and a full list of servers,
        without which a node id could be given that is out there already (rule 1).
        """
        wait_s = PROBE_FIRST_S
        while True:
            try:
                inventory = await works.provider.inventory()
                if not self._foreign_home(inventory.home):
                    # Before anything is launched: what is counted together is reckoned together.
                    self._draw_on(self._quota_at(inventory.home))
                if self.quota.reading is None:
                    await works.quota.read()
            except CloudError as error:
                self.health.failed(error)
                self._note_health(wait_s)
                await self._look_again.wait(at_most=wait_s)
                wait_s = min(PROBE_MOST_S, wait_s * 2)
                continue
            if works.life.config is not self.config:
                # It was read by an earlier configuration, as was what it says of each label.
                await trio.sleep_forever()  # what ends the work ends this too
            self.inventory = inventory
            if foreign := self._foreign_home(inventory.home):
                self.health.closed_for(foreign, kind=PROJECT_CHANGED)
                await self._look_again.wait(at_most=wait_s)
                wait_s = min(PROBE_MOST_S, wait_s * 2)
                continue
            await works.watcher.listed.wait()
            self.health.opened()
            self.breakers.usable("the cloud has been read again")
            self.breakers.keep_only(
                inventory.offers, self.config, images=self.images.external_ids()
            )
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
            self._shut.set()
            self._note_health(0.0)
            self._inventory_wanted()
        else:
            self.breakers.usable("the cloud answers again")

    def _note_health(self, again_in_s: float) -> None:
        """Show the breaker of an account or a region that cannot be used, if it is one."""
        health = self.health
        if health.scope is None:
            self.breakers.usable(f"it is {health.reason}")
        elif health.state is Health.UNAVAILABLE:
            reason = health.reason.removeprefix("unavailable: ")
            self.breakers.unusable(health.scope, self.config.cloud, reason, again_in_s)

    def reset_breaker(self, breaker_id: str, why: str) -> bool:
        """Close a breaker by a person's word; returns whether there is such a one.

        One that is about reading the cloud is closed by reading it, which is tried at once.
        """
        if not self.breakers.reset(breaker_id, why):
            return False
        if self.health.state is Health.UNAVAILABLE:
            if self._works is not None:
                self._works.connected.reconsider(anyway=True)
            self._look_again()
        return True

    def _breakers_changed(self) -> None:
        """Tell the planner, and what it has launched and is not sent."""
        self._fleet.dirty.update(dict.fromkeys(self._fleet.pending))
        self._nudge()
        self._reconsider()

    def _foreign_home(self, home: Home) -> str:
        """Why this is not the project our records speak of; "" if it is (rule 2)."""
        name, cloud = self.config.name, self.config.cloud
        records: Iterable[Node | Upload] = (
            *self.nodes().values(),
            *self.images.book.at_provider(name),
        )
        why = foreign(records, home, provider=name, cloud=cloud)
        if why and self._works is not None:
            # It may be the catalog that was wrong, and be right again by now.
            self._works.connected.doubt()
        return why

    async def foreign_servers(self, name: str, metadata: Mapping[str, str]) -> tuple[str, ...]:
        """See `Provider.find_foreign`.

        Raises:
            RefusedError: it cannot be asked now.
        """
        try:
            return await self._asked_now().find_foreign(name, metadata)
        except CloudError as error:
            raise RefusedError(
                f"{self.config.name} cannot tell of servers called {name}: {error}",
                remedy="ask again when the cloud answers",
            ) from error

    def _asked_now(self) -> Provider:
        if self._works is None:
            raise RefusedError(f"{self.config.name} is not connected", remedy="wait until it is")
        return self._works.provider

    async def look_at(self, external_id: str) -> tuple[Instance, tuple[PublicAddress, ...], Home]:
        """A server as the cloud shows it now, what leads to it, and where that was asked (rule 2).

        Raises:
            RefusedError: it cannot be asked now.
        """
        provider = self._asked_now()
        try:
            home = await provider.home()
            row = await provider.get(external_id)
            there = row.state is not InstanceState.GONE
            public = await provider.public_of(external_id) if there else ()
            same = home == await provider.home() and not self._foreign_home(home)
        except CloudError as error:
            raise RefusedError(
                f"{self.config.name} cannot tell of server {external_id}: {error}",
                remedy="ask again when the cloud answers",
            ) from error
        if not same:
            raise RefusedError(
                f"{self.config.name} leads to another project than before: nothing is concluded",
                remedy=f"'trellis provider show {self.config.name}' says why",
            )
        return row, public, home

    async def accept_move(self, endpoint: str, project_id: str | None, by: str) -> None:
        """Take a person's word that the cloud has moved to where the credentials lead now.

        Raises:
            RefusedError: that is not what they lead to; see `trellis.control.homes.moved`.
        """
        if self._works is None:
            raise RefusedError(f"{self.config.name} is not connected", remedy="wait until it is")
        try:
            home = await self._works.provider.home()
        except CloudError as error:
            raise RefusedError(
                f"where the credentials lead is not known: {error}", remedy="wait until they work"
            ) from error
        nodes = [self._store.head(Node, node_id) for node_id in self.nodes()]
        uploads = self.images.book.at_provider(self.config.name)
        changes = moved(
            [one for one in (*nodes, *self._heads(uploads)) if one is not None],
            home,
            provider=self.config.name,
            endpoint=endpoint,
            project_id=project_id,
            by=by,
        )
        # Read and staged without an await between: nobody comes between.
        await self._store.commit(changes)
        log.warning("move_accepted", provider=self.config.name, by=by, records=len(changes))
        if changes:
            await self.restart()  # what is under way knows its record as it was

    def _heads(self, uploads: Iterable[Upload]) -> list[Upload | None]:
        return [self._store.head(Upload, upload.id) for upload in uploads]

    def _offer_is_stale(self, node: Node, reason: str) -> None:
        """Offer a label no longer that came down to what is gone, until it is looked up anew."""
        inventory, key = self.inventory, (node.pool, node.label)
        offer = inventory.offers.get(key) if inventory is not None else None
        if inventory is None or offer is None or not same_but_image(node.shape, offer):
            return  # it has been looked up since
        if self._works is not None and offer.image is not None:
            self._works.images.sweep.look(node.shape.image_id)  # an upload of ours may be gone
        offers = {other: offer for other, offer in inventory.offers.items() if other != key}
        missing = {**inventory.missing, key: reason}
        self.inventory = attrs.evolve(inventory, offers=offers, missing=missing)
        self._inventory_wanted()
        self._nudge()

    # ---------------------------------------------------------------------- the planner's view

    def view(self) -> ProviderView:
        """The provider as the planner sees it."""
        return provider_view(
            config=self.config,
            dropped=self.dropped,
            pause=self.pause(),
            health=self.health,
            breakers=self.breakers,
            inventory=self.offered,
            shelves=self._shelves,
            quota=self.quota.name,
            fleet=self._fleet,
            admission=self._create_line.admission(),
            sendable=self._works.connected.creates_left() if self._works is not None else None,
        )

    def offer(self, pool: str, label: str) -> Offer | None:
        """What a label of a pool came down to in the cloud, if it did."""
        return self.offered.offers.get((pool, label)) if self.offered is not None else None

    def missing(self, pool: str, label: str) -> str:
        """Why a label of a pool cannot be made now."""
        return missing(self.offered, self.health, pool, label)

    @property
    def offered(self) -> Inventory | None:
        """What its labels come to with the images that launches boot from now."""
        return self.images.dressed(self.inventory)

    def image_place(self) -> ProviderPlace:
        """What of images matters there."""
        return self.images.place(self.config, dropped=self.dropped)

    @property
    def uploading(self) -> Uploading | None:
        """What uploads to it; None while it is not connected."""
        return self._works.images.uploading if self._works is not None else None

    def leaks(self) -> tuple[Leak, ...]:
        """What is suspected to be a leak there; nothing while it is not connected."""
        works = self._works
        return () if works is None else (*works.sweep.leaks(), *works.images.sweep.leaks())

    @property
    def is_sweeping(self) -> bool:
        """Whether it is deleting leaks, or will once it has seen them a second time."""
        works = self._works
        return works is not None and (works.sweep.busy or works.images.sweep.busy)

    @property
    def sweep_alarm(self) -> str:
        """Why a sweep of it has stopped; "" while none has."""
        works = self._works
        return "" if works is None else works.sweep.alarm or works.images.sweep.alarm

    @property
    def account(self) -> Hashable | None:
        """What tells its account from others; None while it is not connected."""
        return self._works.connected.account if self._works is not None else None

    def api_calls(self) -> Mapping[str, int]:
        """Calls of its account so far, by service and verb."""
        return self._works.connected.api_calls() if self._works is not None else {}

    def quirks(self) -> tuple[QuirkStatus, ...]:
        """In what its cloud is not stock; empty while it is not connected."""
        return self._works.connected.quirks() if self._works is not None else ()

    def record(self) -> ProviderRecord:
        """What is remembered of it over restarts."""
        return self._store.head(ProviderRecord, self.config.name) or ProviderRecord(
            name=self.config.name
        )

    def pause(self) -> Pause | None:
        """The pause in force, if there is one."""
        record = self._store.head(ProviderRecord, self.config.name)
        if record is None or record.pause is None:
            return None  # as nearly always, and it is asked in each pass of the planner
        return record.pause_at(self._world.wall())
