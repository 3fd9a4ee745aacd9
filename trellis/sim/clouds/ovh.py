"""OVH Public Cloud: servers directly on Ext-Net, limits counted by second, and oddities.

Rows are those of the project's survey of clouds, *OVH Public Cloud*, and of its part 1.
"""

from typing import Final

import attrs

from trellis.sim.cloud.behaviour import Behaviour
from trellis.sim.cloud.spec import (
    CloudSpec,
    Credentials,
    FlavorSpec,
    ImageSpec,
    Latency,
    Lognormal,
    NetworkSpec,
    Quota,
    RateLimit,
)

_SERVICES: Final = ("compute", "network", "image", "volume")

# Row *Rate*: 60 logins a minute of one user, 20 calls a second of one project to each service;
# 429 with no word of how long to wait.
_LIMITS: Final = (
    RateLimit(service="identity", calls=60, per_s=60.0, retry_after=False),
    *(RateLimit(service=name, calls=20, per_s=1.0, retry_after=False) for name in _SERVICES),
)

# Row *Flavors*: families by name, twins with a Windows licence, twins with a small disk. That a
# twin is there whose plain flavor is not, is how a family looks that is being withdrawn.
_FLAVORS: Final = (
    FlavorSpec(name="d2-2", cores=1, ram_mib=2000, disk_gib=25),
    FlavorSpec(name="b2-7", cores=2, ram_mib=7000, disk_gib=50),
    FlavorSpec(name="b2-15", cores=4, ram_mib=15000, disk_gib=100),
    FlavorSpec(name="b3-8", cores=2, ram_mib=8000, disk_gib=50),
    FlavorSpec(name="win-d2-4", cores=2, ram_mib=4000, disk_gib=50),
    FlavorSpec(name="d2-4-flex", cores=2, ram_mib=4000, disk_gib=10),
)


def ovh() -> CloudSpec:
    """Three regions of the ordinary kind; the third is not activated for the project."""
    return CloudSpec(
        name="ovh",
        number=10,
        regions=("GRA1", "BHS1", "SBG5"),
        credentials=Credentials(username="user-fake00000001", project="1234567890123456"),
        behaviour=Behaviour(
            regions_not_activated=("SBG5",),
            shows_dead_ipv6=True,
            says_all_used=True,
            names_guests_by_config_drive=True,
            silent_flavors=("win-*",),
        ),
        quota=Quota(instances=200, cores=800, ram_mib=2_000_000),
        flavors=_FLAVORS,
        images=(ImageSpec(name="Debian 12"),),
        # Row *Public IPv4*: the address is the server's own.
        networks=(NetworkSpec(name="Ext-Net", external=True, ipv6=True),),
        boot=Lognormal(30.0, 60.0),
        guest=Lognormal(15.0, 25.0),  # row *Boot*: about 45 s
        latency=Latency.of(Lognormal(0.1, 0.3)),
        rate_limits=_LIMITS,
        token_lifetime_s=86400.0,
    )


def ovh_with_private_network() -> CloudSpec:
    """A project that has a private network beside Ext-Net (part 1 §3.4).

    Ext-Net is shown as no external network, and its addresses look private, so that only its name
    says what it is: clients had to learn the key ``Ext-Net`` (row *Public IPv4*, part 1 §3.2).
    """
    return attrs.evolve(
        ovh(),
        networks=(
            NetworkSpec(name="Ext-Net", reachable=True, ipv6=True),
            NetworkSpec(name="backend"),
        ),
    )


def ovh_three_zones() -> CloudSpec:
    """A region with three zones, in which cinder refuses the zone ``nova`` (row *AZ*)."""
    plain = ovh()
    return attrs.evolve(
        plain,
        regions=("EU-WEST-PAR",),
        zones=("eu-west-par-a", "eu-west-par-b", "eu-west-par-c"),
        behaviour=attrs.evolve(plain.behaviour, regions_not_activated=(), volumes_in_zones=True),
    )
