"""A provider as the planner sees it: what it offers, what it uses, and what is held back."""

from trellis.control.breakers import Breakers
from trellis.control.create_line import Admission
from trellis.control.fleet import NOTHING, Fleet
from trellis.control.health import ProviderHealth
from trellis.model.node import NodeState
from trellis.model.provider import Pause
from trellis.model.quota import Limits
from trellis.scheduler.snapshot import PoolView, ProviderView
from trellis.spi.config import PoolConfig, ProviderConfig
from trellis.spi.provider import Inventory

NOT_CONFIGURED = "it is configured no longer: what it has is ended, nothing is launched"


def provider_view(
    *,
    config: ProviderConfig,
    dropped: bool,
    pause: Pause | None,
    health: ProviderHealth,
    breakers: Breakers,
    inventory: Inventory | None,
    quota: str,
    fleet: Fleet,
    admission: Admission,
    sendable: int | None,
) -> ProviderView:
    """The provider as the planner sees it.

    Args:
        pause: the pause in force, if there is one.
        quota: name of the quota it draws on.
        admission: what may be placed there so that its creates go soon.
        sendable: creates that the limit of a day still allows; None if there is no such limit.
    """
    offers = inventory.offers if inventory is not None else {}
    today = _unsent(config.name, fleet, sendable)
    return ProviderView(
        name=config.name,
        paused=f"paused by {pause.by}: {pause.reason}" if pause is not None else "",
        draining=dropped or (pause is not None and pause.drain),
        dropped=dropped,
        closed=NOT_CONFIGURED if dropped else health.closed,
        barred=(
            breakers.region_words()
            or (_day_used_up(config) if today == 0 else "")
            or admission.barred
        ),
        turns_left=admission.turns_left,
        quota=quota,
        weight=config.weight,
        launch_retries=config.launch_retries,
        launches_left=_launches_left(config, fleet, today),
        pools=[
            PoolView(
                name=pool.name,
                priority=config.priority if pool.priority is None else pool.priority,
                weight=pool.weight,
                limits=own_limits(pool),
                missing={
                    label.name: missing(inventory, health, pool.name, label.name)
                    for label in pool.labels
                    if (pool.name, label.name) not in offers
                },
                ignores_quota=pool.ignore_provider_quota,
                used=fleet.pool_used.get((config.name, pool.name), NOTHING),
                label_limits={
                    label.name: label.max_servers
                    for label in pool.labels
                    if label.max_servers is not None
                },
                label_used=fleet.tallies.labels.get((config.name, pool.name), {}),
                label_freeing=fleet.tallies.labels_freeing.get((config.name, pool.name), {}),
                freeing=fleet.pool_freeing.get((config.name, pool.name), NOTHING),
                offers={
                    label.name: offers[pool.name, label.name]
                    for label in pool.labels
                    if (pool.name, label.name) in offers
                },
                spots_held=breakers.spots(pool.name),
                labels_held=breakers.held(
                    (offer for (owner, _), offer in offers.items() if owner == pool.name),
                    pool.name,
                ),
            )
            for pool in config.pools
        ],
        zone_nodes=fleet.zone_nodes.get(config.name, {}),
    )


def missing(inventory: Inventory | None, health: ProviderHealth, pool: str, label: str) -> str:
    """Why a label of a pool cannot be made now."""
    if inventory is None:
        return health.reason or "the cloud has not been read yet"
    return inventory.missing.get((pool, label), "")


def own_limits(pool: PoolConfig) -> Limits:
    """A pool's own limits; what is left out binds nothing."""
    return Limits(instances=pool.max_servers, cores=pool.max_cores, ram_mib=pool.max_ram)


def _launches_left(config: ProviderConfig, fleet: Fleet, today: int | None) -> int | None:
    most = config.max_concurrency
    if most is None:
        return today
    states = fleet.provider_states.get(config.name)
    left = most - (states[NodeState.BUILDING.value] if states is not None else 0)
    return left if today is None else min(left, today)


def _unsent(provider: str, fleet: Fleet, sendable: int | None) -> int | None:
    """What the limit of a day allows beyond the launches that are still to be sent."""
    if sendable is None:
        return None
    building = (
        node
        for node in fleet.by_provider.get(provider, {}).values()
        if node.state is NodeState.BUILDING
    )
    return max(0, sendable - sum(node.external_id is None for node in building))


def _day_used_up(config: ProviderConfig) -> str:
    most = config.limits.creates_per_day
    return f"the {most or ''} creates that limits.creates-per-day allows in 24 h are used up"
