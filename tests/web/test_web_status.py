"""The whole state in one answer."""

import attrs
from face_fakes import a_node, a_provider

from trellis.model.node import NodeState
from trellis.model.quota import Limits
from trellis.model.status import PoolStatus

ASK = {"labels": ["debian-12"], "requestor": "ci"}


async def test_one_answer_shows_everything(client, board):
    """Clouds, labels, requests, nodes and figures, with the event to follow from."""
    status = (await client.get("/api/v1/status")).json()

    assert (status["deployment"], status["ready"], status["last_event"]) == ("ci-main", True, "3")
    assert [p["name"] for p in status["providers"]] == ["ovh-bhs1"]
    assert status["providers"][0]["last_error"]["reason"] == "no valid host"
    assert status["providers"][0]["leaks"] == 1
    assert status["providers"][0]["missing"] == {"main/fedora-40": "no image 'fedora-40'"}
    assert [x["name"] for x in status["labels"]] == ["debian-12", "fedora-40"]
    assert status["figures"]["api_calls_per_node"] == 12 / 5
    assert status["figures"]["wait_s"] == {"count": 3, "p50": 21.5, "p95": 44.0}


async def test_waiting_requests_are_named_with_their_reason_up_to_the_most(client, port):
    """All are counted; so many as were asked for are named."""
    for _ in range(3):
        await client.post("/api/v1/requests", json=ASK)

    requests = (await client.get("/api/v1/status?most=2")).json()["requests"]

    assert requests["waiting"] == 3
    assert len(requests["oldest"]) == 2
    assert requests["oldest"][0]["words"] == "ovh-bhs1: no room for 4 cores"
    assert requests["oldest"][0]["declined"][0]["provider"] == "ovh-bhs1"


async def test_fulfilled_request_waits_no_more(client, port):
    """It is counted by its state only."""
    made = (await client.post("/api/v1/requests", json=ASK)).json()
    port.fulfil(made["id"])

    status = (await client.get("/api/v1/status")).json()

    assert (status["requests"]["waiting"], status["requests"]["oldest"]) == (0, [])
    assert status["requests"]["by_state"] == {"fulfilled": 1}
    assert status["nodes"]["by_state"] == {"in-use": 1}
    assert (status["nodes"]["total"], status["nodes"]["moving"]) == (1, 0)


async def test_node_that_is_kept_is_named(client, port):
    """Where a node should not stay long, it is shown with what it waits for."""
    port.nodes["0000000001"] = a_node(1, state=NodeState.HOLD)

    nodes = (await client.get("/api/v1/status")).json()["nodes"]

    assert nodes["moving"] == 1
    assert nodes["notable"][0]["words"] == "It waits."


async def test_quota_has_limits_of_the_cloud_and_of_the_pools(client, board):
    """An unlimited thing is said to be so; pools' limits add up only if each sets one."""
    pool = a_provider().pools[0]
    other = PoolStatus(
        name="other", labels=(), limits=Limits(instances=5, cores=8), used=pool.used, missing={}
    )
    board.status["ovh-bhs1"] = attrs.evolve(a_provider(), pools=(pool, other))

    quota = (await client.get("/api/v1/status")).json()["providers"][0]["quota"]

    assert quota["instances"] == {"ours": 3, "others": 4, "limit": 100, "own_limit": 125}
    assert (quota["cores"]["limit"], quota["cores"]["own_limit"]) == ("unlimited", None)
    assert quota["ram_mib"]["limit"] is None


async def test_most_is_bounded(client):
    """Nobody asks for all ten thousand at twice a second."""
    assert (await client.get("/api/v1/status?most=201")).status_code == 400
    assert (await client.get("/api/v1/status?nodes=1")).status_code == 400
