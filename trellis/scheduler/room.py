"""What is left to hand out, as one pass hands it out."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from trellis.model.names import NodeId
from trellis.model.node import Node
from trellis.model.quota import UNLIMITED, Limits, Resources, total
from trellis.scheduler.answers import Answers, Wanted
from trellis.scheduler.claims import Claims
from trellis.scheduler.memory import Memory, Situations
from trellis.scheduler.snapshot import Held, PoolView, ProviderView, Snapshot
from trellis.spi.provider import Offer

NOTHING = Resources()
NOMINAL_ROOM = 1000
"""Instances that a project without any limit is taken to have room for, so that load is spread."""


class Room:
    """The room of all pools and quotas during one pass; taking makes it less.

    Attributes:
        providers: all there are, by name.
        taken: idle nodes that this pass has given a use.
        claims: what tenants and labels may still have.
        contended: quotas for whose room a request waits: nothing is kept ready out of them.
        contended_labels: labels of which a request waits for one more to be allowed.
        unserved: something was left undone for want of room.
    """

    def __init__(self, snapshot: Snapshot, memory: Memory) -> None:
        self._snapshot, self._memory = snapshot, memory
        memory.forget_but(snapshot.quotas)
        self._answers: dict[str, Answers] = {}
        self.providers = [snapshot.providers[name] for name in sorted(snapshot.providers)]
        self._sharing: dict[str, list[ProviderView]] = {}
        for provider in self.providers:
            self._sharing.setdefault(provider.quota, []).append(provider)
        self._shelves: dict[str, list[Mapping[NodeId, Node]]] = {}
        for (owner, _), nodes in snapshot.idle.items():
            if nodes:
                self._shelves.setdefault(owner, []).append(nodes)
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

    # -------------------------------------------------------------------- what is known of it

    def wanted(self, labels: tuple[str, ...]) -> Wanted:
        """What is wanted, as answers about it are kept: with all that bears on all providers."""
        budget = min(self.launches_left, len(labels))
        return labels, budget, self.claims.label_room(labels)

    def answers(self, provider: ProviderView) -> Answers:
        """What is known of the provider's room as it is now; who finds out more adds it."""
        return self._answers.get(provider.quota) or self._recall(provider.quota)

    def _recall(self, quota: str) -> Answers:
        outdated, sharing = self._snapshot.outdated, self._sharing[quota]
        idle = ((node, outdated(node)) for p in sharing for node in self.idle_of(p))
        now = Situations.of(self._quotas[quota], sharing, idle)
        known = self._answers[quota] = self._memory.recall(quota, now)
        return known

    def _changed(self, quota: str) -> None:
        """Something of a quota's room is taken: what was known of it holds no longer."""
        known = self._answers.get(quota) or self._recall(quota)
        self._answers[quota] = known.with_other_room()

    # ---------------------------------------------------------------------- the idle nodes

    def idle_of(self, provider: ProviderView) -> Iterator[Node]:
        """The provider's idle nodes, those among them that this pass has given a use."""
        for nodes in self._shelves.get(provider.name, ()):
            yield from nodes.values()

    def longest_idle(self, provider: ProviderView) -> list[Node]:
        """Idle nodes that draw on the provider's quota and are not taken, the oldest first."""
        sharing = self._sharing[provider.quota]
        idle = [n for p in sharing for n in self.idle_of(p) if n.id not in self.taken]
        return sorted(idle, key=lambda n: (n.ready_at or 0.0, n.id))

    def use(self, node: Node) -> None:
        """Give an idle node a use: it is nobody else's from now on."""
        self.taken.add(node.id)
        owner = self._snapshot.providers.get(node.provider)
        if owner is not None:
            self._changed(owner.quota)

    # ------------------------------------------------------------------------ what fits in

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
        if self.has_no_turn(provider):
            return "a create would wait there for more than a minute for its turn"
        if short := self.claims.labels_short(wanted):
            return short
        chosen: list[tuple[PoolView, Offer]] = []
        extra: dict[str, Resources] = {}
        for label in wanted:
            found = self._choose_pool(provider, label, az, shelf, extra, chosen)
            if isinstance(found, str):
                return found
            chosen.append(found)
            if len(wanted) > 1:
                pool, size = found[0].name, found[1].shape.resources
                extra[pool] = extra[pool] + size if pool in extra else size
        counted = [offer.shape.resources for pool, offer in chosen if not pool.ignores_quota]
        if counted and (short := self.quota_short(provider, total(counted))):
            return short
        return [offer for _, offer in chosen]

    def has_no_turn(self, provider: ProviderView) -> bool:
        """Whether what is launched there now would have its turn late (rate limits)."""
        turns = provider.turns_left
        return turns is not None and self._launching.get(provider.name, 0) >= turns

    def _choose_pool(
        self,
        provider: ProviderView,
        label: str,
        az: str | None,
        shelf: bool,
        extra: dict[str, Resources],
        chosen: Sequence[tuple[PoolView, Offer]],
    ) -> tuple[PoolView, Offer] | str:
        reason = f"no pool offers {label}"
        for pool in self._pools_in_order(provider):
            offer = pool.offers.get(label)
            if offer is None:
                continue
            if az is not None and offer.zones and az not in offer.zones:
                reason = f"pool {pool.name} is not in zone {az}"
                continue
            if (held := self._held_back(pool, offer, az, shelf)) is not None:
                reason = held.reason
                continue
            used = self.pool_used(provider, pool)
            if pool.name in extra:
                used += extra[pool.name]
            if short := pool.limits.short_of(used, offer.shape.resources):
                reason = f"pool {pool.name} is full: {', '.join(short)}"
                continue
            most = pool.label_limits.get(label)
            if most is not None:
                there = self._of_label(provider, pool, label)
                if there + sum(p is pool and o.label == label for p, o in chosen) >= most:
                    reason = f"pool {pool.name} has {there} of {most} {label} (max-servers)"
                    continue
            return pool, offer
        return reason

    def _pools_in_order(self, provider: ProviderView) -> Sequence[PoolView]:
        """Pools as they are to be filled: by priority, by weight if any has one, then as listed."""
        pools = provider.pools
        if len(pools) < 2 or all(
            p.weight is None and p.priority == pools[0].priority for p in pools
        ):
            return pools
        if all(pool.weight is None for pool in pools):
            return sorted(pools, key=lambda pool: pool.priority)

        def load(pool: PoolView) -> float:
            weight = 1.0 if pool.weight is None else pool.weight
            return (self.pool_used(provider, pool).instances + 1) / weight

        return sorted(pools, key=lambda pool: (pool.priority, load(pool)))

    def _of_label(self, provider: ProviderView, pool: PoolView, label: str) -> int:
        taken = self._label_taken[provider.name, pool.name, label]
        return pool.label_used.get(label, 0) + taken

    def _held_back(
        self, pool: PoolView, offer: Offer, az: str | None, shelf: bool = False
    ) -> Held | None:
        """What keeps an offer from being launched now, though there may be room; or None."""
        if not pool.spots_held and not pool.labels_held:
            return None
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

    def nodes(self, provider: ProviderView) -> int:
        """How many nodes of ours the provider has, those of this pass included."""
        return sum(self.pool_used(provider, pool).instances for pool in provider.pools)

    def fill(self, provider: ProviderView, offers: Sequence[Offer], failed: int = 0) -> float:
        """How full quota and pools would be with these, 0 to 1, by what is nearest to its limit.

        Args:
            failed: so many more nodes like these are reckoned with.
        """
        quota, used = self._quotas[provider.quota], self._quota_used[provider.quota]
        if not offers:
            share = _share(quota.limits, used, NOTHING, 1.0)
        elif len(offers) == 1:
            share = self._fill_of(provider, offers[0].pool, offers[0].shape.resources, 1.0 + failed)
        else:
            times = 1.0 + failed / len(offers)
            size = total(offer.shape.resources for offer in offers)
            counted = any(not _pool(provider, offer.pool).ignores_quota for offer in offers)
            share = _share(quota.limits, used, size, times) if counted else -1.0
            for name in dict.fromkeys(offer.pool for offer in offers):
                of_pool = total(o.shape.resources for o in offers if o.pool == name)
                share = max(share, self._fill_of(provider, name, of_pool, times))
        if share >= 0.0:
            return share
        return (self.nodes(provider) + len(offers) + failed) / NOMINAL_ROOM

    def _fill_of(self, provider: ProviderView, name: str, size: Resources, times: float) -> float:
        """The same for what goes into one pool; below 0 where nothing is limited."""
        pool = _pool(provider, name)
        share = _share(pool.limits, self.pool_used(provider, pool), size, times)
        if pool.ignores_quota:
            return share
        quota, used = self._quotas[provider.quota], self._quota_used[provider.quota]
        return max(share, _share(quota.limits, used, size, times))

    def fits_without(
        self, provider: ProviderView, offers: Sequence[Offer], gone: Sequence[Node]
    ) -> bool:
        """Whether these would fit once *gone*, and all that is being deleted, is gone."""
        quota = self._quotas[provider.quota]
        going = total((self._freeing[provider.quota], *(node.shape.resources for node in gone)))
        left = self._quota_used[provider.quota] - going
        if quota.limits.short_of(left, total(offer.shape.resources for offer in offers)):
            return False
        for pool in provider.pools:
            mine = [
                node
                for node in (*gone, *self._pool_freeing)
                if (node.provider, node.pool) == (provider.name, pool.name)
            ]
            wanted = total(o.shape.resources for o in offers if o.pool == pool.name)
            freed = total((pool.freeing, *(node.shape.resources for node in mine)))
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
        self._changed(provider.quota)

    def take(self, provider: ProviderView, az: str | None, offers: Sequence[Offer]) -> None:
        """Take the room of these offers."""
        self._changed(provider.quota)
        self.launches_left -= len(offers)
        self._launching[provider.name] = self._launching.get(provider.name, 0) + len(offers)
        zone = provider.name, az
        self._zone_nodes[zone] = self._zone_nodes.get(zone, 0) + len(offers)
        quota = self._quotas[provider.quota]
        if quota.one_more and offers:
            size = total(offer.shape.resources for offer in offers)
            if quota.limits.short_of(self._quota_used[provider.quota], size):
                self._tried.add(provider.quota)
        self.claims.take_labels(offer.label for offer in offers)
        for offer in offers:
            self._label_taken[provider.name, offer.pool, offer.label] += 1
            self._probe(held.key for held in _over(_pool(provider, offer.pool), offer, az))
            key = provider.name, offer.pool
            if key not in self._pool_used:
                self._pool_used[key] = _pool(provider, offer.pool).used
            self._pool_used[key] += offer.shape.resources
            self._quota_used[provider.quota] += offer.shape.resources

    def _probe(self, keys: Iterable[str]) -> None:
        """Note whose probe has gone: nothing more goes where the same breaker is over it."""
        if new := set(keys) - self._probed:
            self._probed |= new
            for quota in self._sharing:  # one breaker may be over labels of all providers
                self._changed(quota)

    def reserve(
        self, provider: ProviderView, labels: tuple[str, ...], offers: Sequence[Offer]
    ) -> None:
        """Keep room for one that is starving: what comes after it in this pass goes around."""
        self._answers[provider.quota] = self.answers(provider).keeping(provider.name, labels)
        for offer in offers:
            key = provider.name, offer.pool
            used = self.pool_used(provider, _pool(provider, offer.pool))
            self._pool_used[key] = used + offer.shape.resources
            self._quota_used[provider.quota] += offer.shape.resources

    def could_ever(
        self, provider: ProviderView, labels: tuple[str, ...], tenant: str | None = None
    ) -> str:
        """Why an empty project would not hold these either; "" if it would.

        A label is reckoned with its smallest offer, and all pools that have it together. A
        limit of 0 says nothing for ever: it is how a quota is taken away for a while.
        """
        answers, about = self.answers(provider).never, (provider.name, labels)
        if (least := answers.get(about)) is None:
            least = answers[about] = self._least(provider, labels)
        return least if isinstance(least, str) else self.claims.tenant_never(tenant, least)

    def _least(self, provider: ProviderView, labels: Sequence[str]) -> Resources | str:
        """What labels come to at least, or why even an empty project would not hold them."""
        sizes = []
        for label, count in Counter(labels).items():
            pools = [pool for pool in provider.pools if label in pool.offers]
            offers = [pool.offers[label] for pool in pools]
            least = min(offers, key=lambda o: (o.shape.resources.cores, o.shape.resources.ram_mib))
            sizes.append(total([least.shape.resources] * count))
            if too_much := _too_much_for(pools, label, count, sizes[-1]):
                return too_much
        limits, least_size = self._quotas[provider.quota].whole, total(sizes)
        short = [n for n in limits.short_of(NOTHING, least_size) if getattr(limits, n)]
        if short and not all(pool.ignores_quota for pool in provider.pools):
            wanted = _amounts(least_size, short)
            return f"the whole quota is {_amounts(limits, short)}, {wanted} wanted"
        return least_size


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


def _share(limits: Limits, used: Resources, size: Resources, times: float) -> float:
    """What part of the limit nearest to its end would be used with so many times *size* more.

    Below 0 if none is limited. Only what every node has is looked at: servers, cores, memory.
    """
    share = -1.0
    limit = limits.instances
    if limit and limit != UNLIMITED:
        share = (used.instances + size.instances * times) / limit
    limit = limits.cores
    if limit and limit != UNLIMITED:
        share = max(share, (used.cores + size.cores * times) / limit)
    limit = limits.ram_mib
    if limit and limit != UNLIMITED:
        share = max(share, (used.ram_mib + size.ram_mib * times) / limit)
    return share


def _over(pool: PoolView, offer: Offer, az: str | None) -> Iterator[Held]:
    """The breakers over an offer that are not closed."""
    if (spot := pool.spots_held.get((offer.shape.flavor_id, az))) is not None:
        yield spot
    yield from pool.labels_held.get(offer.label, ())


def _pool(provider: ProviderView, name: str) -> PoolView:
    return next(pool for pool in provider.pools if pool.name == name)


def _amounts(values: object, names: Sequence[str]) -> str:
    return ", ".join(f"{getattr(values, name):g} {name}" for name in names)
