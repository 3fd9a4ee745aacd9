"""The core: everything between the demand port and the clouds, in one nursery tree.

Production and simulation run this same core; they differ in the `World`, the log and the
providers they give it.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol

import attrs
import structlog
import trio

from trellis.config import Configuration
from trellis.control.fleet import Fleet
from trellis.control.leases import Expiry
from trellis.control.measures import Measures
from trellis.control.nudge import Nudge
from trellis.control.operator import LabelPolicy, Operator
from trellis.control.port import Port
from trellis.control.provider import Connected, RunningProvider
from trellis.control.quota import Quota
from trellis.control.scheduling import Policy, Scheduling
from trellis.control.supervise import supervise
from trellis.model.node import Node
from trellis.model.request import Lease, NodeRequest
from trellis.spi.config import ProviderConfig
from trellis.store.log import Log
from trellis.store.staging import Committed
from trellis.store.store import Keeping, Store
from trellis.world import World

log = structlog.get_logger()

PRUNE_EVERY_S = 3600.0
KEYS_KEPT_S = 7 * 24 * 3600.0


class Accounts(Protocol):
    """The accounts of all clouds: made when a provider first needs one, run here."""

    async def run(self) -> None:
        """Run each account's own task, those that come later too, until cancelled."""
        ...

    async def connect(self, config: ProviderConfig) -> Connected:
        """See `trellis.control.provider.Connect`."""
        ...


@attrs.frozen(kw_only=True)
class Core:
    """The two faces of a running core."""

    port: Port
    operator: Operator
    fleet: Fleet
    store: Store


@asynccontextmanager
async def run_core(
    configuration: Configuration,
    *,
    world: World,
    record_log: Log,
    accounts: Accounts,
) -> AsyncIterator[Core]:
    """Run everything below the faces for as long as the block lasts.

    Leaving the block cancels launches and deletions where they are: their records stay, and
    the next start goes on from them (P10).

    Raises:
        StoreInUseError, StoreMismatchError, StoreFailedError: as `Store.open`.
    """
    keeping = Keeping(history_age_s=configuration.history_age)
    async with Store.open(
        record_log, deployment=configuration.deployment, wall=world.wall, keeping=keeping
    ) as store:
        quota_names = {config.name: _quota_name(config) for config in configuration.providers}
        # A provider no longer configured draws on nothing but itself.
        fleet = Fleet(quota_of=lambda name: quota_names.get(name, name))
        nudge, measures = Nudge(), Measures()
        for cls in (NodeRequest, Lease, Node):
            fleet.load(store.all(cls).values())
        _tell_strays(fleet, quota_names)

        def committed(batch: Committed) -> None:
            fleet.apply(batch.changes)
            for change in batch.changes:
                measures.see(change)
            nudge()

        store.subscribe(committed)
        quotas = {name: Quota(name, world.wall) for name in dict.fromkeys(quota_names.values())}
        providers = {
            config.name: RunningProvider(
                config=config,
                deployment=configuration.deployment,
                connect=accounts.connect,
                store=store,
                fleet=fleet,
                quota=quotas[quota_names[config.name]],
                world=world,
                nudge=nudge,
            )
            for config in configuration.providers
        }
        scheduling = Scheduling(
            store=store,
            fleet=fleet,
            world=world,
            policy=Policy(
                min_ready={x.name: x.min_ready for x in configuration.labels if x.min_ready},
                max_ready_age_s={x.name: x.max_ready_age for x in configuration.labels},
                unchecked=frozenset(
                    x.name for x in configuration.labels if not x.host_key_checking
                ),
                starve_after_s=configuration.starve_after,
                launches_per_minute=configuration.launch_budget,
            ),
            providers=providers,
            quotas=quotas,
            nudge=nudge,
        )
        core = Core(
            port=_port(configuration, store, fleet, world, scheduling),
            operator=Operator(
                store=store,
                fleet=fleet,
                world=world,
                scheduling=scheduling,
                providers=providers,
                labels=tuple(
                    LabelPolicy(
                        name=x.name,
                        min_ready=x.min_ready,
                        host_key_checking=x.host_key_checking,
                    )
                    for x in configuration.labels
                ),
                measures=measures,
            ),
            fleet=fleet,
            store=store,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accounts.run)
            for name, running in providers.items():
                nursery.start_soon(partial(supervise, name, running.run, on_crash=running.crashed))
            nursery.start_soon(scheduling.run)
            expiry = Expiry(store, fleet, world, max_hold_age_s=configuration.max_hold_age)
            nursery.start_soon(expiry.run)
            nursery.start_soon(_prune, store, fleet, world)
            try:
                yield core
            finally:
                nursery.cancel_scope.cancel()


def _port(
    configuration: Configuration,
    store: Store,
    fleet: Fleet,
    world: World,
    scheduling: Scheduling,
) -> Port:
    return Port(
        store=store,
        fleet=fleet,
        world=world,
        scheduling=scheduling,
        labels=tuple(label.name for label in configuration.labels),
        providers={config.name: config for config in configuration.providers},
        max_lease_age_s=configuration.max_lease_age,
        new_id=scheduling.new_id,
    )


def _quota_name(config: ProviderConfig) -> str:
    """What the cloud counts by: providers of one project in one region share a quota (rule 9)."""
    return f"{config.cloud}/{config.region_name or ''}"


def _tell_strays(fleet: Fleet, configured: Mapping[str, str]) -> None:
    """Say which providers have nodes and are not configured any more: nobody looks after those."""
    for name, nodes in fleet.by_provider.items():
        if name not in configured and nodes:
            log.error(
                "provider_not_configured",
                provider=name,
                nodes=len(nodes),
                remedy="put it back, with max-servers: 0, until its nodes are gone",
            )


async def _prune(store: Store, fleet: Fleet, world: World) -> None:
    """Forget what is older than the history each hour."""
    while True:
        await trio.sleep(PRUNE_EVERY_S)
        await store.prune(world.wall())
        fleet.forget_keys(world.wall() - KEYS_KEPT_S)
