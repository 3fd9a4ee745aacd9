"""What moves at one provider while it is connected, and how these parts know each other."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Self

import attrs
import trio

from trellis.control.attached import Attached
from trellis.control.breakers import Breakers
from trellis.control.connected import Connected
from trellis.control.create_line import CreateLine
from trellis.control.deaths import Deaths
from trellis.control.fleet import Fleet
from trellis.control.health import ProviderHealth
from trellis.control.images.here import ImagesHere
from trellis.control.images.image_works import ImageWorks
from trellis.control.life import Life
from trellis.control.lineage import estrange, is_issued, let_go
from trellis.control.node_tasks import NodeTasks
from trellis.control.nudge import Nudge
from trellis.control.quota import Quota
from trellis.control.quota_book import QuotaBook
from trellis.control.quota_watch import QuotaWatch
from trellis.control.sweep import Sweep
from trellis.control.watcher import Watcher
from trellis.model.names import NodeId
from trellis.model.node import Home, Node
from trellis.model.provider import ProviderRecord
from trellis.spi.config import ProviderConfig
from trellis.spi.provider import Listing, Provider
from trellis.store.store import Store
from trellis.world import World


@attrs.frozen(kw_only=True)
class ProviderWorks:
    """What moves while the provider is connected; made anew when it is started again.

    It runs nothing: whoever has it made runs its parts.
    """

    connected: Connected
    provider: Provider
    watcher: Watcher
    deaths: Deaths
    life: Life
    nodes: NodeTasks
    quota: QuotaWatch
    sweep: Sweep
    images: ImageWorks

    @classmethod
    def furnish(
        cls,
        *,
        config: ProviderConfig,
        deployment: str,
        connected: Connected,
        store: Store,
        world: World,
        fleet: Fleet,
        nodes: Callable[[], Mapping[NodeId, Node]],
        health: ProviderHealth,
        breakers: Breakers,
        create_line: CreateLine,
        images: ImagesHere,
        quota: Quota,
        quota_wanted: Nudge,
        inventory_wanted: Callable[[], None],
        read_once: trio.Event,
        nudge: Callable[[], None],
        foreign: Callable[[Home], str],
        unwanted: Callable[[Node], str],
        stale: Callable[[Node, str], None],
        words: Callable[[], ProviderRecord],
    ) -> Self:
        """Make all of it; what it is given it only borrows.

        Args:
            nodes: the live nodes of this provider.
            quota_wanted: waited on for the quota to be read again.
            inventory_wanted: asks for the inventory to be read again soon.
            read_once: set once all that is needed to launch has been read.
            nudge: asks for a pass of the planner soon.
            foreign: why a project and endpoint are not those of our records; "" if they are.
            unwanted: why a node must not be created any more; "" while it may be.
            stale: told of a node whose label came down to what the cloud no longer has.
            words: what people have decided about single leaks.
        """
        name, provider = config.name, connected.provider
        attached = Attached(provider=name, deployment=deployment, store=store, wall=world.wall)
        image_works = images.furnish(
            config=config,
            deployment=deployment,
            provider=provider,
            store=store,
            world=world,
            fleet=fleet,
            health=health,
            foreign=foreign,
            words=words,
        )
        sweep = Sweep(
            name=name,
            deployment=deployment,
            provider=provider,
            health=health,
            mode=config.sweep,
            wall=world.wall,
            issued=partial(is_issued, store),
            attached=attached,
            estrange=partial(estrange, store, name),
            let_go=partial(let_go, store, name),
            # Of all providers: two of them may look at one project (rule 9).
            nodes=lambda: fleet.nodes,
            words=words,
            not_servers=image_works.sweep.knows,
        )
        deaths = Deaths(
            provider=provider,
            store=store,
            health=health,
            wall=world.wall,
            nodes=nodes,
            everybody=lambda: fleet.nodes,
            at_address=lambda address: fleet.by_address.get(address, ()),
            node_of=fleet.by_external.get,
        )

        def see_full(listing: Listing) -> None:
            sweep.see(listing)
            deaths.see_full(listing)

        watcher = Watcher(
            provider,
            deployment=deployment,
            health=health,
            foreign=foreign,
            on_attached=attached.see,
            on_row=deaths.see_row,
            on_full=see_full,
            calls_per_s=connected.calls_per_s,
        )
        life = Life(
            config=config,
            deployment=deployment,
            provider=provider,
            store=store,
            world=world,
            watcher=watcher,
            health=health,
            quota=quota,
            attached=attached.see,
            twin_of=fleet.host_keys.claim,
            breakers=breakers,
            read_anew=inventory_wanted,
            stale=stale,
            foreign=foreign,
            unwanted=unwanted,
            in_line=create_line.waiting,
        )
        return cls(
            connected=connected,
            provider=provider,
            watcher=watcher,
            deaths=deaths,
            life=life,
            nodes=NodeTasks(
                name=name,
                store=store,
                life=life,
                health=health,
                nodes=nodes,
                read_once=read_once,
            ),
            quota=QuotaWatch(
                provider=provider,
                quota=quota,
                fleet=fleet,
                health=health,
                nudge=nudge,
                book=QuotaBook(provider=name, store=store),
                wanted=quota_wanted,
            ),
            sweep=sweep,
            images=image_works,
        )
