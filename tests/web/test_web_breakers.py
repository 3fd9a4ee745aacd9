"""Breakers on the REST face."""

from face_fakes import a_breaker

from trellis.model.breaker import BreakerState


async def test_breakers_are_listed_with_why_and_when(client, board):
    """What is left alone, since when, the last failure, and when it is tried."""
    probing = a_breaker(
        id="two", state=BreakerState.HALF_OPEN, probe="0000000007", next_probe_s=None
    )
    board.open_breakers["two"] = probing

    first, second = (await client.get("/api/v1/breakers")).json()["items"]

    assert (first["id"], first["scope"], first["state"]) == (
        "ovh-bhs1:image:0badcafe", "image", "open",
    )  # fmt: skip
    assert (first["failures"], first["reason"], first["next_probe_s"]) == (3, "no SSH", 42.0)
    assert first["since"] == "2026-09-21T14:13:20.500000Z"
    assert (second["state"], second["probe"], second["next_probe_s"]) == (
        "half-open", "0000000007", None,
    )  # fmt: skip


async def test_breaker_is_reset_by_a_persons_word(client, board):
    """Who and why are handed on; what is left is the answer."""
    path = "/api/v1/breakers/ovh-bhs1:image:0badcafe/reset"

    answer = await client.post(path, json={"by": "ada", "reason": "mended"})

    assert (answer.status_code, answer.json()["items"]) == (200, [])
    assert board.acts == [("reset", "ovh-bhs1:image:0badcafe", "ada", "mended")]


async def test_breaker_that_is_closed_is_not_there(client):
    """A second reset says so."""
    answer = await client.post("/api/v1/breakers/none/reset", json={})

    assert answer.status_code == 404


async def test_metrics_count_breakers(client):
    """By provider and scope."""
    text = (await client.get("/metrics")).text

    assert 'trellis_breakers{provider="ovh-bhs1",scope="image"} 1.0' in text
