"""What is older than ``alarm-age`` where it should move on is told: log, notice, numbers."""

import pytest
import structlog.testing

from trellis.config import Configuration
from trellis.control.fleet import Fleet
from trellis.control.overdue import MOST_LINES, Overseer
from trellis.control.policy import InForce, Policy
from trellis.model.node import NodeState
from trellis.model.records import Change
from trellis.model.request import RequestState
from trellis.scheduler.snapshot import queue_shape
from trellis.testing.builders import NOW, a_node, a_request, placed

HOUR = 3600.0


class Watch:
    """An overseer over these records, at a time that the test sets."""

    def __init__(self, *records, alarm_age=HOUR):
        self.fleet = Fleet()
        self.fleet.load(records)
        self.now, self.waits, self.notices = NOW, {}, {}
        in_force = InForce(Policy.of(Configuration(deployment="test", alarm_age=alarm_age)))
        self.overseer = Overseer(
            self.fleet, in_force, lambda: self.now, lambda: self.waits, self.notices
        )

    def look(self):
        """What one look writes into the log."""
        with structlog.testing.capture_logs() as lines:
            self.overseer.look()
        return lines

    def becomes(self, before, after, *, archive=False):
        self.fleet.apply([Change(before, after, archive=archive)])


def test_a_request_that_waits_too_long_is_told_once_with_its_reason():
    old = a_request(1, created_at=NOW - HOUR - 60)
    watch = Watch(old, a_request(2, created_at=NOW - HOUR + 60))
    watch.waits = {queue_shape(old): {"alpha": "no room"}}

    [line] = watch.look()

    assert (line["event"], line["log_level"]) == ("overdue", "warning")
    assert (line["request"], line["state"], line["for_min"]) == (old.id, "requested", 61)
    assert line["why"] == "alpha: no room."
    assert watch.look() == []
    assert set(watch.overseer.requests) == {old.id}
    assert watch.notices == {
        "overdue requests": f"1 request is overdue; the oldest, {old.id}, is requested after "
        f"61 min: alpha: no room. More by 'trellis request explain {old.id}'"
    }


def test_a_placed_request_is_overdue_from_the_time_it_was_made():
    """Being placed anew every half hour is no progress."""
    request = placed(a_request(1, created_at=NOW - 2 * HOUR), since=NOW - 5)
    [line] = Watch(request).look()
    assert (line["request"], line["state"], line["for_min"]) == (request.id, "pending", 120)


def test_what_is_served_is_overdue_no_longer_and_its_notice_ends():
    old = placed(a_request(1, created_at=NOW - 2 * HOUR))
    watch = Watch(old)
    watch.look()
    watch.becomes(old, old.became(RequestState.FULFILLED, NOW, nodes=()))

    assert watch.look() == []
    assert (watch.notices, watch.overseer.requests) == ({}, {})


@pytest.mark.parametrize("state", NodeState)
def test_nodes_are_overdue_in_states_that_they_should_leave(state):
    """A ready, a leased and a held one are where they belong."""
    parts = {"held_by": "ann", "hold_reason": "why"} if state is NodeState.HOLD else {}
    node = a_node(1, state=state, state_at=NOW - 2 * HOUR, **parts)
    stays = {NodeState.READY, NodeState.IN_USE, NodeState.HOLD, NodeState.GONE}
    assert [line["node"] for line in Watch(node).look()] == ([] if state in stays else [node.id])


def test_a_node_that_was_given_and_is_not_taken_is_overdue():
    node = a_node(1, state_at=NOW - 2 * HOUR, lease_id="1" * 32, allocated_to=a_request(1).id)
    assert [line["node"] for line in Watch(node).look()] == [node.id]


def test_a_node_set_apart_has_another_notice():
    node = a_node(1, state=NodeState.DELETING, state_at=NOW - 2 * HOUR, set_apart=True)
    assert Watch(node).look() == []


def test_a_node_is_told_again_when_it_is_overdue_in_another_state():
    building = a_node(1, state=NodeState.BUILDING, state_at=NOW - 2 * HOUR)
    watch = Watch(building)
    watch.look()
    watch.becomes(building, building.became(NodeState.DELETING, NOW))
    assert watch.look() == []
    watch.now += 2 * HOUR
    assert [line["state"] for line in watch.look()] == ["deleting"]
    assert watch.notices["overdue nodes"].startswith(
        f"1 node is overdue; the oldest, {building.id}, is deleting after 120 min: It is being "
    )


def test_thousands_fill_no_log():
    """The oldest are named, the others are a number; the notice names the oldest of all."""
    requests = [a_request(n, created_at=NOW - 2 * HOUR - n) for n in range(1, 3001)]
    watch = Watch(*requests)

    lines = watch.look()

    assert len(lines) == MOST_LINES + 1
    assert lines[0]["request"] == requests[-1].id
    assert lines[-1] == {"event": "more_overdue", "log_level": "warning", "more": 2980}
    assert watch.notices["overdue requests"].startswith(
        f"3000 requests are overdue; the oldest, {requests[-1].id}, is requested"
    )


def test_an_alarm_age_of_0_tells_of_nothing():
    watch = Watch(a_request(1, created_at=NOW - 99 * HOUR), alarm_age=0)
    assert watch.look() == []
    assert watch.notices == {}
