"""The cassettes of Rackspace, written from documents: nobody here has an account.

    .venv/bin/python -m tests.plugins.rackspace_documented

The answers are those that the project's survey of clouds quotes, with made-up ids, names and
addresses.
"""

from typing import Any

import attrs
import trio
from trellis_rackspace.classic import PROFILE, PUBLIC_NET, SERVICE_NET
from trellis_rackspace.flex import PROFILE as FLEX

from tests.plugins.documented import Answer, Answers, Place, Scene, Story, refusal, write
from tests.plugins.rackspace_images import image_stories
from trellis.errors import CloudError
from trellis.openstack.clouds import CloudConfig
from trellis.openstack.compute import ServerRequest
from trellis.providers.networks import NetworkFacts

TENANT = "700001"
IDENTITY = "https://identity.api.rackspacecloud.com/v2.0"
FLEX_IDENTITY = "https://keystone.api.dfw3.rackspacecloud.com/v3"
IMAGE = "00000000-0000-4000-8000-0000000000a1"
CREATED, CONNECTED, DELETED = (
    f"00000000-0000-4000-8000-0000000000b{number}" for number in (1, 2, 3)
)
FLEX_PROJECT = "000000000000000000000000000000f1"
OLD_PROJECT = "000000000000000000000000000000f0"


def compute(region: str = "dfw") -> str:
    """Where servers are."""
    return f"https://{region}.servers.api.rackspacecloud.com/v2/{TENANT}"


def _service(name: str, kind: str, *endpoints: dict[str, str]) -> dict[str, Any]:
    return {"name": name, "type": kind, "endpoints": list(endpoints)}


def _at(url: str, region: str = "DFW", tenant: str = TENANT) -> dict[str, str]:
    return {"region": region, "tenantId": tenant, "publicURL": url}


_FILES = "MossoCloudFS_00000000-0000-4000-8000-000000700001"
CATALOG = [
    _service(
        "cloudServers",
        "compute",
        {
            "tenantId": TENANT, "versionId": "1.0",
            "publicURL": f"https://servers.api.rackspacecloud.com/v1.0/{TENANT}",
        },
    ),
    _service(
        "cloudServersOpenStack",
        "compute",
        {**_at(compute()), "versionId": "2"},
        {**_at(compute("ord"), "ORD"), "versionId": "2"},
    ),
    _service("cloudImages", "image", _at("https://dfw.images.api.rackspacecloud.com/v2")),
    _service(
        "cloudFiles",
        "object-store",
        {
            **_at(f"https://storage101.dfw1.clouddrive.com/v1/{_FILES}", tenant=_FILES),
            "internalURL": f"https://snet-storage101.dfw1.clouddrive.com/v1/{_FILES}",
        },
    ),
    _service(
        "cloudBlockStorage",
        "volume",
        _at(f"https://dfw.blockstorage.api.rackspacecloud.com/v1/{TENANT}"),
    ),
    _service("cloudNetworks", "network", _at("https://dfw.networks.api.rackspacecloud.com/v2.0")),
    _service(
        "autoscale",
        "rax:autoscale",
        _at(f"https://dfw.autoscale.api.rackspacecloud.com/v1.0/{TENANT}"),
    ),
]  # fmt: skip


def _token(way: str) -> dict[str, Any]:
    return {
        "access": {
            "token": {
                "id": "AAAAtesttokenrackspace0001",
                "expires": "2099-01-02T00:00:00.123Z",
                "tenant": {"id": TENANT, "name": TENANT},
                "RAX-AUTH:authenticatedBy": [way],
            },
            "serviceCatalog": CATALOG,
            "user": {
                "id": "00a0b0c0d0e0f0a0b0c0d0e0f0a0b0c0",
                "name": "trellis-ci",
                "RAX-AUTH:defaultRegion": "DFW",
                "roles": [{"id": "3", "name": "identity:user-admin"}],
            },
        }
    }


def _flex_token(project: str | None) -> dict[str, Any]:
    domain = {"name": "rackspace_cloud_domain"}
    token: dict[str, Any] = {
        "methods": ["password"],
        "issued_at": "2026-11-22T13:40:00.000000Z",
        "expires_at": "2026-11-22T14:40:00.000000Z",
        "user": {"id": "000000000000000000000000000000a1", "name": "trellis-ci", "domain": domain},
    }
    if project is not None:
        at = {"interface": "public", "region": "DFW3", "region_id": "DFW3"}
        url = "https://nova.api.dfw3.rackspacecloud.com/v2.1"
        token |= {
            "project": {"id": project, "name": "700001_Flex", "domain": domain},
            "roles": [{"name": "member"}],
            "catalog": [{"type": "compute", "name": "nova", "endpoints": [{**at, "url": url}]}],
        }
    return {"token": token}


def _again(kind: str) -> str:
    return (
        ".venv/bin/python -m tests.plugins.rackspace_documented; with an account: "
        f"trellis plugin record --type {kind}"
    )


def _classic(auth_type: str, way: str, **auth: str) -> Place:
    """The classic cloud with a login of this type; ``way`` is Rackspace's word for it."""
    return Place(
        profile=PROFILE,
        config=CloudConfig(
            name="rax",
            region_name="DFW",
            auth_type=auth_type,
            auth={"auth_url": f"{IDENTITY}/", "username": "trellis-ci", **auth},
            overrides={
                "compute_service_name": PROFILE.entry["compute_service_name"],
                "block_storage_api_version": PROFILE.entry["block_storage_api_version"],
            },
        ),
        login={("POST", f"{IDENTITY}/tokens"): [(200, {}, _token(way))]},
        again=_again("rackspace"),
    )


WITH_KEY = _classic("rackspace_apikey", "APIKEY", api_key="scrubbed")
WITH_PASSWORD = _classic("v2password", "PASSWORD", password="scrubbed", tenant_id=TENANT)
_IMAGES = ("image_format", "image_api_use_tasks", "disable_vendor_agent")
WITH_IMAGES = attrs.evolve(
    WITH_KEY,
    config=attrs.evolve(WITH_KEY.config, settings={key: PROFILE.entry[key] for key in _IMAGES}),
)
ON_FLEX = Place(
    profile=FLEX,
    config=CloudConfig(
        name="flex",
        region_name="DFW3",
        auth_type="rackspace_flex",
        auth={
            "auth_url": FLEX_IDENTITY,
            "username": "trellis-ci",
            "password": "scrubbed",
            "user_domain_name": "rackspace_cloud_domain",
        },
    ),
    login={
        ("POST", f"{FLEX_IDENTITY}/auth/tokens"): [
            (201, {"X-Subject-Token": "fake-unscoped"}, _flex_token(None)),
            (201, {"X-Subject-Token": "fake-scoped"}, _flex_token(FLEX_PROJECT)),
        ],
        ("GET", f"{FLEX_IDENTITY}/auth/projects"): [
            (
                200,
                {},
                {
                    "projects": [
                        {"id": OLD_PROJECT, "name": "0a0b0c0d", "enabled": True},
                        {"id": FLEX_PROJECT, "name": "700001_Flex", "enabled": True},
                    ]
                },
            )
        ],
    },
    again=_again("rackspaceflex"),
)


async def endpoints(on: Scene) -> Any:
    """Where compute, images and block storage are."""
    services = ("compute", "image", "block-storage")
    return await on.session.home(), [await on.session.endpoint(name) for name in services]


async def refused_login(on: Scene) -> CloudError:
    """A login that is refused."""
    return await refusal(on.session.home())


async def home(on: Scene) -> Any:
    """Project and endpoint of a login."""
    return await on.session.home()


async def create(on: Scene) -> str:
    """A server on both fixed networks, with a config drive."""
    return await on.provider.compute.create_server(REQUEST)


async def refused_create(on: Scene) -> CloudError:
    """A create that comes too soon."""
    return await refusal(on.provider.compute.create_server(REQUEST))


async def limits(on: Scene) -> Any:
    """Quota and use."""
    return await on.provider.limits()


async def watch(on: Scene) -> Any:
    """A server that is looked at twice, as the core sees it."""
    rows = [await on.provider.compute.server(CONNECTED) for _ in range(2)]
    return [on.provider.interpret_server(row, NetworkFacts()) for row in rows]


async def changes(on: Scene) -> Any:
    """What has changed since a moment."""
    return await on.provider.list("2026-11-22T13:30:05Z")


REQUEST = ServerRequest(
    name="trellis-0000000042",
    flavor_id="performance1-8",
    image_id=IMAGE,
    networks=(PUBLIC_NET, SERVICE_NET),
    key_name="trellis",
    config_drive=True,
    metadata={"trellis_deployment": "d", "trellis_node_id": "0000000042"},
)


def _connected(status: str, address: str, managed: str) -> Answer:
    """A server of an account with RackConnect, as nova shows it."""
    feature = "rackconnect_automation_feature"
    metadata = {
        "trellis_deployment": "d",
        "trellis_node_id": "0000000043",
        "rackconnect_automation_status": status,
        f"{feature}_configure_network_stack": "ENABLED",
        f"{feature}_manage_software_firewall": "ENABLED",
        f"{feature}_provison_public_ip": "ENABLED",  # so misspelt by the vendor
        "rax_service_level_automation": managed,
    }
    return (
        200,
        {},
        {
            "server": {
                "id": CONNECTED,
                "name": "trellis-0000000043",
                "status": "ACTIVE",
                "progress": 100,
                "accessIPv4": address,
                "accessIPv6": "2001:db8:7::43",
                "OS-EXT-STS:vm_state": "active",
                "OS-EXT-STS:task_state": None,
                "OS-EXT-STS:power_state": 1,
                "OS-DCF:diskConfig": "AUTO",
                "created": "2026-11-22T13:40:05Z",
                "updated": "2026-11-22T13:41:02Z",
                "key_name": "trellis",
                "image": {"id": IMAGE},
                "flavor": {"id": "performance1-8"},
                "addresses": {
                    "public": [
                        {"version": 4, "addr": "203.0.113.43"},
                        {"version": 6, "addr": "2001:db8:7::43"},
                    ],
                    "private": [{"version": 4, "addr": "10.176.0.43"}],
                },
                "metadata": metadata,
            }
        },
    )


def _too_soon(key: str, **headers: str) -> Answers:
    over = {"code": 413, "message": "OverLimit Retry...", "details": "Error Details..."}
    body = {"overLimit": {**over, key: "2026-11-22T13:41:30Z"}}
    return {("POST", f"{compute()}/servers"): [(413, headers, body)]}


_IDENTITY_DOC = "rackerlabs/docs-cloud-identity"
_SERVERS_DOC = "rackerlabs/docs-cloud-servers api-docs"
LIMITS = {
    "rate": [
        {
            "uri": "*",
            "regex": ".*",
            "limit": [
                {"verb": "GET", "value": 1000, "remaining": 988, "unit": "MINUTE",
                 "next-available": "2026-11-22T13:40:10.000Z"},
                {"verb": "POST", "value": 100, "remaining": 99, "unit": "MINUTE",
                 "next-available": "2026-11-22T13:40:10.000Z"},
            ],
        },
        {
            "uri": "/servers*",
            "regex": "/servers.*",
            "limit": [
                {"verb": "POST", "value": 1000, "remaining": 613, "unit": "DAY",
                 "next-available": "2026-11-22T13:40:10.000Z"},
            ],
        },
    ],
    "absolute": {
        "maxServerMeta": 40, "maxImageMeta": 40, "maxPersonality": 5, "maxPersonalitySize": 1000,
        "maxTotalCores": -1, "maxTotalInstances": 100, "maxTotalRAMSize": 131072,
        "maxTotalPrivateNetworks": 10, "maxTotalFloatingIps": -1, "maxSecurityGroups": -1,
        "maxSecurityGroupRules": -1, "totalCoresUsed": 96, "totalInstancesUsed": 12,
        "totalRAMUsed": 98304, "totalPrivateNetworksUsed": 0,
    },
}  # fmt: skip

STORIES = {
    **image_stories(WITH_IMAGES),
    "api_key_login": Story(
        place=WITH_KEY,
        path="rackspace/identity/api_key_login.yaml",
        about="A login by API key, which names no tenant; of three compute services one is meant.",
        source=f"{_IDENTITY_DOC} sample-auth-req-response.rst; the first-generation entry after "
        "openstacksdk's rackspace.json",
        tell=endpoints,
    ),
    "password_login": Story(
        place=WITH_PASSWORD,
        path="rackspace/identity/password_login.yaml",
        about="A login by password, to a tenant that is a number.",
        source=f"{_IDENTITY_DOC} post-authenticate-as-user-with-password-or-api-key; assembled",
        tell=home,
    ),
    "second_factor": Story(
        place=WITH_PASSWORD,
        path="rackspace/identity/second_factor.yaml",
        about="A right password is refused, as the account asks for a second factor.",
        source=f"{_IDENTITY_DOC} mfa-content/proc-mfa-auth.rst",
        tell=refused_login,
        answers={
            ("POST", f"{IDENTITY}/tokens"): [
                (
                    401,
                    {"WWW-Authenticate": "OS-MF sessionId='FAKESESSION0001', factor='PASSCODE'"},
                    {
                        "unauthorized": {
                            "code": 401,
                            "message": "Additional authentication credentials required.",
                        }
                    },
                )
            ]
        },
    ),
    "login_over_limit": Story(
        place=WITH_KEY,
        path="rackspace/identity/login_over_limit.yaml",
        about="Logins are limited apart from other calls; the body says when to come again.",
        source=f"{_IDENTITY_DOC} general-api-info/limits.rst; the spelling is reported",
        tell=refused_login,
        answers={
            ("POST", f"{IDENTITY}/tokens"): [
                (
                    413,
                    {},
                    {
                        "overLimit": {
                            "code": 413,
                            "message": "OverLimit Retry...",
                            "details": "Error Details...",
                            "retryAfter": "2026-11-22T13:41:30Z",
                        }
                    },
                )
            ]
        },
    ),
    "create": Story(
        place=WITH_KEY,
        path="rackspace/compute/create.yaml",
        about="A server is created on PublicNet and ServiceNet, named by their ids.",
        source=f"{_SERVERS_DOC}/api-reference/methods/post-create-server-servers.rst",
        tell=create,
        answers={
            ("POST", f"{compute()}/servers"): [
                (
                    202,
                    {
                        "Location": f"{compute()}/servers/{CREATED}",
                        "x-compute-request-id": "req-00000000-0000-4000-8000-000000000001",
                    },
                    {
                        "server": {
                            "id": CREATED,
                            "OS-DCF:diskConfig": "AUTO",
                            "adminPass": "scrubbed",
                            "links": [{"rel": "self", "href": f"{compute()}/servers/{CREATED}"}],
                        }
                    },
                )
            ],
        },
    ),
    "over_limit": Story(
        place=WITH_KEY,
        path="rackspace/compute/over_limit.yaml",
        about="A create over the rate is refused with 413 and a date in header and body.",
        source=f"{_SERVERS_DOC}/general-api-info/faults.rst and limits.rst",
        tell=refused_create,
        answers=_too_soon("retryAt", **{"Retry-After": "Sun, 22 Nov 2026 13:41:30 GMT"}),
    ),
    "over_limit_retry_after": Story(
        place=WITH_KEY,
        path="rackspace/compute/over_limit_retry_after.yaml",
        about="The same in another spelling, which is reported, and without a header.",
        source="issue threads and code of clients; not in the vendor's documents",
        tell=refused_create,
        answers=_too_soon("retryAfter"),
    ),
    "over_limit_seconds": Story(
        place=WITH_KEY,
        path="rackspace/compute/over_limit_seconds.yaml",
        about="The same as nova had it, in seconds.",
        source="openstack/nova nova/api/openstack/wsgi.py before Newton",
        tell=refused_create,
        answers={
            ("POST", f"{compute()}/servers"): [
                (
                    413,
                    {"Retry-After": "12"},
                    {
                        "overLimit": {
                            "code": 413,
                            "message": "This request was rate-limited.",
                            "details": "Only 10 POST request(s) can be made to * every minute.",
                            "retryAfter": "12",
                        }
                    },
                )
            ],
        },
    ),
    "limits": Story(
        place=WITH_KEY,
        path="rackspace/compute/limits.yaml",
        about="Cores are unlimited; the memory binds.",
        source=f"{_SERVERS_DOC}/general-api-info/limits.rst; assembled",
        tell=limits,
        answers={("GET", f"{compute()}/limits"): [(200, {}, {"limits": LIMITS})]},
    ),
    "rackconnect": Story(
        place=WITH_KEY,
        path="rackspace/compute/rackconnect.yaml",
        about="A server is ACTIVE while RackConnect works on it, and has another address after.",
        source="rackerlabs/rackspace-how-to, RackConnect v2.0 automation status; openstack/heat "
        "contrib/rackspace cloud_server.py",
        tell=watch,
        answers={
            ("GET", f"{compute()}/servers/{CONNECTED}"): [
                _connected("DEPLOYING", "", "In Progress"),
                _connected("DEPLOYED", "198.51.100.43", "Complete"),
            ],
        },
    ),
    "deleted_row": Story(
        place=WITH_KEY,
        path="rackspace/compute/deleted_row.yaml",
        about="A deleted server stays in lists for some time, with its metadata.",
        source="openstack-infra/nodepool 5ebc2fa; nodepool/driver/openstack/adapter.py",
        tell=changes,
        answers={
            ("GET", f"{compute()}/servers/detail?changes-since=2026-11-22T13%3A30%3A00Z"): [
                (
                    200,
                    {},
                    {
                        "servers": [
                            {
                                "id": DELETED,
                                "name": "trellis-0000000041",
                                "status": "DELETED",
                                "addresses": {},
                                "metadata": {
                                    "trellis_deployment": "d",
                                    "trellis_node_id": "0000000041",
                                },
                            }
                        ]
                    },
                )
            ],
        },
    ),
    "project_choice": Story(
        place=ON_FLEX,
        path="rackspaceflex/identity/project_choice.yaml",
        about="A login without a project lists those of the user, and takes that of Flex.",
        source="rackerlabs/genestack docs; keystone's API reference; assembled",
        tell=home,
    ),
}


if __name__ == "__main__":
    trio.run(write, STORIES.values())
