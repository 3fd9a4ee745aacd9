"""What the face refuses before it looks at it, and how refusals look."""

import httpx
import pytest
import trio
from face_fakes import FakeBoard, FakePort

from trellis.web.app import make_app

ASK = {"labels": ["debian-12"], "requestor": "ci"}


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8480", "localhost:8480", "[::1]:8480", "LOCALHOST:8480"],
)
async def test_host_of_the_listener_is_served(client, host):
    """The address that is listened at, by any of its loopback names, is ours."""
    assert (await client.get("/healthz", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example:8480", "127.0.0.1", "127.0.0.1:80", "127.0.0.1.evil.example:8480", "", "[", ":"],
)
async def test_foreign_host_is_misdirected(client, port, host):
    """Another name or port in Host is 421: a page that rebinds its name reaches nothing."""
    answer = await client.post("/api/v1/requests", json=ASK, headers={"host": host})

    assert (answer.status_code, answer.json()["type"]) == (421, "urn:trellis:problem:foreign-host")
    assert port.asks == []


async def test_name_given_for_a_proxy_is_served():
    """A face behind a proxy is told the name it is called by."""
    port = FakePort()
    app = make_app(port, FakeBoard(port), hosts=["ci.example.org"])
    transport = httpx.ASGITransport(app=app)

    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8480") as client:
        answer = await client.get("/healthz", headers={"host": "ci.example.org"})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://127.0.0.1:9999", "https://127.0.0.1.evil:8480", ""],
)
async def test_foreign_origin_is_forbidden(client, port, origin):
    """A web page of another origin may change nothing."""
    answer = await client.post("/api/v1/requests", json=ASK, headers={"origin": origin})

    assert answer.status_code == 403
    assert port.asks == []


async def test_own_origin_is_served(client):
    """The face's own pages may call it."""
    answer = await client.post(
        "/api/v1/requests", json=ASK, headers={"origin": "http://127.0.0.1:8480"}
    )

    assert answer.status_code == 201


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
@pytest.mark.parametrize("path", ["/api/v1/requests", "/api/v1/providers/ovh-bhs1/drain"])
async def test_change_that_is_not_json_is_refused(client, port, board, media_type, path):
    """What a form of any web page can send changes nothing."""
    answer = await client.post(
        path, content=b'{"labels": ["debian-12"]}', headers={"content-type": media_type}
    )

    assert answer.status_code == 415
    assert board.status["ovh-bhs1"].pause is None
    assert port.asks == []


async def test_json_with_a_charset_is_json(client):
    """Parameters of the media type do not matter."""
    answer = await client.post(
        "/api/v1/requests", json=ASK, headers={"content-type": "application/json; charset=utf-8"}
    )

    assert answer.status_code == 201


@pytest.mark.parametrize(("media_type", "status"), [("text/plain", 415), (None, 204)])
async def test_delete_needs_no_media_type_but_no_foreign_one(client, port, media_type, status):
    """Browsers ask before a foreign DELETE, so a bare one passes."""
    made = (await client.post("/api/v1/requests", json=ASK)).json()
    lease_id = port.fulfil(made["id"]).lease_id
    headers = {"content-type": media_type} if media_type else {}

    answer = await client.delete(f"/api/v1/leases/{lease_id}", headers=headers)

    assert status == answer.status_code


async def test_body_over_the_bound_is_too_large(client, port):
    """A body of more than 1 MiB is a 413, whether its length is declared or not."""

    async def chunks():  # type: ignore[no-untyped-def]
        for _ in range(20):
            yield b" " * 65536

    headers = {"content-type": "application/json"}
    declared = await client.post(
        "/api/v1/requests", content=b" " * (1024 * 1024 + 1), headers=headers
    )
    undeclared = await client.post("/api/v1/requests", content=chunks(), headers=headers)

    assert (declared.status_code, undeclared.status_code) == (413, 413)
    assert declared.json()["remedy"]
    assert port.asks == []


async def test_body_that_never_ends_is_given_up(client, autojump_clock):
    """A client that stops in the middle of its body is not waited for beyond 30 s."""

    async def chunks():  # type: ignore[no-untyped-def]
        yield b"{"
        await trio.sleep_forever()

    begun = trio.current_time()
    with trio.fail_after(60):
        answer = await client.post(
            "/api/v1/requests", content=chunks(), headers={"content-type": "application/json"}
        )

    assert (answer.status_code, trio.current_time() - begun) == (408, 30)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/api/v1/nope", 404),
        ("GET", "/api/v1", 404),
        ("GET", "/openapi.json/x", 404),
        ("GET", "/..%2f..%2fetc/passwd", 404),
        ("POST", "/api/v1/nodes", 405),
        ("PUT", "/api/v1/requests", 405),
        ("GET", "/api/v1/nodes?stat=ready", 400),
        ("GET", "/api/v1/nodes?state=asleep", 400),
        ("GET", "/api/v1/nodes?limit=0", 400),
        ("GET", "/api/v1/nodes?limit=1001", 400),
        ("GET", "/api/v1/nodes?gone=perhaps", 400),
    ],
)
async def test_every_refusal_is_a_problem_document(client, method, path, status):
    """Whatever is refused comes as application/problem+json with all its members."""
    answer = await client.request(method, path, **({"json": {}} if method != "GET" else {}))

    problem = answer.json()
    assert status == answer.status_code == problem["status"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"].startswith("urn:trellis:problem:")
    assert all(problem[member] for member in ("title", "detail", "remedy"))


async def test_wrong_parameter_is_named_as_the_caller_wrote_it(client):
    """Names of Python do not show in problems."""
    answer = await client.get("/api/v1/nodes?state=asleep")

    assert answer.json()["errors"][0]["path"] == "state"


async def test_failure_of_ours_shows_nothing_of_itself(client, port, monkeypatch):
    """A crash is a 500 without its text, which may hold anything."""

    async def crash(*_: object) -> None:
        raise ZeroDivisionError("password=hunter2")

    monkeypatch.setattr(port, "submit", crash)

    answer = await client.post("/api/v1/requests", json=ASK)

    assert (answer.status_code, answer.json()["type"]) == (500, "urn:trellis:problem:internal")
    assert "hunter2" not in answer.text


async def test_head_has_the_headers_of_get(client):
    """Load balancers may ask with HEAD."""
    assert (await client.head("/healthz")).status_code == 200
