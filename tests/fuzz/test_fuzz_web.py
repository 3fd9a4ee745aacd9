"""Whatever is sent to the daemon's REST face: done, or refused with a problem that says why."""

import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import trio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from trellis.web.app import make_app

sys.path.insert(0, str(Path(__file__).parents[1] / "web"))
from face_fakes import FakeBoard, FakePort

PATHS = (
    "/requests",
    "/requests/{id}",
    "/requests/{id}/explain",
    "/leases",
    "/leases/{id}",
    "/leases/{id}/renew",
    "/nodes",
    "/nodes/{id}",
    "/nodes/{id}/hold",
    "/nodes/{id}/explain",
    "/labels",
    "/providers",
    "/providers/{id}",
    "/providers/{id}/pause",
    "/providers/{id}/resume",
    "/providers/{id}/drain",
    "/quota",
    "/leaks",
    "/plan",
    "/status",
    "/images",
    "/images/{id}",
    "/images/debian-12/builds",
    "/images/debian-12/builds/{id}",
    "/images/debian-12/builds/{id}/log",
    "/images/debian-12/uploads",
    "/images/debian-12/uploads/{id}",
    "/images/debian-12/pause",
    "/images/debian-12/resume",
    "/images/debian-12/promote",
    "/images/debian-12/rollback",
    "/images/debian-12/pin",
    "/images/debian-12/unpin",
)
METHODS = ("GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS", "TRACE")
KEYS = (
    "labels",
    "requestor",
    "tenant",
    "priority",
    "provider",
    "lease_ttl_s",
    "metadata",
    "idempotency_key",
    "by",
    "reason",
    "until",
    "build",
    "all_providers",
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=30),
    st.sampled_from(["small", "ci", "1h", "2026-11-23T10:00:00Z", "9999-99-99", "0" * 5000]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from(KEYS), values, max_size=6)
good = st.fixed_dictionaries({"labels": st.just(["small"]), "requestor": st.just("ci")})
bodies = st.one_of(
    objects.map(lambda body: json.dumps(body).encode()),
    st.tuples(good, objects).map(lambda both: json.dumps({**both[1], **both[0]}).encode()),
    values.map(lambda body: json.dumps(body).encode()),
    st.binary(max_size=60),
    st.sampled_from([b"", b"[" * 100_000, b'{"labels": ["small"]' + b" " * 2_000_000, b"\xff{}"]),
)
queries = st.dictionaries(
    st.sampled_from(
        ["wait_s", "limit", "after", "state", "gone", "provider", "most", "lines", "follow", "x"]
    ),
    st.one_of(st.text(max_size=12), st.integers().map(str), st.sampled_from(["nan", "1e999", ""])),
    max_size=3,
)
ids = st.one_of(
    st.sampled_from(["0000000001", "f" * 32, "..", "%2e%2e", "a b", "\x00", "é" * 40]),
    st.text(min_size=1, max_size=20),
)
headers = st.fixed_dictionaries(
    {"content-type": st.sampled_from(["application/json", "text/plain", "", "application/json;x"])},
    optional={
        "origin": st.sampled_from(["http://evil.example", "null", "http://127.0.0.1:8480"]),
        "accept": st.sampled_from(["text/html", "*/*", ";;;"]),
        "last-event-id": st.sampled_from(["0", "-1", "x" * 3000]),
    },
)


async def asked(
    method: str, path: str, query: dict[str, str], body: bytes, sent: dict[str, str]
) -> httpx.Response:
    port = FakePort()
    transport = httpx.ASGITransport(app=make_app(port, FakeBoard(port)))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8480") as client:
        with trio.fail_after(20):
            return await client.request(method, path, params=query, content=body, headers=sent)


def judged(answer: httpx.Response) -> None:
    """Below 500; and an error is a problem document with a remedy, in words."""
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400 and answer.request.method != "HEAD":
        problem: Any = answer.json()
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert problem["status"] == answer.status_code
        assert problem["title"]
        assert problem["remedy"]
        assert "Traceback" not in answer.text


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    method=st.sampled_from(METHODS),
    path=st.sampled_from(PATHS),
    thing=ids,
    query=queries,
    body=bodies,
    sent=headers,
)
@example(
    method="POST",
    path="/requests",
    thing="x",
    query={},
    body=b'{"labels":["small"],"requestor":"ci","priority":1e400}',
    sent={"content-type": "application/json"},
)
@example(method="GET", path="/requests/{id}", thing="x", query={"wait_s": "nan"}, body=b"", sent={})
def test_every_call_is_done_or_refused_with_a_remedy(
    method: str, path: str, thing: str, query: dict[str, str], body: bytes, sent: dict[str, str]
):
    whole = "/api/v1" + path.replace("{id}", quote(thing, safe="%"))
    # A long poll that is well formed waits as long as it says: not here.
    if path == "/requests/{id}":
        query = {**query, "wait_s": "0"} if query.get("wait_s", "").strip().isdigit() else query
    judged(trio.run(asked, method, whole, query, body, sent))


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40))
def test_every_path_is_known_or_refused_with_a_remedy(path: str):
    judged(trio.run(asked, "GET", "/" + quote(path), {}, b"", {}))
