"""What the plan makes of a cloud whose rate limit lets creates through slowly."""

from trellis.model.node import NodeState
from trellis.model.quota import Limits, Resources
from trellis.scheduler.decisions import GiveUp, Place, Refill, Retire, RunShort
from trellis.scheduler.plan import plan
from trellis.scheduler.snapshot import PendingView, QuotaView
from trellis.testing.builders import (
    NOW,
    a_node,
    a_pool,
    a_provider,
    a_request,
    a_snapshot,
    placed,
)

NO_TURN = "a create would wait there for more than a minute for its turn"


def of_kind(found, kind):
    return [decision for decision in found.decisions if isinstance(decision, kind)]


def requests(count, **parts):
    return [a_request(number, **parts) for number in range(1, count + 1)]


def test_no_more_is_placed_than_has_its_turn_soon():
    """The others wait, with the reason."""
    found = plan(a_snapshot(waiting=requests(5), providers=[a_provider(turns_left=2)]))

    assert len(of_kind(found, Place)) == 2
    assert list(found.waits.values()) == [{"alpha": NO_TURN}]


def test_what_has_no_turn_here_goes_elsewhere():
    """However empty this one is."""
    slow, other = a_provider("alpha", turns_left=0), a_provider("beta")

    (place,) = of_kind(plan(a_snapshot(waiting=requests(1), providers=[slow, other])), Place)

    assert place.provider == "beta"


def test_a_set_goes_where_its_first_has_its_turn():
    """Else none would ever be placed where all clouds are slow; after it nothing more."""
    sets = requests(2, labels=("small", "small", "small"))

    found = plan(a_snapshot(waiting=sets, providers=[a_provider(turns_left=1)]))

    (place,) = of_kind(found, Place)
    assert len(place.launch) == 3


def test_a_ready_node_needs_no_turn():
    """It is handed out, however slow the cloud is with creates."""
    ready = a_node(state=NodeState.READY)

    found = plan(
        a_snapshot(waiting=requests(1), idle=[ready], providers=[a_provider(turns_left=0)])
    )

    assert len(of_kind(found, Place)) == 1


def test_a_place_with_nothing_on_it_is_given_up_at_once():
    """Its launch was taken back: it does not wait there for another."""
    pending = PendingView(request=placed(a_request()), nodes={})

    found = plan(a_snapshot(pending=[pending], providers=[a_provider(turns_left=0)]))

    (decision,) = of_kind(found, GiveUp)
    assert decision.reason == NO_TURN
    assert decision.declined.until is not None


def test_a_set_of_which_something_stands_is_patient():
    """A node that failed is replaced where the others are, if that can be soon."""
    there = a_node(state=NodeState.READY, slot=0)
    pending = PendingView(request=placed(a_request(labels=("small", "small"))), nodes={0: there})

    found = plan(a_snapshot(pending=[pending], providers=[a_provider(turns_left=0)]))

    assert len(of_kind(found, RunShort)) == 1
    assert of_kind(found, GiveUp) == of_kind(found, Refill) == []


def full(**parts):
    """One idle node of another label is in the way of all else."""
    quotas = {"alpha": QuotaView(limits=Limits(instances=1), used=Resources(instances=1))}
    idle = a_node(state=NodeState.READY, label="other", ready_at=NOW)
    provider = a_provider(quota="alpha", pools=[a_pool(("small", "other"))], **parts)
    return plan(a_snapshot(waiting=requests(1), idle=[idle], providers=[provider], quotas=quotas))


def test_no_idle_node_is_deleted_for_what_could_not_be_created():
    """The room would stay empty for as long as the turn takes to come."""
    assert len(of_kind(full(turns_left=1), Retire)) == 1
    assert of_kind(full(turns_left=0), Retire) == []


def test_a_worn_node_serves_on_where_its_successor_has_no_turn():
    """It is made room for once it can be made."""

    def of_a_shelf(**parts):
        worn = a_node(state=NodeState.READY, ready_at=NOW - 1000.0)
        quotas = {"alpha": QuotaView(limits=Limits(instances=1), used=Resources(instances=1))}
        provider = a_provider(quota="alpha", **parts)
        return plan(
            a_snapshot(
                idle=[worn],
                providers=[provider],
                quotas=quotas,
                min_ready={"small": 1},
                max_ready_age_s={"small": 900.0},
            )
        )

    assert len(of_kind(of_a_shelf(turns_left=1), Retire)) == 1
    assert of_kind(of_a_shelf(turns_left=0), Retire) == []
