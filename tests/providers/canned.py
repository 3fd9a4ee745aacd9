"""A session that answers from a table, and a provider over it."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import yaml

from trellis.errors import MisconfiguredError
from trellis.http.message import Answer, Verb
from trellis.model.names import NodeId
from trellis.model.node import Resource, ResourceKind, Shape
from trellis.model.quota import Resources
from trellis.openstack.faults import error_from
from trellis.openstack.session import SessionHome
from trellis.providers.config import (
    OpenStackLabelConfig,
    OpenStackPoolConfig,
    OpenStackProviderConfig,
)
from trellis.providers.openstack import OpenStackProvider
from trellis.spi.provider import LaunchIntent, Tag

RECORDED = Path(__file__).parents[1] / "realcloud" / "real-api-samples.yaml"
SAMPLES = {
    sample["case"]: sample["response"].get("body")
    for sample in yaml.load(RECORDED.read_text(), Loader=yaml.CSafeLoader)["samples"]
}
CI_NET = SAMPLES["networks"]["networks"][0]["id"]
PUBLIC = SAMPLES["networks"]["networks"][1]["id"]
TAG = Tag(deployment="d", node_id=NodeId("0000000042"))
SERVER = "f49e6cff-ea70-41fd-8426-b25291f558ea"
HOME = SessionHome(project_id="p1", region="R1", endpoint="http://nova/v2.1")
STOCK: Mapping[str, Any] = {
    "GET compute /flavors/detail": SAMPLES["flavors detail"],
    "GET compute /os-availability-zone": SAMPLES["availability zones: compute"],
    "GET compute /limits": SAMPLES["limits"],
    "GET compute /os-keypairs": SAMPLES["list keypairs"],
    "GET compute /servers/detail": {"servers": []},
    "POST compute /servers": (202, SAMPLES["create server"]),
    "DELETE compute /servers/{id}": (204, None),
    "GET image /images": SAMPLES["images by name"],
    "GET image /images/{id}": (404, SAMPLES["image not found"]),
    "GET network /networks": SAMPLES["networks"],
    "GET network /subnets": SAMPLES["subnets"],
    "GET network /routers": SAMPLES["routers"],
    "GET network /security-groups": SAMPLES["security groups"],
    "GET network /ports": SAMPLES["ports of a server"],
    "GET network /floatingips": {"floatingips": []},
    "POST network /floatingips": (201, SAMPLES["create floating ip on a port at once"]),
    "DELETE network /floatingips/{id}": (204, None),
    "GET network /quotas/{project}/details": SAMPLES["network quota details"],
}
"""The recorded cloud, by call."""


@attrs.frozen
class Made:
    """A call as it was made."""

    name: str
    path: str
    json: Any
    params: Mapping[str, str]
    turn_taken: bool


@attrs.define
class CannedSession:
    """Stands in for a session: answers by ``METHOD service label``.

    A reply is a body, a status and a body, a function of the call made, or an error to raise.
    """

    replies: dict[str, Any] = attrs.field(factory=lambda: dict(STOCK))
    made: list[Made] = attrs.field(factory=list)
    turns: list[tuple[str, Verb]] = attrs.field(factory=list)
    at: SessionHome = HOME
    cloud: str = "acme"
    region: str = ""
    lacks: set[str] = attrs.field(factory=set)
    looks: list[str] = attrs.field(factory=list)

    async def endpoint(self, service: str) -> str:
        self.looks.append(service)
        if service in self.lacks:
            raise MisconfiguredError(f"no {service} service in the catalog", cloud=self.cloud)
        return f"http://{service}"

    async def request(
        self, service, method, path, *, label, json=None, params=None, turn_taken=False, **_
    ) -> Answer:
        call = Made(f"{method} {service} {label}", path, json, dict(params or {}), turn_taken)
        self.made.append(call)
        reply = self.replies[call.name]
        if isinstance(reply, Callable):
            reply = reply(call)
        if isinstance(reply, Exception):
            raise reply
        status, body = reply if isinstance(reply, tuple) else (200, reply)
        content = b"" if body is None else _encode(body)
        answer = Answer(status=status, body=content, cloud=self.cloud, call=call.name)
        if status >= 400:
            raise error_from(answer, cloud=self.cloud, service=service, call=call.name)
        return answer

    async def turn(self, service: str, verb: Verb) -> None:
        self.turns.append((service, verb))

    async def home(self) -> SessionHome:
        return self.at

    def names(self) -> list[str]:
        return [call.name for call in self.made]


def _encode(body: Any) -> bytes:
    return json.dumps(body).encode()


def a_label(name: str = "small", **kwargs: Any) -> OpenStackLabelConfig:
    defaults = {"cloud_image": "tiny", "flavor_name": "ci-1c-1g"}
    if "image" in kwargs:
        del defaults["cloud_image"]
    if "min_ram" in kwargs:
        del defaults["flavor_name"]
    return OpenStackLabelConfig(**{"name": name, **defaults, **kwargs})


def a_config(*labels: OpenStackLabelConfig, pools: Any = None, **kwargs: Any):
    pool = {"name": "main", "networks": ("ci-net",), **(pools or {})}
    return OpenStackProviderConfig(
        name="acme-r1",
        type="openstack",
        cloud="acme",
        pools=(OpenStackPoolConfig(labels=labels or (a_label(),), **pool),),
        **kwargs,
    )


def a_provider(session: CannedSession, config=None, **kwargs: Any) -> OpenStackProvider:
    return OpenStackProvider(config or a_config(), session, "d", **kwargs)


def an_intent(**kwargs: Any) -> LaunchIntent:
    shape = Shape(
        flavor_id="f", flavor_name="f", image_id="i", image_name="i", resources=Resources()
    )
    values = {"tag": TAG, "name": "ci-42", "pool": "main", "label": "small", "az": "nova"}
    return LaunchIntent(**{**values, "shape": shape, **kwargs})


def a_row(**kwargs: Any) -> dict[str, Any]:
    """A server of ours in pool main, as the recorded cloud shows it when it is active."""
    metadata = {
        "trellis_deployment": "d",
        "trellis_node_id": "0000000042",
        "trellis_provider": "acme-r1",
        "trellis_pool": "main",
    }
    return {**SAMPLES["server ACTIVE"]["server"], "metadata": metadata, **kwargs}


def a_thing(kind: ResourceKind, external_id: str | None = "x") -> Resource:
    return Resource(kind=kind, sent_at=0.0, external_id=external_id)
