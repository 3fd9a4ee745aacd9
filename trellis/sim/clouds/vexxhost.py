"""Vexxhost: servers with public addresses of their own, and a region that boots from volumes.

Rows are those of the project's survey of clouds, *Vexxhost*, and of its part 1.
"""

from trellis.sim.cloud.behaviour import Behaviour
from trellis.sim.cloud.spec import (
    CloudSpec,
    Credentials,
    FlavorSpec,
    ImageSpec,
    Lognormal,
    NetworkSpec,
    Quota,
)


def vexxhost() -> CloudSpec:
    """Two regions; in sjc1 no flavor has a disk."""
    return CloudSpec(
        name="vexxhost",
        number=11,
        regions=("ca-ymq-1", "sjc1"),
        credentials=Credentials(username="ci-fake", project="ci-fake"),
        behaviour=Behaviour(
            diskless_regions=("sjc1",),  # rows *Boot from volume*, §2.8
            # Row *Image*: raw is cloned; a qcow2 is imported at each boot, of about 15 GB.
            qcow2_import_s=120.0,
            clones_images=True,
        ),
        # Row *Volume quota*: it binds before the others do.
        quota=Quota(instances=100, volumes=20, gigabytes=1600),
        flavors=(
            FlavorSpec(name="v2-highcpu-8", cores=8, ram_mib=8192, disk_gib=80),
            FlavorSpec(name="v3-standard-8", cores=8, ram_mib=32768, disk_gib=80),
            FlavorSpec(name="v3-standard-16", cores=16, ram_mib=65536, disk_gib=160),
            FlavorSpec(name="v3-standard-32-gpu", cores=32, ram_mib=131072, disk_gib=160),
        ),
        images=(ImageSpec(name="Ubuntu 24.04", min_disk_gib=20),),
        # Row *Address*: direct; row *IPv6*: by router advertisements, so the guest has it.
        networks=(NetworkSpec(name="public", external=True, ipv6=True),),
        boot=Lognormal(25.0, 50.0),
        guest=Lognormal(8.0, 15.0),
    )
