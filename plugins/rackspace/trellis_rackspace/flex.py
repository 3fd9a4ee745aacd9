"""Rackspace Flex: an OpenStack of today on KVM, with projects of two kinds."""

from typing import Final

from trellis.openstack.profile import CloudProfile, Mark, Quirk

_DOCS: Final = "rackerlabs/genestack docs, openstack-cloud clients"
_DOMAIN: Final = "rackspace_cloud_domain"

PROFILE: Final = CloudProfile(
    name="rackspaceflex",
    title="Rackspace Flex",
    status="in operation; OpenDev used it from September 2024",
    regions=("SJC3", "DFW3", "IAD3"),
    quirks=(
        Quirk(
            name="entry.auth.auth_url",
            value="https://keystone.api.{region_name:lower}.rackspacecloud.com/v3",
            section="1.2",
            does="Each region has an identity service, with the region in small letters in its "
            "host; a token of one is not good in another.",
            evidence=_DOCS,
            era="since 2024",
            check="GET the URL of two regions",
        ),
        Quirk(
            name="entry.auth_type",
            value="rackspace_flex",
            section="1.4",
            does="A user may see several projects, an old one among them: the one of Flex is to be "
            "chosen, by its name. The value of password may be the account's API key.",
            evidence=f"{_DOCS}; openstack/project-config 6b34d9894. That the name says Flex is "
            "from examples only; the survey speaks of the role",
            era="since 2024",
            check="log in without a project and GET /v3/auth/projects",
            mark=Mark.UNVERIFIED,
        ),
        Quirk(
            name="entry.auth.user_domain_name",
            value=_DOMAIN,
            section="1.4",
            does=f"Users are in the domain {_DOMAIN}.",
            evidence=_DOCS,
            era="since 2024",
            check="log in with another domain",
        ),
        Quirk(
            name="entry.auth.project_domain_name",
            value=_DOMAIN,
            section="1.4",
            does=f"Projects are in the domain {_DOMAIN}; it is asked for where a project is "
            "configured by its name.",
            evidence=_DOCS,
            era="since 2024",
            check="log in to a project by name with another domain",
        ),
    ),
)
