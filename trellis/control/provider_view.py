"""A provider as the planner sees it: what it offers, what it uses, and what is held back."""

from collections.abc import Mapping
from typing import Self

import attrs

from trellis.control.breakers import Breakers
from trellis.control.create_line import Admission
from trellis.control.fleet import NOTHING, Fleet
from trellis.control.health import ProviderHealth
from trellis.model.node import NodeState
from trellis.model.provider import Pause
from trellis.model.quota import Limits
from trellis.scheduler.snapshot import PoolView, ProviderView
from trellis.spi.config import PoolConfig, ProviderConfig
from trellis.spi.provider import Inventory, Offer

NOT_CONFIGURED = "it is configured no longer: what it has is ended, nothing is launched"


@attrs.frozen(kw_only=True)
class PoolShelf:
    """What one pool offers, as follows from a configuration and an inventory alone.

    Attributes:
        lacks: its labels without an offer.
    """

    name: str
    priority: int
    weight: float | None
    limits: Limits
    ignores_quota: bool
    offers: Mapping[str, Offer]
    lacks: tuple[str, ...]
    label_limits: Mapping[str, int]

    @classmethod
    def of(cls, pool: PoolConfig, config: ProviderConfig, inventory: Inventory | None) -> Self:
        """That of a pool; without an inventory nothing is offered."""
        offers = inventory.offers if inventory is not None else {}
        names = [label.name for label in pool.labels]
        return cls(
            name=pool.name,
            priority=config.priority if pool.priority is None else pool.priority,
            weight=pool.weight,
            limits=own_limits(pool),
            ignores_quota=pool.ignore_provider_quota,
            offers={name: offers[pool.name, name] for name in names if (pool.name, name) in offers},
            lacks=tuple(name for name in names if (pool.name, name) not in offers),
            label_limits={x.name: x.max_servers for x in pool.labels if x.max_servers is not None},
        )


class Shelves:
    """The shelves of a provider's pools, made anew when it is configured or read anew.

    The planner asks before each pass, and a configuration and an inventory never change: there
    comes another one.
    """

    def __init__(self) -> None:
        self._made_of: tuple[ProviderConfig, Inventory | None] | None = None
        self._pools: tuple[PoolShelf, ...] = ()

    def of(self, config: ProviderConfig, inventory: Inventory | None) -> tuple[PoolShelf, ...]:
        """One for each pool, in the order of the configuration."""
        made_of = self._made_of
        if made_of is None or made_of[0] is not config or made_of[1] is not inventory:
            self._made_of = config, inventory
            self._pools = tuple(PoolShelf.of(pool, config, inventory) for pool in config.pools)
        return self._pools


def provider_view(
    *,
    config: ProviderConfig,
    dropped: bool,
    pause: Pause | None,
    health: ProviderHealth,
    breakers: Breakers,
    inventory: Inventory | None,
    shelves: Shelves,
    quota: str,
    fleet: Fleet,
    admission: Admission,
    sendable: int | None,
) -> ProviderView:
    """The provider as the planner sees it.

    Args:
        pause: the pause in force, if there is one.
        shelves: those of this provider, from one view to the next.
        quota: name of the quota it draws on.
        admission: what may be placed there so that its creates go soon.
        sendable: creates that the limit of a day still allows; None if there is no such limit.
    """
    name, tallies = config.name, fleet.tallies
    today = _unsent(name, fleet, sendable)
    return ProviderView(
        name=name,
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
                priority=pool.priority,
                weight=pool.weight,
                limits=pool.limits,
                missing={
                    label: missing(inventory, health, pool.name, label) for label in pool.lacks
                },
                ignores_quota=pool.ignores_quota,
                used=fleet.pool_used.get((name, pool.name), NOTHING),
                label_limits=pool.label_limits,
                label_used=tallies.labels.get((name, pool.name), {}),
                label_freeing=tallies.labels_freeing.get((name, pool.name), {}),
                freeing=fleet.pool_freeing.get((name, pool.name), NOTHING),
                offers=pool.offers,
                spots_held=breakers.spots(pool.name),
                labels_held=breakers.held(pool.offers.values(), pool.name),
            )
            for pool in shelves.of(config, inventory)
        ],
        zone_nodes=fleet.zone_nodes.get(name, {}),
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
