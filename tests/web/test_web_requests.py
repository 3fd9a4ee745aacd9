"""Requests and leases on the REST face."""

from typing import Any

import httpx
import pytest
import trio
from face_fakes import FakePort

ASK: dict[str, Any] = {"labels": ["debian-12"], "requestor": "ci"}


async def file(client: httpx.AsyncClient, **changes: Any) -> Any:
    answer = await client.post("/api/v1/requests", json={**ASK, **changes})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_request_filed_shows_what_was_asked(client, port):
    """POST records the ask with its defaults and answers 201 with the request and its place."""
    answer = await client.post("/api/v1/requests", json={**ASK, "metadata": {"job": "unit"}})

    made = answer.json()
    assert answer.status_code == 201
    assert f"/api/v1/requests/{made['id']}" == answer.headers["location"]
    assert (made["state"], made["priority"], made["lease_ttl_s"]) == ("requested", 200, None)
    assert dict(port.asks[0].metadata) == {"job": "unit"}
    assert made["created_at"] == "2026-09-21T14:13:20.500000Z"
    assert made["lease"] is None


async def test_same_key_and_body_gets_the_same_request(client, port):
    """Repeating a call with its idempotency key records nothing new."""
    first = await file(client, idempotency_key="k1")

    second = await file(client, idempotency_key="k1")

    assert first == second
    assert len(port.asks) == 1


async def test_same_key_with_another_body_is_a_conflict(client, port):
    """A key that was used for another body is refused with 409 and records nothing."""
    await file(client, idempotency_key="k1")

    answer = await client.post(
        "/api/v1/requests", json={**ASK, "priority": 5, "idempotency_key": "k1"}
    )

    assert (answer.status_code, answer.json()["type"]) == (409, "urn:trellis:problem:key-reused")
    assert len(port.asks) == 1


BAD = [
    ({"labels": []}, "labels"),
    ({"labels": ["debian-12"] * 101}, "labels"),
    ({"labels": ["debian-12"] * 10_000}, "labels"),
    ({"labels": "debian-12"}, "labels"),
    ({"labels": ["debian-12", 7]}, "labels[1]"),
    ({"labels": [""]}, "labels[0]"),
    ({"labels": ["x" * 256]}, "labels[0]"),
    ({"labels": ["a\nb"]}, "labels[0]"),
    ({"requestor": ""}, "requestor"),
    ({"requestor": None}, "requestor"),
    ({"priority": -1}, "priority"),
    ({"priority": 1000}, "priority"),
    ({"priority": "5"}, "priority"),
    ({"priority": True}, "priority"),
    ({"lease_ttl_s": 59}, "lease_ttl_s"),
    ({"lease_ttl_s": 86401}, "lease_ttl_s"),
    ({"metadata": {"k": 1}}, "metadata[...]"),
    ({"metadata": {"k": "x" * 256}}, "metadata[...]"),
    ({"metadata": {str(n): "" for n in range(65)}}, "metadata"),
    ({"idempotency_key": ""}, "idempotency_key"),
    ({"lable": "x"}, "(body)"),
]


@pytest.mark.parametrize(("change", "path"), BAD, ids=[f"{b[1]}-{i}" for i, b in enumerate(BAD)])
async def test_bad_input_is_refused_with_its_place(client, port, change, path):
    """Each bound is kept; the problem names the place, and nothing is recorded."""
    answer = await client.post("/api/v1/requests", json={**ASK, **change})

    assert (400, path) == (answer.status_code, answer.json()["errors"][0]["path"])
    assert answer.headers["content-type"] == "application/problem+json"
    assert port.asks == []


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"x":' + b"[" * 100_000, b"'"],
    ids=["empty", "cut", "array", "null", "no-utf8", "brackets", "nested", "quote"],
)
async def test_what_is_no_json_object_is_refused(client, port, body):
    """Anything but one JSON object is a 400 with a remedy, never a failure of ours."""
    answer = await client.post(
        "/api/v1/requests", content=body, headers={"content-type": "application/json"}
    )

    assert answer.status_code == 400
    assert answer.json()["remedy"]
    assert port.asks == []


async def test_unknown_label_is_refused_with_near_matches(client):
    """What the port refuses comes as 422 with the port's own remedy."""
    answer = await client.post("/api/v1/requests", json={**ASK, "labels": ["debian-11"]})

    assert answer.status_code == 422
    assert "debian-12" in answer.json()["remedy"]


async def test_fulfilled_request_shows_its_lease_and_nodes(client, port):
    """A fulfilled request carries its lease, and its nodes in the order of its labels."""
    made = await file(client, labels=["fedora-40", "debian-12"])
    port.fulfil(made["id"])

    shown = (await client.get(f"/api/v1/requests/{made['id']}")).json()

    assert [node["label"] for node in shown["nodes"]] == ["fedora-40", "debian-12"]
    assert shown["lease"]["id"] == "00000000000000000000000000000001"
    assert shown["lease"]["expires_at"] == "2026-09-21T15:13:20.500000Z"


async def test_lease_id_is_shown_in_its_requests_answer_only(client, port):
    """No other call shows the id of a lease: who knows it may end it."""
    made = await file(client)
    lease_id = port.fulfil(made["id"]).lease_id
    assert lease_id is not None
    node_id = next(iter(port.nodes))

    others = [
        await client.get("/api/v1/requests"),
        await client.get(f"/api/v1/requests/{made['id']}/explain"),
        await client.get("/api/v1/nodes"),
        await client.get(f"/api/v1/nodes/{node_id}"),
        await client.post(f"/api/v1/leases/{lease_id}/renew", json={}),
        await client.get("/metrics"),
    ]

    assert [answer.status_code for answer in others] == [200] * 6
    assert [answer.url for answer in others if lease_id in answer.text] == []


async def test_long_poll_answers_when_the_request_is_fulfilled(
    client, port, nursery, autojump_clock
):
    """A waiting GET answers at the moment of fulfilment, not at its deadline."""
    made = await file(client)

    async def fulfil_later() -> None:
        await trio.sleep(7)
        port.fulfil(made["id"])

    nursery.start_soon(fulfil_later)
    begun = trio.current_time()
    shown = (await client.get(f"/api/v1/requests/{made['id']}", params={"wait_s": 30})).json()

    assert (shown["state"], trio.current_time() - begun) == ("fulfilled", 7)


async def test_long_poll_ends_at_its_deadline(client, port, autojump_clock):
    """A request that still waits is shown as it is after wait_s, and nobody waits on."""
    made = await file(client)
    begun = trio.current_time()

    shown = (await client.get(f"/api/v1/requests/{made['id']}", params={"wait_s": 30})).json()

    assert (shown["state"], trio.current_time() - begun) == ("requested", 30)
    assert port.waiters == 0


@pytest.mark.parametrize("wait_s", ["61", "-1", "x", "nan"])
async def test_wait_outside_its_bounds_is_refused(client, wait_s):
    """wait_s is 0 to 60."""
    made = await file(client)

    answer = await client.get(f"/api/v1/requests/{made['id']}", params={"wait_s": wait_s})

    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, "wait_s")


async def test_cancelled_request_is_shown_cancelled(client):
    """DELETE ends a request at any moment."""
    made = await file(client)

    answer = await client.delete(f"/api/v1/requests/{made['id']}")

    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")


async def test_priority_is_changed_while_the_request_waits(client, port):
    """PATCH changes the priority; once the request waits no longer it is a conflict."""
    made = await file(client)
    place = f"/api/v1/requests/{made['id']}"

    changed = await client.patch(place, json={"priority": 1})
    port.fulfil(made["id"])
    late = await client.patch(place, json={"priority": 2})

    assert (changed.status_code, changed.json()["priority"]) == (200, 1)
    assert (late.status_code, late.json()["type"]) == (409, "urn:trellis:problem:already-done")


async def test_lease_is_renewed_and_released(client, port: FakePort):
    """Renewing moves the end; releasing answers 204, on an ended lease too."""
    made = await file(client)
    lease = f"/api/v1/leases/{port.fulfil(made['id']).lease_id}"

    renewed = await client.post(f"{lease}/renew", headers={"content-type": "application/json"})
    released = [await client.delete(lease) for _ in range(2)]
    late = await client.post(f"{lease}/renew", json={})

    assert renewed.json()["expires_at"] == "2026-09-21T16:13:20.500000Z"
    assert [(answer.status_code, answer.content) for answer in released] == [(204, b""), (204, b"")]
    assert (late.status_code, late.json()["remedy"]) == (409, "ask for new nodes")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/requests/nope"),
        ("GET", "/requests/nope?wait_s=1"),
        ("GET", "/requests/nope/explain"),
        ("DELETE", "/requests/nope"),
        ("DELETE", "/leases/nope"),
        ("GET", "/nodes/nope"),
        ("GET", "/nodes/nope/explain"),
        ("DELETE", "/nodes/nope"),
        ("GET", "/providers/nope"),
        ("DELETE", "/leaks/nope"),
    ],
)
async def test_unknown_id_is_not_found(client, method, path):
    """An id that nothing has is a 404 problem with a remedy."""
    answer = await client.request(method, f"/api/v1{path}")

    assert (answer.status_code, answer.json()["type"]) == (404, "urn:trellis:problem:unknown-id")
    assert answer.json()["remedy"]


async def test_explanation_says_what_is_waited_for(client):
    """`explain` answers in words and as data, with who declined and what happened."""
    made = await file(client)

    shown = (await client.get(f"/api/v1/requests/{made['id']}/explain")).json()

    assert shown["words"] == "It waits for quota."
    assert (shown["declined"][0]["provider"], shown["declined"][0]["until"]) == ("rax", None)
    assert shown["history"][0]["id"] == "1"
