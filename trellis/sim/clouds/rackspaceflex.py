"""The twin of Rackspace Flex: rows of the survey's section of that name."""

from typing import Final

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

_DOMAIN: Final = "rackspace_cloud_domain"

# Row *Flavors*: the same size has another name in each region.
_FLAVORS: Final = (
    FlavorSpec(name="gp.0.4.8", cores=4, ram_mib=8192, disk_gib=80),
    FlavorSpec(name="gp.5.4.8", cores=4, ram_mib=8192, disk_gib=80),
)


def rackspaceflex() -> CloudSpec:
    """Two regions; the user has an old project beside the one of Flex."""
    return CloudSpec(
        name="rackspaceflex",
        number=13,
        regions=("SJC3", "DFW3"),
        credentials=Credentials(
            username="trellis-ci",
            password="fake-api-key",
            user_domain=_DOMAIN,
            project="700001_Flex",
            project_domain=_DOMAIN,
        ),
        # Rows *Network* and *Floating IP*: a network of the customer's own behind a router.
        networks=(
            NetworkSpec(name="ci-network"),
            NetworkSpec(name="PUBLICNET", external=True, attachable=False),
        ),
        flavors=_FLAVORS,
        images=(ImageSpec(name="Debian-12"),),
        # Row *PC values*: 32 servers of 8 GB in a region, bound by the memory.
        quota=Quota(instances=100, cores=400, ram_mib=32 * 8192),
        boot=Lognormal(30.0, 60.0),
        guest=Lognormal(10.0, 30.0),
        behaviour=Behaviour(
            other_projects=("0a0b0c0d",),
            missing_flavors=(("SJC3", "gp.5.4.8"), ("DFW3", "gp.0.4.8")),
        ),
    )
