"""Open Telekom Cloud: an identity service in each region, elastic IPs."""

from typing import Final

from trellis.openstack.profile import CloudProfile, Mark, Quirk

_PROFILE: Final = "openstacksdk openstack/config/vendors/otc.json"

PROFILE: Final = CloudProfile(
    name="otc",
    title="Open Telekom Cloud",
    status="in operation",
    regions=("eu-de", "eu-nl"),
    needed=("auth.project_name", "auth.user_domain_name"),
    quirks=(
        Quirk(
            name="entry.auth.auth_url",
            value="https://iam.{region_name}.otc.t-systems.com/v3",
            section="1.2",
            does="Each region has an identity service; projects are named after the region.",
            evidence=_PROFILE,
            era="since 2016",
            check="GET the URL of two regions",
        ),
        Quirk(
            name="entry.auth_type",
            value="v3password",
            section="1.5",
            does="Version documents cannot be trusted, so nothing may be discovered at login.",
            evidence="the vendor's extension of openstacksdk overrides endpoints for that",
            era="since 2016",
            check="GET the identity host without a version",
            mark=Mark.INFERRED,
        ),
        Quirk(
            name="entry.requires_floating_ip",
            value=True,
            section="3.1",
            does="Public addresses are elastic IPs, which neutron's floating IPs stand for.",
            evidence="survey of clouds, section Open Telekom Cloud",
            era="since 2016",
            check="look at the addresses of a new server",
        ),
    ),
)
