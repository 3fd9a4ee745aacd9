"""Infomaniak Public Cloud: flavors without a disk, public addresses of two kinds."""

from typing import Final

from trellis.openstack.profile import CloudProfile, Quirk

_GUIDE: Final = "Infomaniak's public guide to its cloud, read 2026"

PROFILE: Final = CloudProfile(
    name="infomaniak",
    title="Infomaniak Public Cloud",
    status="in operation",
    regions=("dc3-a", "dc4-a"),
    quirks=(
        Quirk(
            name="entry.auth.auth_url",
            value="https://api.pub1.infomaniak.cloud/identity",
            section="1.2",
            does="One identity service for all regions, below a path of its host.",
            evidence=_GUIDE,
            era="since 2021",
            check="GET it without a version and read the list",
        ),
        Quirk(
            name="public_networks",
            value=("ext-net1", "ext-v6only1", "public"),
            does="Servers may be put on ext-net1 and ext-v6only1, whose addresses are public.",
            evidence=_GUIDE,
            era="since 2021",
            check="openstack network list --external",
        ),
        Quirk(
            name="default.floating-network",
            value="ext-floating1",
            section="3.3",
            does="Floating IPs come from ext-floating1, one of three external networks.",
            evidence=_GUIDE,
            era="since 2021",
            check="openstack network list --external",
        ),
    ),
)
