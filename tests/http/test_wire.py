"""The seam behind the road: what an httpx transport does, as a wire's answers and errors."""

import httpx
import pytest
import trio
from scripted import Scripted, a_call, a_road, in_turn

from trellis.errors import AnswerLostError, MisconfiguredError, UnreachableError
from trellis.http import Headers, Progress, Wire, WireAnswer, WireError
from trellis.http.httpx_wire import HttpxWire, wire_of
from trellis.http.wire import (
    NotSentError,
    UnwritableError,
    UselessHeaderError,
    UselessUrlError,
)


class Line:
    """A wire of one's own, as a test or a simulation has."""

    def __init__(self, *came):
        self.came = list(came)
        self.calls = []
        self.closed = 0

    async def send(self, call, progress: Progress) -> WireAnswer:
        await trio.lowlevel.checkpoint()
        self.calls.append(call)
        one = self.came.pop(0) if len(self.came) > 1 else self.came[0]
        if isinstance(one, WireError):
            raise one
        return one

    async def aclose(self) -> None:
        self.closed += 1


def test_a_wire_stays_what_it_is_and_a_transport_becomes_one():
    wire: Wire = Line()

    assert wire_of(wire) is wire
    assert isinstance(wire_of(in_turn(httpx.Response(200))), HttpxWire)


async def test_the_road_takes_a_wire_as_it_is(autojump_clock):
    line = Line(WireAnswer(200, {"X-OpenStack-Request-ID": "req-3"}, b"{}"))

    answer = await a_road(line).send(a_call(params={"limit": "3"}))

    assert (answer.status, answer.body, answer.request_id) == (200, b"{}", "req-3")
    assert [call.params for call in line.calls] == [{"limit": "3"}]


@pytest.mark.parametrize(
    ("broken", "error", "said"),
    [
        (NotSentError("refused"), UnreachableError, r"no connection to http://acme\.test: refused"),
        (WireError("reset"), AnswerLostError, "was lost: reset"),
        (UnwritableError("quotes a secret"), AnswerLostError, "could not be written as HTTP"),
        (UselessUrlError("no host"), MisconfiguredError, "URL cannot be used: no host"),
        (UselessHeaderError(), MisconfiguredError, "characters that HTTP does not know"),
    ],
)
async def test_what_a_wire_raises_is_read_by_the_road(autojump_clock, broken, error, said):
    with pytest.raises(error, match=said) as caught:
        await a_road(Line(broken)).send(a_call("POST"))

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("whole", [True, False])
async def test_an_answer_is_closed_however_its_body_ends(autojump_clock, whole):
    closed = []

    async def pieces():
        yield b"{"
        if not whole:
            raise WireError("cut")
        yield b"}"

    async def close():
        await trio.lowlevel.checkpoint()
        closed.append(1)

    line = Line(WireAnswer(200, {}, pieces(), close))
    if whole:
        assert (await a_road(line).send(a_call("POST"))).body == b"{}"
    else:
        with pytest.raises(AnswerLostError, match="cut"):
            await a_road(line).send(a_call("POST"))

    assert closed == [1]


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (httpx.ConnectError("x"), NotSentError),
        (httpx.ConnectTimeout("x"), NotSentError),
        (httpx.PoolTimeout("x"), NotSentError),
        (httpx.ProxyError("x"), NotSentError),
        (httpx.ReadError("x"), WireError),
        (httpx.RemoteProtocolError("x"), WireError),
        (httpx.LocalProtocolError("x"), UnwritableError),
        (httpx.UnsupportedProtocol("x"), UselessUrlError),
    ],
)
async def test_errors_of_httpx_become_those_of_wires(raised, error):
    with pytest.raises(WireError) as caught:
        await HttpxWire(in_turn(raised)).send(a_call(), Progress())

    assert type(caught.value) is error


async def test_a_header_that_http_does_not_know_is_nowhere_in_the_error():
    with pytest.raises(UselessHeaderError) as caught:
        await HttpxWire(in_turn(httpx.Response(200))).send(
            a_call(headers={"X-Auth-Token": "s\u20acret"}), Progress()
        )

    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_a_host_that_cannot_be_is_told_before_anything_is_sent():
    async def resolve(request):
        await request.extensions["trace"]("lane.wait.started", {})
        raise ValueError("label too long")

    with pytest.raises(UselessUrlError, match="label too long"):
        await HttpxWire(Scripted(resolve)).send(a_call(), Progress())


async def test_what_was_sent_is_known_from_the_trace():
    async def answer(request):
        trace = request.extensions["trace"]
        await trace("connection.connect_tcp.started", {})
        assert progress.certainly_not_sent
        await trace("http11.send_request_headers.started", {})
        assert not progress.certainly_not_sent
        return httpx.Response(200)

    progress = Progress()
    await HttpxWire(Scripted(answer)).send(a_call(), progress)


def test_headers_know_no_case():
    headers = Headers({"Retry-After": "5", "X-Twice": "1", "x-twice": "2"})

    assert headers["RETRY-AFTER"] == headers.get("retry-after") == "5"
    assert headers["X-Twice"] == "1, 2"
    assert "Location" not in headers
    assert headers.get("location") is None
    assert headers.get("Location", "") == ""
    assert dict(headers) == {"retry-after": "5", "x-twice": "1, 2"}
