"""Nodes and requests take the steps of their tables and no others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trellis.errors import TransitionError
from trellis.model.node import NODE_TRANSITIONS, NodeState
from trellis.model.request import ENDED, REQUEST_TRANSITIONS, RequestState
from trellis.testing.builders import NOW, a_node, a_request

node_walks = st.lists(st.sampled_from(NodeState), max_size=12)
request_walks = st.lists(st.sampled_from(RequestState), max_size=12)


@given(walk=node_walks)
def test_a_node_takes_only_steps_of_its_table(walk):
    """Any other is refused and changes nothing; each takes its time."""
    node = a_node(state=NodeState.BUILDING)
    seen = [node.state]
    for number, state in enumerate(walk):
        if state in NODE_TRANSITIONS[node.state]:
            node = node.became(state, NOW + number)
            assert (node.state, node.state_at) == (state, NOW + number)
            seen.append(state)
        else:
            with pytest.raises(TransitionError):
                node.became(state, NOW + number)

    assert seen.count(NodeState.IN_USE) <= 1, "handed out once"
    assert NodeState.GONE not in seen[:-1], "gone is the end"
    if NodeState.DELETING in seen:
        assert set(seen[seen.index(NodeState.DELETING) :]) <= {NodeState.DELETING, NodeState.GONE}


@given(walk=request_walks)
def test_a_request_takes_only_steps_of_its_table(walk):
    """It is fulfilled once, and what has ended stays ended."""
    request = a_request()
    seen = [request.state]
    for number, state in enumerate(walk):
        if state in REQUEST_TRANSITIONS[request.state]:
            request = request.became(state, NOW + number)
            seen.append(state)
        else:
            with pytest.raises(TransitionError):
                request.became(state, NOW + number)

    assert seen.count(RequestState.FULFILLED) <= 1
    assert all(state not in ENDED for state in seen[:-1])


@pytest.mark.parametrize("state", list(NodeState))
def test_every_state_of_a_node_has_a_way_to_its_end(state):
    """No state without an exit (P4)."""
    reached, edge = {state}, {state}
    while edge:
        edge = {after for at in edge for after in NODE_TRANSITIONS[at]} - reached
        reached |= edge

    assert NodeState.GONE in reached


@pytest.mark.parametrize("state", list(RequestState))
def test_every_state_of_a_request_has_a_way_to_its_end(state):
    """No state without an exit (P4)."""
    reached, edge = {state}, {state}
    while edge:
        edge = {after for at in edge for after in REQUEST_TRANSITIONS[at]} - reached
        reached |= edge

    assert reached & ENDED


def test_the_tables_name_every_state():
    """A new state needs its steps."""
    assert set(NODE_TRANSITIONS) == set(NodeState)
    assert set(REQUEST_TRANSITIONS) == set(RequestState)
