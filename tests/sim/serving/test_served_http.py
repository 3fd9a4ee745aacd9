"""The wire: HTTP as clients speak it, and the faults that only a wire has."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import trio
from served import ANY, client_of, clouds_of, spec_of

from trellis.errors import ConfigError
from trellis.sim.cloud import Latency, Lognormal, Response
from trellis.sim.cloud.wire import Request, answer
from trellis.sim.serving.http import Answer, Application, listener, serve_http


@asynccontextmanager
async def application(app: Application) -> AsyncIterator[str]:
    """Serve an application; gives its URL."""
    bound = listener(ANY)
    host, port = bound.socket.getsockname()[:2]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, bound, app)
        yield f"http://{host}:{port}"
        nursery.cancel_scope.cancel()


async def echo(request: Request) -> Answer:
    told = {"method": request.method, "path": request.path, "query": request.query}
    return answer(200, {**told, "body": request.body.decode(), "headers": dict(request.headers)})


async def said(url: str, data: bytes) -> bytes:
    """Everything that comes back for these bytes, until the server hangs up."""
    port = int(url.rpartition(":")[2])
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(data)
        got = b""
        while more := await stream.receive_some(65536):
            got += more
        return got


async def test_a_call_arrives_as_it_was_sent():
    """Method, path as it is on the wire, query, header names in lower case, body."""
    async with application(echo) as url, client_of() as http:
        told = (
            await http.put(f"{url}/a%20b/c?d=e&f", content=b"hello", headers={"X-Y": "Z"})
        ).json()

    assert (told["method"], told["path"], told["query"]) == ("PUT", "/a%20b/c", "d=e&f")
    assert told["body"] == "hello"
    assert told["headers"]["x-y"] == "Z"


async def test_calls_share_a_connection_and_run_at_once():
    """One connection takes call after call; a slow call holds up no other connection."""
    ports: list[int] = []
    release = trio.Event()

    async def slow(request: Request) -> Answer:
        if request.path == "/slow":
            await release.wait()
        return answer(200, {})

    async with application(slow) as url, client_of() as http, trio.open_nursery() as nursery:
        nursery.start_soon(http.get, f"{url}/slow")
        for _ in range(3):
            quick = await http.get(f"{url}/quick")
            ports.append(quick.extensions["network_stream"].get_extra_info("client_addr")[1])
        release.set()

    assert len(set(ports)) == 1


async def test_head_has_the_length_and_no_body():
    """As RFC 9110 has it, and the connection stays good."""
    async with application(echo) as url, client_of() as http:
        head = await http.head(f"{url}/x")
        again = await http.get(f"{url}/x")

    assert head.content == b""
    assert int(head.headers["content-length"]) > 50
    assert again.status_code == 200


async def test_chunked_and_waiting_bodies_are_taken():
    """A body without a length, and one whose client waits for leave to send it."""
    chunked = (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        b"5\r\nhello\r\n0\r\n\r\n"
    )
    waiting = (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n"
        b"Connection: close\r\n\r\n"
    )
    async with application(echo) as url:
        first = await said(url, chunked)
        stream = await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))
        async with stream:
            await stream.send_all(waiting)
            leave = await stream.receive_some(1000)
            await stream.send_all(b"hi")
            second = await stream.receive_some(65536)

    assert b'"body":"hello"' in first
    assert leave.startswith(b"HTTP/1.1 100")
    assert b'"body":"hi"' in second


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 200_000 + b"\r\n\r\n", b"431"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 17_000_000,
         b"413"),
    ],
    ids=["no HTTP", "no host", "endless header", "endless body"],
)  # fmt: skip
async def test_what_is_no_call_is_refused_and_the_server_goes_on(sent, status):
    """The client is told and hung up on; the next one is served."""
    async with application(echo) as url, client_of() as http:
        try:
            got = await said(url, sent)
        except trio.BrokenResourceError:
            got = b"HTTP/1.1 " + status  # it was still sending when the server hung up
        after = await http.get(url)

    assert got.startswith(b"HTTP/1.1 " + status)
    assert after.status_code == 200


async def test_a_bug_of_the_application_costs_one_call_only(caplog):
    """500 for that call, and the log has the traceback."""

    async def broken(request: Request) -> Answer:
        if request.path == "/bug":
            raise ZeroDivisionError("planted")
        return Response(204)

    async with application(broken) as url, client_of() as http:
        failed = await http.get(f"{url}/bug")
        after = await http.get(f"{url}/fine")

    assert (failed.status_code, after.status_code) == (500, 204)
    assert "planted" in caplog.text


async def test_a_port_that_is_taken_is_named():
    """With what to do about it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(ConfigError, match=f"127.0.0.1:{port}.*stop what listens there"):
            listener(ANY.from_text(f"127.0.0.1:{port}"))


# --------------------------------------------------------------------- faults on the wire


async def test_an_outage_that_refuses_breaks_the_connection(tmp_path):
    """At once, and nothing was carried out; over when it is told to be."""
    async with clouds_of(tmp_path) as clouds:
        account = await clouds.account()
        before = (await clouds.look("one/calls"))["total"]
        await clouds.say("one/outage", kind="refuse")
        with pytest.raises(httpx.NetworkError):
            await account.call("GET", "/compute/v2.1/servers")
        during = (await clouds.look("one/calls"))["total"]
        await clouds.say("one/outage", kind="none")
        after = await account.call("GET", "/compute/v2.1/servers")

    assert (before, during) == (1, 1)
    assert after.status_code == 200


async def test_an_outage_that_hangs_never_answers(tmp_path):
    """The connection stands and nothing comes, until the client leaves."""
    async with clouds_of(tmp_path) as clouds:
        account = await clouds.account()
        await clouds.say("one/outage", kind="hang")
        with pytest.raises(httpx.ReadTimeout):
            await account.call("GET", "/compute/v2.1/servers", timeout=0.1)


async def test_a_gateway_in_between_answers_in_html(tmp_path):
    """502, as a proxy words it."""
    async with clouds_of(tmp_path) as clouds:
        account = await clouds.account()
        await clouds.say("one/outage", kind="gateway")
        answered = await account.call("GET", "/compute/v2.1/servers")

    assert (answered.status_code, answered.headers["content-type"]) == (502, "text/html")


async def test_a_lost_answer_was_carried_out_and_the_connection_breaks(tmp_path):
    """The server is there; whoever asked for it saw a reset, or nothing at all."""
    async with clouds_of(tmp_path) as clouds:
        account = await clouds.account()
        await clouds.say("one/faults", lose_answer=1.0)
        flavors = (await account.call("GET", "/compute/v2.1/flavors")).json()["flavors"]
        images = (await account.call("GET", "/image/v2/images")).json()["images"]
        body = {"name": "n", "flavorRef": flavors[0]["id"], "imageRef": images[0]["id"]}
        seen = set()
        for _ in range(20):
            try:
                await account.call(
                    "POST", "/compute/v2.1/servers", json={"server": body}, timeout=0.05
                )
            except httpx.TransportError as error:
                seen.add(type(error))
        there = len((await clouds.look("one/servers"))["servers"])

    assert seen == {httpx.ReadTimeout, httpx.ReadError}
    assert there == 20


async def test_an_answer_is_cut_in_its_middle(tmp_path):
    """The length promises more than comes; httpx says so."""
    async with clouds_of(tmp_path) as clouds:
        account = await clouds.account()
        await clouds.say("one/faults", **{"cut-answer": 1.0})
        with pytest.raises(httpx.TransportError):
            await account.call("GET", "/compute/v2.1/flavors/detail")


async def test_a_page_comes_where_json_was_due(tmp_path):
    """200 and HTML, as from a captive portal."""
    async with clouds_of(tmp_path) as clouds:
        account = await clouds.account()
        await clouds.say("one/faults", html_answer=1.0)
        answered = await account.call("GET", "/compute/v2.1/flavors/detail")

    assert (answered.status_code, answered.headers["content-type"]) == (200, "text/html")


async def test_calls_take_their_time(tmp_path, mock_clock):
    """The latency of the spec passes before the answer comes."""
    mock_clock.autojump_threshold = 0.01
    slow = Latency.of(Lognormal(7.0, 7.0))
    async with clouds_of(tmp_path, spec_of(latency=slow)) as clouds:
        clouds.http.timeout = httpx.Timeout(None)
        began = trio.current_time()
        await clouds.account()

    assert trio.current_time() - began == pytest.approx(7.0)


async def test_a_cloud_that_is_not_there_is_404(tmp_path):
    """As a web server says it, in HTML."""
    async with clouds_of(tmp_path) as clouds:
        answered = await clouds.http.get(f"{clouds.served.url}/two/identity/v3")

    assert answered.status_code == 404
