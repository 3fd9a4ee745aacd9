"""The twin of HP Helion Public Cloud, release 13.5, as it was in 2014 and 2015.

What the survey's section "HP Cloud" says, and of part 1 what it says of HP. Not simulated:
cinder v1; and base images that change their names.
"""

from typing import Final

from trellis.sim.cloud.spec import (
    Behaviour,
    CloudSpec,
    FlavorSpec,
    IdentityVersions,
    ImageSpec,
    Lognormal,
    NetworkSpec,
    Quota,
    RateLimit,
)

REGIONS: Final = ("region-a.geo-1", "region-b.geo-1")
PAIRS: Final = 5
"""Networks with a router each: the default quota, and what OpenDev's forerunner spread over."""
CARRIED: Final = 100
"""Servers on a network, above which more boots fail than succeed."""


def hpcloud() -> CloudSpec:
    """Two regions with three zones each, five networks, and the quota that a customer began with.

    Addresses to the outside are of the ranges for documentation, which look public.
    """
    inner = tuple(NetworkSpec(name=f"ci-net-{number}") for number in range(1, PAIRS + 1))
    outer = NetworkSpec(name="Ext-Net", external=True, attachable=False)
    return CloudSpec(
        name="hpcloud",
        number=14,
        regions=REGIONS,
        outside=("198.51.100.0/24", "203.0.113.0/24"),
        identity=IdentityVersions.V2,
        networks=(*inner, outer),
        zones=("az1", "az2", "az3"),
        flavors=(
            FlavorSpec(name="standard.xsmall", cores=1, ram_mib=1024, disk_gib=20),
            FlavorSpec(name="standard.small", cores=2, ram_mib=2048, disk_gib=40),
            FlavorSpec(name="standard.2xlarge", cores=8, ram_mib=30_720, disk_gib=470),
        ),
        images=tuple(
            ImageSpec(name=f"Ubuntu Server {release} LTS (amd64)") for release in ("12.04", "14.04")
        ),
        # 70 ports and 45 floating IPs bind long before nova's own quota does.
        quota=Quota(instances=100, cores=400, ram_mib=1_000_000, floating_ips=45, ports=70),
        block_storage="volume",
        boot=Lognormal(60.0, 110.0),
        guest=Lognormal(10.0, 40.0),
        rate_limits=(
            RateLimit(calls=10, per_s=1.0, status=413, service="compute"),
            RateLimit(calls=10, per_s=1.0, status=413, service="network"),
        ),
        token_lifetime_s=12 * 3600.0,
        behaviour=Behaviour(
            empty_catalog_is_object=True,
            has_hp_catalog=True,
            speaks_glance_v1=True,
            image_page=25,
            import_methods=(),
            vendor_properties=("com.hp__1__",),
            boots_old_qcow2=True,
            network_carries=CARRIED,
            floating_shown_after_s=180.0,
            shows_plain_addresses=True,
            floating_ips_lack_descriptions=True,
            lacks_quota_details=True,
            quota_is_413=True,
            guests_need_config_drive=True,
            unnamed_zone="az1",
        ),
    )
