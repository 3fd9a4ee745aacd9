"""What can befall a call, in process and over loopback HTTP alike."""

import email.utils
import json

import httpx
import pytest
import trio
from cloud_session import Session, cloud_of, served_session_of, session_of

from trellis.sim.cloud import Faults, Outage, OutageKind, RateLimit
from trellis.sim.cloud.rate_limits import Bucket
from trellis.sim.cloud.spec import RetryAfter
from trellis.sim.cloud.wire import Request

FOREVER = {"start": 0.0, "end": 1e9}


@pytest.fixture(params=["in process", "served"])
async def session(request, mock_clock):
    """A caller who has logged in; nothing is wrong yet."""
    mock_clock.autojump_threshold = 0.0 if request.param == "in process" else 0.01
    if request.param == "in process":
        async with session_of(cloud_of()) as session:
            session.client.timeout = None
            yield session
    else:
        async with served_session_of() as session:
            yield session


async def listed(session: Session) -> httpx.Response:
    return await session.call("GET", "compute", "/servers/detail")


def wrong(session: Session, **faults: float) -> None:
    session.cloud.change(faults=Faults(**faults))


def down(session: Session, kind: OutageKind, **fields: object) -> None:
    session.cloud.change(outages=(Outage(**FOREVER, kind=kind, **fields),))


def struck(session: Session, name: str) -> int:
    return session.cloud.ledger.struck[name]


class TestCalls:
    async def test_a_read_is_reset(self, session, mock_clock):
        """Also a login: nothing of what is only read or asked for is spared."""
        wrong(session, reset=1.0)

        with pytest.raises(httpx.TransportError):
            await listed(session)
        with pytest.raises(httpx.TransportError):
            await session.log_in()

        assert struck(session, "reset") == 2

    async def test_a_call_hangs_and_is_not_carried_out(self, session, mock_clock):
        wrong(session, hang_call=1.0)

        with trio.move_on_after(30.0) as scope:
            await session.create()

        assert scope.cancelled_caught
        assert session.cloud.servers() == ()
        assert struck(session, "hang-call") == 1

    async def test_an_answer_trickles(self, session, mock_clock):
        """Whole in the end, and each byte in good time."""
        wrong(session, trickle=1.0, trickle_s=500.0)
        began = trio.current_time()

        answer = await listed(session)

        assert answer.json() == {"servers": []}
        assert 499.0 <= trio.current_time() - began <= 520.0
        assert struck(session, "trickle") == 1

    async def test_an_answer_does_not_end(self, session, mock_clock):
        wrong(session, endless_answer=1.0)
        size = 0

        with trio.move_on_after(10.0) as scope:
            async with session.client.stream("GET", session.urls["compute"] + "/servers") as answer:
                async for piece in answer.aiter_raw():
                    size += len(piece)
                    if size > 3_000_000:
                        scope.cancel()

        assert size > 3_000_000
        assert struck(session, "endless-answer") == 1

    async def test_a_small_answer_unpacks_to_a_large_one(self, session, mock_clock):
        wrong(session, huge_answer=1.0)

        async with session.client.stream("GET", session.urls["compute"] + "/servers") as answer:
            packed = b"".join([piece async for piece in answer.aiter_raw()])

        assert answer.headers["Content-Encoding"] == "gzip"
        assert 10_000 < len(packed) < 1_000_000
        assert struck(session, "huge-answer") == 1

    async def test_an_answer_ends_early_and_says_that_it_is_whole(self, session, mock_clock):
        wrong(session, short_answer=1.0)

        answer = await listed(session)

        assert answer.status_code == 200
        with pytest.raises(json.JSONDecodeError):
            answer.json()
        assert struck(session, "short-answer") == 1

    async def test_an_answer_has_another_shape(self, session, mock_clock):
        """Many of them, all of them JSON."""
        wrong(session, odd_answer=1.0)

        answers = [await listed(session) for _ in range(40)]

        assert len({answer.content for answer in answers}) > 5
        assert all(answer.status_code == 200 for answer in answers)
        for answer in answers:
            answer.json()
        assert struck(session, "odd-answer") == 40

    async def test_headers_are_garbage(self, session, mock_clock):
        """HTTP all the same, and the body is as it should be."""
        wrong(session, garbage_headers=1.0)

        answer = await listed(session)

        assert answer.json() == {"servers": []}
        assert any(not value.isascii() for _, value in answer.headers.raw)
        assert answer.headers.get_list("x-twice") == ["1", "2"]
        assert struck(session, "garbage-headers") == 1

    async def test_a_call_is_sent_elsewhere(self, session, mock_clock):
        wrong(session, redirect=1.0)

        answer = await session.call("POST", "compute", "/servers", json=session.body())

        assert (answer.status_code, answer.headers["Location"][:8]) == (302, "https://")
        assert session.cloud.servers() == ()
        assert struck(session, "redirect") == 1

    async def test_a_good_token_is_refused_and_stays_good(self, session, mock_clock):
        wrong(session, refuse_token=1.0)
        refused = await listed(session)
        wrong(session)

        assert refused.status_code == 401
        assert (await listed(session)).status_code == 200
        assert struck(session, "refuse-token") == 1

    async def test_all_tokens_end_with_a_call(self, session, mock_clock):
        wrong(session, revoke_tokens=1.0)
        refused = await listed(session)
        wrong(session)
        after = await listed(session)
        await session.log_in()

        assert (refused.status_code, after.status_code) == (401, 401)
        assert (await listed(session)).status_code == 200
        assert struck(session, "revoke-tokens") == 1


class TestOutages:
    async def test_a_burst_of_errors(self, session, mock_clock):
        """Most calls are answered 500, 502 or 503, and half of the creates were carried out."""
        down(session, OutageKind.BURST)

        answers = [
            await session.call("POST", "compute", "/servers", json=session.body(f"n{number}"))
            for number in range(60)
        ]

        failed = [answer.status_code for answer in answers if answer.status_code >= 500]
        assert 45 <= len(failed) < 60
        assert set(failed) == {500, 502, 503}
        assert 20 < len(session.cloud.servers()) < 50
        assert struck(session, "error-burst") == len(failed)

    async def test_slow_answers_of_one_service(self, session, mock_clock):
        down(session, OutageKind.SLOW, services=("identity",), slow_s=40.0)
        began = trio.current_time()
        await listed(session)
        quick = trio.current_time() - began
        await session.log_in()

        assert quick < 1.0
        assert trio.current_time() - began >= 40.0
        assert struck(session, "slow-answers") == 1

    async def test_a_locked_account(self, session, mock_clock):
        """Logins are refused, and the token in hand is good."""
        down(session, OutageKind.LOCKED)
        with pytest.raises(KeyError):
            await session.log_in()

        assert (await listed(session)).status_code == 200
        session.cloud.set_outage(None)
        assert (await session.log_in()).status_code == 201
        assert struck(session, "account-locked") == 1

    async def test_a_moved_endpoint(self, session, mock_clock):
        """Compute answers where the new catalog says, with the servers that there were."""
        server_id = await session.create()
        old = session.urls["compute"]
        down(session, OutageKind.MOVED)
        left = await listed(session)
        await session.learn()

        assert (left.status_code, left.headers["Content-Type"]) == (404, "text/html")
        assert session.urls["compute"] != old
        assert [row["id"] for row in await session.rows()] == [server_id]
        session.cloud.set_outage(None)
        assert (await listed(session)).status_code == 404
        assert struck(session, "endpoint-moved") == 1

    async def test_a_changed_project(self, session, mock_clock):
        """The old token ends; in the new project there is nothing, and nothing can be made."""
        server_id = await session.create()
        down(session, OutageKind.PROJECT)
        ended = await listed(session)
        token = (await session.log_in()).json()["token"]
        rows = await session.rows()
        one = await session.call("GET", "compute", f"/servers/{server_id}")
        gone = await session.call("DELETE", "compute", f"/servers/{server_id}")
        made = await session.call("POST", "compute", "/servers", json=session.body())
        ports = await session.call("GET", "network", "/ports")

        assert token["project"]["id"] != session.cloud.project_id
        assert (ended.status_code, one.status_code, gone.status_code) == (401, 404, 404)
        assert (rows, ports.json(), made.status_code) == ([], {"ports": []}, 403)
        session.cloud.set_outage(None)
        assert (await listed(session)).status_code == 401
        await session.log_in()
        assert [row["id"] for row in await session.rows()] == [server_id]
        assert struck(session, "project-changed") == 1


class TestRateLimits:
    NOW = 1_800_000_000.0

    def refusal(self, **fields: object) -> dict[str, str]:
        """The headers of the second of two calls that came at once."""
        bucket = Bucket(RateLimit(calls=1.0, per_s=30.0, **fields))
        assert bucket.take(5.0, self.NOW) is None
        refused = bucket.take(5.0, self.NOW)
        assert refused is not None
        return dict(refused.headers)

    @pytest.mark.parametrize("status", [413, 429])
    @pytest.mark.parametrize(
        ("says", "said"),
        [("seconds", "30"), ("zero", "0"), ("negative", "-30"), ("years", "315360000"),
         ("words", "in a while"), ("past", "Tue, 17 Jan 2017"), ("future", "Mon, 12 Jan 2037")],
    )  # fmt: skip
    def test_each_says_it_in_its_words(self, status, says, said):
        headers = self.refusal(status=status, says=RetryAfter(says))

        assert said in headers["Retry-After"]
        assert headers["Retry-After"].endswith(" GMT") is (says in ("past", "future"))

    def test_a_date_is_that_of_the_moment(self):
        headers = self.refusal(says=RetryAfter.DATE)

        when = email.utils.parsedate_to_datetime(headers["Retry-After"]).timestamp()
        sent = email.utils.parsedate_to_datetime(headers["Date"]).timestamp()
        assert (when - sent, sent) == (30.0, self.NOW)

    def test_what_is_absurd_changes_each_time(self):
        bucket = Bucket(RateLimit(calls=1.0, per_s=30.0, says=RetryAfter.ABSURD))
        answers = [bucket.take(5.0, self.NOW) for _ in range(7)]

        assert len({a.headers["Retry-After"] for a in answers if a is not None}) == 6
        assert bucket.faults == ("rate-limits", "absurd-retry-after")

    def test_a_limit_may_say_nothing(self):
        assert "Retry-After" not in self.refusal(retry_after=False)
        assert Bucket(RateLimit(calls=1.0)).concerns(Request("GET", "/x"), "compute")
