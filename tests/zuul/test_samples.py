"""Real znodes of a real Zuul 14.3 are read as what they are, and written back with nothing lost."""

import json
from pathlib import Path

import pytest
from trellis_zuul.node_wire import ZnodeState, read_node
from trellis_zuul.raw_object import read_object
from trellis_zuul.request_wire import ZuulState, read_request

from tests.zuul.test_node_wire import a_ready_document

SAMPLES = json.loads((Path(__file__).parent / "samples.json").read_text())
REQUESTS = {
    name: sample["path"].rpartition("/")[2]
    for name, sample in SAMPLES.items()
    if sample["path"].startswith("/nodepool/requests/")
}
NODES = [
    name
    for name, sample in SAMPLES.items()
    if sample["path"].startswith("/nodepool/nodes/") and sample["data"] is not None
]
OBJECTS = [name for name, sample in SAMPLES.items() if isinstance(sample["data"], dict)]


def as_zuul_writes(name):
    return json.dumps(SAMPLES[name]["data"]).encode()


def test_there_are_samples_of_each_kind():
    """Else the tests below would hold for want of anything to hold for."""
    states = {SAMPLES[name]["data"]["state"] for name in NODES}

    assert len(REQUESTS) >= 6
    assert {"building", "ready", "in-use", "used", "hold"} == states


@pytest.mark.parametrize("name", OBJECTS)
def test_a_document_written_back_is_the_same_to_the_byte(name):
    written = as_zuul_writes(name)

    assert written == read_object(written).encoded({})


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_a_request_is_edited_and_nothing_else_of_it_changes(name):
    data = SAMPLES[name]["data"]
    request = read_request(REQUESTS[name], as_zuul_writes(name))

    after = json.loads(request.pending(5.5))

    assert data | {"state": "pending", "state_time": 5.5} == after
    assert tuple(data["node_types"]) == request.labels
    assert data["relative_priority"] == request.rank
    assert ZuulState(data["state"]) is request.state
    assert int(REQUESTS[name][:3]) == request.precedence
    trace = data["requestor_data"]["span_info"]["trace_id"]
    assert trace > 2**64
    assert str(trace).encode() in request.pending(5.5)


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_a_request_is_answered_with_nodes_in_the_order_of_its_labels(name):
    data = SAMPLES[name]["data"]
    request = read_request(REQUESTS[name], as_zuul_writes(name))
    nodes = tuple(f"{number:010d}" for number in range(len(request.labels)))

    after = json.loads(request.fulfilled(nodes, 5.5))

    expected = {"state": "fulfilled", "state_time": 5.5, "nodes": list(nodes)}
    assert data | expected == after


@pytest.mark.parametrize("name", NODES)
def test_a_node_is_edited_and_nothing_else_of_it_changes(name):
    data = SAMPLES[name]["data"]
    node = read_node(as_zuul_writes(name))

    after = json.loads(node.written(ZnodeState.DELETING, 5.5))

    assert data | {"state": "deleting", "state_time": 5.5} == after
    assert ZnodeState(data["state"]) is node.state
    assert data["allocated_to"] == node.allocated_to
    assert data["state_time"] == node.state_at
    assert node.mark is None


def test_a_held_node_says_until_when_and_for_whom():
    node = read_node(as_zuul_writes("node hold (written by Zuul)"))

    assert node.hold_until(0.0) == pytest.approx(1795354504.8998268 + 20)
    assert "rig localhost/project failing .*" == node.hold_job
    assert "look at it" == node.comment


def test_we_write_every_key_that_a_node_had_for_zuul():
    """Zuul writes back the keys that it has read, and no others but six."""
    ours = a_ready_document()
    sample = SAMPLES["node ready (written by the rig fulfiller)"]["data"]

    assert set(sample) <= set(ours)
    assert set(sample["resources"]) <= set(ours["resources"])
