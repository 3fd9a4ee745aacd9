"""What a live view is told: who waits longest and why, and how the last launches went."""

import pytest

from trellis.control.fleet import Fleet
from trellis.control.overview import Recent, counted, slowest, spread, waiting_longest
from trellis.model.node import NodeState
from trellis.model.overview import Spread
from trellis.model.records import Change
from trellis.model.request import RequestState
from trellis.model.status import Outlook
from trellis.scheduler.snapshot import queue_shape
from trellis.testing.builders import NOW, a_node, a_request, placed


def fleet_of(*records):
    fleet = Fleet(quota_of=lambda name: name)
    fleet.load(records)
    return fleet


def no_outlook(request):
    return Outlook(words="", estimate_s=None, basis="")


def test_those_that_wait_longest_are_named_placed_or_not():
    """Oldest first, up to the most; what waits for room and what waits for its nodes alike."""
    young = a_request(1, created_at=NOW - 1)
    old = a_request(2, created_at=NOW - 9)
    at_work = placed(a_request(3, created_at=NOW - 5))
    fleet = fleet_of(young, old, at_work)
    waits = {queue_shape(old): {"alpha": "no room"}}

    named = waiting_longest(fleet, waits, no_outlook, most=2)

    assert [x.request.id for x in named] == [old.id, at_work.id]
    assert named[0].words == "alpha: no room."
    assert [(d.provider, d.reason) for d in named[0].declined] == [("alpha", "no room")]


def test_place_in_the_queue_follows_the_order_of_service():
    """Those before it are the urgent and the older ones of its kind."""
    urgent = a_request(1, created_at=NOW, priority=100)
    old = a_request(2, created_at=NOW - 9)
    last = a_request(3, created_at=NOW - 8)

    named = waiting_longest(fleet_of(urgent, old, last), {}, no_outlook, most=3)

    words = {x.request.id: x.words for x in named}
    assert [x.ahead for x in named] == [1, 2, 0]
    assert words[last.id].startswith("2 like it are ahead")
    assert words[old.id].startswith("1 like it are ahead")


def test_slow_nodes_are_those_that_should_move_on():
    """Ready and leased ones are where they belong, unless they died there."""
    stuck = a_node(1, state=NodeState.DELETING, state_at=NOW - 900)
    held = a_node(2, state=NodeState.HOLD, state_at=NOW - 50, held_by="ann", hold_reason="why")
    lost = a_node(3, state=NodeState.IN_USE, state_at=NOW - 70, lost=True)
    fleet = fleet_of(stuck, held, lost, a_node(4), a_node(5, state=NodeState.IN_USE))

    named = slowest(fleet, most=9)

    assert [x.node.id for x in named] == [stuck.id, lost.id, held.id]
    assert "held by ann" in named[2].words
    assert counted(fleet) == {"deleting": 1, "hold": 1, "ready": 1, "in-use": 2}


def test_held_nodes_do_not_hide_what_is_stuck():
    """Ten people keep a node each for days: a fifth of the places is theirs."""
    held = [a_node(n, state=NodeState.HOLD, state_at=NOW - 9999 - n) for n in range(1, 11)]
    stuck = [a_node(n, state=NodeState.DELETING, state_at=NOW - n) for n in range(20, 30)]

    named = [x.node for x in slowest(fleet_of(*held, *stuck), most=10)]

    assert [n.state.value for n in named] == ["hold"] * 2 + ["deleting"] * 8
    assert named[2].id == stuck[-1].id


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ((), Spread(count=0, p50=None, p95=None)),
        ((7.0,), Spread(count=1, p50=7.0, p95=7.0)),
        (range(1, 101), Spread(count=100, p50=50, p95=95)),
    ],
    ids=["none", "one", "hundred"],
)
def test_spread_is_by_nearest_rank(samples, expected):
    """No value is shown that was not measured."""
    assert spread(samples) == expected


def test_launches_and_waits_are_counted_once_each():
    """By the commit that ends them; the last one that went wrong is kept with its reason."""
    recent = Recent()
    building = a_node(1, state=NodeState.BUILDING, created_at=NOW - 30)
    failed = building.became(NodeState.FAILED, NOW, fault="no answer")
    request = placed(a_request(1, created_at=NOW - 40))

    recent.see(Change(building, building.became(NodeState.READY, NOW, ready_at=NOW)))
    recent.see(Change(building, failed))
    recent.see(Change(failed, failed.became(NodeState.DELETING, NOW)))
    recent.see(Change(request, request.became(RequestState.FULFILLED, NOW)))

    assert dict(recent.launches) == {"ready": 1, "failed": 1}
    assert (recent.mishaps["alpha"].node_id, recent.mishaps["alpha"].reason) == (
        building.id,
        "no answer",
    )
    assert recent.boot_s() == Spread(count=1, p50=30.0, p95=30.0)
    assert recent.wait_s() == Spread(count=1, p50=40.0, p95=40.0)
