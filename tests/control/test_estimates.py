"""When a request will be ready, foretold from the launches before it."""

import statistics
from random import Random

import attrs
import pytest
import trio

from tests.daemon.stage import MINUTE, Stage
from trellis.control.estimates import FEWEST, KEPT, Estimates
from trellis.control.fleet import Fleet
from trellis.model.node import NodeState
from trellis.model.records import Change
from trellis.model.request import RequestState
from trellis.scheduler.snapshot import queue_shape
from trellis.testing.builders import NOW, a_node, a_request, placed


def estimates_of(*took_s, label="small"):
    """What is known after launches at alpha took so long."""
    known = Estimates()
    for number, took in enumerate(took_s, 1):
        building = a_node(number, state=NodeState.BUILDING, label=label, created_at=NOW - took)
        known.see(Change(building, building.became(NodeState.READY, NOW, ready_at=NOW)))
    return known


def under_way(*created_at, labels=None, ready=0):
    """A placed request, and the fleet with its nodes: those being built, and those ready."""
    request = placed(a_request(1, labels or ["small"] * (len(created_at) + ready)))
    nodes = [
        a_node(900 + slot, state=NodeState.BUILDING, created_at=at, allocated_to=request.id,
               slot=slot, label=request.ask.labels[slot])
        for slot, at in enumerate(created_at)
    ] + [
        a_node(950 + n, allocated_to=request.id, slot=len(created_at) + n) for n in range(ready)
    ]  # fmt: skip
    fleet = Fleet(quota_of=lambda name: name)
    fleet.load([request, *nodes])
    return request, fleet


def test_new_launch_takes_as_long_as_the_middle_one():
    """And it is said what that is taken from."""
    request, fleet = under_way(NOW)

    outlook = estimates_of(10, 20, 30, 40, 50).outlook(request, fleet, {}, NOW)

    assert outlook.estimate_s == 30
    assert "the last 5 launches of small at alpha" in outlook.basis
    assert "30 s in the middle, nine of ten at most 46 s" in outlook.basis
    assert outlook.words.startswith("It is placed on alpha: 0 of 1 nodes are ready")


def test_launch_that_has_lasted_is_compared_with_those_that_lasted_longer():
    """After 35 s only those of 40 and 50 s say anything about it."""
    request, fleet = under_way(NOW - 35)

    outlook = estimates_of(10, 20, 30, 40, 50).outlook(request, fleet, {}, NOW)

    assert outlook.estimate_s == 10


def test_launch_that_outlasts_all_others_is_not_foretold():
    """The reason says so."""
    request, fleet = under_way(NOW - 60)

    outlook = estimates_of(10, 20, 30).outlook(request, fleet, {}, NOW)

    assert outlook.estimate_s is None
    assert "node 0000000900 takes longer than each of the last 3 launches" in outlook.basis


def test_the_last_of_several_nodes_counts():
    """In the middle of all cases the slowest of three is later than the middle of one."""
    random = Random(7)
    known = estimates_of(*(random.lognormvariate(3, 0.5) for _ in range(KEPT)))
    single, alone = under_way(NOW)
    triple, three = under_way(NOW, NOW, NOW)
    cases = [max(random.lognormvariate(3, 0.5) for _ in range(3)) for _ in range(4000)]

    one = known.outlook(single, alone, {}, NOW).estimate_s
    all_three = known.outlook(triple, three, {}, NOW).estimate_s

    assert one < all_three
    assert all_three == pytest.approx(statistics.median(cases), rel=0.15)


def test_ready_nodes_do_not_delay():
    """What is there already is not waited for."""
    request, fleet = under_way(NOW - 5, ready=2)

    assert estimates_of(15, 15, 15).outlook(request, fleet, {}, NOW).estimate_s == 10


@pytest.mark.parametrize("known", range(FEWEST))
def test_few_launches_foretell_nothing(known):
    """One or two may have been anything."""
    request, fleet = under_way(NOW)

    outlook = estimates_of(*[20.0] * known).outlook(request, fleet, {}, NOW)

    assert outlook.estimate_s is None
    assert "of small at alpha has been measured yet" in outlook.basis


def test_every_label_has_launches_of_its_own():
    """Large nodes say nothing about small ones."""
    request, fleet = under_way(NOW)

    assert estimates_of(9, 9, 9, label="large").outlook(request, fleet, {}, NOW).estimate_s is None


def test_slot_without_a_node_cannot_be_foretold():
    """It waits for room, and room comes when others leave."""
    request, fleet = under_way(NOW, labels=["small", "small"])

    outlook = estimates_of(9, 9, 9).outlook(request, fleet, {}, NOW)

    assert outlook.estimate_s is None
    assert "1 of its 2 nodes must wait for room" in outlook.basis


def test_request_without_a_place_says_why_and_foretells_nothing():
    """The reasons of its queue, and how many are before it."""
    first, second = a_request(1), a_request(2)
    fleet = Fleet(quota_of=lambda name: name)
    fleet.load([first, second])
    waits = {queue_shape(first): {"alpha": "quota is full: cores", "beta": "paused by ada"}}

    outlook = estimates_of(9, 9, 9).outlook(second, fleet, waits, NOW)

    assert outlook.words == (
        "1 like it are ahead of it. alpha: quota is full: cores; beta: paused by ada."
    )
    assert outlook.estimate_s is None
    assert "no place yet" in outlook.basis


def test_request_that_waits_no_more_has_no_outlook():
    """Its words are elsewhere."""
    done = attrs.evolve(a_request(1), state=RequestState.FULFILLED)

    outlook = Estimates().outlook(done, Fleet(quota_of=lambda name: name), {}, NOW)

    assert (outlook.words, outlook.estimate_s, outlook.basis) == ("", None, "")


def test_only_the_latest_launches_count():
    """A cloud that became quicker is soon known to be."""
    request, fleet = under_way(NOW)

    known = estimates_of(*[500.0] * KEPT, *[20.0] * KEPT)

    assert known.outlook(request, fleet, {}, NOW).estimate_s == 20


def test_nodes_of_before_the_restart_are_known():
    """Those that were ready once; one that is being built tells nothing yet."""
    known = Estimates()
    known.load([
        *(a_node(n, created_at=NOW - 25, ready_at=NOW) for n in range(3)),
        a_node(9, state=NodeState.BUILDING),
    ])  # fmt: skip
    request, fleet = under_way(NOW)

    assert known.outlook(request, fleet, {}, NOW).estimate_s == 25


async def test_estimate_is_shown_wherever_a_request_is(tmp_path, autojump_clock):
    """By the operator's view, in the explanation, within what was measured."""
    stage = Stage(tmp_path)
    async with stage.running() as core:
        await trio.sleep(MINUTE)
        for _ in range(FEWEST):
            await stage.served(await stage.ask("alpha"))
        took = [node.ready_at - node.created_at for node in core.fleet.nodes.values()]
        request_id = await stage.ask("alpha")
        await trio.sleep(2)

        request = await core.port.request(request_id)
        outlook = core.operator.outlook(request)
        explained = await core.port.explain_request(request_id)

    assert outlook.estimate_s == explained.estimate_s
    assert explained.estimate_basis == outlook.basis
    assert min(took) <= outlook.estimate_s + 2 <= max(took)
