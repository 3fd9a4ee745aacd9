"""The cassettes of HP's cloud, written from documents, as it is gone.

    .venv/bin/python -m tests.plugins.hpcloud_documented

The answers are those that the project's survey of clouds quotes, with made-up ids and names.
"""

from typing import Any

import trio
from trellis_hpcloud.profile import PROFILE

from tests.plugins.documented import Answer, Answers, Place, Scene, Story, refusal, write
from trellis.openstack.clouds import CloudConfig
from trellis.openstack.compute import ServerRequest

REGION = "region-b.geo-1"
HOST = f"https://{REGION}"
TENANT = "20000000000001"
COMPUTE = f"{HOST}.compute.hpcloudsvc.com/v2/{TENANT}"
NETWORK = f"{HOST}.network.hpcloudsvc.com/v2.0"
SERVER = "00000000-0000-4000-8000-0000000000b5"
FLOATING = "00000000-0000-4000-8000-0000000000d1"
PORT = "00000000-0000-4000-8000-0000000000c1"
EXT_NET = "00000000-0000-4000-8000-00000000ec01"


def _token(name: str, **more: Any) -> dict[str, Any]:
    return {"id": f"HPAuth_fake_{name}", "expires": "2015-11-02T07:35:42.000Z", **more}


def _at(url: str, version: str, region: str = REGION) -> dict[str, str]:
    return {
        "region": region, "tenantId": TENANT, "publicURL": url, "publicURL2": "",
        "versionId": version,
    }  # fmt: skip


def _service(name: str, kind: str, *endpoints: dict[str, str]) -> dict[str, Any]:
    return {"name": name, "type": kind, "endpoints": list(endpoints)}


CATALOG = [
    _service(
        "Compute",
        "compute",
        _at(COMPUTE.replace("region-b", "region-a"), "2", "region-a.geo-1"),
        _at(COMPUTE, "2"),
    ),
    _service("Image Management", "image", _at(f"{HOST}.images.hpcloudsvc.com:443/v1.0", "1.0")),
    _service("Networking", "network", _at(f"{HOST}.network.hpcloudsvc.com", "2.0")),
    _service("Block Storage", "volume", _at(f"{HOST}.block.hpcloudsvc.com/v1/{TENANT}", "1")),
    _service(
        "DNS",
        "hpext:dns",
        {
            "tenantId": TENANT, "publicURL": f"{HOST}.dns.hpcloudsvc.com/v1/",
            "publicURL2": "", "versionId": "1",
        },
    ),
]  # fmt: skip
USER = {"id": "10000000000001", "name": "trellis-ci"}
IDENTITY = f"{HOST}.identity.hpcloudsvc.com:35357/v2.0"
LOGIN: Answers = {
    ("POST", f"{IDENTITY}/tokens"): [
        (
            200,
            {},
            {
                "access": {
                    "token": _token("unscoped"),
                    "serviceCatalog": {},
                    "user": {**USER, "roles": []},
                }
            },
        ),
        (
            200,
            {},
            {
                "access": {
                    "token": _token("scoped", tenant={"id": TENANT, "name": "fake-project"}),
                    "serviceCatalog": CATALOG,
                    "user": {**USER, "roles": [{"id": "00000000004003", "name": "domainadmin"}]},
                }
            },
        ),
    ],
    ("GET", f"{IDENTITY}/tenants"): [
        (
            200,
            {},
            {
                "tenants": [
                    {"id": TENANT, "name": "fake-project", "enabled": True, "status": "enabled"}
                ]
            },
        )
    ],
}
HP = Place(
    profile=PROFILE,
    config=CloudConfig(
        name="hp",
        region_name=REGION,
        auth_type="hpcloud_accesskey",
        auth={
            "auth_url": f"{IDENTITY}/",
            "access_key": "FAKEACCESSKEY0000000",
            "secret_key": "scrubbed",
        },
    ),
    login=LOGIN,
    again=".venv/bin/python -m tests.plugins.hpcloud_documented",
    cloud="HP Helion Public Cloud 13.5, closed on 2016-01-31",
)


async def login(on: Scene) -> Any:
    """Where compute, images and network are."""
    services = ("compute", "image", "network", "volume")
    return await on.session.home(), [await on.session.endpoint(name) for name in services]


async def server(on: Scene) -> Any:
    """A server with a floating IP, as nova shows it."""
    return await on.provider.compute.server(SERVER)


async def refused(on: Scene) -> Any:
    """A create that is refused."""
    request = ServerRequest(name="np0000000051", flavor_id="100", image_id="i", config_drive=True)
    return await refusal(on.provider.compute.create_server(request))


async def images(on: Scene) -> Any:
    """All images, page by page."""
    return await on.provider.image.images()


async def floating_ip(on: Scene) -> Any:
    """One is made on a port, found by it, and given back."""
    network = on.provider.network
    made = await network.create_floating_ip(
        network_id=EXT_NET, port_id=PORT, fixed_address="10.0.0.53", description=None
    )
    found = await network.floating_ips(port_id=PORT)
    await network.delete_floating_ip(made.id)
    return made, found


def _image(id: int, name: str) -> dict[str, Any]:
    return {
        "id": f"00000000-0000-4000-8000-0000000000{id:02x}", "name": name, "status": "ACTIVE",
        "created": "2014-05-01T00:00:00Z", "minRam": 0, "minDisk": 8,
        "metadata": {"com.hp__1__os_distro": "com.ubuntu"},
    }  # fmt: skip


def _over(message: str, seconds: str) -> Answer:
    fault = {"code": 413, "message": message, "retryAfter": seconds}
    return 413, {"Retry-After": seconds}, {"overLimit": fault}


FIRST_PAGE = [_image(number, f"Ubuntu Server 12.04.{number} LTS") for number in range(25)]
A_FLOATING_IP = {
    "id": FLOATING, "floating_network_id": EXT_NET, "floating_ip_address": "203.0.113.53",
    "fixed_ip_address": "10.0.0.53", "port_id": PORT, "status": "DOWN", "tenant_id": TENANT,
    "router_id": "00000000-0000-4000-8000-0000000000e1",
}  # fmt: skip
_IDENTITY_DOC = "hphelion/documentation, identity.api.md, 2014"
_NOVA = "openstack/nova at Icehouse, before af44b50b6b and 007ed9b6c8"

STORIES = {
    "access_key_login": Story(
        place=HP,
        path="hpcloud/identity/access_key_login.yaml",
        about="A login with an access key, which names no tenant, takes two steps.",
        source=f"{_IDENTITY_DOC}; test fixtures of pkgcloud for the unscoped answer",
        tell=login,
    ),
    "server_with_floating_ip": Story(
        place=HP,
        path="hpcloud/compute/server_with_floating_ip.yaml",
        about="Nova shows a floating address under the private network's name, unmarked.",
        source="openstack/nova doc/api_samples, v2; nodepool's provider_manager.py of 2014",
        tell=server,
        answers={
            ("GET", f"{COMPUTE}/servers/{SERVER}"): [
                (
                    200,
                    {},
                    {
                        "server": {
                            "id": SERVER,
                            "name": "trellis-0000000051",
                            "status": "ACTIVE",
                            "accessIPv4": "",
                            "accessIPv6": "",
                            "OS-EXT-AZ:availability_zone": "az2",
                            "addresses": {
                                "private": [
                                    {"version": 4, "addr": "10.0.0.51"},
                                    {"version": 4, "addr": "198.51.100.51"},
                                ]
                            },
                            "metadata": {},
                        }
                    },
                )
            ]
        },
    ),
    "over_quota": Story(
        place=HP,
        path="hpcloud/compute/quota_413.yaml",
        about="A create over quota is refused with 413, as one over the rate is.",
        source=_NOVA,
        tell=refused,
        answers={
            ("POST", f"{COMPUTE}/servers"): [
                _over(
                    "Quota exceeded for instances: Requested 1, but already used 100 of 100 "
                    "instances",
                    "0",
                )
            ]
        },
    ),
    "over_rate": Story(
        place=HP,
        path="hpcloud/compute/rate_413.yaml",
        about="A create over the rate is refused with 413, and with how long to wait.",
        source="openstack/nova nova/api/openstack/wsgi.py before Newton",
        tell=refused,
        answers={("POST", f"{COMPUTE}/servers"): [_over("This request was rate-limited.", "12")]},
    ),
    "images": Story(
        place=HP,
        path="hpcloud/compute/images_by_nova.yaml",
        about="Images come 25 at once, and the link to more leads to http.",
        source="openstack/nova doc/api_samples, v2; nodepool caf01c4; assembled",
        tell=images,
        answers={
            ("GET", f"{COMPUTE}/images/detail"): [
                (
                    200,
                    {},
                    {
                        "images": FIRST_PAGE,
                        "images_links": [
                            {
                                "rel": "next",
                                "href": f"http://{REGION}.compute.hpcloudsvc.com/v2/{TENANT}"
                                f"/images/detail?marker={FIRST_PAGE[-1]['id']}",
                            }
                        ],
                    },
                )
            ],
            ("GET", f"{COMPUTE}/images/detail?marker={FIRST_PAGE[-1]['id']}"): [
                (200, {}, {"images": [_image(25, "CentOS 6.5 Server")]})
            ],
        },
    ),
    "floating_ip": Story(
        place=HP,
        path="hpcloud/network/floating_ip_without_description.yaml",
        about="A floating IP is made on a port by one call, without a description.",
        source="openstack/neutron-lib api-ref samples of floatingips, less what came after 2015",
        tell=floating_ip,
        answers={
            ("POST", f"{NETWORK}/floatingips"): [(201, {}, {"floatingip": A_FLOATING_IP})],
            ("GET", f"{NETWORK}/floatingips?port_id={PORT}"): [
                (200, {}, {"floatingips": [{**A_FLOATING_IP, "status": "ACTIVE"}]})
            ],
            ("DELETE", f"{NETWORK}/floatingips/{FLOATING}"): [(204, {}, None)],
        },
    ),
}


if __name__ == "__main__":
    trio.run(write, STORIES.values())
