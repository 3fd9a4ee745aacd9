"""The table of what is to be done about a node, row by row, and the rules no row may break."""

import itertools
import json

import attrs
import pytest
from trellis_zuul.node_steps import (
    HOLDER,
    READY_AGAIN_PATIENCE_S,
    Act,
    Lock,
    Look,
    Record,
    RequestSight,
    decide,
    record_of,
)
from trellis_zuul.node_wire import ZnodeState, read_node

from trellis.model.node import NodeState
from trellis.testing.builders import a_node

S, R, N = ZnodeState, RequestSight, Record
NOW = 10_000.0


def a_look(state=S.READY, **parts):
    document = read_node(json.dumps({"state": state.value}).encode())
    given = {
        "lock": Lock.FREE,
        "ever_locked": False,
        "request": R.NAMES_IT,
        "record": N.READY,
        "now": NOW,
        "free_since": NOW - 1,
    }
    return Look(document=document, **{**given, **parts})


# What was seen, and what is due once nobody else has the lock.
ROWS = {
    "about to be named in its request": (a_look(request=R.WAITING), "keep"),
    "waits for its executor": (a_look(), "keep"),
    "waits for its executor, and died": (a_look(record=N.ENDING), "keep"),
    "waits for its executor, and is gone": (a_look(record=N.GONE), "keep"),
    "request cancelled": (a_look(request=R.GONE), "take-back"),
    "another launcher's nodes were taken": (a_look(request=R.WITHOUT_IT), "take-back"),
    "request cancelled, and the node died": (a_look(request=R.GONE, record=N.ENDING), "end"),
    "request cancelled, and the node is gone": (a_look(request=R.GONE, record=N.GONE), "end"),
    "request cancelled, node recorded as used": (a_look(request=R.GONE, record=N.IN_USE), "end"),
    "given back by an executor just now, request there": (a_look(ever_locked=True), "keep"),
    "given back by an executor long ago, request there": (
        a_look(ever_locked=True, free_since=NOW - READY_AGAIN_PATIENCE_S),
        "end",
    ),
    "given back by an executor, request gone": (a_look(ever_locked=True, request=R.GONE), "end"),
    "given back by an executor, others named": (
        a_look(ever_locked=True, request=R.WITHOUT_IT),
        "end",
    ),
    "executor died with it": (a_look(S.IN_USE, ever_locked=True, record=N.IN_USE), "end"),
    "executor died with it, request there": (a_look(S.IN_USE, request=R.NAMES_IT), "end"),
    "used": (a_look(S.USED, request=R.GONE, ever_locked=True, record=N.IN_USE), "end"),
    "used while we were away": (a_look(S.USED, request=R.GONE, ever_locked=True), "end"),
    "used, and lost meanwhile": (a_look(S.USED, record=N.ENDING), "end"),
    "used, and gone meanwhile": (a_look(S.USED, record=N.GONE), "end"),
    "held": (a_look(S.HOLD, record=N.IN_USE), "hold"),
    "held while we were away": (a_look(S.HOLD), "hold"),
    "held, as recorded": (a_look(S.HOLD, record=N.HELD), "keep"),
    "held, until later": (a_look(S.HOLD, record=N.IN_USE, hold_until=NOW + 1), "hold"),
    "hold expired": (a_look(S.HOLD, record=N.HELD, hold_until=NOW), "end"),
    "hold ended in Trellis": (a_look(S.HOLD, record=N.ENDING), "end"),
    "held, and the node is gone": (a_look(S.HOLD, record=N.GONE), "end"),
    "deleted by an operator of the tree": (a_look(S.DELETING, record=N.IN_USE), "end"),
    "deleted by an operator before its use": (a_look(S.DELETING), "end"),
    "our own deletion, begun earlier": (a_look(S.DELETING, record=N.ENDING), "end"),
    "our own deletion, node gone": (a_look(S.DELETING, record=N.GONE), "end"),
    "deleted": (a_look(S.DELETED, record=N.GONE), "end"),
    "failed": (a_look(S.FAILED), "end"),
    "aborted": (a_look(S.ABORTED), "end"),
    "building": (a_look(S.BUILDING), "end"),
    "in a state of a later release": (a_look(S.OTHER, request=R.GONE, ever_locked=True), "keep"),
    "used, and a person holds it": (a_look(S.USED, record=N.KEPT), "keep"),
    "hold expired, and a person holds it": (
        a_look(S.HOLD, record=N.KEPT, hold_until=NOW - 1),
        "keep",
    ),
}
FREE = {
    "keep": Act.WAIT,
    "hold": Act.NOTE_HOLD,
    "end": Act.LOCK,
    "take-back": Act.LOCK,
}
OURS = {
    "keep": Act.UNLOCK,
    "hold": Act.UNLOCK,
    "end": Act.END,
    "take-back": Act.TAKE_BACK,
}


@pytest.mark.parametrize("row", ROWS)
def test_with_the_lock_free(row):
    look, due = ROWS[row]

    step = decide(look)

    assert FREE[due] is step.act
    assert step.why


@pytest.mark.parametrize("row", ROWS)
def test_under_our_lock(row):
    look, due = ROWS[row]

    assert OURS[due] is decide(attrs.evolve(look, lock=Lock.OURS)).act


@pytest.mark.parametrize("row", ROWS)
def test_under_the_lock_of_another(row):
    """Nothing but our own record changes while an executor has a node."""
    look, _due = ROWS[row]
    expected = Act.NOTE_IN_USE if look.record is N.READY else Act.WAIT

    assert expected is decide(attrs.evolve(look, lock=Lock.OTHERS)).act


def test_a_wait_that_ends_by_itself_says_when():
    assert NOW + 7 == decide(a_look(S.HOLD, record=N.HELD, hold_until=NOW + 7)).until
    assert NOW - 1 + READY_AGAIN_PATIENCE_S == decide(a_look(ever_locked=True)).until
    assert decide(a_look()).until is None


def every_look():
    for state, lock, ever, request, record, until in itertools.product(
        S, Lock, (False, True), R, N, (None, NOW - 1, NOW + 1)
    ):
        yield a_look(
            state, lock=lock, ever_locked=ever, request=request, record=record, hold_until=until
        )


def test_no_row_breaks_a_rule():
    """Over all that can be seen, whether or not it can come about."""
    acts = set()
    for look in every_look():
        act = decide(look).act
        acts.add(act)
        if look.lock is not Lock.OURS:
            assert act not in (Act.END, Act.TAKE_BACK, Act.UNLOCK), look
        else:
            assert act in (Act.END, Act.TAKE_BACK, Act.UNLOCK), look
        if act is Act.TAKE_BACK:
            assert not look.ever_locked, look
            assert look.document.state is S.READY, look
            assert look.record is N.READY, look
            assert look.request in (R.GONE, R.WITHOUT_IT), look
        if act is Act.NOTE_IN_USE:
            assert look.record is N.READY, look
        if look.record is N.KEPT or look.document.state is S.OTHER:
            assert act in (Act.WAIT, Act.UNLOCK, Act.NOTE_IN_USE), look
        if look.lock is Lock.FREE and look.document.state in (S.USED, S.IN_USE, S.DELETING):
            assert act is Act.LOCK or look.record is N.KEPT, look
    assert set(Act) == acts


@pytest.mark.parametrize(
    ("node", "record"),
    [
        (None, N.GONE),
        (a_node(allocated_to="r1"), N.READY),
        (a_node(allocated_to="r1", state=NodeState.IN_USE), N.IN_USE),
        (a_node(allocated_to="r1", state=NodeState.HOLD, held_by=HOLDER), N.HELD),
        (a_node(allocated_to="r1", state=NodeState.HOLD, held_by="ada"), N.KEPT),
        (a_node(allocated_to="r1", state=NodeState.USED), N.ENDING),
        (a_node(allocated_to="r1", state=NodeState.DELETING), N.ENDING),
        (a_node(allocated_to="r1", state=NodeState.GONE), N.GONE),
        (a_node(allocated_to="r2"), N.GONE),
        (a_node(allocated_to=None), N.GONE),
    ],
    ids=[
        "unknown",
        "ready",
        "in-use",
        "held-for-zuul",
        "held-by-a-person",
        "used",
        "deleting",
        "gone",
        "given-to-another",
        "given-back",
    ],
)
def test_how_a_node_stands_for_a_request(node, record):
    """A node that has gone on to another request is none of the first one's business."""
    assert record is record_of(node, "r1")
