"""A running `trellis cloud` inside a test, with a client of its control face."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import httpx
import trio

from trellis.config.addresses import ListenAddress
from trellis.sim.cloud import CloudSpec, Latency, Lognormal
from trellis.sim.scenario_file import ServedScenario
from trellis.sim.serving.machines import Machines, NoMachines
from trellis.sim.serving.process import Served, serve_clouds

ANY = ListenAddress.from_text("127.0.0.1:0")
AT_ONCE: dict[str, Any] = {
    "latency": Latency.of(Lognormal(0.0, 0.0)),
    "boot": Lognormal(0.0, 0.0),
    "guest": Lognormal(0.0, 0.0),
    "delete": Lognormal(0.0, 0.0),
}
"""Nothing takes any time."""


def spec_of(name: str = "one", **changes: Any) -> CloudSpec:
    return CloudSpec(**{"name": name, **AT_ONCE, **changes})


def client_of(**options: Any) -> httpx.AsyncClient:
    """A client that takes no word from the environment and makes no context for TLS."""
    return httpx.AsyncClient(**{"verify": False, "trust_env": False, "timeout": 20.0, **options})


@attrs.define
class Clouds:
    """What is served, and clients of it."""

    served: Served
    http: httpx.AsyncClient

    async def look(self, path: str) -> Any:
        """``GET`` of the control face."""
        answer = await self.http.get(f"{self.served.control}/{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def say(self, path: str, **body: Any) -> None:
        """``POST`` to the control face."""
        answer = await self.http.post(f"{self.served.control}/{path}", json=body)
        assert answer.status_code == 204, answer.text

    async def account(self, name: str = "one", region: str = "RegionOne") -> "Account":
        """A logged-in client of a cloud in a region."""
        root = f"{self.served.url}/{name}"
        user = {"name": "ci", "domain": {"name": "Default"}, "password": "sim-password"}
        scope = {"project": {"name": "ci", "domain": {"name": "Default"}}}
        identity = {"methods": ["password"], "password": {"user": user}}
        body = {"auth": {"identity": identity, "scope": scope}}
        login = await self.http.post(f"{root}/identity/v3/auth/tokens", json=body)
        headers = {"X-Auth-Token": login.headers["X-Subject-Token"]}
        return Account(self.http, f"{root}/{region}", headers)


@attrs.define
class Account:
    http: httpx.AsyncClient
    base: str
    headers: dict[str, str]

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        return await self.http.request(method, self.base + path, headers=self.headers, **options)

    async def create(self, name: str = "node", network: str | None = None) -> str:
        """Make a server; its id."""
        flavors = (await self.call("GET", "/compute/v2.1/flavors")).json()["flavors"]
        images = (await self.call("GET", "/image/v2/images")).json()["images"]
        wanted: dict[str, Any] = {
            "name": name, "flavorRef": flavors[0]["id"], "imageRef": images[0]["id"],
            "metadata": {"node": name},
        }  # fmt: skip
        if network is not None:
            wanted["networks"] = [{"uuid": await self.network(network)}]
        made = await self.call("POST", "/compute/v2.1/servers", json={"server": wanted})
        assert made.status_code == 202, made.text
        return str(made.json()["server"]["id"])

    async def network(self, name: str) -> str:
        rows = (await self.call("GET", "/network/v2.0/networks")).json()["networks"]
        return str(next(row["id"] for row in rows if row["name"] == name))

    async def addresses(self, server_id: str) -> list[str]:
        """Its addresses, as Nova shows them."""
        shown = await self.call("GET", f"/compute/v2.1/servers/{server_id}")
        networks = shown.json()["server"]["addresses"]
        return [row["addr"] for rows in networks.values() for row in rows]


def serving(
    folder: Path, *specs: CloudSpec, machines: Machines | None = None, own: str | None = None
) -> Callable[..., Awaitable[None]]:
    """What serves these clouds, until cancelled."""
    scenario = ServedScenario(name="test", clouds=specs or (spec_of(),), configuration=own)
    behind = NoMachines() if machines is None else machines
    return partial(serve_clouds, scenario, machines=behind, folder=folder, listen=ANY)


@asynccontextmanager
async def clouds_of(
    folder: Path, *specs: CloudSpec, machines: Machines | None = None, own: str | None = None
) -> AsyncIterator[Clouds]:
    """Serve these clouds while the block runs."""
    serve = serving(folder, *specs, machines=machines, own=own)
    async with trio.open_nursery() as nursery, client_of() as http:
        served = await nursery.start(serve)
        yield Clouds(served, http)
        nursery.cancel_scope.cancel()
