"""What is shown of limits and what counts against them: by project, by tenant."""

from collections import Counter
from collections.abc import Iterable, Mapping

from trellis.control.fleet import Fleet
from trellis.control.policy import TenantPolicy
from trellis.control.quota import Quota
from trellis.model.node import NodeState
from trellis.model.quota import Limits, Resources
from trellis.model.status import QuotaStatus, TenantStatus

NOTHING = Resources()


def quota_status(quota: Quota, providers: Iterable[str], fleet: Fleet) -> QuotaStatus:
    """One project's quota; *providers* draw on it, the one that is asked about first."""
    names = tuple(providers)
    planned = (
        node.shape.resources
        for name in sorted(set(names))
        for node in fleet.by_provider.get(name, {}).values()
        if node.state is NodeState.BUILDING and node.server is None
    )
    home = quota.home
    return QuotaStatus(
        provider=names[0],
        providers=tuple(sorted(set(names))),
        project_id=home.project_id if home is not None else "",
        region=home.region if home is not None else "",
        limits=quota.told,
        ours=fleet.quota_used.get(quota.name, NOTHING),
        reserved=sum(planned, NOTHING),
        others=quota.others,
        ceilings=dict(quota.ceilings),
        read_at=quota.reading.read_at if quota.reading is not None else None,
        refusals=quota.refusals,
    )


def tenant_statuses(tenants: Mapping[str, TenantPolicy], fleet: Fleet) -> tuple[TenantStatus, ...]:
    """The tenants of the configuration, then others that hold something or wait."""
    waiting: Counter[str] = Counter()
    for (*_, tenant), queue in fleet.queues.items():
        waiting[tenant or ""] += len(queue)
    held = fleet.tallies.held
    others = sorted(({*held, *waiting}) - set(tenants))
    return tuple(
        TenantStatus(
            name=name,
            limits=tenants[name].limits if name in tenants else Limits(),
            share=tenants[name].share if name in tenants else None,
            held=held.get(name, NOTHING),
            waiting=waiting[name],
        )
        for name in (*tenants, *others)
    )
