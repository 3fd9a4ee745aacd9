"""Calls of a session whose body is streamed: tokens that end meanwhile, versions, headers."""

import math
from contextlib import asynccontextmanager

import httpx
import pytest
import trio
from fake_identity import running

from trellis.errors import AuthError, MisconfiguredError


class Body:
    """Three bytes; tells how often it was opened, and is."""

    size = 3

    def __init__(self):
        self.opened = self.open_now = 0

    @asynccontextmanager
    async def open(self):
        self.opened += 1
        self.open_now += 1

        async def pieces():
            await trio.lowlevel.checkpoint()
            yield b"abc"

        try:
            yield pieces()
        finally:
            self.open_now -= 1


def send(at, body, **kwargs):
    return at.session.request(
        "compute", "PUT", "/images/1/file", label="/images/{id}/file", stream=body, **kwargs
    )


async def test_body_goes_as_bytes_of_no_kind(autojump_clock):
    came = []

    async with running() as at:
        at.cloud.on_call = lambda request: came.append(request) or httpx.Response(204)
        await send(at, Body(), headers={"X-Delete-After": "60"})

    (request,) = came
    assert request.headers["Content-Type"] == "application/octet-stream"
    assert request.headers["Content-Length"] == "3"
    assert request.headers["X-Delete-After"] == "60"
    assert request.headers["X-Auth-Token"] == "token-1"


async def test_headers_of_one_call_stay_out_of_the_next(autojump_clock):
    """Those of all calls are kept, and theirs are not among them."""
    async with running() as at:
        await send(at, Body(), headers={"ETag": "m", "Content-Type": "text/plain"})
        await send(at, Body())

    one, two = at.cloud.calls
    assert (one.headers["ETag"], one.headers["Content-Type"]) == ("m", "text/plain")
    assert "ETag" not in two.headers
    assert two.headers["Content-Type"] == "application/octet-stream"


async def test_token_that_ended_meanwhile_is_renewed_and_the_body_opened_once_more(
    autojump_clock,
):
    """A 401 says that nothing was taken."""
    body = Body()
    async with running() as at:
        await send(at, Body())
        at.cloud.valid = []
        answer = await send(at, body)

    assert answer.status == 200
    assert (body.opened, body.open_now, at.cloud.logins) == (2, 0, 2)


async def test_second_401_of_a_stream_is_the_callers(autojump_clock):
    """It is not sent for ever."""
    body = Body()
    async with running() as at:
        at.cloud.on_call = lambda _: httpx.Response(401, json={})
        with pytest.raises(AuthError):
            await send(at, body)

    assert body.opened == 2


async def test_stream_lasts_as_long_as_its_caller_waits(autojump_clock):
    """A minute, the end of other calls, is nothing to an upload."""
    async with running() as at:
        at.cloud.call_takes_s = 1800.0
        answer = await send(at, Body())

    assert answer.status == 200


async def test_stream_may_have_an_end_of_its_own(autojump_clock):
    async with running() as at:
        at.cloud.call_takes_s = math.inf
        with pytest.raises(Exception, match="within 5 s"):
            await send(at, Body(), budget_s=5.0)


@pytest.mark.parametrize(
    ("listed", "url"),
    [
        ("http://compute.test/v2.1", "http://compute.test/v1/images/1/file"),
        ("http://compute.test/compute/v2", "http://compute.test/compute/v1/images/1/file"),
    ],
)
async def test_version_stands_in_the_place_of_the_listed_one(autojump_clock, listed, url):
    async with running() as at:
        endpoint = {**at.cloud.catalog[0]["endpoints"][0], "url": listed}
        at.cloud.catalog = [{**at.cloud.catalog[0], "endpoints": [endpoint]}]
        await send(at, Body(), version="v1")

    assert str(at.cloud.calls[0].url) == url


async def test_credentials_that_lead_elsewhere_meanwhile_send_nothing_there(autojump_clock):
    """What it makes would be where no record speaks of."""
    body = Body()
    async with running() as at:
        await send(at, Body())
        at.cloud.valid = []
        at.cloud.project = {"id": "p2", "name": "other"}
        with pytest.raises(MisconfiguredError, match="another project"):
            await send(at, body)

    assert body.opened == 1
