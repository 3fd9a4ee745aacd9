"""The cassettes of OVH and Vexxhost that are written from documents, as no account is at hand.

    .venv/bin/python -m tests.plugins.direct_documented

The answers are those that the project's survey of clouds quotes, with made-up ids and names. With
an account, `trellis plugin record` makes cassettes of the real thing.
"""

from typing import Any

import trio
from trellis_ovh.profiles import OVH
from trellis_vexxhost.profile import PROFILE as VEXXHOST

from tests.plugins.documented import Answer, Place, Scene, Story, refusal, write
from trellis.openstack.clouds import CloudConfig
from trellis.openstack.compute import ServerRequest
from trellis.openstack.profile import CloudProfile

AGAIN = ".venv/bin/python -m tests.plugins.direct_documented"
PROJECT = "00000000000000000000000000000abc"
SHOWN = "00000000-0000-4000-8000-0000000000b4"
FAILED = "00000000-0000-4000-8000-0000000000b7"
MADE = "00000000-0000-4000-8000-0000000000b8"
IMAGE = "00000000-0000-4000-8000-0000000000a2"


def _tokens(profile: CloudProfile) -> str:
    """Where logins go."""
    return f"{profile.entry['auth']['auth_url']}/auth/tokens"


def _logged_in(user: str, catalog: list[dict[str, Any]]) -> Answer:
    """The answer to a login."""
    domain = {"id": "default", "name": "Default"}
    token = {
        "methods": ["password"],
        "issued_at": "2026-11-22T13:40:00.000000Z",
        "expires_at": "2026-11-23T13:40:00.000000Z",
        "user": {
            "id": "000000000000000000000000000000aa",
            "name": user,
            "domain": domain,
            "password_expires_at": None,
        },
        "project": {"id": PROJECT, "name": "1234567890123456", "domain": domain},
        "roles": [{"id": "9fe2ff9ee4384b1894a90878d3e92bab", "name": "_member_"}],
        "catalog": catalog,
    }
    header = {"X-Subject-Token": "gAAAAAfaketoken-0001", "Vary": "X-Auth-Token"}
    return 201, header, {"token": token}


def _place(
    profile: CloudProfile, region: str, auth: dict[str, str], catalog: list[dict[str, Any]]
) -> Place:
    """A cloud in one region."""
    entry = profile.entry
    return Place(
        profile=profile,
        config=CloudConfig(
            name=profile.name,
            region_name=region,
            auth_type=entry["auth_type"],
            auth={**entry["auth"], **auth, "password": "scrubbed"},
        ),
        login={("POST", _tokens(profile)): [_logged_in(auth["username"], catalog)]},
        again=AGAIN,
    )


def _service(kind: str, name: str, **urls: str) -> dict[str, Any]:
    rows = [
        {"id": f"{name}-{region}", "interface": "public", "region": region, "region_id": region}
        | {"url": url}
        for region, url in urls.items()
    ]
    return {"id": name, "type": kind, "name": name, "endpoints": rows}


def _ovh(host: str, region: str, path: str) -> str:
    return f"https://{host}.{region.lower()}.cloud.ovh.net/{path}"


OVH_COMPUTE = _ovh("compute", "GRA1", f"v2.1/{PROJECT}")
VEXXHOST_COMPUTE = "https://compute-sjc1.cloud.example/v2.1"
AT_OVH = _place(
    OVH,
    "GRA1",
    auth={"username": "user-fake00000001", "project_id": PROJECT},
    catalog=[
        _service(
            "compute", "nova", GRA1=OVH_COMPUTE, BHS1=_ovh("compute", "BHS1", f"v2.1/{PROJECT}")
        ),
        _service("image", "glance", **{n: _ovh("image.compute", n, "") for n in ("GRA1", "BHS1")}),
        _service(
            "network", "neutron", **{n: _ovh("network.compute", n, "") for n in ("GRA1", "BHS1")}
        ),
        _service("volumev3", "cinderv3", GRA1=_ovh("volume.compute", "GRA1", f"v3/{PROJECT}")),
    ],
)
AT_VEXXHOST = _place(
    VEXXHOST,
    "sjc1",
    auth={
        "username": "ci-fake",
        "user_domain_name": "Default",
        "project_name": "ci-fake",
        "project_domain_name": "Default",
    },
    catalog=[_service("compute", "nova", sjc1=VEXXHOST_COMPUTE)],
)


async def login(on: Scene) -> Any:
    """Where all is, and what lacks in another region."""
    services = ("image", "network", "block-storage")
    return await on.session.home(), [await on.session.endpoint(name) for name in services]


async def login_refused(on: Scene) -> Any:
    """Two who wait for one login."""
    first = await refusal(on.session.home())
    return first, await refusal(on.session.home())


async def list_servers(on: Scene) -> Any:
    """A list, and when it came."""
    began = trio.current_time()
    return await on.provider.compute.servers(), trio.current_time() - began


async def show_server(on: Scene) -> Any:
    """A server as nova shows it."""
    return await on.provider.compute.server(SHOWN)


async def show_failed(on: Scene) -> Any:
    """A server in ERROR, and how its fault is read."""
    row = await on.provider.compute.server(FAILED)
    return row, on.provider.fault(row)


async def create(on: Scene) -> Any:
    """A create that gets no good answer."""
    request = ServerRequest(name="np0000000050", flavor_id="b2-7", image_id=IMAGE)
    return await refusal(on.provider.compute.create_server(request))


async def create_from_volume(on: Scene) -> Any:
    """A server with a volume to boot from."""
    request = ServerRequest(
        name="np0000000053", flavor_id="v2-highcpu-8-id", image_id=IMAGE, volume_gib=80
    )
    return await on.provider.compute.create_server(request)


_TOO_MANY: Answer = (
    429,
    {},
    {"error": {"status": "429 Too Many Requests", "message": "Too Many Requests"}},
)
_LIMITS = "OVH's public page on API rate limits"
_AT = {"OS-EXT-IPS:type": "fixed", "OS-EXT-IPS-MAC:mac_addr": "fa:16:3e:00:00:50"}
_SERVER = {
    "id": SHOWN,
    "name": "trellis-0000000050",
    "status": "ACTIVE",
    "accessIPv4": "",
    "accessIPv6": "",
    "OS-EXT-AZ:availability_zone": "nova",
    "OS-EXT-STS:task_state": None,
    "OS-EXT-STS:vm_state": "active",
    "config_drive": "True",
    "addresses": {
        "Ext-Net": [
            {"version": 4, "addr": "198.51.100.50", **_AT},
            {"version": 6, "addr": "2001:db8:302:2200::50", **_AT},
        ]
    },
    "metadata": {"trellis_node": "0000000050"},
}
_TIMED_OUT = "Unexpected API Error. Timed out waiting for a reply to message ID 0000"
_NO_VOLUME = (
    "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes quota."
)
_FAULT = {"code": 500, "created": "2026-11-22T13:40:33Z", "message": _NO_VOLUME}
_FAILED = {"id": FAILED, "status": "ERROR", "addresses": {}, "fault": _FAULT}

STORIES = {
    "login": Story(
        place=AT_OVH,
        path="ovh/identity/password_login.yaml",
        about="One login for all regions; one of two has no block storage.",
        source="openstack/keystone API reference; URLs after OVH's public guides; assembled",
        tell=login,
    ),
    "login_over_the_rate": Story(
        place=AT_OVH,
        path="ovh/identity/too_many_logins.yaml",
        about="A login too many is refused with 429, and with no word of how long to wait.",
        source=_LIMITS,
        tell=login_refused,
        answers={("POST", _tokens(OVH)): [_TOO_MANY]},
    ),
    "list_over_the_rate": Story(
        place=AT_OVH,
        path="ovh/compute/rate_429.yaml",
        about="A list too many is refused with 429, whose status is a text; the next is not.",
        source=f"{_LIMITS}; the list is assembled",
        tell=list_servers,
        answers={
            ("GET", f"{OVH_COMPUTE}/servers/detail"): [
                _TOO_MANY,
                (200, {}, {"servers": []}),
            ]
        },
    ),
    "server": Story(
        place=AT_OVH,
        path="ovh/compute/server_on_ext_net.yaml",
        about="A server on Ext-Net has an IPv6 address that its guest does not know.",
        source="openstack/nova doc/api_samples; openstack-infra/nodepool 0d11cd2; assembled",
        tell=show_server,
        answers={("GET", f"{OVH_COMPUTE}/servers/{SHOWN}"): [(200, {}, {"server": _SERVER})]},
    ),
    "create_timed_out": Story(
        place=AT_OVH,
        path="ovh/compute/create_timed_out.yaml",
        about="A create ends in a 500 that speaks of a reply that timed out.",
        source="openstack/project-config, history of nodepool/, 2017-08; reported",
        tell=create,
        answers={
            ("POST", f"{OVH_COMPUTE}/servers"): [
                (500, {}, {"computeFault": {"code": 500, "message": _TIMED_OUT}})
            ]
        },
    ),
    "boot_from_volume": Story(
        place=AT_VEXXHOST,
        path="vexxhost/compute/boot_from_volume.yaml",
        about="A server is made with a volume to boot from, which goes with it.",
        source="openstack/nova API reference, block_device_mapping_v2; the login is assembled",
        tell=create_from_volume,
        answers={
            ("POST", f"{VEXXHOST_COMPUTE}/servers"): [
                (202, {}, {"server": {"id": MADE, "links": [], "adminPass": "scrubbed"}})
            ]
        },
    ),
    "volume_over_quota": Story(
        place=AT_VEXXHOST,
        path="vexxhost/compute/volume_over_quota.yaml",
        about="A server ends in ERROR, as there is no quota for its volume.",
        source="openstack/nova code; openstack/project-config 2018-04; assembled",
        tell=show_failed,
        answers={("GET", f"{VEXXHOST_COMPUTE}/servers/{FAILED}"): [(200, {}, {"server": _FAILED})]},
    ),
}


if __name__ == "__main__":
    trio.run(write, STORIES.values())
