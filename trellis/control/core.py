"""The core: everything between the demand port and the clouds, in one nursery tree.

Production and simulation run this same core; they differ in the `World`, the log and the
providers they give it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Protocol

import attrs
import trio

from trellis.config import Configuration
from trellis.control.ask_index import AskIndex
from trellis.control.demand_sources import DemandSources, SourceGround
from trellis.control.estimates import Estimates
from trellis.control.fleet import Fleet
from trellis.control.host_keys import KEPT_S
from trellis.control.images.book import ImageBook
from trellis.control.images.build_ground import BuildGround
from trellis.control.images.build_log import BuildLogs
from trellis.control.images.building import Building, maker_of
from trellis.control.images.choice import Choice
from trellis.control.images.here import SharedImages
from trellis.control.images.in_use import InUse
from trellis.control.images.operator import image_operator
from trellis.control.images.service import Images
from trellis.control.images.trials import Trials
from trellis.control.leases import Expiry
from trellis.control.lineage import open_lineage
from trellis.control.measures import Measures
from trellis.control.nudge import Nudge
from trellis.control.operator import Operator
from trellis.control.overdue import Overseer
from trellis.control.policy import InForce, Policy
from trellis.control.port import Port
from trellis.control.roster import Accounts as RosterAccounts
from trellis.control.roster import Roster
from trellis.control.scheduling import Scheduling
from trellis.model.image import Build, ImageRecord, Upload
from trellis.model.node import Node
from trellis.model.request import Lease, NodeRequest
from trellis.spi.config import ProviderConfig
from trellis.spi.registry import DemandSourceRegistry, ImageBuilderRegistry
from trellis.store.log import Log
from trellis.store.staging import Committed
from trellis.store.store import Keeping, Store
from trellis.world import World

PRUNE_EVERY_S = 3600.0


class Accounts(RosterAccounts, Protocol):
    """The accounts of all clouds: made when a provider first needs one, run here."""

    async def run(self) -> None:
        """Run each account's own task, those that come later too, until cancelled."""
        ...

    def configure(self, configs: Iterable[ProviderConfig]) -> None:
        """Keep to the limits that these providers are configured with, from now on."""
        ...


@attrs.frozen(kw_only=True)
class Core:
    """The two faces of a running core, and what changes it.

    Attributes:
        reread: has providers whose way to the cloud is configured otherwise by now (in
            clouds.yaml, or by a CA file) connect anew.
    """

    port: Port
    operator: Operator
    fleet: Fleet
    store: Store
    book: ImageBook
    images: Images
    reread: Callable[[], Awaitable[None]]
    demand: DemandSources
    _roster: Roster
    _accounts: Accounts
    _in_force: InForce
    _choice: Choice

    async def take_up(self, configuration: Configuration) -> None:
        """Work by another configuration from now on; nodes live on (design §5b, rule 6).

        What is bound at the start (``deployment``, ``store``, ``web``, ``history-age``,
        ``disabled-plugins``) is for the caller to look after.
        """
        self._in_force.policy = Policy.of(configuration)
        self.port.offers_changed()
        self._choice.refresh()
        self._accounts.configure(configuration.providers)
        await self._roster.take_up(configuration.providers)
        await self.demand.take_up(configuration.demand_sources)


@asynccontextmanager
async def run_core(
    configuration: Configuration,
    *,
    world: World,
    record_log: Log,
    accounts: Accounts,
    builders: ImageBuilderRegistry | None = None,
    sources: DemandSourceRegistry | None = None,
    build_ground: BuildGround | None = None,
) -> AsyncIterator[Core]:
    """Run everything below the faces for as long as the block lasts.

    Leaving the block cancels launches and deletions where they are: their records stay, and
    the next start goes on from them (P10).

    Args:
        builders: the types of image builder there are; None builds nothing here.
        sources: the types of demand source there are; None runs none here.
        build_ground: where the files of builds are; this host if left out.

    Raises:
        StoreInUseError, StoreMismatchError, StoreFailedError: as `Store.open`.
    """
    keeping = Keeping(history_age_s=configuration.history_age)
    async with Store.open(
        record_log, deployment=configuration.deployment, wall=world.wall, keeping=keeping
    ) as store:
        world.wall.begin(store.recorded_until)
        await open_lineage(store, world.random)
        fleet, nudge, measures, estimates = Fleet(), Nudge(), Measures(), Estimates()
        for cls in (NodeRequest, Lease, Node):
            fleet.load(store.all(cls).values())
        estimates.load(store.all(Node).values())
        asks = AskIndex()
        asks.load(store.all(NodeRequest).values())
        book, images_nudge = ImageBook(), Nudge()
        for kind in (ImageRecord, Build, Upload):
            book.load(store.all(kind).values())

        def committed(batch: Committed) -> None:
            known = book.revision
            # First: who is told of a node looks up what it was made from.
            book.apply(batch.changes)
            if book.revision != known:
                nudge()  # what labels boot from may be something else
            fleet.apply(batch.changes)
            for change in batch.changes:
                measures.see(change)
                asks.see(change)
                estimates.see(change)
                scheduling.tracks.see(change)
            scheduling.committed()

        in_force = InForce(Policy.of(configuration))
        choice = Choice(book, fleet, lambda: in_force.policy.images.configs)
        in_use = InUse(fleet, book, freed=images_nudge)
        roster = Roster(
            configuration.providers,
            deployment=configuration.deployment,
            accounts=accounts,
            store=store,
            fleet=fleet,
            world=world,
            nudge=nudge,
            images=SharedImages(book=book, choice=choice, in_force=in_force, nudge=images_nudge),
        )
        trials = Trials(
            store=store,
            book=book,
            fleet=fleet,
            world=world,
            choice=choice,
            at_fault=roster.at_fault,
            changed=nudge,
        )
        ground = BuildGround() if build_ground is None else build_ground
        building = None
        if builders is not None:
            building = Building(
                store=store,
                book=book,
                wall=world.wall,
                in_force=in_force,
                maker=maker_of(builders),
                ground=ground,
            )
        images = Images(
            store=store,
            book=book,
            in_use=in_use,
            world=world,
            in_force=in_force,
            providers=roster.running,
            nudge=images_nudge,
            builds=building,
        )
        scheduling = Scheduling(
            store=store,
            fleet=fleet,
            world=world,
            in_force=in_force,
            providers=roster.running,
            quotas=roster.quotas,
            nudge=nudge,
            choice=choice,
            probes=trials.probes,
        )
        store.subscribe(committed)
        logs = building.logs if building is not None else BuildLogs(ground, book.is_building)
        port = Port(
            store=store,
            fleet=fleet,
            world=world,
            scheduling=scheduling,
            in_force=in_force,
            new_id=scheduling.new_id,
            estimates=estimates,
            providers=roster.running,
        )
        notices: dict[str, str] = {}
        overseer = Overseer(fleet, in_force, world.wall, lambda: scheduling.waits, notices)
        demand = DemandSources(
            configuration.demand_sources,
            ground=SourceGround(
                registry=sources,
                deployment=configuration.deployment,
                wall=world.wall,
                random=world.random,
                zookeeper=world.zookeeper,
            ),
            port=port,
            index=asks,
            notices=notices,
        )
        core = Core(
            port=port,
            operator=Operator(
                store=store,
                fleet=fleet,
                world=world,
                scheduling=scheduling,
                providers=roster.running,
                in_force=in_force,
                measures=measures,
                estimates=estimates,
                everywhere=roster.everywhere,
                notices=notices,
                overseer=overseer,
                asks=asks,
                demand=demand,
                images=image_operator(
                    store=store,
                    book=book,
                    fleet=fleet,
                    world=world,
                    in_force=in_force,
                    choice=choice,
                    in_use=in_use,
                    images=images,
                    providers=roster.running,
                    logs=logs,
                    stop=building.stop if building is not None else None,
                    trials=trials,
                ),
            ),
            fleet=fleet,
            store=store,
            reread=roster.reread,
            demand=demand,
            roster=roster,
            accounts=accounts,
            in_force=in_force,
            choice=choice,
            images=images,
            book=book,
        )
        if apart := sum(node.set_apart for node in fleet.nodes.values()):
            core.operator.notices["store"] = (
                f"{apart} nodes are set apart, as the store was restored from an older copy: end "
                "each that is free with 'trellis node delete ID'"
            )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accounts.run)
            nursery.start_soon(roster.run)
            nursery.start_soon(scheduling.run)
            nursery.start_soon(images.run, trials.run)
            nursery.start_soon(demand.run)
            nursery.start_soon(Expiry(store, fleet, world, in_force).run)
            nursery.start_soon(overseer.run)
            nursery.start_soon(_prune, store, fleet, world)
            nursery.start_soon(fleet.host_keys.load, store, world.wall())
            try:
                yield core
            finally:
                nursery.cancel_scope.cancel()


async def _prune(store: Store, fleet: Fleet, world: World) -> None:
    """Forget what is older than the history each hour."""
    while True:
        await trio.sleep(PRUNE_EVERY_S)
        await store.prune(world.wall())
        fleet.host_keys.forget(world.wall() - KEPT_S)
