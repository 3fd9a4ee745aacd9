"""Vexxhost: addresses of its own for each server, raw images, a region that boots from volumes."""

from typing import Final

from trellis.openstack.profile import CloudProfile, Mark, Quirk
from trellis.openstack.quirks import VolumeBoot

_STATIC: Final = "openstacksdk, history of openstack/config/vendors/vexxhost.json (2018)"

PROFILE: Final = CloudProfile(
    name="vexxhost",
    title="Vexxhost",
    status="in operation; OpenDev uses ca-ymq-1",
    regions=("ca-ymq-1", "sjc1"),
    quirks=(
        Quirk(
            name="entry.auth.auth_url",
            value="https://auth.vexxhost.net/v3",
            section="1.2",
            does="One identity service for both regions. openstacksdk's profile is a pointer that "
            "must be fetched from the Internet while the file is read; this one is static.",
            evidence=_STATIC,
            era="since 2018",
            check="GET it and read the version",
        ),
        Quirk(
            name="entry.auth_type",
            value="v3password",
            section="1.1",
            does="Keystone v3 alone; logins by another version's form failed in 2018.",
            evidence=f"{_STATIC}; openstack-infra/system-config, clouds.yaml.erb",
            era="since 2018",
            check="GET the URL without a version and read the list",
        ),
        Quirk(
            name="entry.image_format",
            value="raw",
            section="4.2",
            does="Disks lie on Ceph, which copies raw images on write; a qcow2 one is converted, "
            "some 15 GB, at each boot.",
            evidence=f"{_STATIC}; openstack/project-config, nodepool/ (vexxhost)",
            era="since 2018",
            check="boot a raw and a qcow2 copy of one image and compare the times",
        ),
        Quirk(
            name="gives_public_addresses",
            value=True,
            does="A server has its public address itself; floating IPs are never needed.",
            evidence=f"{_STATIC}: floating_ip_source None",
            era="since 2018",
            check="look at the addresses of a new server",
        ),
        Quirk(
            name="boots_from_volume",
            value=VolumeBoot(size_gib=80, regions=("sjc1",)),
            does="In sjc1 OpenDev's servers booted from volumes of 80 GB; that no flavor has a "
            "disk there follows from it, and is stated nowhere.",
            evidence="openstack/project-config, nodepool/ (vexxhost-sjc1: boot-from-volume, "
            "volume-size 80)",
            era="since 2018",
            check="openstack flavor list in both regions, and read the column Disk",
            mark=Mark.INFERRED,
        ),
    ),
)
