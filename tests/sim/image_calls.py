"""Calls about images, for the tests of simulated clouds."""

import hashlib
import json
from typing import Any

import attrs
from cloud_session import QUICK

from trellis.sim.cloud import CloudSpec, SimCloud
from trellis.sim.cloud.spec import fixed
from trellis.sim.cloud.wire import Request, Response

OCTETS = {"content-type": "application/octet-stream"}
JSON = {"content-type": "application/json"}
PATCH = {"content-type": "application/openstack-images-v2.1-json-patch"}


DATA = b"a disk" * 100
DIRECT = {"method": {"name": "glance-direct"}}


@attrs.define
class Clock:
    """A clock that a test sets."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@attrs.define
class Caller:
    """A logged-in caller of one region's image service and file store, whole bodies in memory."""

    cloud: SimCloud
    clock: Clock
    region: str = "RegionOne"
    headers: dict[str, str] = attrs.field(factory=dict)

    def send(self, method: str, path: str, *, body: Any = None, **headers: str) -> Response:
        """A call to a path below the region; JSON unless the body is bytes."""
        sent = {**self.headers, **(JSON if not isinstance(body, bytes) else OCTETS)}
        sent |= {name.replace("_", "-").lower(): value for name, value in headers.items()}
        raw = body if isinstance(body, bytes) else _json(body)
        path, _, query = path.partition("?")
        request = Request(method, f"/{self.region}{path}", query, sent, raw)
        return self.cloud.handle(request)

    def image(self, method: str, path: str, *, body: Any = None, **headers: str) -> Response:
        """A call to Glance v2."""
        return self.send(method, f"/image/v2{path}", body=body, **headers)

    def create(self, name: str = "img", **fields: Any) -> str:
        """A queued image; its id."""
        wanted = {"name": name, "disk_format": "raw", "container_format": "bare", **fields}
        answer = self.image("POST", "/images", body=wanted)
        assert answer.status == 201, answer.body
        return str(json.loads(answer.body)["id"])

    def upload(self, data: bytes = b"disk", name: str = "img", **fields: Any) -> str:
        """An active image; its id."""
        image_id = self.create(name, **fields)
        answer = self.image("PUT", f"/images/{image_id}/file", body=data)
        assert answer.status == 204, answer.body
        return image_id

    def shown(self, image_id: str) -> dict[str, Any]:
        """An image as it is shown."""
        answer = self.image("GET", f"/images/{image_id}")
        assert answer.status == 200, answer.body
        return dict(json.loads(answer.body))

    def listed(self, query: str = "") -> list[dict[str, Any]]:
        """The images that a list shows."""
        answer = self.image("GET", f"/images{query}")
        assert answer.status == 200, answer.body
        return list(json.loads(answer.body)["images"])

    def boot(self, image_id: str, **fields: Any) -> Response:
        """Ask for a server of an image."""
        flavors = json.loads(self.send("GET", "/compute/v2.1/flavors").body)["flavors"]
        server = {"name": "n", "flavorRef": flavors[0]["id"], "imageRef": image_id, **fields}
        return self.send("POST", "/compute/v2.1/servers", body={"server": server})

    def booted(self, image_id: str) -> str:
        """A server of an image; its id."""
        answer = self.boot(image_id)
        assert answer.status == 202, answer.body
        return str(json.loads(answer.body)["server"]["id"])


def caller_of(cloud: SimCloud, clock: Clock, region: str = "RegionOne") -> Caller:
    """Log in with a password, by whichever version the cloud has."""
    mine = cloud.spec.credentials
    if cloud.auth_url.endswith("/v2.0"):
        given = {"passwordCredentials": {"username": mine.username, "password": mine.password}}
        body: Any = {"auth": {**given, "tenantName": mine.project}}
        answer = cloud.handle(Request("POST", "/identity/v2.0/tokens", body=_json(body)))
        token = json.loads(answer.body)["access"]["token"]["id"]
    else:
        domain = {"name": mine.user_domain}
        user = {"name": mine.username, "domain": domain, "password": mine.password}
        scope = {"project": {"name": mine.project, "domain": {"name": mine.project_domain}}}
        identity = {"methods": ["password"], "password": {"user": user}}
        body = {"auth": {"identity": identity, "scope": scope}}
        answer = cloud.handle(Request("POST", "/identity/v3/auth/tokens", body=_json(body)))
        token = answer.headers["X-Subject-Token"]
    return Caller(cloud, clock, region, {"x-auth-token": token})


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def sha512(data: bytes) -> str:
    return hashlib.sha512(data).hexdigest()


def read(answer: Response) -> Any:
    return json.loads(answer.body)


def _json(body: Any) -> bytes:
    return b"" if body is None else json.dumps(body).encode()


def a_caller(**changes: Any) -> Caller:
    """A logged-in caller of a cloud of its own, whose imports take 20 s.

    Args:
        changes: of its spec.
    """
    clock = Clock()
    spec = CloudSpec(
        **{"name": "test", **QUICK, "image_import": fixed(20.0), "token_lifetime_s": 1e7, **changes}
    )
    return caller_of(SimCloud(spec, clock=clock), clock)


def words(answer: Response) -> str:
    """What a refusal of Glance says, without its markup."""
    return str(read(answer)["message"]).removesuffix("<br /><br />\n\n\n")


def facts(caller: Caller, *kinds: str) -> list[str]:
    """What happened in its cloud, of these kinds."""
    return [fact.what for fact in caller.cloud.ledger.of(*kinds)]
