"""A session whose cloud answers from a function: method and path in, JSON out."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx
import yaml
from fake_identity import CATALOG, Running, running

RECORDED = Path(__file__).parents[1] / "realcloud" / "real-api-samples.yaml"
Reply = tuple[int, Any]


def _service(kind: str, path: str = "") -> dict[str, Any]:
    endpoint = {"interface": "public", "region": "R1", "region_id": "R1"}
    url = f"http://{kind}.test/{path}"
    return {"type": kind, "name": kind, "endpoints": [{**endpoint, "url": url}]}


@asynccontextmanager
async def answering(reply: Callable[[httpx.Request], Reply]) -> AsyncIterator[Running]:
    """A cloud with compute, network, image and volume services, all answered by *reply*."""
    async with running() as at:
        volumes = _service("volumev3", "v3/p1")
        at.cloud.catalog = [*CATALOG, _service("network"), _service("image"), volumes]

        def on_call(request: httpx.Request) -> httpx.Response:
            status, body = reply(request)
            return httpx.Response(status, json=body) if body is not None else httpx.Response(status)

        at.cloud.on_call = on_call
        yield at


def recorded(case: str) -> Any:
    """The body of a recorded answer."""
    samples = yaml.load(RECORDED.read_text(), Loader=yaml.CSafeLoader)["samples"]
    return next(s["response"]["body"] for s in samples if s["case"] == case)


@attrs.define
class Script:
    """Replies one after the other, and the requests they were for."""

    replies: list[Reply]
    requests: list[httpx.Request] = attrs.field(factory=list)

    def __call__(self, request: httpx.Request) -> Reply:
        self.requests.append(request)
        return self.replies.pop(0)
