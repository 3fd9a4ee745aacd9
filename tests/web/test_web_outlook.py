"""Why a request waits and when it may be ready, in every answer that shows it."""

from typing import Any

import attrs
import httpx

from trellis.model.status import Outlook

ASK: dict[str, Any] = {"labels": ["debian-12"], "requestor": "ci"}


async def test_waiting_request_says_why_and_when(client: httpx.AsyncClient, board, port):
    """In its own answer and in the list."""
    made = (await client.post("/api/v1/requests", json=ASK)).json()
    board.outlooks[made["id"]] = Outlook(words="no room", estimate_s=12.345, basis="ten launches")

    shown = (await client.get(f"/api/v1/requests/{made['id']}")).json()
    (listed,) = (await client.get("/api/v1/requests")).json()["items"]

    assert (shown["reason"], shown["estimate_s"]) == ("no room", 12.3)
    assert shown["estimate_basis"] == "ten launches"
    assert (listed["reason"], listed["estimate_s"]) == ("no room", 12.3)


async def test_failed_request_says_why_it_failed(client: httpx.AsyncClient, port):
    """The reason is that of its end."""
    made = (await client.post("/api/v1/requests", json=ASK)).json()
    port.fail(made["id"], "every provider declined")

    shown = (await client.get(f"/api/v1/requests/{made['id']}")).json()

    assert (shown["reason"], shown["estimate_s"]) == ("every provider declined", None)


async def test_fulfilled_request_has_nothing_to_wait_for(client: httpx.AsyncClient, port):
    """No reason and no estimate."""
    made = (await client.post("/api/v1/requests", json=ASK)).json()
    port.fulfil(made["id"])

    shown = (await client.get(f"/api/v1/requests/{made['id']}")).json()
    (listed,) = (await client.get("/api/v1/requests")).json()["items"]

    assert (shown["reason"], shown["estimate_s"], shown["estimate_basis"]) == (None, None, "")
    assert (listed["reason"], listed["estimate_s"]) == (None, None)


async def test_explanation_carries_the_estimate(client: httpx.AsyncClient, port, monkeypatch):
    """Rounded as everywhere."""
    made = (await client.post("/api/v1/requests", json=ASK)).json()
    explain = port.explain_request

    async def explained(request_id: str) -> Any:
        return attrs.evolve(await explain(request_id), estimate_s=7.77, estimate_basis="three")

    monkeypatch.setattr(port, "explain_request", explained)

    shown = (await client.get(f"/api/v1/requests/{made['id']}/explain")).json()

    assert (shown["estimate_s"], shown["estimate_basis"]) == (7.8, "three")


async def test_metrics_count_an_account_once(client: httpx.AsyncClient, board):
    """However many providers share it."""
    board.status["ovh-gra"] = attrs.evolve(board.status["ovh-bhs1"], name="ovh-gra")

    metrics = (await client.get("/metrics")).text

    lines = [line for line in metrics.splitlines() if line.startswith("trellis_api_calls_total")]
    assert lines == ['trellis_api_calls_total{call="compute POST",cloud="ovh"} 12.0']
