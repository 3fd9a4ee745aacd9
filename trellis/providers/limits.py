"""The quota of a project and what everybody in it uses, from nova, neutron and cinder."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from trellis.errors import MisconfiguredError, NotFoundError, RejectedError
from trellis.model.quota import UNKNOWN, UNLIMITED, Limit, Limits, QuotaReading, Resources
from trellis.openstack.compute import AbsoluteLimits, Compute
from trellis.openstack.network import Network, NetworkQuota, QuotaRow
from trellis.openstack.volume import BlockStorage, VolumeLimits

T = TypeVar("T")


async def read_limits(
    compute: Compute, network: Network | None, storage: BlockStorage | None, project_id: str
) -> QuotaReading:
    """Read nova's limits, neutron's quota of floating IPs and ports, and cinder's of volumes.

    A service that refuses to tell, or has no such call, makes what it counts unknown: then the
    cloud must say no itself, and its refusals teach.

    Args:
        network: None leaves floating IPs and ports out.
        storage: None leaves volumes out.

    Raises:
        CloudError: as the calls do: no connection, no login, no good answer, too fast.
    """
    limits = await _told(compute.limits, AbsoluteLimits())
    addresses, volumes = NetworkQuota(), VolumeLimits()
    if network is not None:
        addresses = await _told(lambda: network.quota(project_id), addresses)
    if storage is not None:
        volumes = await _told(storage.limits, volumes)
    return QuotaReading(
        limits=Limits(
            instances=_limit(limits.max_total_instances),
            cores=_limit(limits.max_total_cores),
            ram_mib=_limit(limits.max_total_ram_size),
            floating_ips=_row_limit(addresses.floatingip),
            ports=_row_limit(addresses.port),
            volumes=_limit(volumes.max_total_volumes),
            volume_gib=_limit(volumes.max_total_volume_gigabytes),
        ),
        used=Resources(
            instances=limits.total_instances_used,
            cores=limits.total_cores_used,
            ram_mib=limits.total_ram_used,
            floating_ips=_row_used(addresses.floatingip),
            ports=_row_used(addresses.port),
            volumes=volumes.total_volumes_used,
            volume_gib=volumes.total_gigabytes_used,
        ).at_least_zero(),
        read_at=0.0,
    )


async def _told(ask: Callable[[], Awaitable[T]], nothing: T) -> T:
    """What a service tells, or *nothing* where it has no such call or does not allow it.

    Quota details are an extension of neutron, and policies may keep limits from plain users.
    """
    try:
        return await ask()
    except (NotFoundError, RejectedError, MisconfiguredError):
        return nothing


def _row_limit(row: QuotaRow | None) -> Limit:
    return UNKNOWN if row is None else _limit(row.limit)


def _row_used(row: QuotaRow | None) -> int:
    """What is used; not what neutron has *reserved* for calls under way.

    Reservations last as long as a call, ours are on record here, and one that is stuck would
    take room away for ever.
    """
    return 0 if row is None else row.used


def _limit(number: int | None) -> Limit:
    if number is None:
        return UNKNOWN
    return UNLIMITED if number < 0 else number
