import json
import random
from datetime import datetime

import httpx
import pytest
import trio
import yaml
from vcr.cassette import Cassette

from trellis.testing.cassette import (
    CassetteError,
    Provenance,
    Recording,
    open_cassette,
    read_provenance,
)

REAL = "http://127.0.0.1:15000"
FAKE = "https://identity.cloud.example"
TOKEN = "gAAAAAB" + "x7Q9" * 12
HEAD = Provenance(
    story="A login.", source="recorded", cloud="a test", date="2026-11-23", again="run the test"
)


def login_body(password="hunter2"):
    user = {"name": "ci", "domain": {"name": "Default"}, "password": password}
    return {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}


class FakeCloud(httpx.AsyncBaseTransport):
    """A keystone and a nova in a few lines; counts what it is asked."""

    def __init__(self):
        self.asked = []
        self.polls = 0

    async def handle_async_request(self, request):
        await trio.lowlevel.checkpoint()
        body = b"".join([part async for part in request.stream])
        self.asked.append((request.method, request.url.path, body, dict(request.headers)))
        if request.url.path == "/v3/auth/tokens":
            times = {
                "issued_at": "2026-11-23T10:00:00.000000Z",
                "expires_at": "2026-11-23T11:30:00.000000Z",
            }
            catalog = [{"type": "compute", "endpoints": [{"url": f"{REAL}/nova"}]}]
            return httpx.Response(
                201,
                json={"token": {**times, "catalog": catalog, "methods": ["password"]}},
                headers={"X-Subject-Token": TOKEN, "Date": "today"},
            )
        if request.url.path == "/servers/1":
            self.polls += 1
            state = "BUILD" if self.polls < 3 else "ACTIVE"
            return httpx.Response(200, json={"server": {"status": state, "adminPass": "Zx81"}})
        if request.method == "PUT":
            return httpx.Response(204)
        return httpx.Response(404, json={"itemNotFound": {"message": "no"}})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cloud" / "story.yaml"


@pytest.fixture
def record(path):
    """Run a conversation against the fake cloud and keep it as a cassette."""

    async def record(talk, cloud=None, **options):
        recording = Recording(
            inner=cloud or FakeCloud(), provenance=HEAD, stand_ins={REAL: FAKE}, **options
        )
        with open_cassette(path, recording=recording) as transport:
            async with httpx.AsyncClient(transport=transport, base_url=REAL) as client:
                return await talk(client)

    return record


@pytest.fixture
def replay(path):
    async def replay(talk):
        with open_cassette(path) as transport:
            async with httpx.AsyncClient(transport=transport, base_url=FAKE) as client:
                return await talk(client)

    return replay


async def login(client):
    return await client.post("/v3/auth/tokens", json=login_body())


async def poll_three_times(client):
    return [(await client.get("/servers/1")).json()["server"]["status"] for _ in range(3)]


class TestReplay:
    async def test_answers_come_as_recorded_without_the_cloud(self, record, replay):
        """Status, headers and body are those of the recording."""
        await record(login)

        answer = await replay(login)

        assert answer.status_code == 201
        assert answer.reason_phrase == "Created"
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["token"]["methods"] == ["password"]

    async def test_equal_requests_are_answered_in_order(self, record, replay):
        """A server that was seen BUILD, BUILD, ACTIVE is seen so again."""
        assert await record(poll_three_times) == ["BUILD", "BUILD", "ACTIVE"]

        assert await replay(poll_three_times) == ["BUILD", "BUILD", "ACTIVE"]

    async def test_two_open_cassettes_stay_apart(self, record, replay, path, tmp_path):
        """Each transport answers from its own file, though tasks interleave."""
        await record(poll_three_times)
        other = tmp_path / "other.yaml"
        other.write_text(path.read_text().replace("ACTIVE", "ERROR"))
        seen = {}

        async def talk(which):
            with open_cassette(which) as transport:
                async with httpx.AsyncClient(transport=transport, base_url=FAKE) as client:
                    seen[which] = await poll_three_times(client)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk, path)
            nursery.start_soon(talk, other)

        assert seen[path][-1] == "ACTIVE"
        assert seen[other][-1] == "ERROR"

    async def test_json_matches_whatever_the_order_of_its_keys(self, record, replay):
        """Bodies are compared as JSON, not as text."""

        async def put(client, body):
            headers = {"content-type": "application/json"}
            return await client.put("/x", content=body, headers=headers)

        await record(lambda client: put(client, b'{"a": 1, "b": 2}'))

        assert (await replay(lambda client: put(client, b'{"b":2,"a":1}'))).status_code == 204


class TestDisagreement:
    @pytest.mark.parametrize(
        ("ask", "differs"),
        [
            (lambda client: client.get("/servers/2"), "differs in path"),
            (lambda client: client.delete("/servers/1"), "differs in method"),
            (lambda client: client.get("/servers/1?limit=5"), "differs in query"),
            (lambda client: client.get("http://evil.example/servers/1"), "differs in host"),
        ],
    )
    async def test_an_unexpected_request_shows_the_nearest(self, record, replay, ask, differs):
        """The error names what was asked, the nearest recorded request and the difference."""
        await record(lambda client: client.get("/servers/1"))

        with pytest.raises(CassetteError, match="not recorded") as caught:
            await replay(ask)

        assert f"nearest recorded: GET {FAKE}/servers/1" in str(caught.value)
        assert differs in str(caught.value)
        assert "record it again: run the test" in str(caught.value)

    async def test_another_body_is_unexpected(self, record, replay):
        """What is sent counts, except for secrets."""
        await record(lambda client: client.post("/servers", json={"name": "a"}))

        with pytest.raises(CassetteError, match="differs in body"):
            await replay(lambda client: client.post("/servers", json={"name": "b"}))

    async def test_once_too_often_is_unexpected(self, record, replay):
        """A recorded answer is given as often as it was recorded, no more."""
        await record(lambda client: client.get("/servers/1"))

        with pytest.raises(CassetteError, match="not as often"):
            await replay(poll_three_times)

    async def test_an_unexpected_request_fails_although_it_is_swallowed(self, record, replay):
        """Code that takes the error for a fault of the cloud does not hide it."""

        async def careless(client):
            await client.get("/servers/1")
            try:
                await client.get("/nothing")
            except AssertionError:
                return "fine"

        await record(lambda client: client.get("/servers/1"))

        with pytest.raises(CassetteError, match="/nothing"):
            await replay(careless)

    async def test_what_is_not_asked_for_fails_at_the_end(self, record, replay):
        """Recorded requests that a test does not make are named."""
        await record(poll_three_times)

        with pytest.raises(CassetteError, match=f"never asked for:\n  GET {FAKE}/servers/1$"):
            await replay(lambda client: _twice(client))

    async def test_the_error_of_the_test_itself_comes_first(self, record, replay):
        """A test that fails on its own is not reported as one that asked too little."""
        await record(poll_three_times)

        async def fails(client):
            raise KeyError("its own")

        with pytest.raises(KeyError, match="its own"):
            await replay(fails)

    async def test_a_missing_file_records_nothing(self, replay):
        """Replay is the default, also where there is no cassette yet."""
        with pytest.raises(CassetteError, match="no such cassette"):
            await replay(login)

    @pytest.mark.parametrize("line", ["source", "cloud", "date", "again", "story"])
    async def test_a_file_without_its_head_is_refused(self, record, replay, path, line):
        """Each line of the head is required, and the error names the one that lacks."""
        await record(login)
        text = path.read_text()
        path.write_text("".join(x for x in text.splitlines(True) if not x.startswith(f"# {line}:")))

        with pytest.raises(CassetteError, match=f"# {line}: "):
            await replay(login)

    async def test_a_source_is_recorded_or_documented(self, record, path):
        """A source that is neither is refused."""
        await record(login)
        path.write_text(path.read_text().replace("source: recorded", "source: invented"))

        with pytest.raises(CassetteError, match="'invented'"):
            read_provenance(path)


async def _twice(client):
    await client.get("/servers/1")
    await client.get("/servers/1")


class TestRecording:
    async def test_no_secret_is_in_the_file_and_the_live_answer_keeps_it(self, record, path):
        """Passwords and tokens are scrubbed in the file only."""

        async def talk(client):
            answer = await login(client)
            headers = {"X-Auth-Token": answer.headers["X-Subject-Token"]}
            return answer, await client.get("/servers/1", headers=headers)

        answer, server = await record(talk)

        text = path.read_text()
        assert answer.headers["X-Subject-Token"] == TOKEN
        assert server.json()["server"]["adminPass"] == "Zx81"
        assert not [word for word in ("hunter2", TOKEN, "Zx81") if word in text]
        assert text.count("scrubbed-token-1") == 2

    async def test_different_tokens_keep_different_names(self, record, replay):
        """The story of an expired token can be told without either token."""
        cloud = FakeCloud()
        answers = iter(["gAAAAAfirst-of-the-two-tokens", "gAAAAAsecond-of-the-two-tokens"])

        async def handle(request):
            return httpx.Response(201, json={}, headers={"X-Subject-Token": next(answers)})

        cloud.handle_async_request = handle

        async def talk(client):
            return [(await login(client)).headers["X-Subject-Token"] for _ in range(2)]

        await record(talk, cloud)

        assert await replay(talk) == ["scrubbed-token-1", "scrubbed-token-2"]

    async def test_a_token_keeps_its_life_and_ends_far_in_the_future(self, record, replay):
        """expires_at moves to 2099, and stays as long after issued_at as it was."""
        await record(login)

        token = (await replay(login)).json()["token"]

        ends = datetime.fromisoformat(token["expires_at"])
        assert ends.year == 2099
        assert (ends - datetime.fromisoformat(token["issued_at"])).total_seconds() == 5400

    async def test_real_origins_are_replaced_everywhere(self, record, replay, path):
        """Neither the URLs asked nor the catalog show where the cloud was."""
        await record(login)

        token = (await replay(login)).json()["token"]

        assert token["catalog"][0]["endpoints"][0]["url"] == f"{FAKE}/nova"
        assert "127.0.0.1" not in path.read_text()

    async def test_a_shape_that_was_not_scrubbed_is_not_written(self, record, path):
        """A token in an unexpected place stops the recording; no file is made."""

        async def talk(client):
            await client.put("/x", json={"note": TOKEN})

        with pytest.raises(CassetteError, match=r"not written.*line \d+: a Fernet token") as caught:
            await record(talk)

        assert not path.exists()
        assert TOKEN not in str(caught.value)

    async def test_a_known_secret_is_not_written(self, record, path):
        """A password without a shape is known to the recorder by value."""
        with pytest.raises(CassetteError, match="known secrets") as caught:
            await record(
                lambda client: client.put("/x", json={"n": "swordfish"}), secrets=("swordfish",)
            )

        assert not path.exists()
        assert "swordfish" not in str(caught.value)

    async def test_nothing_is_written_when_the_conversation_fails(self, record, path):
        """Half a story is none."""

        async def fails(client):
            await login(client)
            raise KeyError("halfway")

        with pytest.raises(KeyError):
            await record(fails)

        assert not path.exists()

    async def test_bodies_are_readable_and_the_head_comes_first(self, record, path):
        """A reviewer sees the head, and JSON line by line."""
        await record(login)

        lines = path.read_text().splitlines()
        assert lines[0] == "# story: A login."
        assert any(line.strip() == '"methods": [' for line in lines)

    async def test_vcrpy_reads_the_file(self, record, path):
        """The format is vcrpy's own, with its version number."""
        await record(poll_three_times)

        assert yaml.safe_load(path.read_text())["version"] == 1
        loaded = Cassette.load(path=str(path))
        assert [request.method for request in loaded.requests] == ["GET"] * 3
        bodies = [json.loads(response["body"]["string"]) for response in loaded.responses]
        assert bodies[2]["server"]["status"] == "ACTIVE"

    async def test_the_same_conversation_makes_the_same_file(self, record, path):
        """Recording again changes nothing but what the cloud says differently."""
        await record(login)
        first = path.read_bytes()
        await record(login)

        assert path.read_bytes() == first

    async def test_a_large_upload_leaves_a_digest(self, record, replay, path):
        """An image streams through; the cassette keeps its digest, which still tells it apart."""
        image = random.Random(1).randbytes(200_000)

        async def parts(content):
            for start in range(0, len(content), 65_536):
                yield content[start : start + 65_536]

        cloud = FakeCloud()
        await record(lambda client: client.put("/file", content=parts(image)), cloud)

        assert cloud.asked[0][2] == image
        assert path.stat().st_size < 5_000
        assert (
            await replay(lambda client: client.put("/file", content=parts(image)))
        ).status_code == 204
        with pytest.raises(CassetteError, match="differs in body"):
            await replay(lambda client: client.put("/file", content=parts(image[:-1])))

    async def test_an_answer_streams_while_it_is_recorded(self, record, replay):
        """The first part of an answer is there before the last was sent."""
        cloud = FakeCloud()
        gate = trio.Event()

        class Slow(httpx.AsyncByteStream):
            async def __aiter__(self):
                yield b"first"
                await gate.wait()
                yield b"last"

        async def handle(request):
            return httpx.Response(200, stream=Slow())

        cloud.handle_async_request = handle

        async def talk(client):
            async with client.stream("GET", "/log") as answer:
                parts = answer.aiter_raw()
                seen = [await anext(parts)]
                gate.set()
                return seen + [part async for part in parts]

        assert await record(talk, cloud) == [b"first", b"last"]
        assert await replay(talk) == [b"firstlast"]
