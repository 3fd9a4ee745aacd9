"""A road's own way to a simulated cloud: it tells the same as an httpx client hears."""

import httpx
import msgspec
import pytest
import trio
from cloud_session import INSTANT, cloud_of, password_login, session_of

from trellis.http import Call, Headers, Progress, WireError
from trellis.http.body import BodyError, read_body
from trellis.http.wire import NotSentError, UselessUrlError
from trellis.sim.cloud import Faults, Latency, Lognormal, Outage, OutageKind, SimTransport, SimWire

SECOND = Latency.of(Lognormal(1.0, 1.0))


def call(cloud, method="GET", path="/", headers=None, **kwargs) -> Call:
    return Call(
        service="compute",
        method=method,
        url=f"{cloud.root}{path}",
        path_label="/x",
        headers=headers or {},
        **kwargs,
    )


async def said(wire, asked):
    """Status and body of an answer."""
    came = await wire.send(asked, Progress())
    coding = Headers(came.headers).get("content-encoding", "")
    return came.status, await read_body(came.body, coding)


async def logged_in(cloud, wire) -> dict[str, str]:
    body = msgspec.json.encode(password_login(cloud.spec))
    asked = call(cloud, "POST", "/identity/v3/auth/tokens", content=body)
    came = await wire.send(asked, Progress())
    return {"X-Auth-Token": Headers(came.headers)["x-subject-token"]}


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/RegionOne/compute/v2.1/servers/detail", {"name": "^a[.]b$", "limit": "3"}),
        ("/RegionOne/compute/v2.1/servers/detail", {"changes-since": "2026-01-01T00:00:00+00:00"}),
        ("/RegionOne/compute/v2.1/servers/no%20such/", None),
        ("/RegionOne/compute/v2.1/servers/../limits", None),
        ("/RegionOne/compute/v2.1/servers/é ö", None),
        ("/RegionOne/network/v2.0/networks", {"name": "public"}),
        ("//nowhere", None),
        ("", None),
    ],
)
async def test_a_road_hears_what_an_httpx_client_hears(autojump_clock, path, params):
    heard = []
    for _ in range(2):
        cloud = cloud_of()
        region = next(iter(cloud.spec.regions))
        here = path.replace("RegionOne", region)
        wire = SimWire(cloud)
        token = await logged_in(cloud, wire)
        if not heard:
            heard.append(await said(wire, call(cloud, path=here, headers=token, params=params)))
            continue
        async with httpx.AsyncClient(transport=SimTransport(cloud)) as client:
            answer = await client.get(cloud.root + here, headers=token, params=params)
        heard.append((answer.status_code, answer.content))

    assert heard[0] == heard[1]


async def test_a_fenced_wire_lets_nothing_through(autojump_clock, nursery):
    """A call in flight that has not acted never will, and new ones find no cloud."""
    cloud = cloud_of(latency=SECOND)
    wire = SimWire(cloud)
    async with session_of(cloud) as session:
        headers = {"X-Auth-Token": session.client.headers["X-Auth-Token"]}
        url = httpx.URL(session.urls["compute"]).path + "/servers"
        outcomes = []

        async def one(number):
            body = msgspec.json.encode(session.body(f"n{number}"))
            try:
                await wire.send(call(cloud, "POST", url, headers, content=body), Progress())
            except WireError as error:
                outcomes.append(type(error))

        for number in range(20):
            nursery.start_soon(one, number)
        await trio.sleep(0.5)
        made = len(cloud.servers())
        wire.fence()
        await trio.sleep(10)
        seen = list(outcomes)
        await one(99)

    assert 0 < made < 20
    assert len(cloud.servers()) == made
    assert seen == [WireError] * 20
    assert outcomes[-1] is NotSentError


@pytest.mark.parametrize(
    ("kind", "error", "after_s"),
    [
        (OutageKind.REFUSE, NotSentError, 0.0),
        (OutageKind.HANG, WireError, 60.0),
    ],
)
async def test_an_outage_is_an_error(autojump_clock, kind, error, after_s):
    cloud = cloud_of(outages=(Outage(start=0.0, end=1000.0, kind=kind),))
    with pytest.raises(WireError) as caught:
        await SimWire(cloud).send(call(cloud), Progress())

    assert type(caught.value) is error
    assert trio.current_time() == pytest.approx(after_s)


@pytest.mark.parametrize(
    ("fault", "error", "said_so"),
    [
        ("reset", WireError, "reset by peer"),
        ("cut_answer", WireError, "closed connection"),
        ("endless_answer", BodyError, "more than"),
        ("huge_answer", BodyError, "more than"),
    ],
)
async def test_a_call_that_goes_wrong_is_an_error(autojump_clock, fault, error, said_so):
    cloud = cloud_of(latency=INSTANT, faults=Faults(**{fault: 1.0}))
    with pytest.raises(error, match=said_so):
        await said(SimWire(cloud), call(cloud, path="/identity/v3"))


async def test_a_body_may_trickle(autojump_clock):
    cloud = cloud_of(latency=INSTANT, faults=Faults(trickle=1.0, trickle_s=50.0))
    status, body = await said(SimWire(cloud), call(cloud, path="/identity/v3"))

    assert (status, bool(msgspec.json.decode(body))) == (200, True)
    assert trio.current_time() == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("url", "error"),
    [("http://elsewhere.sim/", NotSentError), ("http://acme.test:port/", UselessUrlError)],
)
async def test_another_host_is_not_this_cloud(autojump_clock, url, error):
    asked = Call(service="compute", method="GET", url=url, path_label="/x")
    with pytest.raises(error):
        await SimWire(cloud_of()).send(asked, Progress())
