"""A transport that answers in process, from a function of the test."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import trio

from trellis.http import Call, RatePlan, Road

START = 1_800_000_000.0
"""The wall clock of these tests when Trio's shows 0."""


class Scripted(httpx.AsyncBaseTransport):
    """Gives each request to *answer* and keeps it in `requests`."""

    def __init__(self, answer: Callable[[httpx.Request], Awaitable[httpx.Response]]) -> None:
        self._answer = answer
        self.requests: list[httpx.Request] = []
        self.times: list[float] = []
        self.under_way = 0
        self.most_under_way = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.times.append(trio.current_time())
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            return await self._answer(request)
        finally:
            self.under_way -= 1


def in_turn(*answers: httpx.Response | Exception) -> Scripted:
    """Answers (or raises) one after the other; the last one for ever."""
    left = list(answers)

    async def answer(request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        one = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(one, Exception):
            raise one
        return httpx.Response(one.status_code, headers=one.headers, content=one.content)

    return Scripted(answer)


def a_road(transport: httpx.AsyncBaseTransport, **kwargs: Any) -> Road:
    kwargs.setdefault("plan", RatePlan())
    began = trio.current_time()
    return Road(
        "acme",
        transport,
        random=random.Random(7),
        wall=lambda: START + trio.current_time() - began,
        **kwargs,
    )


def a_call(method: str = "GET", **kwargs: Any) -> Call:
    values: dict[str, Any] = {
        "service": "compute",
        "method": method,
        "url": "http://acme.test/v2.1/servers/17",
        "path_label": "/servers/{id}",
    }
    return Call(**{**values, **kwargs})
