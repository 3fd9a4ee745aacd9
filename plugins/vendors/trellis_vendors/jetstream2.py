"""Jetstream2, for research in the United States: application credentials."""

from typing import Final

from trellis.openstack.profile import CloudProfile, Mark, Quirk

_GUIDE: Final = "Jetstream2's public guide, read 2026"

PROFILE: Final = CloudProfile(
    name="jetstream2",
    title="Jetstream2",
    status="in operation",
    regions=("IU",),
    quirks=(
        Quirk(
            name="entry.auth.auth_url",
            value="https://js2.jetstream-cloud.org:5000/v3/",
            section="1.2",
            does="One identity service on port 5000.",
            evidence=_GUIDE,
            era="since 2022",
            check="GET it and read the version",
        ),
        Quirk(
            name="entry.auth_type",
            value="v3applicationcredential",
            section="1.3",
            does="Users log in at a federation; programs get application credentials only.",
            evidence=_GUIDE,
            era="since 2022",
            check="make one in the dashboard and read the openrc file it offers",
        ),
        Quirk(
            name="entry.requires_floating_ip",
            value=True,
            section="3.1",
            does="Servers are said to get floating IPs from the network public.",
            evidence="survey of clouds, overview: unverified",
            era="2026",
            check="look at the addresses of a new server, and at the external networks",
            mark=Mark.UNVERIFIED,
        ),
    ),
)
