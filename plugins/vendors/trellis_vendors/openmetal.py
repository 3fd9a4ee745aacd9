"""OpenMetal, formerly InMotion: private clouds on rented hardware, each at a URL of its own."""

from typing import Final

from trellis.openstack.profile import CloudProfile, Mark, Quirk

PROFILE: Final = CloudProfile(
    name="openmetal",
    title="OpenMetal",
    status="in operation; OpenDev used it until 2025 at least",
    needed=("auth.auth_url",),
    quirks=(
        Quirk(
            name="zones",
            value=("nova",),
            does="A create that does not name the zone nova ends in a false no valid host.",
            evidence="openstack/project-config, nodepool/nl05-nl08 (openmetal-iad3), 2025-06",
            era="since 2023",
            check="create a server without availability_zone, and one with nova",
        ),
        Quirk(
            name="entry.image_format",
            value="raw",
            section="4.2",
            does="Images lie on Ceph, which copies raw ones on write and any other whole.",
            evidence="openstack/project-config, nodepool image formats of openmetal",
            era="since 2023",
            check="boot a raw and a qcow2 copy of one image and compare the times",
        ),
        Quirk(
            name="default.launch-timeout",
            value=300.0,
            section="9",
            does="Servers are up within some tens of seconds; OpenDev waited 300 s at most.",
            evidence="openstack/project-config 0676e2750: launch-timeout 300, boot-timeout 120",
            era="2025",
            check="measure: trellis provider show gives the times of the last launches",
            mark=Mark.INFERRED,
        ),
    ),
)
