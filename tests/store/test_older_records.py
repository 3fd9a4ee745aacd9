"""Records of releases before demand sources handed out nodes read as they always did."""

import json

import pytest

from trellis.model.node import NodeState
from trellis.model.records import key_of
from trellis.store.encoding import decode_record, encode_record
from trellis.testing.builders import a_node, a_request

NEW_IN_ASK = ("rank", "prefers", "reuse", "source")


def without(value: dict, names: tuple[str, ...]) -> dict:
    for name in names:
        del value[name]
    return value


def test_a_request_without_what_sources_say_is_one_of_rest():
    """It has no rank, prefers nothing, takes what is ready, and its lease has an end."""
    request = a_request(1)
    value = json.loads(encode_record(request))
    value["ask"] = without(value["ask"], NEW_IN_ASK)

    assert decode_record(key_of(request), json.dumps(value)) == request


@pytest.mark.parametrize("state", list(NodeState), ids=lambda state: state.value)
def test_a_node_without_an_end_of_its_hold_is_held_as_before(state):
    """Whatever it is doing."""
    node = a_node(1, state=state)
    value = without(json.loads(encode_record(node)), ("hold_until",))

    assert decode_record(key_of(node), json.dumps(value)) == node
    assert not node.given
