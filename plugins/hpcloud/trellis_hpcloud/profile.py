"""HP Helion Public Cloud, release 13.5: what its customers all saw the same."""

from typing import Final

from trellis.http.buckets import Limit
from trellis.openstack.profile import CloudProfile, Mark, Quirk

_IDENTITY: Final = "hphelion/documentation, identity.api.md, 2014"
_NETWORK: Final = (
    "openstack-infra/system-config 77d09ef80; hphelion/documentation, compute.network-guide.md "
    "and compute.networks.issues.md, 2014"
)
_RATE: Final = "openstack-infra/system-config b1383f138: 1 s between calls, 0.1 s from June 2014"
_TEN: Final = Limit(per_s=10.0, burst=10.0)

PROFILE: Final = CloudProfile(
    name="hpcloud",
    title="HP Helion Public Cloud",
    status="closed on 2016-01-31; kept as the example with the most quirks",
    regions=("region-a.geo-1", "region-b.geo-1"),
    quirks=(
        Quirk(
            name="entry.auth.auth_url",
            value="https://{region_name}.identity.hpcloudsvc.com:35357/v2.0/",
            section="1.2",
            does="Each region had a Keystone v2.0, on port 35357.",
            evidence=f"{_IDENTITY}; openstack/os-client-config hp.json before 10a9369",
            era="2012-16",
            check="none: the cloud is gone",
        ),
        Quirk(
            name="entry.auth_type",
            value="hpcloud_accesskey",
            section="1.3",
            does="Programs logged in with an access key and its secret key. Without a tenant the "
            "token was of none, and its catalog an empty object: the tenants are listed with it, "
            "and the login is made again with the tenant's id.",
            evidence=f"{_IDENTITY}; test fixtures of pkgcloud for the unscoped answer",
            era="2012-16",
            check="replay the cassettes of hpcloud/identity",
        ),
        Quirk(
            name="needs_config_drive",
            value=True,
            does="cloud-init in its images looked for a config drive only.",
            evidence="openstack/project-config, nodepool config-drive of hpcloud; the hp fixture "
            "of opendev/glean",
            era="2013-16",
            check="none: the cloud is gone",
        ),
        Quirk(
            name="servers_per_network",
            value=100,
            does="A network with its router carried about 100 servers: with more, most boots "
            "failed. OpenDev's forerunner spread its servers over five.",
            evidence=_NETWORK,
            era="2013-16",
            check="boot 120 servers on one network of the twin",
        ),
        Quirk(
            name="reads_images_through_nova",
            value=True,
            does="Its image service is known to have spoken version 1, and of no other is known; "
            "nova listed the images.",
            evidence="openstack-infra/nodepool caf01c4 and provider_manager.py of 2014, which "
            "lists them by novaclient; catalogs of 2014 with an image service of version 1.0",
            era="2013-16",
            check="GET /v2/images of its twin: 300 with versions 1.0 and 1.1",
            mark=Mark.INFERRED,
        ),
        Quirk(
            name="refused_image_properties",
            value=("com.hp__1__",),
            does="Properties com.hp__1__* are the vendor's to set; that they are refused from "
            "others is not stated.",
            evidence="survey of clouds, part 1 section 4.3",
            era="2013-16",
            check="POST /v1/images of its twin with such a property",
            mark=Mark.INFERRED,
        ),
        Quirk(
            name="default.floating-network",
            value="Ext-Net",
            section="3.3",
            does="Floating IPs came from Ext-Net, and servers needed one to be reached.",
            evidence="hphelion/documentation, mc.compute.floating-ips.md, 2014",
            era="2013-16",
            check="none: the cloud is gone",
        ),
        Quirk(
            name="floating_ips_lack_descriptions",
            value=True,
            does="Its neutron was of 2013 and 2014; floating IPs got descriptions in April 2016.",
            evidence="neutron's release notes of Mitaka, standard-attr-description",
            era="2013-16",
            check="send one to a neutron before Mitaka: Unrecognized attribute(s) 'description'",
            mark=Mark.INFERRED,
        ),
        Quirk(
            name="lacks_quota_details",
            value=True,
            does="Neutron told the limits, 70 ports and 45 floating IPs, which bound first; not "
            "what was used of them.",
            evidence="hphelion/documentation of 2014 for the limits; neutron's release notes of "
            "Pike, quota_details, for the rest",
            era="2013-16",
            check="GET /v2.0/quotas/{project}/details of a neutron before Pike: 404",
            mark=Mark.INFERRED,
        ),
        Quirk(
            name="rate.compute",
            value=_TEN,
            section="8",
            does="Ten calls a second to nova, for customers of a higher tier; the answer to more "
            "was 413. Others got along with one: limits.calls-per-second sets it.",
            evidence=_RATE,
            era="2014-16",
            check="none: the cloud is gone",
            mark=Mark.INFERRED,
        ),
        Quirk(
            name="rate.network",
            value=_TEN,
            section="8",
            does="The interval between calls was kept for neutron's as well.",
            evidence=_RATE,
            era="2014-16",
            check="none: the cloud is gone",
            mark=Mark.INFERRED,
        ),
        Quirk(
            name="default.boot-timeout",
            value=180,
            section="9",
            does="OpenDev's forerunner gave a server three minutes from active to an answer.",
            evidence="openstack-infra/system-config, nodepool boot-timeout of hpcloud",
            era="2013-16",
            check="none: the cloud is gone",
        ),
    ),
)
"""The profile, and the name of the type."""
