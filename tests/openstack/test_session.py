"""Calls of a session: token, renewal upon 401, endpoints, microversions, errors."""

import json

import httpx
import pytest
import trio
from fake_identity import CATALOG, running

from trellis.errors import (
    AuthError,
    CloudBrokenError,
    CloudError,
    MisconfiguredError,
    NotFoundError,
)
from trellis.http import Verb
from trellis.openstack.session import Session, SessionHome


async def test_call_goes_to_the_endpoint_with_the_token(autojump_clock):
    """Path, query, body and token arrive as given."""
    async with running() as at:
        answer = await at.session.request(
            "compute", "POST", "/servers", label="/servers", json={"server": {"name": "n"}},
            params={"a": "1"},
        )  # fmt: skip

    (request,) = at.cloud.calls
    assert str(request.url) == "http://compute.test/v2.1/servers?a=1"
    assert request.headers["X-Auth-Token"] == "token-1"
    assert request.headers["Content-Type"] == "application/json"
    assert request.content == b'{"server":{"name":"n"}}'
    assert answer.status == 200


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (None, (None, None)),
        ("2.79", ("compute 2.79", None)),
        ("2.27", ("compute 2.27", None)),
        ("2.26", ("compute 2.26", "2.26")),
        ("2.3", ("compute 2.3", "2.3")),
    ],
)
async def test_microversion_is_sent_as_nova_understands_it(autojump_clock, version, expected):
    """Below 2.27 only the old header counts."""
    async with running() as at:
        await at.session.request(
            "compute", "GET", "/servers", label="/servers", microversion=version
        )

    headers = at.cloud.calls[0].headers
    found = headers.get("OpenStack-API-Version"), headers.get("X-OpenStack-Nova-API-Version")
    assert found == expected


@pytest.mark.parametrize("at_once", [3, 20])
async def test_token_revoked_under_many_tasks_makes_one_login(autojump_clock, at_once):
    """Fewer lanes than tasks: the 401s hold none while the login is under way."""
    async with running(at_once=at_once) as at:
        at.cloud.call_takes_s = 0.1
        at.cloud.login_takes_s = 1.0
        await at.session.request("compute", "GET", "/servers", label="/servers")
        at.cloud.valid = []
        statuses: list[int] = []

        async def call(method: str) -> None:
            answer = await at.session.request("compute", method, "/servers", label="/servers")
            statuses.append(answer.status)

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(call, "POST" if number % 2 else "GET")

        assert statuses == [200] * 50
        assert at.cloud.logins == 2
        assert at.cloud.most_under_way <= at_once


async def test_second_401_is_the_callers(autojump_clock):
    """One repetition, then the error: no loop."""
    async with running() as at:
        at.cloud.on_call = lambda _: httpx.Response(401, json={})

        with pytest.raises(AuthError):
            await at.session.request("compute", "GET", "/servers", label="/servers")

        assert len(at.cloud.calls) == 2


@pytest.mark.parametrize("what", ["project", "endpoint"])
async def test_nothing_is_made_where_a_new_login_leads(autojump_clock, what):
    """The credentials were changed as the call was made: its record speaks of the old place."""
    async with running() as at:
        await at.session.request("compute", "GET", "/servers", label="/servers")
        at.cloud.valid = []
        if what == "project":
            at.cloud.project = {"id": "p2", "name": "another"}
        else:
            moved = json.dumps(CATALOG).replace("compute.test", "elsewhere.test")
            at.cloud.catalog = json.loads(moved)

        with pytest.raises(MisconfiguredError, match="another project or endpoint"):
            await at.session.request("compute", "POST", "/servers", label="/servers", json={})
        assert [request.method for request in at.cloud.calls] == ["GET", "POST"]

        await at.session.request("compute", "GET", "/servers", label="/servers")


async def test_refusals_become_typed_errors(autojump_clock):
    """The error names the cloud, the call by its template and the cloud's request id."""
    async with running() as at:
        at.cloud.on_call = lambda _: httpx.Response(
            404,
            headers={"x-openstack-request-id": "req-3"},
            json={"itemNotFound": {"message": "Instance 17 could not be found.", "code": 404}},
        )

        with pytest.raises(NotFoundError) as caught:
            await at.session.request("compute", "GET", "/servers/17", label="/servers/{id}")

    assert caught.value.call == "GET compute /servers/{id}"
    assert caught.value.cloud == "acme"
    assert caught.value.cloud_request_id == "req-3"


async def test_home_tells_project_region_and_endpoint(autojump_clock):
    """What a record carries, to know a changed project again."""
    async with running() as at:
        home = await at.session.home()

    assert home == SessionHome(project_id="p1", region="R1", endpoint="http://compute.test/v2.1")


async def test_home_names_the_region_that_was_not_configured(autojump_clock):
    """Records carry the cloud's name for it."""
    async with running() as at:
        home = await Session(at.account, at.session.road).home()

    assert home.region == "R1"


async def test_changed_catalog_is_used_with_the_next_token(autojump_clock):
    """Endpoints are remembered per login."""
    async with running() as at:
        await at.session.request("compute", "GET", "/a", label="/a")
        rows = [{**CATALOG[0]["endpoints"][0], "url": "http://elsewhere.test/v2.1/"}]
        at.cloud.catalog = [{**CATALOG[0], "endpoints": rows}]
        at.cloud.valid = []

        await at.session.request("compute", "GET", "/b", label="/b")

    assert str(at.cloud.calls[-1].url) == "http://elsewhere.test/v2.1/b"


async def test_unknown_region_is_misconfigured(autojump_clock):
    async with running() as at:
        session = Session(at.account, at.session.road, "r1")
        with pytest.raises(MisconfiguredError, match="it is in: R1"):
            await session.request("compute", "GET", "/servers", label="/servers")


async def test_turn_is_taken_ahead_of_the_call(autojump_clock):
    """Between the two an intent is written."""
    async with running() as at:
        await at.session.turn("compute", Verb.CREATE)
        await at.session.request(
            "compute", "POST", "/servers", label="/servers", json={}, turn_taken=True
        )

    assert len(at.cloud.calls) == 1


async def test_no_error_shows_the_token(autojump_clock):
    """Not even when the transport's own error is chained to it."""
    async with running() as at:

        def fail(request: httpx.Request) -> httpx.Response:
            raise httpx.ReadError("gone", request=request)

        at.cloud.on_call = fail
        with pytest.raises(CloudError) as caught:
            await at.session.request("compute", "POST", "/servers", label="/servers", json={})

    assert "token-1" not in str(caught.value) + repr(caught.value.__cause__)


class TestACatalogThatMayBeOld:
    """Calls that lead nowhere have the catalog read anew; one of them says nothing."""

    async def test_after_some_in_a_row_the_catalog_is_read_anew(self, autojump_clock):
        async with running() as at:
            await at.account.token()
            await trio.sleep(100.0)
            at.cloud.on_call = lambda _: httpx.Response(404, html="<html>not here</html>")
            for _ in range(3):
                with pytest.raises(CloudBrokenError):
                    await at.session.request("compute", "GET", "/servers", label="/servers")
            await trio.sleep(1.0)

            assert at.cloud.logins == 2

    async def test_a_call_the_cloud_does_not_have_costs_no_logins(self, autojump_clock):
        """Among others that work, for a day."""
        missing = {"message": "The resource could not be found.", "code": "404", "title": "x"}

        def answer(request):
            if request.url.path.endswith("/limits"):
                return httpx.Response(404, json=missing)
            return httpx.Response(200, json={"servers": []})

        async with running() as at:
            at.cloud.on_call = answer
            for _ in range(50):
                await at.session.request("compute", "GET", "/servers", label="/servers")
                with pytest.raises(MisconfiguredError):
                    await at.session.request("compute", "GET", "/limits", label="/limits")
                await trio.sleep(60.0)

            assert at.cloud.logins == 1
