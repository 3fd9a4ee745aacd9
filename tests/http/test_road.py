"""The road: budgets, retries, errors, counts, and what it teaches the buckets."""

import gc
import ssl
import weakref

import httpx
import pytest
import trio
from scripted import START, Scripted, a_call, a_road, in_turn

from trellis.errors import AnswerLostError, MisconfiguredError, UnreachableError
from trellis.http import CallKey, Limit, RatePlan, Verb

REFUSED = httpx.ConnectError("[Errno 111] Connection refused")


def ok(**kwargs) -> httpx.Response:
    return httpx.Response(200, json={"servers": []}, **kwargs)


async def test_answer_carries_status_body_and_request_id(autojump_clock):
    """Whatever the status, the whole answer comes back."""
    transport = in_turn(
        httpx.Response(404, headers={"X-Openstack-Request-Id": "req-9"}, content=b"{}")
    )

    answer = await a_road(transport).send(a_call(params={"limit": "5"}))

    assert (answer.status, answer.request_id, answer.body) == (404, "req-9", b"{}")
    assert answer.call == "GET compute /servers/{id}"
    assert str(transport.requests[0].url).endswith("/servers/17?limit=5")


@pytest.mark.parametrize("status", [502, 503, 504, 429])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_safe_call_is_repeated(autojump_clock, method, status):
    """A passing trouble of the cloud is not the caller's."""
    transport = in_turn(httpx.Response(status), ok())

    answer = await a_road(transport).send(a_call(method))

    assert answer.status == 200
    assert len(transport.requests) == 2


@pytest.mark.parametrize(
    "trouble", [REFUSED, httpx.ReadError("reset"), httpx.RemoteProtocolError("closed")]
)
async def test_safe_call_is_repeated_after_a_broken_connection(autojump_clock, trouble):
    """Whether it was carried out or not does not matter for a GET."""
    transport = in_turn(trouble, ok())

    answer = await a_road(transport).send(a_call())

    assert answer.status == 200


@pytest.mark.parametrize("status", [400, 404, 409, 500])
async def test_answers_that_mean_something_are_not_repeated(autojump_clock, status):
    """Asking again would give the same."""
    transport = in_turn(httpx.Response(status), ok())

    answer = await a_road(transport).send(a_call())

    assert answer.status == status


@pytest.mark.parametrize("status", [429, 502, 503])
async def test_post_is_sent_once(autojump_clock, status):
    """A second POST may make a second server."""
    transport = in_turn(httpx.Response(status), ok())

    answer = await a_road(transport).send(a_call("POST", content=b"{}"))

    assert answer.status == status
    assert len(transport.requests) == 1


async def test_three_tries_are_the_most(autojump_clock):
    """Then the last outcome is the answer."""
    transport = in_turn(httpx.Response(503))

    answer = await a_road(transport).send(a_call())

    assert answer.status == 503
    assert len(transport.requests) == 3


async def test_waits_between_tries_grow(autojump_clock):
    """A cloud in trouble is left alone longer each time."""
    transport = in_turn(httpx.Response(503))

    await a_road(transport).send(a_call())

    first, second, third = transport.times
    assert 0.25 <= second - first <= 0.75
    assert 0.5 <= third - second <= 1.5


async def test_retry_after_within_the_budget_is_waited_for(autojump_clock):
    """The cloud's word goes before our own waits."""
    transport = in_turn(httpx.Response(429, headers={"Retry-After": "20"}), ok())

    answer = await a_road(transport).send(a_call())

    assert answer.status == 200
    assert transport.times[1] - transport.times[0] >= 20.0


async def test_retry_after_beyond_the_budget_is_the_callers(autojump_clock):
    """The answer comes back at once, with its delay."""
    transport = in_turn(httpx.Response(429, headers={"Retry-After": "90"}), ok())

    answer = await a_road(transport).send(a_call(budget_s=30.0))

    assert (answer.status, answer.retry_after_s) == (429, 90.0)
    assert trio.current_time() < 1.0


async def test_connection_refused_is_unreachable(autojump_clock):
    """Certainly not carried out, and the message names the host."""
    with pytest.raises(
        UnreachableError, match=r"acme: POST compute .*no connection to http://acme"
    ):
        await a_road(in_turn(REFUSED)).send(a_call("POST"))


async def test_a_call_that_fails_leaves_nothing_to_collect(autojump_clock):
    """Its error goes with its frames, and with what they hold, as soon as it has been handled."""
    gc.disable()
    try:
        try:
            await a_road(in_turn(REFUSED)).send(a_call("POST"))
        except UnreachableError as error:
            left = weakref.ref(error)
        assert left() is None
    finally:
        gc.enable()


async def test_untrusted_certificate_names_the_remedy(autojump_clock):
    """The operator reads which setting to change."""
    error = httpx.ConnectError("failed")
    error.__cause__ = ssl.SSLCertVerificationError(1, "self-signed certificate")

    with pytest.raises(UnreachableError, match=r"certificate.*cacert"):
        await a_road(in_turn(error)).send(a_call("POST"))


async def test_connection_lost_after_sending_is_answer_lost(autojump_clock):
    """The server may have been made."""
    with pytest.raises(AnswerLostError):
        await a_road(in_turn(httpx.ReadError("reset"))).send(a_call("POST"))


async def hang(request: httpx.Request) -> httpx.Response:
    await trio.sleep_forever()


async def test_budget_used_up_after_sending_is_answer_lost(autojump_clock):
    """A transport that reports nothing may have sent the call."""
    with pytest.raises(AnswerLostError, match="within 30 s"):
        await a_road(Scripted(hang)).send(a_call("POST", budget_s=30.0))

    assert trio.current_time() == 30.0


async def test_budget_used_up_before_sending_is_unreachable(autojump_clock):
    """A transport that waits for a lane says so, and then nothing was sent."""

    async def wait_for_lane(request: httpx.Request) -> httpx.Response:
        await request.extensions["trace"]("lane.wait.started", {})
        return await hang(request)

    with pytest.raises(UnreachableError):
        await a_road(Scripted(wait_for_lane)).send(a_call("POST", budget_s=30.0))


async def test_budget_used_up_in_a_body_is_answer_lost(autojump_clock):
    """Headers alone are no answer."""

    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self):
            yield b'{"servers": ['
            await trio.sleep_forever()

    async def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Endless())

    with pytest.raises(AnswerLostError):
        await a_road(Scripted(answer)).send(a_call(budget_s=10.0))


async def test_budget_holds_for_all_tries_together(autojump_clock):
    """A hung GET takes its budget and not three times it."""
    with pytest.raises(AnswerLostError):
        await a_road(Scripted(hang)).send(a_call(budget_s=30.0))

    assert trio.current_time() == 30.0


async def test_waiting_for_the_turn_is_not_charged(autojump_clock):
    """The budget is the cloud's time, not the queue's."""
    road = a_road(in_turn(ok()), plan=RatePlan(every=Limit(per_s=0.01, burst=1)))
    await road.send(a_call(budget_s=5.0))

    answer = await road.send(a_call(budget_s=5.0))

    assert answer.status == 200
    assert trio.current_time() == pytest.approx(100.0)


async def test_turn_taken_before_is_not_taken_again(autojump_clock):
    """An intent is recorded between the turn and the call, and the call then goes at once."""
    road = a_road(in_turn(ok()), plan=RatePlan(every=Limit(per_s=0.01, burst=1)))
    await road.turn("compute", Verb.CREATE)

    await road.send(a_call("POST", turn_taken=True))

    assert trio.current_time() == 0.0


async def test_redirect_is_refused_and_names_the_host(autojump_clock):
    """Following it would carry the token to whoever is there."""
    transport = in_turn(
        httpx.Response(301, headers={"Location": "https://user:pw@evil.test/v2.1/servers"})
    )

    with pytest.raises(MisconfiguredError, match=r"redirects to evil\.test") as caught:
        await a_road(transport).send(a_call())

    assert "pw" not in str(caught.value)
    assert len(transport.requests) == 1


@pytest.mark.parametrize("url", ["acme.test/v2.1", "ftp://acme.test/", "http://acme.test:port/"])
async def test_useless_url_is_misconfigured(autojump_clock, url):
    """An override without scheme is a fault of the configuration."""

    async def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.UnsupportedProtocol("no scheme")

    with pytest.raises(MisconfiguredError):
        await a_road(Scripted(refuse)).send(a_call(url=url))


async def test_429_slows_the_bucket_of_its_verb(autojump_clock):
    """The next create waits as long as the cloud asked."""
    transport = in_turn(httpx.Response(429, headers={"Retry-After": "25"}), ok())
    road = a_road(transport)
    await road.send(a_call("POST"))

    await road.send(a_call("POST"))

    assert trio.current_time() == pytest.approx(25.0)


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "0"}])
async def test_413_without_delay_that_names_a_quota_slows_nothing(autojump_clock, headers):
    """Waiting does not help."""
    body = {"overLimit": {"code": 413, "message": "Quota exceeded for instances"}}
    transport = in_turn(httpx.Response(413, headers=headers, json=body), ok())
    road = a_road(transport)
    await road.send(a_call("POST"))

    await road.send(a_call("POST"))

    assert trio.current_time() == 0.0


@pytest.mark.parametrize("said", ["", "0", "-7", "soon", "Thu, 01 Jan 1970 00:00:00 GMT"])
async def test_413_that_names_no_quota_is_a_rate_limit(autojump_clock, said):
    """Without a delay that can be used, ours begins: the call would be repeated at once."""
    transport = in_turn(httpx.Response(413, headers={"Retry-After": said} if said else {}), ok())
    road = a_road(transport)
    await road.send(a_call("POST"))

    await road.send(a_call("POST"))

    assert trio.current_time() >= 1.0


async def test_413_with_delay_is_a_rate_limit(autojump_clock):
    """As Rackspace sends it."""
    transport = in_turn(httpx.Response(413, headers={"Retry-After": "40"}), ok())
    road = a_road(transport)
    await road.send(a_call("POST"))

    await road.send(a_call("POST"))

    assert trio.current_time() == pytest.approx(40.0)


async def test_day_limit_remembers_stored_intents(autojump_clock):
    """A restart gives no new thousand."""
    plan = RatePlan(verbs={("compute", Verb.CREATE): Limit(per_day=3)})
    road = a_road(in_turn(ok()), plan=plan)
    road.note_past("compute", Verb.CREATE, [START - 86_000, START - 10, START - 5])

    await road.send(a_call("POST"))

    assert trio.current_time() == pytest.approx(400.0)


async def test_a_learnt_limit_is_kept_without_storms(autojump_clock):
    """A cloud that allows 20 calls a second is asked little more than that."""
    window: list[float] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        now = trio.current_time()
        window[:] = [at for at in window if at > now - 1.0]
        await trio.sleep(0.1)
        if len(window) >= 20:
            return httpx.Response(429, headers={"Retry-After": "1"})
        window.append(now)
        return httpx.Response(200, json={})

    transport = Scripted(answer)
    road = a_road(transport)
    failed: list[int] = []

    async def create() -> None:
        answer = await road.send(a_call("POST"))
        if answer.status != 200:
            failed.append(answer.status)

    async with trio.open_nursery() as nursery:
        for _ in range(1000):
            nursery.start_soon(create)

    assert len(failed) < 60
    assert trio.current_time() < 130


async def test_calls_beyond_the_lanes_wait_for_their_turn(autojump_clock):
    """The transport never has more of them than it has connections."""

    async def answer(request: httpx.Request) -> httpx.Response:
        await trio.sleep(1.0)
        return httpx.Response(200)

    transport = Scripted(answer)
    road = a_road(transport, at_once=4)
    async with trio.open_nursery() as nursery:
        for _ in range(40):
            nursery.start_soon(road.send, a_call())

    assert transport.most_under_way == 4
    assert trio.current_time() == pytest.approx(10.0)


async def test_cancelled_calls_make_room(autojump_clock):
    """Cancelling those in flight leaves the road as it was."""
    transport = Scripted(hang)
    road = a_road(transport, at_once=2)
    with trio.move_on_after(5.0):
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(road.send, a_call())
    transport._answer = in_turn(ok())._answer

    answer = await road.send(a_call())

    assert answer.status == 200
    assert road.waiting("compute") == 0
    assert trio.current_time() == 5.0


async def test_counts_tell_calls_and_seconds_by_kind(autojump_clock):
    """Each try counts, under its outcome."""

    async def answer(request: httpx.Request) -> httpx.Response:
        await trio.sleep(2.0)
        if len(transport.requests) == 1:
            raise REFUSED
        return httpx.Response(503 if len(transport.requests) == 2 else 200)

    transport = Scripted(answer)
    road = a_road(transport)

    await road.send(a_call())

    found = {
        key.outcome: (count.calls, round(count.seconds, 6)) for key, count in road.counts.items()
    }
    assert found == {"unreachable": (1, 2.0), "5xx": (1, 2.0), "2xx": (1, 2.0)}
    assert CallKey(service="compute", method="GET", path_label="/servers/{id}", outcome="2xx") in (
        road.counts
    )


async def test_roads_side_by_side_share_counts_and_turns(autojump_clock):
    """Identity has wires of its own and no limits of its own."""
    road = a_road(in_turn(ok()), plan=RatePlan(every=Limit(per_s=0.1, burst=1)))
    other = road.beside(in_turn(ok()))

    await road.send(a_call())
    await other.send(a_call())

    assert trio.current_time() == pytest.approx(10.0)
    assert sum(count.calls for count in road.counts.values()) == 2
