"""The twin of Rackspace's classic Cloud Servers.

What the survey's section "Rackspace classic" says, and of part 1 what it says of Rackspace. Not
simulated: first-generation servers, whose URL answers 404 here; networks of the customer's own;
nova's path ``/v2/TENANT``, which is ``/v2.1`` here and knows microversions.
"""

from typing import Final

from trellis.sim.cloud.behaviour import Behaviour
from trellis.sim.cloud.spec import (
    UNLIMITED,
    CloudSpec,
    Credentials,
    FlavorSpec,
    IdentityVersions,
    ImageSpec,
    Lognormal,
    NetworkSpec,
    Quota,
    RateLimit,
)

REGIONS: Final = ("DFW", "ORD", "IAD", "HKG")
TENANT: Final = "700001"

# Rows *Networks*: two fixed ids, labels public and private; the second is not routed.
_NETWORKS: Final = (
    NetworkSpec(name="public", id="00000000-0000-0000-0000-000000000000", external=True, ipv6=True),
    NetworkSpec(name="private", id="11111111-1111-1111-1111-111111111111"),
)

# Row *Flavors*: families by name. Disks of compute and memory flavors are volumes.
_FLAVORS: Final = (
    FlavorSpec(name="1GB Standard Instance", cores=1, ram_mib=1024, disk_gib=40),
    FlavorSpec(name="8GB Standard Instance", cores=4, ram_mib=8192, disk_gib=320),
    FlavorSpec(name="2 GB Performance", cores=2, ram_mib=2048, disk_gib=40),
    FlavorSpec(name="8 GB Performance", cores=8, ram_mib=8192, disk_gib=40),
    FlavorSpec(name="15 GB Performance", cores=4, ram_mib=15_360, disk_gib=40),
    FlavorSpec(name="8 GB General Purpose v1", cores=8, ram_mib=8192, disk_gib=160),
    FlavorSpec(name="7.5 GB Compute v1", cores=4, ram_mib=7680, disk_gib=0),
    FlavorSpec(name="15 GB Memory v1", cores=2, ram_mib=15_360, disk_gib=0),
    FlavorSpec(name="OnMetal Small v1", cores=20, ram_mib=32_768, disk_gib=32, placeable=False),
)

# Row *Create limits*, and row *Over limit*: 413 with the time in the body, in two spellings.
_LIMITS: Final = (
    RateLimit(
        calls=1000, per_s=60.0, status=413, service="compute", method="GET", tells_at="retryAt"
    ),
    RateLimit(
        calls=100, per_s=60.0, status=413, service="compute", method="POST", tells_at="retryAfter"
    ),
    RateLimit(
        calls=1000,
        per_s=86_400.0,
        status=413,
        service="compute",
        method="POST",
        path="/servers",
        tells_at="retryAt",
    ),
)


def rackspace() -> CloudSpec:
    """Four regions, one tenant that is a number, an account without RackConnect."""
    return CloudSpec(
        name="rackspace",
        number=12,
        regions=REGIONS,
        credentials=Credentials(
            username="trellis-ci",
            password="fake-password",
            project=TENANT,
            api_key="0123456789abcdef0123456789abcdef",
        ),
        identity=IdentityVersions.V2,
        networks=_NETWORKS,
        flavors=_FLAVORS,
        images=(ImageSpec(name="Debian 12 (PVHVM)"),),
        # Row *Absolute limits*: no limit of cores; the memory binds.
        quota=Quota(instances=100, cores=UNLIMITED, ram_mib=131_072),
        zones=("nova",),
        block_storage="volume",
        object_storage=True,
        # Row *Import errors*: 26 minutes in the vendor's own sample.
        image_import=Lognormal(1500.0, 2400.0),
        boot=Lognormal(40.0, 80.0),
        guest=Lognormal(10.0, 30.0),
        rate_limits=_LIMITS,
        token_lifetime_s=86_400.0,
        behaviour=Behaviour(
            scopes_unasked=True,
            tenant=TENANT,
            hides_issue=True,
            shows_older_products=True,
            neutron_is_dead=True,
            lacks_security_groups=True,
            lacks_zones=True,
            joins_all_networks=True,
            guests_need_config_drive=True,
            metadata_most=40,
            refuses_diskless=True,
            volumeless_flavors=("*Standard Instance", "OnMetal*"),
            lists_deleted=True,
            gives_access_address=True,
            import_methods=(),
            imports_by_task=True,
            vhd_creator="tap",
            image_gib_most=40,
            vendor_properties=("com.rackspace__1__",),
            waits_for_agent=True,
            boots_formats=("vhd",),
            files_account="MossoCloudFS_",
        ),
    )
