"""Cleura, formerly City Cloud: an identity service in each region, floating IPs."""

from typing import Final

from trellis.openstack.profile import CloudProfile, Quirk

PROFILE: Final = CloudProfile(
    name="cleura",
    title="Cleura",
    status="in operation; OpenDev used it as City Cloud until about 2019",
    regions=("Kna1", "Sto2", "Fra1", "Buf1", "dx1", "tky1"),
    quirks=(
        Quirk(
            name="entry.auth.auth_url",
            value="https://{region_name}.citycloud.com:5000/v3/",
            section="1.2",
            does="Each region has an identity service, and a token of one is not good in another.",
            evidence="openstacksdk openstack/config/vendors/citycloud.json",
            era="since 2014",
            check="GET the URL of two regions; log in at one and call the other's compute",
        ),
        Quirk(
            name="zones",
            value=("nova",),
            does="The zone nova-local is shown and cannot be used.",
            evidence="openstack/project-config, nodepool availability-zones of citycloud",
            era="2016-19",
            check="create a server in nova-local",
        ),
        Quirk(
            name="entry.requires_floating_ip",
            value=True,
            section="3.1",
            does="Servers have private addresses only; floating IPs come from ext-net by neutron.",
            evidence="openstacksdk openstack/config/vendors/citycloud.json",
            era="since 2014",
            check="look at the addresses of a new server, and at the external networks",
        ),
        Quirk(
            name="default.floating-network",
            value="ext-net",
            section="3.3",
            does="The external network is called ext-net in every region.",
            evidence="openstack/project-config, clouds.yaml templates for citycloud",
            era="2016-19",
            check="openstack network list --external",
        ),
        Quirk(
            name="entry.image_format",
            value="raw",
            section="4.2",
            does="Images lie on Ceph, which copies raw ones on write and any other whole.",
            evidence="openstacksdk openstack/config/vendors/citycloud.json",
            era="since 2017",
            check="boot a raw and a qcow2 copy of one image and compare the times",
        ),
    ),
)
