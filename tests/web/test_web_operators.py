"""What operators see and do on the REST face."""

import attrs
from face_fakes import MOVED_TO, a_node

from trellis.model.node import NodeState
from trellis.model.status import Health

NODE_FIELDS = [
    "id",
    "label",
    "state",
    "provider",
    "cloud",
    "region",
    "az",
    "external_id",
    "hostname",
    "interface_ip",
    "public_ipv4",
    "private_ipv4",
    "public_ipv6",
    "connection_type",
    "connection_port",
    "username",
    "python_path",
    "shell_type",
    "host_keys",
    "host_keys_proof",
    "resources",
    "created_at",
    "ready_at",
    "allocated_to",
    "lost",
    "image",
    "image_id",
    "upload",
]


async def test_node_has_exactly_the_fields_of_the_design(client, port):
    """No field is missing, in this order; and what it was made from."""
    port.nodes["0000000001"] = a_node(1)

    shown = (await client.get("/api/v1/nodes/0000000001")).json()

    assert list(shown) == NODE_FIELDS
    assert shown["resources"] == {"cores": 2, "ram_mib": 7000, "disk_gib": 50}
    assert (shown["external_id"], shown["interface_ip"]) == ("uuid-1", "203.0.113.7")
    assert (
        shown["host_keys_proof"],
        shown["ready_at"],
    ) == ("scanned", "2026-09-21T14:13:50.500000Z")


async def test_building_node_shows_nulls_for_what_is_not_known(client, port):
    """A node without server, address and keys is shown all the same."""
    port.nodes["0000000001"] = a_node(
        1, state=NodeState.BUILDING, addresses=None, resources=(), host_keys=(), ready_at=None
    )

    shown = (await client.get("/api/v1/nodes/0000000001")).json()

    empty = ("external_id", "interface_ip", "public_ipv4", "ready_at")
    assert [shown[name] for name in empty] == [None] * 4
    assert shown["host_keys_proof"] == "none"


async def test_nodes_are_listed_page_after_page(client, port):
    """`next` leads through the whole list, each node once."""
    port.nodes = {node.id: node for node in (a_node(n) for n in range(1, 8))}
    seen: list[str] = []
    after = None

    while True:
        params = {"limit": 3} | ({"after": after} if after else {})
        page = (await client.get("/api/v1/nodes", params=params)).json()
        seen += [node["id"] for node in page["items"]]
        if (after := page["next"]) is None:
            break

    assert list(port.nodes) == seen


async def test_nodes_are_filtered(client, port):
    """State, label, provider and gone narrow the list."""
    port.nodes = {
        "1": a_node(1, state=NodeState.IN_USE),
        "2": a_node(2, label="fedora-40"),
        "3": a_node(3, state=NodeState.GONE),
    }

    async def ids(**params: str) -> list[str]:
        page = (await client.get("/api/v1/nodes", params=params)).json()
        return [node["id"] for node in page["items"]]

    assert await ids(state="in-use") == ["0000000001"]
    assert await ids(label="fedora-40") == ["0000000002"]
    assert await ids(gone="true") == ["0000000003"]
    assert await ids(provider="rax") == []


async def test_node_is_held_by_a_persons_word(client, port):
    """Who and why are handed on; without a body the word is the API's."""
    port.nodes = {"1": a_node(1, state=NodeState.IN_USE), "2": a_node(2)}

    held = await client.post("/api/v1/nodes/1/hold", json={"by": "ada", "reason": "flaky"})
    await client.post("/api/v1/nodes/2/hold", headers={"content-type": "application/json"})

    assert held.json()["state"] == "hold"
    assert port.held == [("1", "ada", "flaky"), ("2", "api", "")]


async def test_node_is_deleted_by_a_persons_word(client, port, board):
    """DELETE names who it was."""
    port.nodes = {"1": a_node(1)}

    answer = await client.delete("/api/v1/nodes/1", params={"by": "ada"})

    assert (answer.status_code, answer.json()["state"]) == (200, "deleting")
    assert board.acts == [("delete", "1", "ada")]


async def test_provider_is_paused_drained_and_resumed(client):
    """Each act answers with the provider as it is then."""
    place = "/api/v1/providers/ovh-bhs1"
    paused = await client.post(
        f"{place}/pause", json={"by": "ada", "reason": "maintenance", "for_s": 60}
    )
    drained = await client.post(f"{place}/drain", json={"by": "ada"})
    resumed = await client.post(f"{place}/resume", json={})

    assert paused.json()["pause"] == {
        "by": "ada",
        "reason": "maintenance",
        "since": "2026-09-21T14:13:20.500000Z",
        "until": "2026-09-21T14:14:20.500000Z",
        "drain": False,
    }
    assert drained.json()["pause"]["drain"] is True
    assert resumed.json()["pause"] is None


async def test_a_move_of_a_cloud_is_accepted_by_its_endpoint(client):
    """Only the one that the credentials lead to; another one is refused, with what to do."""
    place = "/api/v1/providers/ovh-bhs1/accept-move"

    accepted = await client.post(place, json={"endpoint": MOVED_TO, "by": "ada"})
    refused = await client.post(place, json={"endpoint": "https://elsewhere.example.com"})
    empty = await client.post(place, json={})

    assert (accepted.status_code, accepted.json()["name"]) == (200, "ovh-bhs1")
    assert (refused.status_code, refused.json()["remedy"]) == (422, "look again")
    assert empty.status_code == 400


async def test_unlimited_and_unknown_quota_are_told_apart(client):
    """JSON has no infinity: unlimited is a word, unknown is null."""
    quota = (await client.get("/api/v1/quota")).json()["items"][0]

    limits = quota["limits"]
    assert (limits["instances"], limits["cores"], limits["ram_mib"]) == (100, "unlimited", None)
    assert (quota["ours"]["instances"], quota["others"]["instances"]) == (3, 4)


async def test_labels_say_who_offers_them_and_why_others_do_not(client):
    """A label that no pool can make says what is missing where."""
    labels = (await client.get("/api/v1/labels")).json()["items"]

    assert labels[0]["offered_by"] == ["ovh-bhs1/main"]
    assert "no image" in labels[1]["missing"]["ovh-bhs1/main"]


async def test_leaks_wait_for_a_persons_word(client, board):
    """A leak is listed, deleted and adopted by its id."""
    leak_id = (await client.get("/api/v1/leaks")).json()["items"][0]["id"]

    deleted = await client.delete(f"/api/v1/leaks/{leak_id}")
    adopted = await client.post(f"/api/v1/leaks/{leak_id}/adopt", json={})

    assert (
        deleted.json()["note"],
        adopted.json()["note"],
    ) == ("delete is under way", "adopt is under way")
    assert [("delete", leak_id), ("adopt", leak_id)] == board.acts


async def test_plan_gives_its_reasons(client):
    """Each step of the plan says why."""
    answer = await client.get("/api/v1/plan")

    step = {"action": "launch", "subject": "debian-12", "reason": "min-ready lacks 1"}
    assert answer.json()["items"] == [step]


async def test_readiness_follows_the_board(client, board):
    """readyz is 503 with what stands in the way; healthz is 200 all the same."""
    ready = await client.get("/readyz")
    board.readiness = (False, "no provider is available")
    waiting = await client.get("/readyz")

    assert (ready.status_code, waiting.status_code) == (200, 503)
    assert waiting.json()["detail"] == "no provider is available"
    assert (await client.get("/healthz")).status_code == 200


async def test_metrics_are_prometheus_text(client, board):
    """Board values, and control's counters and histograms, each with help and type."""
    board.status["ovh-bhs1"] = attrs.evolve(board.status["ovh-bhs1"], health=Health.UNAVAILABLE)

    answer = await client.get("/metrics")

    lines = answer.text.splitlines()
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    for line in (
        'trellis_nodes{provider="ovh-bhs1",state="ready"} 2.0',
        'trellis_provider_available{provider="ovh-bhs1"} 0.0',
        'trellis_quota_limit{provider="ovh-bhs1",resource="instances"} 100.0',
        'trellis_quota_used{by="others",provider="ovh-bhs1",resource="instances"} 4.0',
        'trellis_label_pools{label="fedora-40"} 0.0',
        'trellis_api_calls_total{call="compute POST",cloud="ovh"} 12.0',
        'trellis_leaks{kind="server",provider="ovh-bhs1"} 1.0',
        'trellis_launches_total{end="ready",provider="ovh-bhs1"} 7.0',
        'trellis_launch_seconds_bucket{le="+Inf"} 2.0',
        "# TYPE trellis_launch_seconds histogram",
    ):
        assert line in lines
    assert not [line for line in lines if "cores" in line and "limit" in line]
