"""ELASTX, in Sweden: stock but for floating IPs."""

from typing import Final

from trellis.openstack.profile import CloudProfile, Quirk

PROFILE: Final = CloudProfile(
    name="elastx",
    title="ELASTX",
    status="in operation",
    regions=("se-sto",),
    quirks=(
        Quirk(
            name="entry.auth.auth_url",
            value="https://ops.elastx.cloud:5000/v3",
            section="1.2",
            does="One identity service on port 5000.",
            evidence="openstacksdk openstack/config/vendors/elastx.json",
            era="since 2017",
            check="GET it and read the version",
        ),
        Quirk(
            name="entry.requires_floating_ip",
            value=True,
            section="3.1",
            does="Servers have private addresses only; neutron gives floating IPs.",
            evidence="ELASTX's public guide",
            era="since 2017",
            check="look at the addresses of a new server",
        ),
    ),
)
