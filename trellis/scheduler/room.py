"""What is left to hand out, as one pass hands it out."""

from collections import Counter
from collections.abc import Sequence

from trellis.model.names import NodeId
from trellis.model.node import Node
from trellis.model.quota import UNLIMITED, Resources
from trellis.scheduler.snapshot import PoolView, ProviderView, Snapshot
from trellis.spi.provider import Offer

NOTHING = Resources()


class Room:
    """The room of all pools and quotas during one pass; taking makes it less.

    Attributes:
        taken: idle nodes that this pass has given a use.
        contended: quotas for whose room a request waits: nothing is kept ready out of them.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._quotas = snapshot.quotas
        self._quota_used = {name: quota.used for name, quota in snapshot.quotas.items()}
        self._freeing = {name: quota.freeing for name, quota in snapshot.quotas.items()}
        self._pool_used: dict[tuple[str, str], Resources] = {}
        self._zone_nodes: dict[tuple[str, str | None], int] = {}
        self._pool_freeing: list[Node] = []
        self._launching: dict[str, int] = {}
        self.launches_left = snapshot.launches_left
        self.taken: set[NodeId] = set()
        self.contended: set[str] = set()

    def pool_used(self, provider: ProviderView, pool: PoolView) -> Resources:
        """What the pool's nodes use, those of this pass included."""
        return self._pool_used.get((provider.name, pool.name), pool.used)

    def choose_pools(
        self, provider: ProviderView, wanted: Sequence[str], az: str | None, now: float
    ) -> list[Offer] | str:
        """Choose for each label a pool with room; for all of them, or say why not.

        The quota of the project is looked at for all of them together (P9).
        """
        if not wanted:
            return []
        if provider.paused or provider.barred:
            return provider.paused or provider.barred
        if len(wanted) > self.launches_left:
            return "the launch budget of this minute is used up"
        launching = self._launching.get(provider.name, 0) + len(wanted)
        if provider.launches_left is not None and launching > provider.launches_left:
            return "max-concurrency launches are under way"
        chosen: list[Offer] = []
        extra: dict[str, Resources] = {}
        total = NOTHING
        for label in wanted:
            found = self._choose_pool(provider, label, az, now, extra)
            if isinstance(found, str):
                return found
            chosen.append(found)
            extra[found.pool] = extra.get(found.pool, NOTHING) + found.shape.resources
            if not _pool(provider, found.pool).ignores_quota:
                total += found.shape.resources
        if total != NOTHING and (short := self.quota_short(provider, total)):
            return short
        return chosen

    def _choose_pool(
        self,
        provider: ProviderView,
        label: str,
        az: str | None,
        now: float,
        extra: dict[str, Resources],
    ) -> Offer | str:
        reason = f"no pool offers {label}"
        for pool in provider.pools:
            offer = pool.offers.get(label)
            if offer is None:
                continue
            if az is not None and offer.zones and az not in offer.zones:
                reason = f"pool {pool.name} is not in zone {az}"
                continue
            held = pool.spots_held.get((offer.shape.flavor_id, az)) or pool.labels_held.get(label)
            if held is not None and now < held.until:
                reason = f"pool {pool.name}: {held.reason}"
                continue
            used = self.pool_used(provider, pool) + extra.get(pool.name, NOTHING)
            if short := pool.limits.short_of(used, offer.shape.resources):
                reason = f"pool {pool.name} is full: {', '.join(short)}"
                continue
            return offer
        return reason

    def quota_short(self, provider: ProviderView, wanted: Resources) -> str:
        """Why the project's quota does not allow *wanted* now; "" if it does."""
        quota = self._quotas[provider.quota]
        if quota.refused:
            return quota.refused
        used = self._quota_used[provider.quota]
        short = quota.limits.short_of(used, wanted)
        if not short:
            return ""
        name = short[0]
        return (
            f"quota: {getattr(wanted, name)} {name} wanted, "
            f"{getattr(used, name)} of {getattr(quota.limits, name):g} taken"
        )

    def zone_nodes(self, provider: ProviderView, az: str | None) -> int:
        """How many nodes of ours the zone has, those of this pass included."""
        return provider.zone_nodes.get(az, 0) + self._zone_nodes.get((provider.name, az), 0)

    def fullness(self, provider: ProviderView) -> float:
        """How full the quota is, 0 to 1: load goes where room is, not by name."""
        limit = self._quotas[provider.quota].limits.instances
        if not limit or limit == UNLIMITED:
            return 0.0
        return self._quota_used[provider.quota].instances / limit

    def fits_without(
        self, provider: ProviderView, offers: Sequence[Offer], gone: Sequence[Node]
    ) -> bool:
        """Whether these would fit once *gone*, and all that is being deleted, is gone."""
        quota = self._quotas[provider.quota]
        freed = sum((node.shape.resources for node in gone), self._freeing[provider.quota])
        total = sum((offer.shape.resources for offer in offers), NOTHING)
        left = self._quota_used[provider.quota] - freed
        if quota.limits.short_of(left, total):
            return False
        for pool in provider.pools:
            mine = [
                node.shape.resources
                for node in (*gone, *self._pool_freeing)
                if (node.provider, node.pool) == (provider.name, pool.name)
            ]
            wanted = sum((o.shape.resources for o in offers if o.pool == pool.name), NOTHING)
            used = self.pool_used(provider, pool) - sum(mine, pool.freeing)
            if pool.limits.short_of(used, wanted):
                return False
        return True

    def free(self, provider: ProviderView, node: Node) -> None:
        """Count on this node being deleted."""
        self._freeing[provider.quota] += node.shape.resources
        self._pool_freeing.append(node)

    def take(self, provider: ProviderView, az: str | None, offers: Sequence[Offer]) -> None:
        """Take the room of these offers."""
        self.launches_left -= len(offers)
        self._launching[provider.name] = self._launching.get(provider.name, 0) + len(offers)
        zone = provider.name, az
        self._zone_nodes[zone] = self._zone_nodes.get(zone, 0) + len(offers)
        for offer in offers:
            key = provider.name, offer.pool
            if key not in self._pool_used:
                self._pool_used[key] = _pool(provider, offer.pool).used
            self._pool_used[key] += offer.shape.resources
            self._quota_used[provider.quota] += offer.shape.resources

    def reserve(self, provider: ProviderView, offers: Sequence[Offer]) -> None:
        """Keep room for one that is starving: what comes after it in this pass goes around."""
        for offer in offers:
            key = provider.name, offer.pool
            used = self.pool_used(provider, _pool(provider, offer.pool))
            self._pool_used[key] = used + offer.shape.resources
            self._quota_used[provider.quota] += offer.shape.resources

    def could_ever(self, provider: ProviderView, labels: Sequence[str]) -> str:
        """Why an empty project would not hold these either; "" if it would.

        A label is reckoned with its smallest offer, and all pools that have it together. A
        limit of 0 says nothing for ever: it is how a quota is taken away for a while.
        """
        total = NOTHING
        for label, count in Counter(labels).items():
            offers = [p.offers[label] for p in provider.pools if label in p.offers]
            least = min(offers, key=lambda o: (o.shape.resources.cores, o.shape.resources.ram_mib))
            total += sum([least.shape.resources] * count, NOTHING)
            most = [p.limits.instances for p in provider.pools if label in p.offers]
            if None not in most and 0 < sum(n for n in most if n is not None) < count:
                return f"the pools together allow {sum(n or 0 for n in most):g} {label}"
        limits = self._quotas[provider.quota].limits
        short = [n for n in limits.short_of(NOTHING, total) if getattr(limits, n)]
        if not short:
            return ""
        return f"the whole quota is {_amounts(limits, short)}, {_amounts(total, short)} wanted"


def _pool(provider: ProviderView, name: str) -> PoolView:
    return next(pool for pool in provider.pools if pool.name == name)


def _amounts(values: object, names: Sequence[str]) -> str:
    return ", ".join(f"{getattr(values, name):g} {name}" for name in names)
