"""Bodies that nobody should send: refused with 400, never a crash and never carried out."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from cloud_session import cloud_of, password_login

from trellis.sim.cloud import IdentityVersions, Request, SimCloud, floating_networks

STRANGE = (None, True, 7, -1.5, "x", [], ["x"], [[]], {}, {"x": {}}, {"id": []})
"""What is put in the place of every part of a good body in turn."""


def clouds() -> SimCloud:
    spec = cloud_of(networks=floating_networks(), identity=IdentityVersions.BOTH).spec
    return SimCloud(spec, clock=lambda: 0.0)


def asked(cloud: SimCloud, method: str, path: str, body: Any = None, token: str = "") -> Any:
    headers = {"x-auth-token": token, "openstack-api-version": "compute 2.67"}
    return cloud.handle(Request(method, path, "", headers, json.dumps(body).encode()))


def with_strange_parts(body: Any) -> Iterator[tuple[str, Any]]:
    """The body with each of its parts replaced by each strange thing, and the part's place."""

    def places(part: Any, way: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        yield way
        keys = (
            part if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ()
        )
        for key in keys:
            yield from places(part[key], (*way, key))

    for way in places(body, ()):
        for strange in STRANGE:
            changed = copy.deepcopy(body)
            if not way:
                yield "(all)", strange
                continue
            inner = changed
            for key in way[:-1]:
                inner = inner[key]
            inner[way[-1]] = strange
            yield ".".join(map(str, way)), changed


def prepared(cloud: SimCloud) -> tuple[str, dict[str, str]]:
    """A token, and the ids of one thing of every kind."""
    login = asked(cloud, "POST", "/identity/v3/auth/tokens", password_login(cloud.spec))
    token = login.headers["X-Subject-Token"]

    def rows(path: str, key: str) -> list[dict[str, Any]]:
        return json.loads(asked(cloud, "GET", f"/RegionOne{path}", token=token).body)[key]

    nets = {row["name"]: row["id"] for row in rows("/network/v2.0/networks", "networks")}
    ids = {
        "flavor": rows("/compute/v2.1/flavors", "flavors")[0]["id"],
        "image": rows("/image/v2/images", "images")[0]["id"],
        "net": nets["ci-net"],
        "public": nets["public"],
    }
    body = {
        "name": "n", "flavorRef": ids["flavor"], "imageRef": ids["image"],
        "networks": [{"uuid": ids["net"]}],
    }  # fmt: skip
    made = asked(cloud, "POST", "/RegionOne/compute/v2.1/servers", {"server": body}, token)
    ids["server"] = json.loads(made.body)["server"]["id"]
    port = asked(
        cloud, "POST", "/RegionOne/network/v2.0/ports", {"port": {"network_id": ids["net"]}}, token
    )
    ids["port"] = json.loads(port.body)["port"]["id"]
    floating = {"floatingip": {"floating_network_id": ids["public"]}}
    ip = asked(cloud, "POST", "/RegionOne/network/v2.0/floatingips", floating, token)
    ids["ip"] = json.loads(ip.body)["floatingip"]["id"]
    return token, ids


SERVER = {
    "server": {
        "name": "n",
        "flavorRef": "{flavor}",
        "imageRef": "{image}",
        "networks": [{"uuid": "{net}"}],
        "metadata": {"a": "b"},
        "security_groups": [{"name": "default"}],
        "availability_zone": "nova",
        "key_name": None,
        "user_data": "aGk=",
        "config_drive": True,
        "description": "d",
    }
}
VOLUME = {
    "source_type": "image",
    "destination_type": "volume",
    "uuid": "{image}",
    "boot_index": 0,
    "volume_size": 10,
    "delete_on_termination": True,
}
FROM_VOLUME = {
    "server": {
        "name": "n",
        "flavorRef": "{flavor}",
        "imageRef": "",
        "networks": [{"uuid": "{net}"}],
        "block_device_mapping_v2": [VOLUME],
    }
}  # fmt: skip
V2 = {"auth": {"passwordCredentials": {"username": "ci", "password": "x"}, "tenantName": "ci"}}
V2_TOKEN = {"auth": {"token": {"id": "x"}, "tenantId": "ci"}}
APPLICATION = {
    "auth": {
        "identity": {
            "methods": ["application_credential"],
            "application_credential": {"id": "x", "secret": "y", "name": "z", "user": {"id": "u"}},
        }
    }
}
CASES: list[tuple[str, str, Any]] = [
    ("POST", "/identity/v3/auth/tokens", password_login(clouds().spec)),
    ("POST", "/identity/v3/auth/tokens", APPLICATION),
    ("POST", "/identity/v2.0/tokens", V2),
    ("POST", "/identity/v2.0/tokens", V2_TOKEN),
    ("POST", "/RegionOne/compute/v2.1/servers", SERVER),
    ("POST", "/RegionOne/compute/v2.1/servers", FROM_VOLUME),
    ("PUT", "/RegionOne/compute/v2.1/servers/{server}", {"server": {"name": "m"}}),
    ("POST", "/RegionOne/compute/v2.1/servers/{server}/metadata", {"metadata": {"a": "b"}}),
    ("PUT", "/RegionOne/compute/v2.1/servers/{server}/metadata", {"metadata": {"a": "b"}}),
    ("POST", "/RegionOne/compute/v2.1/servers/{server}/action", {"reboot": {"type": "HARD"}}),
    (
        "POST",
        "/RegionOne/compute/v2.1/os-keypairs",
        {"keypair": {"name": "k", "public_key": "ssh-ed25519 AAAA"}},
    ),
    (
        "POST",
        "/RegionOne/network/v2.0/ports",
        {"port": {"network_id": "{net}", "name": "p", "description": "d", "device_id": "x",
                  "device_owner": "y"}},
    ),
    (
        "POST",
        "/RegionOne/network/v2.0/floatingips",
        {"floatingip": {"floating_network_id": "{public}", "port_id": "{port}",
                        "fixed_ip_address": None, "description": "d"}},
    ),
    (
        "PUT",
        "/RegionOne/network/v2.0/floatingips/{ip}",
        {"floatingip": {"port_id": "{port}", "description": "d"}},
    ),
]  # fmt: skip


def filled(body: Any, ids: dict[str, str]) -> Any:
    text = json.dumps(body)
    for name, id in ids.items():
        text = text.replace(f"{{{name}}}", id)
    return json.loads(text)


@pytest.mark.parametrize(("method", "path", "body"), CASES, ids=[f"{m} {p}" for m, p, _ in CASES])
def test_the_bodies_themselves_are_good(method: str, path: str, body: Any) -> None:
    """Each is understood as it stands: what is strange below is one part of it only."""
    cloud = clouds()
    token, ids = prepared(cloud)

    answer = asked(cloud, method, path.format(**ids), filled(body, ids), token)

    assert answer.status not in (400, 405), answer.body


@pytest.mark.parametrize(("method", "path", "body"), CASES, ids=[f"{m} {p}" for m, p, _ in CASES])
def test_strange_parts_of_a_body_never_crash_the_cloud(method: str, path: str, body: Any) -> None:
    """Every part of a good body, replaced by whatever there is: an answer, and none of 5xx."""
    cloud = clouds()
    token, ids = prepared(cloud)
    where = path.format(**ids)
    crashes = []
    for place, strange in with_strange_parts(filled(body, ids)):
        try:
            answer = asked(cloud, method, where, strange, token)
            # What was accepted is looked at, in every list that shows it.
            asked(cloud, "GET", "/RegionOne/compute/v2.1/servers/detail", token=token)
            asked(cloud, "GET", "/RegionOne/network/v2.0/ports", token=token)
            asked(cloud, "GET", "/RegionOne/network/v2.0/floatingips", token=token)
        except Exception as crash:  # noqa: BLE001
            crashes.append(f"{place}: {strange!r}: {crash!r}")
            continue
        if answer.status >= 500:
            crashes.append(f"{place}: {strange!r}: {answer.status}")

    assert crashes == []
