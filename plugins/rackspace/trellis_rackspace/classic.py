"""Rackspace's classic Cloud Servers: Keystone v2.0, fixed networks, an image format of its own."""

from typing import Final

import attrs

from trellis.errors import AuthError, RejectedError
from trellis.http.buckets import Limit
from trellis.openstack.faults import Row
from trellis.openstack.profile import CloudProfile, Mark, Quirk
from trellis.openstack.quirks import Quirks, ReadyWait
from trellis.providers.config import OpenStackProviderConfig
from trellis.providers.openstack import OpenStackProvider
from trellis.spi.config import with_defaults
from trellis.spi.registry import ProviderContext

PUBLIC_NET: Final = "00000000-0000-0000-0000-000000000000"
"""Id of PublicNet in every region."""
SERVICE_NET: Final = "11111111-1111-1111-1111-111111111111"
"""Id of ServiceNet in every region."""

RACKCONNECT: Final = ReadyWait(
    key="rackconnect_automation_status",
    done=("DEPLOYED", "UNPROCESSABLE"),
    failed=("FAILED",),
)
MANAGED: Final = ReadyWait(
    key="rax_service_level_automation", done=("Complete",), failed=("Build Error",)
)

_VENDOR: Final = "openstacksdk openstack/config/vendors/rackspace.json"
_LIMITS: Final = "docs-cloud-servers api-docs/general-api-info/limits.rst"
_MINUTE_S: Final = 60.0

PROFILE: Final = CloudProfile(
    name="rackspace",
    title="Rackspace Cloud Servers (classic)",
    status="in operation; OpenDev used it from 2013 until 2025 at least",
    regions=("DFW", "ORD", "IAD", "LON", "SYD", "HKG"),
    quirks=(
        Quirk(
            name="entry.auth.auth_url",
            value="https://identity.api.rackspacecloud.com/v2.0/",
            section="1.1",
            does="One Keystone for all regions, with version 2.0 only.",
            evidence=f"{_VENDOR}; docs-cloud-identity",
            era="since 2011",
            check="GET it without a version and read the list",
        ),
        Quirk(
            name="entry.auth_type",
            value="rackspace_apikey",
            section="1.3",
            does="Programs log in with the user's API key: a password is of no use once the "
            "account asks for a second factor.",
            evidence="docs-cloud-identity api-docs/getting-started/mfa-content/proc-mfa-auth.rst; "
            "openstack/project-config eca3bde9c, f5c200181",
            era="since 2011; the only way for OpenDev since March 2024",
            check="log in with the password while a second factor is on; read the 401's headers",
        ),
        Quirk(
            name="entry.compute_service_name",
            value="cloudServersOpenStack",
            section="1.5",
            does="The catalog has two or three services of type compute: first-generation servers, "
            "which are no OpenStack, on some accounts one in preparation, and this one.",
            evidence=f"{_VENDOR}; docs-cloud-identity, sample catalog",
            era="since 2012",
            check="log in and list the names of the services of type compute",
        ),
        Quirk(
            name="entry.block_storage_api_version",
            value="2",
            section="1.5",
            does="The catalog has version 1 of block storage only; version 2 is at the same host.",
            evidence="openstacksdk openstack/config/cloud_region.py, get_endpoint",
            era="since 2014",
            check="log in and read the URL of the service of type volume",
        ),
        Quirk(
            name="needs_config_drive",
            value=True,
            does="There is no DHCP: what knows nothing of the vendor's agent learns its network "
            "from a config drive, or never answers.",
            evidence="openstack-infra/glean test fixtures rax*; openstack/project-config",
            era="since 2012",
            check="boot an image of your own without a config drive",
        ),
        Quirk(
            name="hides_zones",
            value=True,
            does="It shows no availability zones and takes none.",
            evidence="survey of clouds, part 1 section 2.3: unverified",
            era="2013-25",
            check="openstack availability zone list",
            mark=Mark.UNVERIFIED,
        ),
        Quirk(
            name="metadata_most",
            value=40,
            does="A server has at most 40 items of metadata (maxServerMeta).",
            evidence=_LIMITS,
            era="since 2012",
            check="GET /limits and read maxServerMeta",
        ),
        Quirk(
            name="passed_over_flavors",
            value=("*Compute v1*", "*Memory v1*", "*OnMetal*"),
            does="Flavors of the compute and memory families boot from volumes only, and OnMetal "
            "is another product with a quota of its own: a label by min-ram means neither.",
            evidence="docs-cloud-servers, flavors; openstack/heat cloud_server.py; nodepool 4c8b5f",
            era="since 2014",
            check="create a server of a compute1 flavor from an image",
        ),
        Quirk(
            name="lacks_neutron",
            value=True,
            does="A network service is in the catalog and long answered 404. PublicNet and "
            f"ServiceNet are named by their ids, {PUBLIC_NET} and {SERVICE_NET}; servers are on "
            "both unless told otherwise, and there are no floating IPs.",
            evidence=f"{_VENDOR} (has_network); docs-cloud-servers, create server",
            era="since 2012",
            check="GET /v2.0/networks at the catalog's URL",
        ),
        Quirk(
            name="lacks_security_groups",
            value=True,
            does="A create that names security groups is refused.",
            evidence=f"{_VENDOR} (secgroup_source)",
            era="since 2012",
            check="create a server with security_groups",
        ),
        Quirk(
            name="ready_waits",
            value=(RACKCONNECT, MANAGED),
            does="On accounts with RackConnect, and then on managed ones, the vendor's automation "
            "works on a server after it is ACTIVE. RackConnect may change accessIPv4.",
            evidence="openstack/heat contrib/rackspace cloud_server.py; rackspace-how-to, "
            "RackConnect v2.0 automation status",
            era="since 2012",
            check="create a server on such an account and read its metadata every few seconds",
        ),
        Quirk(
            name="rate.compute.create",
            value=Limit(per_s=50 / _MINUTE_S, burst=50, per_day=1000),
            section="8",
            does="100 POSTs a minute, and 1000 servers a day; answered with 413 and the time at "
            "which to come again, as retryAt in the body (retryAfter is reported). 50 at once and "
            "50 a minute keep to that in any minute.",
            evidence=_LIMITS,
            era="since 2012; raised on request, as for OpenDev in 2014",
            check="GET /limits and read rate",
        ),
        Quirk(
            name="rate.compute.read",
            value=Limit(per_s=900 / _MINUTE_S, burst=100),
            section="8",
            does="1000 GETs a minute. 100 at once and 900 a minute keep to that in any minute.",
            evidence=_LIMITS,
            era="since 2012; raised on request",
            check="GET /limits and read rate",
        ),
        Quirk(
            name="entry.image_format",
            value="vhd",
            section="4.2",
            does="Hosts run Xen and boot dynamic VHDs whose creator is tap.",
            evidence=f"{_VENDOR}; diskimage-builder doc/source/developer/vhd_creation.rst",
            era="since 2012",
            check="import a VHD made by qemu-img, and read the task's message",
        ),
        Quirk(
            name="entry.image_api_use_tasks",
            value=True,
            section="4.1",
            does="A task imports images from an object in the file store; a PUT is refused.",
            evidence=f"{_VENDOR}; docs-cloud-images, import tasks",
            era="since 2013",
            check="POST /v2/images and PUT its file",
        ),
        Quirk(
            name="entry.disable_vendor_agent",
            value={
                "vm_mode": "hvm",
                "xenapi_use_agent": "False",
                "img_config_drive": "mandatory",
            },
            section="4.3",
            does="Properties that an image without the vendor's agent needs, as texts, set after "
            "the import.",
            evidence=f"{_VENDOR}; nodepool 34335b5",
            era="since 2014",
            check="boot an image without them: the build waits for the agent and fails",
        ),
        Quirk(
            name="refused_image_properties",
            value=("com.rackspace__1__",),
            does="Some beginnings of properties' names are refused; that these, which the vendor's "
            "own images have, are among them follows from it.",
            evidence="survey of clouds, part 1 section 4.1",
            era="since 2013",
            check="PATCH an image of your own with such a property",
            mark=Mark.INFERRED,
        ),
    ),
    refusals=(
        Row(
            AuthError,
            "docs-cloud-identity mfa-content/proc-mfa-auth.rst",
            (401,),
            service="identity",
            header=r"^www-authenticate: .*\bOS-MF\b",
            remedy="the account asks for a second factor, and then only the API key logs in: "
            "write auth_type: rackspace_apikey, and api_key in place of password",
        ),
        Row(
            RejectedError,
            "nova before Juno, nova/compute/api.py: a QuotaError of metadata, 413 as all of them",
            (413,),
            r"metadata items? exceed",
            service="compute",
            remedy="fewer instance-properties: coming again later does not help",
        ),
    ),
)


@attrs.frozen(kw_only=True)
class RackspaceProviderConfig(OpenStackProviderConfig):
    """One region of one Rackspace account, and what may be launched there.

    Attributes:
        rackconnect: whether the account has RackConnect v2: a server is then not ready before
            the vendor has told of its work on it. Without it, only work that is told is awaited.
        managed: the same of the managed service level.
    """

    rackconnect: bool = False
    managed: bool = False


RackspaceConfig = with_defaults(RackspaceProviderConfig, "RackspaceConfig", PROFILE.defaults)


def make_provider(config: RackspaceProviderConfig, context: ProviderContext) -> OpenStackProvider:
    """Make the stock provider with the quirks of classic Cloud Servers; does no I/O."""
    profile = context.profile or PROFILE
    quirks = awaiting(profile.settings, config)
    return OpenStackProvider(
        config, context.session, context.deployment, quirks=quirks, settings=context.settings
    )


def awaiting(quirks: Quirks, config: RackspaceProviderConfig) -> Quirks:
    """The quirks, with the waits for work that this account is known to have."""
    had = {RACKCONNECT.key: config.rackconnect, MANAGED.key: config.managed}
    waits = tuple(
        attrs.evolve(wait, awaited=had.get(wait.key, False)) for wait in quirks.ready_waits
    )
    return attrs.evolve(quirks, ready_waits=waits)
