"""The quota of a project and what everybody in it uses, from nova, neutron and cinder."""

from trellis.errors import MisconfiguredError, NotFoundError, RejectedError
from trellis.model.quota import UNKNOWN, UNLIMITED, Limit, Limits, QuotaReading, Resources
from trellis.openstack.compute import Compute
from trellis.openstack.network import Network, QuotaRow
from trellis.openstack.volume import BlockStorage, VolumeLimits


async def read_limits(
    compute: Compute, network: Network | None, storage: BlockStorage | None, project_id: str
) -> QuotaReading:
    """Read nova's limits, neutron's quota of floating IPs and cinder's of volumes.

    Args:
        network: None leaves floating IPs out.
        storage: None leaves volumes out.

    Raises:
        CloudError: as the calls do; a service's own refusal makes what it counts unknown.
    """
    limits = await compute.limits()
    floating = await _floating(network, project_id) if network is not None else None
    volumes = await _volumes(storage) if storage is not None else VolumeLimits()
    return QuotaReading(
        limits=Limits(
            instances=_limit(limits.max_total_instances),
            cores=_limit(limits.max_total_cores),
            ram_mib=_limit(limits.max_total_ram_size),
            floating_ips=UNKNOWN if floating is None else _limit(floating.limit),
            volumes=_limit(volumes.max_total_volumes),
            volume_gib=_limit(volumes.max_total_volume_gigabytes),
        ),
        used=Resources(
            instances=limits.total_instances_used,
            cores=limits.total_cores_used,
            ram_mib=limits.total_ram_used,
            floating_ips=0 if floating is None else floating.used + floating.reserved,
            volumes=volumes.total_volumes_used,
            volume_gib=volumes.total_gigabytes_used,
        ),
        read_at=0.0,
    )


async def _floating(network: Network, project_id: str) -> QuotaRow | None:
    """The details are an extension of neutron: without it the cloud must say no itself."""
    try:
        return await network.floating_ip_quota(project_id)
    except (NotFoundError, RejectedError, MisconfiguredError):
        return None


async def _volumes(storage: BlockStorage) -> VolumeLimits:
    try:
        return await storage.limits()
    except (NotFoundError, RejectedError, MisconfiguredError):
        return VolumeLimits()


def _limit(number: int | None) -> Limit:
    if number is None:
        return UNKNOWN
    return UNLIMITED if number < 0 else number
