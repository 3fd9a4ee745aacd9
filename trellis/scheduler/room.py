"""What is left to hand out, as one pass hands it out."""

from collections import Counter
from collections.abc import Iterator, Sequence

from trellis.model.names import NodeId
from trellis.model.node import Node
from trellis.model.quota import UNLIMITED, Resources
from trellis.scheduler.claims import Claims
from trellis.scheduler.snapshot import Held, PoolView, ProviderView, Snapshot
from trellis.spi.provider import Offer

NOTHING = Resources()


class Room:
    """The room of all pools and quotas during one pass; taking makes it less.

    Attributes:
        taken: idle nodes that this pass has given a use.
        claims: what tenants and labels may still have.
        contended: quotas for whose room a request waits: nothing is kept ready out of them.
        contended_labels: labels of which a request waits for one more to be allowed.
        unserved: something was left undone for want of room.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._quotas = snapshot.quotas
        self._quota_used = {name: quota.used for name, quota in snapshot.quotas.items()}
        self._freeing = {name: quota.freeing for name, quota in snapshot.quotas.items()}
        self._pool_used: dict[tuple[str, str], Resources] = {}
        self._zone_nodes: dict[tuple[str, str | None], int] = {}
        self._pool_freeing: list[Node] = []
        self._launching: dict[str, int] = {}
        self._tried: set[str] = set()
        self._probed: set[str] = set()
        self._label_taken: Counter[tuple[str, str, str]] = Counter()
        self.claims = Claims(snapshot)
        self.launches_left = snapshot.launches_left
        self.taken: set[NodeId] = set()
        self.contended: set[str] = set()
        self.contended_labels: set[str] = set()
        self.unserved = False

    def pool_used(self, provider: ProviderView, pool: PoolView) -> Resources:
        """What the pool's nodes use, those of this pass included."""
        return self._pool_used.get((provider.name, pool.name), pool.used)

    def choose_pools(
        self,
        provider: ProviderView,
        wanted: Sequence[str],
        az: str | None,
        *,
        shelf: bool = False,
    ) -> list[Offer] | str:
        """Choose for each label a pool with room; for all of them, or say why not.

        The quota of the project is looked at for all of them together (P9).

        Args:
            shelf: nobody waits for them.
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
        if short := self.claims.labels_short(wanted):
            return short
        chosen: list[Offer] = []
        extra: dict[str, Resources] = {}
        total = NOTHING
        for label in wanted:
            found = self._choose_pool(provider, label, az, shelf, extra, chosen)
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
        shelf: bool,
        extra: dict[str, Resources],
        chosen: Sequence[Offer],
    ) -> Offer | str:
        reason = f"no pool offers {label}"
        for pool in provider.pools:
            offer = pool.offers.get(label)
            if offer is None:
                continue
            if az is not None and offer.zones and az not in offer.zones:
                reason = f"pool {pool.name} is not in zone {az}"
                continue
            if (held := self._held_back(pool, offer, az, shelf)) is not None:
                reason = held.reason
                continue
            used = self.pool_used(provider, pool) + extra.get(pool.name, NOTHING)
            if short := pool.limits.short_of(used, offer.shape.resources):
                reason = f"pool {pool.name} is full: {', '.join(short)}"
                continue
            most = pool.label_limits.get(label)
            if most is not None:
                there = self._of_label(provider, pool, label)
                if there + sum(o.pool == pool.name and o.label == label for o in chosen) >= most:
                    reason = f"pool {pool.name} has {there} of {most} {label} (max-servers)"
                    continue
            return offer
        return reason

    def _of_label(self, provider: ProviderView, pool: PoolView, label: str) -> int:
        taken = self._label_taken[provider.name, pool.name, label]
        return pool.label_used.get(label, 0) + taken

    def _held_back(
        self, pool: PoolView, offer: Offer, az: str | None, shelf: bool = False
    ) -> Held | None:
        """What keeps an offer from being launched now, though there may be room; or None."""
        for held in _over(pool, offer, az):
            if held.key in self._probed or not (held.shelf_turn if shelf else held.turn):
                return held
        return None

    def withheld(
        self, provider: ProviderView, labels: Sequence[str], az: str | None = None
    ) -> Held | None:
        """What keeps one of these labels from being launched in any pool and zone; or None."""
        for label in dict.fromkeys(labels):
            found = [
                self._held_back(pool, offer, zone)
                for pool in provider.pools
                if (offer := pool.offers.get(label)) is not None
                for zone in ((az,) if az is not None else offer.zones or (None,))
            ]
            held = [one for one in found if one is not None]
            if found and len(held) == len(found):
                return min(held, key=lambda one: one.left_s)
        return None

    def quota_short(self, provider: ProviderView, wanted: Resources) -> str:
        """Why the project's quota does not allow *wanted* now; "" if it does."""
        quota = self._quotas[provider.quota]
        if quota.refused:
            return quota.refused
        used = self._quota_used[provider.quota]
        short = quota.limits.short_of(used, wanted)
        if not short or self._may_try(provider.quota, wanted):
            return ""
        name = short[0]
        text = (
            f"quota: {getattr(wanted, name)} {name} wanted, "
            f"{getattr(used, name)} of {getattr(quota.limits, name):g} taken"
        )
        told = getattr(quota.whole, name)
        if told != getattr(quota.limits, name):
            says = "tells no limit" if told is None else f"says {told:g}"
            text += f" (the cloud {says}, and refused more)"
        return text

    def _may_try(self, name: str, wanted: Resources) -> bool:
        """Whether one node may be tried beyond what refusals taught, and this is the one."""
        quota, used = self._quotas[name], self._quota_used[name]
        return (
            quota.one_more
            and wanted.instances == 1
            and name not in self._tried
            and not quota.whole.short_of(used, wanted)
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
        going = sum((node.shape.resources for node in gone), self._freeing[provider.quota])
        total = sum((offer.shape.resources for offer in offers), NOTHING)
        left = self._quota_used[provider.quota] - going
        if quota.limits.short_of(left, total):
            return False
        for pool in provider.pools:
            mine = [
                node
                for node in (*gone, *self._pool_freeing)
                if (node.provider, node.pool) == (provider.name, pool.name)
            ]
            wanted = sum((o.shape.resources for o in offers if o.pool == pool.name), NOTHING)
            freed = sum((node.shape.resources for node in mine), pool.freeing)
            if pool.limits.short_of(self.pool_used(provider, pool) - freed, wanted):
                return False
            for label, most in pool.label_limits.items():
                count = sum(o.pool == pool.name and o.label == label for o in offers)
                stays = self._of_label(provider, pool, label) - pool.label_freeing.get(label, 0)
                if count and stays - sum(node.label == label for node in mine) + count > most:
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
        quota = self._quotas[provider.quota]
        if quota.one_more and offers:
            total = sum((offer.shape.resources for offer in offers), NOTHING)
            if quota.limits.short_of(self._quota_used[provider.quota], total):
                self._tried.add(provider.quota)
        self.claims.take_labels(offer.label for offer in offers)
        for offer in offers:
            self._label_taken[provider.name, offer.pool, offer.label] += 1
            self._probed.update(held.key for held in _over(_pool(provider, offer.pool), offer, az))
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

    def could_ever(
        self, provider: ProviderView, labels: Sequence[str], tenant: str | None = None
    ) -> str:
        """Why an empty project would not hold these either; "" if it would.

        A label is reckoned with its smallest offer, and all pools that have it together. A
        limit of 0 says nothing for ever: it is how a quota is taken away for a while.
        """
        total = NOTHING
        for label, count in Counter(labels).items():
            pools = [pool for pool in provider.pools if label in pool.offers]
            offers = [pool.offers[label] for pool in pools]
            least = min(offers, key=lambda o: (o.shape.resources.cores, o.shape.resources.ram_mib))
            wanted = sum([least.shape.resources] * count, NOTHING)
            total += wanted
            if too_much := _too_much_for(pools, label, count, wanted):
                return too_much
        limits = self._quotas[provider.quota].whole
        short = [n for n in limits.short_of(NOTHING, total) if getattr(limits, n)]
        if short and not all(pool.ignores_quota for pool in provider.pools):
            return f"the whole quota is {_amounts(limits, short)}, {_amounts(total, short)} wanted"
        return self.claims.tenant_never(tenant, total)


def _too_much_for(pools: Sequence[PoolView], label: str, count: int, wanted: Resources) -> str:
    """Why these pools together would not hold so many of a label though they were empty."""
    for name in ("instances", "cores", "ram_mib"):
        limits = [getattr(pool.limits, name) for pool in pools]
        if None not in limits and 0 < sum(limits) < getattr(wanted, name):
            return (
                f"the pools together allow {sum(limits):g} {name}, {getattr(wanted, name)} wanted"
                f" for {count} {label}"
            )
    most = [pool.label_limits.get(label) for pool in pools]
    if None not in most and 0 < (allowed := sum(n or 0 for n in most)) < count:
        return f"the pools together allow {allowed} {label} (max-servers), {count} wanted"
    return ""


def _over(pool: PoolView, offer: Offer, az: str | None) -> Iterator[Held]:
    """The breakers over an offer that are not closed."""
    if (spot := pool.spots_held.get((offer.shape.flavor_id, az))) is not None:
        yield spot
    yield from pool.labels_held.get(offer.label, ())


def _pool(provider: ProviderView, name: str) -> PoolView:
    return next(pool for pool in provider.pools if pool.name == name)


def _amounts(values: object, names: Sequence[str]) -> str:
    return ", ".join(f"{getattr(values, name):g} {name}" for name in names)
