"""What is to be done about a node's znode: a table, decided purely of what was seen.

The tree is the truth of whether a request is there, and of a node's state and hold once an
executor has locked it; Trellis's records are the truth of everything else. Two rules are never
broken: nothing is written that we have not locked, and a node is given to another request only if
it is proved that no executor ever had it.
"""

import enum
from typing import Final

import attrs

from trellis.model.names import RequestId
from trellis.model.node import Node, NodeState
from trellis_zuul.node_wire import NodeDocument, ZnodeState

READY_AGAIN_PATIENCE_S: Final = 120.0
"""Zuul's session timeout. An executor that lost its session while it locked the nodes of a request
may come back for them as long as the request is there."""


class Lock(enum.Enum):
    """Whose a node's lock is."""

    FREE = "free"
    OURS = "ours"
    OTHERS = "others"


class RequestSight(enum.Enum):
    """How the request that a node is allocated to stands in the tree."""

    WAITING = "waiting"
    """It is there and has not been answered: the node is about to be named in it."""
    NAMES_IT = "names-it"
    """It is fulfilled, with this node."""
    WITHOUT_IT = "without-it"
    """It is answered, and the node is not in the answer: nobody is told of the node."""
    GONE = "gone"


class Record(enum.Enum):
    """How the node stands in Trellis's store."""

    READY = "ready"
    IN_USE = "in-use"
    HELD = "held"
    KEPT = "kept"
    """A person holds it, by a word to Trellis."""
    ENDING = "ending"
    """It is used, or being deleted."""
    GONE = "gone"
    """There is none any more, or it is no longer this request's: nothing may be done to it."""


HOLDER: Final = "zuul"
"""By whom nodes are held that Zuul holds: the source's name, which is this one as a rule."""
_RECORDS: Final = {
    NodeState.READY: Record.READY,
    NodeState.IN_USE: Record.IN_USE,
    NodeState.HOLD: Record.HELD,
}


def record_of(node: Node | None, request: RequestId, source: str = HOLDER) -> Record:
    """How a node stands for a request of Trellis's; None is a node the store does not know."""
    if node is None or node.state is NodeState.GONE or node.allocated_to != request:
        return Record.GONE
    if node.state is NodeState.HOLD and node.held_by != source:
        return Record.KEPT
    return _RECORDS.get(node.state, Record.ENDING)


@attrs.frozen(kw_only=True)
class Look:
    """What was seen of a node, at one moment.

    Attributes:
        ever_locked: somebody else has locked it, or may have.
        free_since: since when nobody has had its lock, in UTC seconds, as far as is known.
        hold_until: when its hold ends; None is upon a word.
    """

    document: NodeDocument
    lock: Lock
    ever_locked: bool
    request: RequestSight
    record: Record
    now: float
    free_since: float
    hold_until: float | None = None


class Act(enum.Enum):
    """What to do next about a node."""

    WAIT = "wait"
    NOTE_IN_USE = "note-in-use"
    """Record that it is handed out."""
    NOTE_HOLD = "note-hold"
    """Record that it is held."""
    LOCK = "lock"
    """Lock it and look again."""
    UNLOCK = "unlock"
    END = "end"
    """We have its lock: have the node deleted, then its znode."""
    TAKE_BACK = "take-back"
    """We have its lock: prove that nobody else ever had, then give the node back."""


@attrs.frozen
class Step:
    """What to do, and why.

    Attributes:
        until: when to look again though nothing changes, in UTC seconds.
    """

    act: Act
    why: str
    until: float | None = None


class _Due(enum.Enum):
    KEEP = "keep"
    HOLD = "hold"
    END = "end"
    TAKE_BACK = "take-back"


def decide(look: Look) -> Step:
    """What to do about a node, as it was seen."""
    if look.lock is Lock.OTHERS:
        if look.record is Record.READY:
            return Step(Act.NOTE_IN_USE, "somebody has locked it")
        return Step(Act.WAIT, "somebody has it locked")
    due, why, until = _due(look)
    if due is _Due.END or due is _Due.TAKE_BACK:
        if look.lock is Lock.FREE:
            return Step(Act.LOCK, why)
        return Step(Act.END if due is _Due.END else Act.TAKE_BACK, why)
    if look.lock is Lock.OURS:
        return Step(Act.UNLOCK, why, until)
    if due is _Due.HOLD and look.record in (Record.READY, Record.IN_USE):
        return Step(Act.NOTE_HOLD, why, until)
    return Step(Act.WAIT, why, until)


def _due(look: Look) -> tuple[_Due, str, float | None]:
    """What is due if nobody else has the lock; when that may change by itself."""
    if look.record is Record.KEPT:
        return _Due.KEEP, "a person holds it", None
    match look.document.state:
        case ZnodeState.READY:
            return _due_ready(look)
        case ZnodeState.HOLD:
            return _due_held(look)
        case ZnodeState.USED:
            return _Due.END, "it is used", None
        case ZnodeState.IN_USE:
            return _Due.END, "its executor has let go of it without a word", None
        case ZnodeState.DELETING | ZnodeState.DELETED:
            return _Due.END, "it is to be deleted", None
        case ZnodeState.OTHER:
            return _Due.KEEP, "it is in a state that nobody here knows", None
        case state:
            return _Due.END, f"it is {state.value}, and nobody works on it", None


def _due_ready(look: Look) -> tuple[_Due, str, float | None]:
    wanted = look.request in (RequestSight.WAITING, RequestSight.NAMES_IT)
    if not look.ever_locked:
        if wanted:
            # Also one that has died: an executor that cannot reach its node has Zuul try again,
            # one that finds no node has the job fail.
            return _Due.KEEP, "it waits for its executor", None
        if look.record is Record.READY:
            return _Due.TAKE_BACK, "its request is gone", None
        return _Due.END, "its request is gone", None
    if wanted:
        until = look.free_since + READY_AGAIN_PATIENCE_S
        if look.now < until:
            return _Due.KEEP, "it was let go of unused, and its request is still there", until
    return _Due.END, "it was locked and let go of unused: nobody else is given it", None


def _due_held(look: Look) -> tuple[_Due, str, float | None]:
    if look.record in (Record.ENDING, Record.GONE):
        return _Due.END, "its hold has ended", None
    if look.hold_until is not None and look.hold_until <= look.now:
        return _Due.END, "its hold has expired", None
    return _Due.HOLD, "it is held", look.hold_until
