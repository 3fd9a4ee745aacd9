"""The Open Source Lab of Oregon State University: arm64 servers that boot slowly."""

from typing import Final

from trellis.openstack.profile import CloudProfile, Mark, Quirk

_LAUNCHER: Final = "openstack/project-config 0676e2750, nodepool/nl05-nl08 (osuosl-regionone)"

PROFILE: Final = CloudProfile(
    name="osuosl",
    title="OSU Open Source Lab",
    status="in operation; OpenDev used it until 2025 at least",
    regions=("RegionOne",),
    needed=("auth.auth_url",),
    quirks=(
        Quirk(
            name="entry.auth_type",
            value="v3password",
            section="1.1",
            does="Keystone v3; nobody has written down which versions it shows.",
            evidence="survey of clouds, overview: v3, unverified",
            era="2025",
            check="GET its auth_url without a version and read the list",
            mark=Mark.UNVERIFIED,
        ),
        Quirk(
            name="default.boot-timeout",
            value=600.0,
            section="9",
            does="arm64 servers take minutes until sshd answers.",
            evidence=f"{_LAUNCHER}: boot-timeout 600",
            era="2025",
            check="trellis provider show gives the times of the last launches",
        ),
        Quirk(
            name="default.launch-timeout",
            value=800.0,
            section="9",
            does="A whole launch may take over ten minutes.",
            evidence=f"{_LAUNCHER}: launch-timeout 800",
            era="2025",
            check="trellis provider show gives the times of the last launches",
        ),
    ),
)
