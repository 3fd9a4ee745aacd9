"""A logged-in client of a simulated cloud, for its tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import attrs
import httpx
import trio

from trellis.config.addresses import ListenAddress
from trellis.sim.cloud import CloudSpec, Latency, Lognormal, SimCloud, SimTransport
from trellis.sim.serving.front import Front, root_of
from trellis.sim.serving.http import listener, serve_http

INSTANT = Latency.of(Lognormal(0.0, 0.0))
QUICK = {
    "latency": INSTANT,
    "boot": Lognormal(10.0, 10.0),
    "delete": Lognormal(2.0, 2.0),
    "guest": Lognormal(3.0, 3.0),
}
"""Every duration fixed: calls take no time, boot 10 s, delete 2 s, the guest 3 s after ACTIVE."""


def password_login(spec: CloudSpec, **changes: Any) -> dict[str, Any]:
    mine = spec.credentials
    user = {"name": mine.username, "domain": {"name": "Default"}, "password": mine.password}
    identity = {"methods": ["password"], "password": {"user": user | changes}}
    scope = {"project": {"name": mine.project, "domain": {"name": "Default"}}}
    return {"auth": {"identity": identity, "scope": scope}}


@attrs.define
class Session:
    cloud: SimCloud
    client: httpx.AsyncClient
    urls: dict[str, str] = attrs.field(factory=dict)
    flavors: dict[str, str] = attrs.field(factory=dict)
    images: dict[str, str] = attrs.field(factory=dict)
    networks: dict[str, str] = attrs.field(factory=dict)

    async def call(self, method: str, service: str, path: str, **kwargs: Any) -> httpx.Response:
        return await self.client.request(method, self.urls[service] + path, **kwargs)

    async def log_in(self) -> httpx.Response:
        body = password_login(self.cloud.spec)
        answer = await self.client.post(f"{self.cloud.auth_url}/auth/tokens", json=body)
        self.client.headers["X-Auth-Token"] = answer.headers["X-Subject-Token"]
        return answer

    async def learn(self) -> None:
        catalog = (await self.log_in()).json()["token"]["catalog"]
        self.urls = {service["type"]: service["endpoints"][0]["url"] for service in catalog}
        self.urls["network"] += "/v2.0"
        self.urls["image"] += "/v2"
        self.flavors = await self._ids("compute", "/flavors/detail", "flavors")
        self.images = await self._ids("image", "/images", "images")
        self.networks = await self._ids("network", "/networks", "networks")

    async def _ids(self, service: str, path: str, key: str) -> dict[str, str]:
        rows = (await self.call("GET", service, path)).json()[key]
        return {row["name"]: row["id"] for row in rows}

    def body(self, name: str = "node", **changes: Any) -> dict[str, Any]:
        server = {
            "name": name,
            "flavorRef": next(iter(self.flavors.values())),
            "imageRef": self.images["tiny"],
            "metadata": {"trellis_node": name},
        }
        return {"server": server | changes}

    async def create(self, name: str = "node", **changes: Any) -> str:
        answer = await self.call("POST", "compute", "/servers", json=self.body(name, **changes))
        assert answer.status_code == 202, answer.text
        return str(answer.json()["server"]["id"])

    async def create_active(self, name: str = "node", **changes: Any) -> str:
        server_id = await self.create(name, **changes)
        await trio.sleep(self.cloud.spec.boot.median + 0.001)
        return server_id

    async def show(self, server_id: str) -> dict[str, Any]:
        answer = await self.call("GET", "compute", f"/servers/{server_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["server"])

    async def rows(self, query: str = "") -> list[dict[str, Any]]:
        answer = await self.call("GET", "compute", f"/servers/detail{query}")
        assert answer.status_code == 200, answer.text
        return list(answer.json()["servers"])

    async def port_of(self, server_id: str) -> str:
        answer = await self.call("GET", "network", f"/ports?device_id={server_id}")
        return str(answer.json()["ports"][0]["id"])

    async def floating_ip(self, **fields: Any) -> httpx.Response:
        wanted = {"floating_network_id": self.networks["public"], **fields}
        return await self.call("POST", "network", "/floatingips", json={"floatingip": wanted})


@asynccontextmanager
async def session_of(cloud: SimCloud) -> AsyncIterator[Session]:
    transport = SimTransport(cloud)
    async with httpx.AsyncClient(transport=transport, timeout=30.0) as client:
        session = Session(cloud, client)
        await session.learn()
        yield session


@asynccontextmanager
async def served_session_of(seed: int = 1, **changes: Any) -> AsyncIterator[Session]:
    """A session over a socket of loopback, with a cloud of one's own behind it."""
    bound = listener(ListenAddress.from_text("127.0.0.1:0"))
    url = "http://{}:{}".format(*bound.socket.getsockname()[:2])
    spec = CloudSpec(**{"name": "test", **QUICK, **changes})
    cloud = SimCloud(spec, random=Random(seed), root=root_of(url, spec.name))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, bound, Front({spec.name: cloud}))
        # No time limit: on a clock that jumps it would be over before the answer is there.
        async with httpx.AsyncClient(timeout=None, verify=False, trust_env=False) as client:
            session = Session(cloud, client)
            await session.learn()
            yield session
        nursery.cancel_scope.cancel()


def cloud_of(seed: int = 1, **changes: Any) -> SimCloud:
    spec = CloudSpec(**{"name": "test", **QUICK, **changes})
    return SimCloud(spec, random=Random(seed))
