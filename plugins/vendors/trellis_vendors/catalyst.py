"""Catalyst Cloud, in New Zealand: raw images, an outdated profile in openstacksdk."""

from typing import Final

from trellis.openstack.profile import CloudProfile, Mark, Quirk

_DOCS: Final = "catalyst-cloud documentation, 2026-07"

PROFILE: Final = CloudProfile(
    name="catalyst",
    title="Catalyst Cloud",
    status="in operation",
    regions=("nz-hlz-1", "nz-por-1"),
    quirks=(
        Quirk(
            name="entry.auth.auth_url",
            value="https://api.{region_name}.catalystcloud.io:5000/v3",
            section="1.2",
            does="Each region has an API host; openstacksdk's own profile still says v2.0.",
            evidence=_DOCS,
            era="since 2019",
            check="GET it and read the version; the port is that of its older URL",
            mark=Mark.INFERRED,
        ),
        Quirk(
            name="default.floating-network",
            value="public-net",
            section="3.3",
            does="Floating IPs come from public-net.",
            evidence=_DOCS,
            era="since 2019",
            check="openstack network list --external",
        ),
        Quirk(
            name="entry.image_format",
            value="raw",
            section="4.2",
            does="Only raw images are taken.",
            evidence=_DOCS,
            era="since 2019",
            check="upload a qcow2 image",
        ),
    ),
)
