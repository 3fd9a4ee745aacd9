"""What tenants and labels may still have, whatever room there is, as one pass hands it out.

A tenant's limits are about what it holds: nodes launched for its requests or leased to them,
until the lease ends. A cloud that does not delete takes nothing from a tenant. A label's limit is
about what there is: all its nodes that are not proved gone.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from trellis.model.names import RequestId
from trellis.model.quota import Resources
from trellis.model.request import NodeRequest
from trellis.scheduler.snapshot import Snapshot, queue_key

Order = tuple[int, float, int, float, RequestId]
_WORDS = {"instances": "max-servers", "cores": "max-cores", "ram_mib": "max-ram"}


class Claims:
    """The claims of tenants and labels during one pass; taking makes less of what is left."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._tenants = snapshot.tenants
        self._held = {name: tenant.used for name, tenant in snapshot.tenants.items()}
        self._label_limits, self._label_used = snapshot.label_limits, snapshot.label_used
        self._taken: Counter[str] = Counter()
        self._by_share = any(x.share is not None for x in snapshot.tenants.values())
        self._counts = snapshot.tenant_nodes

    def order(self, request: NodeRequest) -> Order:
        """The order of service: by priority, then who has least, then by rank and by age.

        Who has least for its share is asked only where shares are configured. It goes before the
        rank: by the ranks of its own requests no tenant gets ahead of another.
        """
        priority, rank, created_at, request_id = queue_key(request)
        return priority, self._claim(request.ask.tenant), rank, created_at, request_id

    def _claim(self, tenant: str | None) -> float:
        if not self._by_share:
            return 0.0
        name = tenant or ""
        known = self._tenants.get(name)
        share = known.share if known is not None and known.share is not None else 1.0
        if name in self._held:
            return self._held[name].instances / share
        return self._counts.get(name, 0) / share

    def is_limited(self, tenant: str | None) -> bool:
        """Whether the configuration says anything of this tenant."""
        return tenant in self._tenants

    # -------------------------------------------------------------------------- tenants

    def tenant_short(self, tenant: str | None, wanted: Resources) -> str:
        """Why a tenant may not have this on top of what it holds; "" if it may."""
        if tenant is None or tenant not in self._tenants:
            return ""
        limits, held = self._tenants[tenant].limits, self._held[tenant]
        short = limits.short_of(held, wanted)
        if not short:
            return ""
        name = short[0]
        return (
            f"tenant {tenant} holds {getattr(held, name)} of {getattr(limits, name):g} "
            f"({_WORDS[name]}), {getattr(wanted, name)} wanted"
        )

    def tenant_never(self, tenant: str | None, wanted: Resources) -> str:
        """Why a tenant may not have this though it held nothing; "" if it may.

        A limit of 0 says nothing for ever: it has requests wait.
        """
        if tenant is None or tenant not in self._tenants:
            return ""
        limits = self._tenants[tenant].limits
        short = [n for n in limits.short_of(Resources(), wanted) if getattr(limits, n)]
        if not short:
            return ""
        most = ", ".join(f"{_WORDS[n]} {getattr(limits, n):g}" for n in short)
        asked = ", ".join(f"{getattr(wanted, n):g}" for n in short)
        return f"tenant {tenant} may have {most} in all, {asked} wanted"

    def take(self, tenant: str | None, size: Resources) -> None:
        """Count this as held by the tenant."""
        if tenant is not None and tenant in self._held:
            self._held[tenant] += size

    # --------------------------------------------------------------------------- labels

    def labels_short(self, labels: Sequence[str]) -> str:
        """Why no more nodes of these labels may be made now; "" if they may."""
        for label, count in Counter(labels).items() if self._label_limits else ():
            most = self._label_limits.get(label)
            if most is not None and (there := self._there(label)) + count > most:
                return f"label {label}: {there} of {most} (max-servers) are there"
        return ""

    def surplus(self, labels: Sequence[str]) -> Counter[str]:
        """How many nodes of each label would have to go for these to be made."""
        too_many: Counter[str] = Counter()
        if not self._label_limits:
            return too_many
        for label, count in Counter(labels).items():
            most = self._label_limits.get(label)
            if most is not None:
                too_many[label] = max(0, self._there(label) + count - most)
        return +too_many

    def labels_never(self, labels: Sequence[str]) -> str:
        """Why so many of a label will never be made; "" if they may."""
        for label, count in Counter(labels).items() if self._label_limits else ():
            most = self._label_limits.get(label)
            if most and count > most:
                return f"label {label} allows {most} (max-servers), {count} wanted"
        return ""

    def label_room(self, labels: Iterable[str]) -> tuple[tuple[int, int], ...]:
        """Of each of these labels that has a limit, how many there are and may be."""
        if not self._label_limits:
            return ()
        limited = [label for label in dict.fromkeys(labels) if label in self._label_limits]
        return tuple((self._there(label), self._label_limits[label]) for label in limited)

    def take_labels(self, labels: Iterable[str]) -> None:
        """Count nodes of these labels as made."""
        self._taken.update(labels)

    def _there(self, label: str) -> int:
        return self._label_used.get(label, 0) + self._taken[label]
