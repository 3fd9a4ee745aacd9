"""A small identity service and one compute service behind it, in process."""

import json
import random
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import httpx
import trio

from trellis.http import RatePlan, Road
from trellis.openstack.auth import Account
from trellis.openstack.clouds import CloudConfig
from trellis.openstack.session import Session

CATALOG = [
    {
        "type": "compute",
        "name": "nova",
        "endpoints": [
            {
                "interface": "public",
                "region": "R1",
                "region_id": "R1",
                "url": "http://compute.test/v2.1",
            }
        ],
    }
]


class Cloud(httpx.AsyncBaseTransport):
    """Answers identity and compute calls; its attributes are its behaviour."""

    def __init__(self) -> None:
        self.password = "hunter2"
        self.valid: list[str] = []
        self.logins = 0
        self.refused = 0
        self.login_takes_s = 0.0
        self.call_takes_s = 0.0
        self.life = "2026-01-01T01:00:00.000000Z"
        self.catalog: list[dict[str, Any]] = CATALOG
        self.project: dict[str, str] | None = {"id": "p1", "name": "ci"}
        self.instead: httpx.Response | Exception | None = None
        self.calls: list[httpx.Request] = []
        self.on_call: Callable[[httpx.Request], httpx.Response] = lambda _: httpx.Response(
            200, json={"servers": []}
        )
        self.under_way = 0
        self.most_under_way = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "identity.test":
            return await self._identity(request)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await trio.sleep(self.call_takes_s)
        finally:
            self.under_way -= 1
        self.calls.append(request)
        if request.headers.get("X-Auth-Token") not in self.valid:
            return httpx.Response(401, json={"error": {"message": "token"}})
        return self.on_call(request)

    async def _identity(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(
                300,
                json={
                    "versions": {
                        "values": [
                            {
                                "id": "v3.14",
                                "status": "stable",
                                "links": [{"rel": "self", "href": "http://identity.test/v3/"}],
                            }
                        ]
                    }
                },
            )
        self.logins += 1
        await trio.sleep(self.login_takes_s)
        if isinstance(self.instead, Exception):
            raise self.instead
        if self.instead is not None:
            return self.instead
        identity = json.loads(request.content)["auth"]["identity"]
        (method,) = identity["methods"]
        given = {
            "password": lambda: identity["password"]["user"]["password"],
            "application_credential": lambda: identity["application_credential"]["secret"],
            "token": lambda: identity["token"]["id"],
        }[method]()
        if given != self.password:
            self.refused += 1
            return httpx.Response(401, json={"error": {"message": "no", "code": 401}})
        token = f"token-{self.logins}"
        self.valid = [token]
        body: dict[str, Any] = {
            "methods": [method],
            "user": {"id": "u1", "name": "ci", "domain": {"id": "default", "name": "Default"}},
            "issued_at": "2026-01-01T00:00:00.000000Z",
            "expires_at": self.life,
            "catalog": self.catalog,
        }
        if self.project is not None:
            body["project"] = {**self.project, "domain": {"id": "default", "name": "Default"}}
        return httpx.Response(201, headers={"X-Subject-Token": token}, json={"token": body})


def a_config(password: str = "hunter2", **kwargs: Any) -> CloudConfig:
    values: dict[str, Any] = {
        "name": "acme",
        "region_name": "R1",
        "auth_type": "v3password",
        "auth": {
            "auth_url": "http://identity.test/v3",
            "username": "ci",
            "user_domain_id": "default",
            "password": password,
            "project_id": "p1",
        },
    }
    return CloudConfig(**{**values, **kwargs})


def a_road(cloud: Cloud, **kwargs: Any) -> Road:
    return Road(
        "acme", cloud, plan=RatePlan(), random=random.Random(5), wall=trio.current_time, **kwargs
    )


@attrs.frozen
class Running:
    """A cloud, its account at work, and a session of region R1."""

    cloud: Cloud
    account: Account
    session: Session


@asynccontextmanager
async def running(config: CloudConfig | None = None, *, at_once: int = 20, **kwargs: Any):
    """Run an account; *kwargs* go to `Account`."""
    cloud = Cloud()
    road = a_road(cloud, at_once=at_once)
    account = Account(config or a_config(), road.beside(cloud), **kwargs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(account.run)
        yield Running(cloud, account, Session(account, road, "R1"))
        nursery.cancel_scope.cancel()
