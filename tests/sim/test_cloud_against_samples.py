"""The simulated cloud's answers beside those of a real OpenStack 2026.2.

Each case sends the recorded request, with ids put in the place of the recorded ones, to a
simulated cloud in the same situation, and holds the answer against the recorded one: the same
status, the same fields of the same types, and for an error the same words.
"""

import json
import pathlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import yaml
from cloud_session import Session, cloud_of, password_login, served_session_of, session_of

from trellis.sim.cloud import FlavorSpec, ImageSpec, NetworkSpec, Quota
from trellis.sim.cloud.spec import Faults

SAMPLES = pathlib.Path(__file__).parents[1] / "realcloud" / "real-api-samples.yaml"
FLAVORS = (
    FlavorSpec(name="ci-1c-1g", cores=1, ram_mib=1024),
    FlavorSpec(name="ci-2c-4g", cores=2, ram_mib=4096),
    FlavorSpec(name="ci-8c-8g", cores=8, ram_mib=8192),
    FlavorSpec(name="too-big", cores=1, ram_mib=1, placeable=False),
)
NETWORKS = (
    NetworkSpec(name="ci-net"),
    NetworkSpec(name="public", external=True, attachable=False),
)
TINY_NETWORKS = (
    NetworkSpec(name="ci-net", cidr="10.43.0.0/30"),
    NetworkSpec(name="public", external=True, attachable=False, cidr="203.0.113.0/30"),
)
IMAGES = (ImageSpec(name="tiny"), ImageSpec(name="queued", status="queued"))

SERVER = "f49e6cff-ea70-41fd-8426-b25291f558ea"
PORT = "1688fb7d-bb6d-4749-8e52-a9606e503a6e"
FLOATING_IPS = (
    "07515aac-8741-4248-b4bc-2b3d8fa28f9e",
    "a6bbf831-16a5-423c-aa58-84b2be206ea0",
)
SCRUBBED_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBX sample"

# What a real answer has and nobody reads; all else is compared.
NOT_SHOWN = {
    "owner_specified.openstack.md5",
    "owner_specified.openstack.sha256",
    "owner_specified.openstack.object",
    "router_route",
}
MAY_BE_EMPTY = ("dns_nameservers", "external_fixed_ips", "security_group_rules", "values[]")
SCRUBBED = "<scrubbed>"


def _samples() -> dict[str, dict[str, Any]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return {s["case"]: s for s in yaml.load(SAMPLES.read_text(), loader)["samples"]}


RECORDED = _samples()


class Stage:
    """A session and what the recorded ids stand for in it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        tiny, queued = session.images["tiny"], session.images["queued"]
        flavors, networks = session.flavors, session.networks
        self.ids = {
            "938631f77ff54dd99f40084351fbb897": session.cloud.project_id,
            "5fb4920194994fc9b62c6b7091c40260": session.cloud.user_id,
            "984f483b-de24-4772-b72f-a35aa14eba68": flavors["ci-1c-1g"],
            "3751d499-6246-4000-b187-ce855ade7ade": flavors["ci-2c-4g"],
            "60f75dc7-66d0-404b-9266-216140cd3fd1": flavors["ci-8c-8g"],
            "b71aac86-3c10-4d23-8650-f441a2900e34": flavors["too-big"],
            "dd6ea60f-a237-4f72-bea4-311342f34926": tiny,
            "bd1bb1ee-18d0-40d3-99e1-4f43b30d7ee7": tiny,
            "6ff41fb4-50f6-40fc-95ad-58ba1520bf33": queued,
            "123fcbba-ada6-4511-866d-46545dd83b67": networks["ci-net"],
            "93b1aa6c-4b8c-40ed-b035-ef3b84d530c0": networks["ci-net"],
            "3a84b277-f57c-49cd-90fa-c5c90343a0fc": networks["public"],
            "b87d6184-5ce4-4c0d-9a1d-11fcff79142e": networks["public"],
            "9eded6a033fb43419bdc38a8b92130a5": "9eded6a033fb43419bdc38a8b92130a5",
        }

    def translated(self, value: Any) -> Any:
        """The recorded value with our ids."""
        text = json.dumps(value)
        for recorded, ours in self.ids.items():
            text = text.replace(recorded, ours)
        return json.loads(text)

    async def server(self, recorded: str = SERVER, *, wait: float = 11.0, **changes: Any) -> str:
        await keypair(self)
        metadata = {"k": "v", "more": "meta"}
        changes = {"metadata": metadata, "key_name": "sample", "config_drive": True, **changes}
        server_id = await self.session.create("sample", **changes)
        self.ids[recorded] = server_id
        await trio.sleep(wait)
        return server_id

    async def floating_ip(self, recorded: str, **fields: Any) -> str:
        answer = await self.session.floating_ip(**fields)
        self.ids[recorded] = answer.json()["floatingip"]["id"]
        return self.ids[recorded]


Scene = Callable[[Stage], Awaitable[None]]


async def nothing(_: Stage) -> None:
    """An empty project."""


async def keypair(stage: Stage) -> None:
    body = {"keypair": {"name": "sample", "public_key": SCRUBBED_KEY}}
    await stage.session.call("POST", "compute", "/os-keypairs", json=body)


async def building(stage: Stage) -> None:
    await stage.server(wait=0.1)


async def spawning(stage: Stage) -> None:
    await stage.server(wait=2.0)


async def active(stage: Stage) -> None:
    server_id = await stage.server()
    stage.ids[PORT] = await stage.session.port_of(server_id)


async def two_active(stage: Stage) -> None:
    await stage.session.create("other")
    await active(stage)


async def loose_floating_ip(stage: Stage) -> None:
    await active(stage)
    await stage.floating_ip(FLOATING_IPS[0])


async def floating_ip_on_server(stage: Stage) -> None:
    await active(stage)
    await stage.floating_ip(FLOATING_IPS[0], port_id=stage.ids[PORT])


async def floating_ip_left(stage: Stage) -> None:
    await active(stage)
    await stage.floating_ip(FLOATING_IPS[1], port_id=stage.ids[PORT])
    await stage.session.call("DELETE", "compute", f"/servers/{stage.ids[SERVER]}")
    await trio.sleep(3)


async def floating_ip_gone(stage: Stage) -> None:
    await loose_floating_ip(stage)
    path = f"/floatingips/{stage.ids[FLOATING_IPS[0]]}"
    await stage.session.call("DELETE", "network", path)


def deleting(recorded: str = SERVER, key_name: str | None = "sample") -> Scene:
    async def scene(stage: Stage) -> None:
        server_id = await stage.server(recorded, key_name=key_name)
        await stage.session.call("DELETE", "compute", f"/servers/{server_id}")

    return scene


async def gone(stage: Stage) -> None:
    await deleting()(stage)
    await trio.sleep(3)


async def one_small_server(stage: Stage) -> None:
    await stage.session.create("first", flavorRef=stage.session.flavors["ci-1c-1g"])


async def one_floating_ip(stage: Stage) -> None:
    await stage.session.floating_ip()


def ended_in_error(recorded: str, **changes: Any) -> Scene:
    async def scene(stage: Stage) -> None:
        flavor = changes.get("flavor", "ci-1c-1g")
        await stage.server(recorded, flavorRef=stage.session.flavors[flavor], key_name=None)

    return scene


async def active_on_bad_host(stage: Stage) -> None:
    await stage.server("24894d22-df19-43d0-b103-c246bcc2447d", key_name=None)


async def delete_failed(stage: Stage) -> None:
    await active_on_bad_host(stage)
    path = "/servers/" + stage.ids["24894d22-df19-43d0-b103-c246bcc2447d"]
    await stage.session.call("DELETE", "compute", path)
    await trio.sleep(3)


NO_HOST = "507159de-a3af-41a6-a482-252148350ff4"
UNDER_DELETION = "61274330-bfc9-4477-8c56-86e4bc9a32c9"

ONE_INSTANCE = {"quota": Quota(instances=1)}
SMALL = {"quota": Quota(cores=4, ram_mib=5000)}
NO_DELETE = {"faults": Faults(delete_error=1.0)}
NO_PORTS = {"quota": Quota(ports=0)}

# (case, scene, what is special about the cloud)
CASES: list[tuple[str, Scene, dict[str, Any]]] = [
    ("token by password, scoped to a project (with catalog)", nothing, {}),
    ("token by application credential", nothing, {}),
    ("wrong password", nothing, {}),
    ("unknown application credential", nothing, {}),
    ("check own token", nothing, {}),
    ("version discovery: identity", nothing, {}),
    ("version discovery: compute", nothing, {}),
    ("version discovery: compute v2.1", nothing, {}),
    ("version discovery: image", nothing, {}),
    ("version discovery: network", nothing, {}),
    ("invalid token: identity", nothing, {}),
    ("no token: identity", nothing, {}),
    ("invalid token: compute", nothing, {}),
    ("no token: compute", nothing, {}),
    ("invalid token: image", nothing, {}),
    ("no token: image", nothing, {}),
    ("invalid token: network", nothing, {}),
    ("no token: network", nothing, {}),
    ("revoke a token", nothing, {}),
    ("revoked token: compute", nothing, {}),
    ("flavors detail", nothing, {}),
    ("images by name", nothing, {}),
    ("image show", nothing, {}),
    ("networks", nothing, {}),
    ("subnets", nothing, {}),
    ("routers", nothing, {}),
    ("security groups", nothing, {}),
    ("availability zones: compute", nothing, {}),
    ("limits", nothing, {}),
    ("compute quota detail", nothing, {}),
    ("network quota details", nothing, {}),
    ("admin call by a member: list services", nothing, {}),
    ("admin call by a member: create flavor", nothing, {}),
    ("admin call by a member: public image", nothing, {}),
    ("create keypair", nothing, {}),
    ("create keypair again", keypair, {}),
    ("list keypairs", keypair, {}),
    ("keypair not found", nothing, {}),
    ("bad public key", nothing, {}),
    ("delete keypair", keypair, {}),
    ("create server", keypair, {}),
    ("server just after create", building, {}),
    ("server while building", spawning, {}),
    ("server ACTIVE", active, {}),
    ("server ACTIVE, microversion 2.96", active, {}),
    ("servers detail", two_active, {}),
    ("servers detail, limit 1", two_active, {}),
    ("servers detail, empty", active, {}),
    ("servers by status", two_active, {}),
    ("servers, marker not found", nothing, {}),
    ("servers, changes-since", active, {}),
    ("console output", active, {}),
    ("metadata update", active, {}),
    ("metadata item", active, {}),
    ("metadata key not found", active, {}),
    ("metadata value too long", active, {}),
    ("rename server", active, {}),
    ("start a running server", active, {}),
    ("reboot", active, {}),
    ("unknown action", active, {}),
    ("server interfaces", active, {}),
    ("instance actions", active, {}),
    ("ports of a server", active, {}),
    ("create floating ip", active, {}),
    ("attach floating ip", loose_floating_ip, {}),
    ("server with floating ip", floating_ip_on_server, {}),
    ("list floating ips", floating_ip_on_server, {}),
    ("detach floating ip", floating_ip_on_server, {}),
    ("delete floating ip", loose_floating_ip, {}),
    ("delete floating ip again", floating_ip_gone, {}),
    ("create floating ip on a port at once", active, {}),
    ("floating ip from a network that is not external", nothing, {}),
    ("floating ip from an unknown network", nothing, {}),
    ("delete server", active, {}),
    ("server just after delete", deleting(), {}),
    ("server gone", gone, {}),
    ("delete server again", gone, {}),
    ("floating ip left by its server", floating_ip_left, {}),
    ("server not found", nothing, {}),
    ("server id malformed", nothing, {}),
    ("flavor not found", nothing, {}),
    ("image not found", nothing, {}),
    ("network not found", nothing, {}),
    ("port not found", nothing, {}),
    ("floating ip not found", nothing, {}),
    ("project not found", nothing, {}),
    ("no such path: identity", nothing, {}),
    ("no such path: compute", nothing, {}),
    ("no such path: image", nothing, {}),
    ("no such path: network", nothing, {}),
    ("method not allowed: compute", nothing, {}),
    ("microversion malformed", nothing, {}),
    ("body not JSON: compute", nothing, {}),
    ("body not JSON: network", nothing, {}),
    ("create server: no flavor", nothing, {}),
    ("create server: unknown image", nothing, {}),
    ("create server: unknown flavor", nothing, {}),
    ("create server: unknown network", nothing, {}),
    ("create server: unknown key", nothing, {}),
    ("create server: unknown availability zone", nothing, {}),
    ("create server: user_data not base64", nothing, {}),
    ("create server: name too long", nothing, {}),
    ("create server: unknown security group", nothing, {}),
    ("create server: image still queued", nothing, {}),
    ("quota exceeded: instances", one_small_server, ONE_INSTANCE),
    ("quota exceeded: cores and ram", one_small_server, SMALL),
    ("quota exceeded: ram", one_small_server, SMALL),
    ("quota exceeded: key pairs", keypair, {"quota": Quota(keypairs=1)}),
    ("quota exceeded: floating ips", one_floating_ip, {"quota": Quota(floating_ips=1)}),
    ("quota exceeded: ports", nothing, NO_PORTS),
    ("quota exceeded: ports, at create server", nothing, NO_PORTS),
    ("create server: no valid host", nothing, {}),
    ("server ERROR: no valid host", ended_in_error(NO_HOST, flavor="too-big"), {}),
    ("delete a server in ERROR: no valid host", ended_in_error(NO_HOST, flavor="too-big"), {}),
    ("no address left: port", one_small_server, {"networks": TINY_NETWORKS}),
    ("create server: no address left", one_small_server, {"networks": TINY_NETWORKS}),
    ("no floating ip left", one_floating_ip, {"networks": TINY_NETWORKS}),
    (
        "delete a server whose host fails to",
        active_on_bad_host,
        NO_DELETE,
    ),
    ("server ERROR: delete failed", delete_failed, NO_DELETE),
    ("metadata of a server in ERROR", delete_failed, NO_DELETE),
    ("delete it again", delete_failed, NO_DELETE),
    ("server while it is being deleted", deleting(UNDER_DELETION, None), {}),
    ("delete while it is being deleted", deleting(UNDER_DELETION, None), {}),
    ("reboot while it is being deleted", deleting(UNDER_DELETION, None), {}),
    ("action on a server not found", nothing, {}),
]


def unscrubbed(case: str, body: Any, stage: Stage) -> Any:
    """A recorded body with what was scrubbed from it."""
    spec = stage.session.cloud.spec
    if case in ("wrong password", "unknown application credential"):
        return body
    if isinstance(body, dict) and "auth" in body:
        if "password" in body["auth"]["identity"]:
            return password_login(spec)
        given = body["auth"]["identity"]["application_credential"]
        given["secret"] = spec.credentials.application_credential_secret
    if isinstance(body, dict) and "keypair" in body and case != "bad public key":
        body["keypair"]["public_key"] = SCRUBBED_KEY
    return body


async def sent(stage: Stage, case: str) -> Any:
    """Send the recorded request."""
    request = stage.translated(RECORDED[case]["request"])
    root, region = stage.session.cloud.root, stage.session.cloud.spec.regions[0]
    service = request["service"]
    base = f"{root}/identity" if service == "identity" else f"{root}/{region}/{service}"
    headers = request.get("headers", {})
    good = stage.session.client.headers.pop("X-Auth-Token")
    headers.pop("X-Auth-Token", None)
    if "invalid token" in case:
        headers["X-Auth-Token"] = "nonsense"
    elif "no token" not in case and "version discovery" not in case:
        headers["X-Auth-Token"] = good
    if "X-Subject-Token" in headers:
        headers["X-Subject-Token"] = good
    if case == "revoked token: compute":
        stage.session.cloud.revoke_all()
    body = unscrubbed(case, request.get("body"), stage)
    sending: dict[str, Any] = {"headers": headers}
    if isinstance(body, str):
        sending["content"] = b"<x>"
    elif body is not None:
        sending["json"] = body
    return await stage.session.client.request(request["method"], base + request["path"], **sending)


def differences(real: Any, ours: Any, place: str = "") -> list[str]:
    """Where our answer lacks what the real one has, or has it in another type."""
    if isinstance(real, dict):
        if not isinstance(ours, dict):
            return [f"{place}: {type(ours).__name__} for an object"]
        if place.endswith((".metadata", ".addresses")):
            return differences(list(real.values()), list(ours.values()), f"{place}.*")
        found = [f"{place}.{k}: missing" for k in real if k not in ours and k not in NOT_SHOWN]
        for key in real:
            if key in ours:
                found += differences(real[key], ours[key], f"{place}.{key}")
        return found
    if isinstance(real, list):
        if not isinstance(ours, list):
            return [f"{place}: {type(ours).__name__} for a list"]
        if real and not ours and not place.endswith(MAY_BE_EMPTY):
            return [f"{place}: an empty list"]
        return differences(real[0], ours[0], f"{place}[]") if real and ours else []
    if type(real) is not type(ours) and real != SCRUBBED:
        return [f"{place}: {ours!r} where the real one has {real!r}"]
    return []


async def hold_against_the_real_one(session: Session, case: str, scene: Scene) -> None:
    """Same status, same fields and types; an error in the same words."""
    stage = Stage(session)
    await scene(stage)

    answer = await sent(stage, case)

    real = stage.translated(RECORDED[case]["response"])
    ours = None
    if answer.content:
        is_json = "json" in answer.headers["content-type"]
        ours = answer.json() if is_json else answer.text
    assert answer.status_code == real["status"], answer.text
    kind = real["headers"].get("Content-Type")
    if kind is not None and real["status"] not in (202, 204):
        assert answer.headers["Content-Type"].lower() == kind.lower()
    if real["status"] >= 400:
        assert ours == real["body"]
    else:
        assert differences(real.get("body"), ours) == []


def spec_for(special: dict[str, Any]) -> dict[str, Any]:
    return {"flavors": FLAVORS, "images": IMAGES, "networks": NETWORKS, **special}


@pytest.mark.parametrize(("case", "scene", "special"), CASES, ids=[case for case, _, _ in CASES])
async def test_answer_is_as_a_real_cloud_gives_it(
    case: str, scene: Scene, special: dict[str, Any], autojump_clock: trio.testing.MockClock
) -> None:
    """In process."""
    async with session_of(cloud_of(**spec_for(special))) as session:
        await hold_against_the_real_one(session, case, scene)


@pytest.mark.parametrize(("case", "scene", "special"), CASES, ids=[case for case, _, _ in CASES])
async def test_answer_is_as_a_real_cloud_gives_it_over_http(
    case: str, scene: Scene, special: dict[str, Any], mock_clock: trio.testing.MockClock
) -> None:
    """Over a socket: what HTTP adds or takes away makes no difference."""
    mock_clock.autojump_threshold = 0.01
    async with served_session_of(**spec_for(special)) as session:
        await hold_against_the_real_one(session, case, scene)
