"""OVH Public Cloud and its company in the United States: one class, two profiles."""

from typing import Final

from trellis.http.buckets import Limit
from trellis.openstack.profile import CloudProfile, Mark, Quirk

_LAUNCHER: Final = "openstack/project-config, nodepool/ (ovh-bhs1, ovh-gra1)"
_LIMITS: Final = "OVH's page on the API limits of Public Cloud: 429 without Retry-After"
_CALLS_AT_ONCE: Final = Limit(per_s=15.0, burst=5.0)
"""So that no second sees more than 20 calls, however the cloud cuts time into seconds."""


def _identity(auth_url: str, evidence: str) -> tuple[Quirk, ...]:
    return (
        Quirk(
            name="entry.auth.auth_url",
            value=auth_url,
            section="1.2",
            does="One identity service for all regions. openstacksdk's profile of ovh is a pointer "
            "that must be fetched from the Internet while the file is read; this one is static.",
            evidence=evidence,
            era="since 2017",
            check="GET it and read the version",
        ),
        Quirk(
            name="entry.auth_type",
            value="v3password",
            section="1.1",
            does="Keystone v3 alone: nothing need be asked before a login.",
            evidence=evidence,
            era="since 2020",
            check="GET the URL without a version and read the list",
        ),
        *(
            Quirk(
                name=f"entry.auth.{whose}_domain_name",
                value="Default",
                section="1.4",
                does=f"All customers' {whose}s are in the one domain Default.",
                evidence=evidence,
                era="since 2017",
                check="read the domains in the answer to a login",
            )
            for whose in ("user", "project")
        ),
    )


def _rates(mark: Mark) -> tuple[Quirk, ...]:
    logins = Quirk(
        name="rate.identity",
        value=Limit(per_s=0.75, burst=15.0),
        section="8",
        does="60 logins a minute of one user, of all his regions and projects together. 15 at "
        "once and 45 a minute keep to that in any minute.",
        evidence=_LIMITS,
        era="2025",
        check="trellis provider show gives the calls and the refusals of an account",
        mark=mark,
    )
    services = ("compute", "network", "image", "block-storage")
    calls = (
        Quirk(
            name=f"rate.{service}",
            value=_CALLS_AT_ONCE,
            section="8",
            does="20 calls a second of one project; one more is answered 429.",
            evidence=_LIMITS,
            era="2025",
            check="trellis provider show gives the calls and the refusals of an account",
            mark=mark,
        )
        for service in services
    )
    return (logins, *calls)


def _common(mark: Mark) -> tuple[Quirk, ...]:
    """What was seen at OVH; *mark* is how sure it is of this company of theirs."""
    return (
        Quirk(
            name="gives_public_addresses",
            value=True,
            does="A server has its public address itself. Floating IPs, behind gateways, are sold "
            "since some years and are not needed.",
            evidence="openstacksdk, history of openstack/config/vendors/ovh.json: "
            "floating_ip_source None",
            era="since 2015",
            check="look at the addresses of a new server",
            mark=mark,
        ),
        Quirk(
            name="public_networks",
            value=("Ext-Net", "public"),
            does="Public addresses are those of Ext-Net, whatever they look like.",
            evidence="openstack-infra/nodepool 0d11cd2; OVH's guides",
            era="since 2015",
            check="openstack server show, and read the keys of addresses",
            mark=mark,
        ),
        Quirk(
            name="default_networks",
            value=("Ext-Net",),
            does="Where the project has a private network too, Nova refuses a server that names "
            "none.",
            evidence="survey of clouds, part 1 §3.4",
            era="since 2017",
            check="create a private network, then a server that names no network",
            mark=mark,
        ),
        Quirk(
            name="shows_unusable_ipv6",
            value=True,
            does="The API shows an IPv6 address that neither DHCP nor router advertisements give "
            "to the guest.",
            evidence=f"{_LAUNCHER}, 2017; ovh/terraform-provider-ovh, issues",
            era="since 2017",
            check="log in to a new server and compare its addresses with those of the API",
            mark=mark,
        ),
        Quirk(
            name="needs_config_drive",
            value=True,
            does="The guest learns its host name from a config drive only.",
            evidence="openstack/project-config efe1644dd",
            era="since 2015",
            check="boot one server with a config drive and one without, and ask for the host name",
            mark=mark,
        ),
        Quirk(
            name="miscounts_use",
            value=True,
            does="The limits once told 200 servers of 200 where there were 40.",
            evidence=f"{_LAUNCHER}, July 2016",
            era="2016",
            check="compare openstack limits show --absolute with the number of servers",
            mark=mark,
        ),
        Quirk(
            name="passed_over_flavors",
            value=("win-*", "*-flex"),
            does="A flavor has twins with a Windows licence (win-) and with a small disk (-flex).",
            evidence="openstack/project-config ae8e01cd8; OVH's price list",
            era="since 2015",
            check="openstack flavor list",
            mark=mark,
        ),
        Quirk(
            name="missing_region",
            value="Activate it in the OVH manager (Public Cloud, the project, its regions); it is "
            "used some minutes later, without a restart",
            does="The catalog lacks a region until the customer activates it.",
            evidence="ovh/terraform-provider-ovh, issue 670",
            era="since 2015",
            check="openstack catalog list, before and after a region is activated",
            mark=mark,
        ),
    )


OVH: Final = CloudProfile(
    name="ovh",
    title="OVH Public Cloud",
    status="in operation; OpenDev has used it since 2015",
    quirks=(
        *_identity(
            "https://auth.cloud.ovh.net/v3",
            "openstacksdk, history of openstack/config/vendors/ovh.json until 2023-03",
        ),
        *_rates(Mark.DOCUMENTED),
        *_common(Mark.DOCUMENTED),
    ),
)

OVH_US: Final = CloudProfile(
    name="ovh-us",
    title="OVHcloud US",
    status="in operation; its regions are US-EAST-VA-1, US-WEST-OR-1, US-EAST-VA and US-WEST-OR",
    quirks=(
        *_identity(
            "https://auth.cloud.ovh.us/v3",
            "openstacksdk openstack/config/vendors/ovh-us.json",
        ),
        *_rates(Mark.INFERRED),
        *_common(Mark.INFERRED),
    ),
)

PROFILES: Final = (OVH, OVH_US)
