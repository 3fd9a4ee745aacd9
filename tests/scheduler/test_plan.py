"""The plan: what is decided, in which order, and the reason each decision carries."""

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trellis.model.node import NodeState
from trellis.model.quota import UNLIMITED, Limits, Resources
from trellis.model.request import Declined
from trellis.scheduler.decisions import (
    Fail,
    Fulfil,
    GiveUp,
    Place,
    Recheck,
    Refill,
    Retire,
    RunShort,
    Warm,
)
from trellis.scheduler.plan import DOUBT_PATIENCE_S, REFUSALS, SHORT_PATIENCE_S, plan
from trellis.scheduler.snapshot import Held, PendingView, QuotaView
from trellis.testing.builders import (
    NOW,
    a_node,
    a_pool,
    a_provider,
    a_request,
    a_server,
    a_snapshot,
    an_offer,
    placed,
)


def room_for(instances, used=0, **parts):
    return QuotaView(limits=Limits(instances=instances), used=Resources(instances=used), **parts)


def of_kind(found, kind):
    return [decision for decision in found.decisions if isinstance(decision, kind)]


class TestPlacing:
    def test_a_request_with_room_is_placed_and_launched(self):
        """A waiting request gets a place and a launch for each label."""
        request = a_request(labels=("small", "small"))

        found = plan(a_snapshot(waiting=[request]))

        (place,) = of_kind(found, Place)
        assert place.request is request
        assert [launch.slot for launch in place.launch] == [0, 1]

    def test_a_ready_node_is_taken_instead_of_a_launch(self):
        """An idle node of the label serves the request, and the provider that has it is chosen."""
        node = a_node(7, provider="beta")
        found = plan(
            a_snapshot(
                waiting=[a_request()],
                idle=[node],
                providers=[a_provider("alpha"), a_provider("beta")],
            )
        )

        (place,) = of_kind(found, Place)
        assert place.take == ((0, node),)
        assert place.launch == ()

    def test_one_idle_node_serves_one_request(self):
        """Two requests never take the same idle node (P1)."""
        found = plan(a_snapshot(waiting=[a_request(1), a_request(2)], idle=[a_node(7)]))

        takes = [node.id for place in of_kind(found, Place) for _, node in place.take]
        assert takes == ["0000000007"]

    def test_the_same_idle_node_never_fills_two_slots(self):
        """A request for two nodes takes one idle node and launches the other."""
        found = plan(a_snapshot(waiting=[a_request(labels=("small",) * 2)], idle=[a_node(7)]))

        (place,) = of_kind(found, Place)
        assert (len(place.take), len(place.launch)) == (1, 1)

    def test_the_quota_of_a_set_is_taken_whole(self):
        """A request for three does not start where two fit (P9)."""
        found = plan(
            a_snapshot(
                waiting=[a_request(labels=("small",) * 3)], quotas={"alpha": room_for(4, used=2)}
            )
        )

        assert of_kind(found, Place) == []
        ((reasons),) = found.waits.values()
        assert reasons["alpha"] == "quota: 3 instances wanted, 2 of 4 taken"

    def test_a_large_request_does_not_block_small_ones(self):
        """What fits goes on behind a request that does not."""
        large = a_request(1, labels=("small",) * 3)
        small = a_request(2)

        found = plan(a_snapshot(waiting=[large, small], quotas={"alpha": room_for(4, used=2)}))

        assert [place.request for place in of_kind(found, Place)] == [small]

    def test_a_starving_request_has_room_kept_for_it(self):
        """Past starve-after smaller requests behind it no longer take the room (P9)."""
        large = a_request(1, labels=("small",) * 3, created_at=NOW - 700)
        small = a_request(2)

        found = plan(a_snapshot(waiting=[large, small], quotas={"alpha": room_for(4, used=2)}))

        assert of_kind(found, Place) == []

    def test_room_is_kept_on_one_provider_only(self):
        """Others are served elsewhere meanwhile."""
        large = a_request(1, labels=("small",) * 3, created_at=NOW - 700)
        small = a_request(2)

        found = plan(
            a_snapshot(
                waiting=[large, small],
                providers=[a_provider("alpha"), a_provider("beta")],
                quotas={"alpha": room_for(4, used=2), "beta": room_for(4, used=3)},
            )
        )

        assert [place.provider for place in of_kind(found, Place)] == ["beta"]

    def test_lower_priority_numbers_go_first(self):
        """With room for one, the request of priority 100 gets it though it is younger."""
        old, urgent = a_request(1, priority=300), a_request(2, priority=100)

        found = plan(a_snapshot(waiting=[old, urgent], quotas={"alpha": room_for(1)}))

        assert [place.request for place in of_kind(found, Place)] == [urgent]

    def test_within_a_priority_the_oldest_goes_first(self):
        """With room for one, the elder of two equals gets it."""
        first, second = a_request(1), a_request(2)

        found = plan(a_snapshot(waiting=[second, first], quotas={"alpha": room_for(1)}))

        assert [place.request for place in of_kind(found, Place)] == [first]

    def test_load_goes_where_room_is(self):
        """Of two providers the emptier one is chosen."""
        found = plan(
            a_snapshot(
                waiting=[a_request()],
                providers=[a_provider("alpha"), a_provider("beta")],
                quotas={"alpha": room_for(10, used=8), "beta": room_for(10, used=2)},
            )
        )

        assert of_kind(found, Place)[0].provider == "beta"

    def test_a_set_meets_in_one_zone(self):
        """Idle nodes of another zone do not serve a request for two."""
        offer = an_offer(zones=("az1", "az2"))
        provider = a_provider(pools=[a_pool(offers={"small": offer})])
        idle = [a_node(1, az="az1"), a_node(2, az="az2")]

        found = plan(
            a_snapshot(waiting=[a_request(labels=("small",) * 2)], idle=idle, providers=[provider])
        )

        (place,) = of_kind(found, Place)
        assert {node.az for _, node in place.take} | {x.az for x in place.launch} == {place.az}

    def test_nodes_are_spread_over_zones(self):
        """The zone with the fewest nodes of ours is chosen."""
        offer = an_offer(zones=("az1", "az2"))
        provider = a_provider(pools=[a_pool(offers={"small": offer})], zone_nodes={"az1": 3})

        found = plan(a_snapshot(waiting=[a_request()], providers=[provider]))

        assert of_kind(found, Place)[0].az == "az2"

    def test_a_spot_without_capacity_is_left_alone(self):
        """After *No valid host* the same flavor goes to the other zone."""
        offer = an_offer(zones=("az1", "az2"))
        held = {("f1", "az1"): Held(key="az1", reason="no capacity")}
        provider = a_provider(
            pools=[a_pool(offers={"small": offer}, spots_held=held)], zone_nodes={"az2": 9}
        )

        found = plan(a_snapshot(waiting=[a_request()], providers=[provider]))

        assert of_kind(found, Place)[0].az == "az2"

    def test_a_full_pool_gives_way_to_the_next(self):
        """The pools' own limits are kept, and another pool of the provider is used."""
        full = a_pool(limits=Limits(instances=2), used=Resources(instances=2))
        provider = a_provider(pools=[full, a_pool(name="other")])

        found = plan(a_snapshot(waiting=[a_request()], providers=[provider]))

        assert of_kind(found, Place)[0].launch[0].offer.pool == "other"

    def test_a_pause_says_who_and_why(self):
        """A paused provider's reason is the reason of the wait."""
        provider = a_provider(paused="paused by ann: maintenance")

        found = plan(a_snapshot(waiting=[a_request()], providers=[provider]))

        assert list(found.waits.values()) == [{"alpha": "paused by ann: maintenance"}]

    def test_the_launch_budget_bounds_a_pass(self):
        """With two launches left in this minute three requests make two (P7)."""
        waiting = [a_request(n) for n in range(3)]

        found = plan(a_snapshot(waiting=waiting, launches_left=2))

        assert len(of_kind(found, Place)) == 2


class TestHopeless:
    def test_what_no_quota_ever_holds_fails_at_once(self):
        """A request beyond every whole quota fails and says the numbers."""
        found = plan(
            a_snapshot(
                waiting=[a_request(labels=("small",) * 5)], quotas={"alpha": room_for(4, used=0)}
            )
        )

        (fail,) = of_kind(found, Fail)
        assert fail.reason == "alpha: the whole quota is 4 instances, 5 instances wanted"

    def test_what_only_has_to_wait_waits(self):
        """A quota that is full now is no reason to fail."""
        found = plan(a_snapshot(waiting=[a_request()], quotas={"alpha": room_for(4, used=4)}))

        assert of_kind(found, Fail) == []

    def test_a_provider_that_is_down_may_come_back(self):
        """A closed provider keeps the request waiting."""
        provider = a_provider(closed="unavailable: down", pools=[a_pool(labels=())])

        found = plan(a_snapshot(waiting=[a_request()], providers=[provider]))

        assert of_kind(found, Fail) == []

    def test_when_all_have_declined_for_good_it_fails_with_their_reasons(self):
        """Launches failed everywhere: the request fails and says where."""
        declined = Declined(provider="alpha", reason="3 launches failed there", at=NOW)

        found = plan(a_snapshot(waiting=[a_request(declined=(declined,))]))

        assert [fail.reason for fail in of_kind(found, Fail)] == ["alpha: 3 launches failed there"]

    def test_a_decline_for_a_while_ends(self):
        """After its time the provider is asked again."""
        declined = Declined(provider="alpha", reason="no capacity", at=NOW - 60, until=NOW - 1)

        found = plan(a_snapshot(waiting=[a_request(declined=(declined,))]))

        assert len(of_kind(found, Place)) == 1


class TestFinishing:
    def test_a_whole_set_is_handed_out_in_the_order_of_its_labels(self):
        """Slots decide the order, not ids."""
        request = placed(a_request(labels=("small", "small")))
        nodes = {1: a_node(3), 0: a_node(9)}

        found = plan(a_snapshot(pending=[PendingView(request=request, nodes=nodes)]))

        (fulfil,) = of_kind(found, Fulfil)
        assert [node.id for node in fulfil.nodes] == ["0000000009", "0000000003"]

    def test_a_set_with_one_node_building_is_not_handed_out(self):
        """A request is fulfilled whole or not at all (P9)."""
        request = placed(a_request(labels=("small", "small")))
        nodes = {0: a_node(1), 1: a_node(2, state=NodeState.BUILDING)}

        found = plan(a_snapshot(pending=[PendingView(request=request, nodes=nodes)]))

        assert found.decisions == ()

    def test_only_the_empty_slot_is_launched_again(self):
        """One node failed: the good one keeps its slot."""
        request = placed(a_request(labels=("small", "small")), failures=1)

        found = plan(a_snapshot(pending=[PendingView(request=request, nodes={0: a_node(1)})]))

        (refill,) = of_kind(found, Refill)
        assert [launch.slot for launch in refill.launch] == [1]

    def test_when_retries_are_spent_the_place_is_given_up(self):
        """The good nodes are freed and the provider is out for this request."""
        request = placed(a_request(labels=("small", "small")), failures=3)
        good = a_node(1)

        found = plan(a_snapshot(pending=[PendingView(request=request, nodes={0: good})]))

        (give_up,) = of_kind(found, GiveUp)
        assert give_up.free == (good,)
        assert give_up.declined.until is None

    def test_without_capacity_it_is_planned_elsewhere_for_a_while(self):
        """After three *No valid host* the place is given up, but not for good (rule 7)."""
        request = placed(a_request(), refusals=REFUSALS)

        found = plan(a_snapshot(pending=[PendingView(request=request, nodes={})]))

        (give_up,) = of_kind(found, GiveUp)
        assert give_up.declined.until is not None

    def test_a_create_in_doubt_is_worked_around(self):
        """Its slot gets a new node, which says whom it replaces; the doubtful one is freed."""
        request = placed(a_request())
        doubtful = a_node(
            1,
            state=NodeState.BUILDING,
            resources=(a_server(external_id=None, sent_at=NOW - DOUBT_PATIENCE_S - 1),),
        )

        found = plan(a_snapshot(pending=[PendingView(request=request, nodes={0: doubtful})]))

        (refill,) = of_kind(found, Refill)
        assert refill.free == (doubtful,)
        assert refill.launch[0].replaces == doubtful.id

    def test_a_create_just_sent_is_waited_for(self):
        """An answer may take some seconds."""
        request = placed(a_request())
        fresh = a_node(
            1,
            state=NodeState.BUILDING,
            resources=(a_server(external_id=None, sent_at=NOW - 1),),
        )

        found = plan(a_snapshot(pending=[PendingView(request=request, nodes={0: fresh})]))

        assert found.decisions == ()

    @pytest.mark.parametrize("short_since", [None, NOW - SHORT_PATIENCE_S - 1])
    def test_a_slot_without_room_waits_and_then_goes_elsewhere(self, short_since):
        """No state without an exit (P4): first it is noted, after a while the place is left."""
        request = placed(a_request(), short_since=short_since)

        found = plan(
            a_snapshot(
                pending=[PendingView(request=request, nodes={})],
                quotas={"alpha": room_for(1, used=1)},
            )
        )

        (decision,) = found.decisions
        assert isinstance(decision, RunShort if short_since is None else GiveUp)

    def test_a_node_long_ready_is_checked_before_it_is_handed_out(self):
        """After ten minutes its banner is read again (rule 8)."""
        request = placed(a_request())
        old = a_node(1, checked_at=NOW - 601)

        found = plan(a_snapshot(pending=[PendingView(request=request, nodes={0: old})]))

        assert [type(decision) for decision in found.decisions] == [Recheck]

    def test_nodes_of_a_provider_that_cannot_be_made_are_not_waited_for(self):
        """Its plugin is gone: nobody could check whether they still answer (P4)."""
        request = placed(a_request())
        old = a_node(1, checked_at=NOW - 601)
        pending = [PendingView(request=request, nodes={0: old})]

        found = plan(a_snapshot(pending=pending, providers=[a_provider("beta")]))

        (decision,) = found.decisions
        assert isinstance(decision, GiveUp)
        assert decision.free == (old,)


class TestIdleNodes:
    def test_min_ready_is_kept(self):
        """What is missing to min-ready is launched; what is on its way counts (P7)."""
        found = plan(a_snapshot(min_ready={"small": 4}, warming={"small": 1}, idle=[a_node(1)]))

        assert len(of_kind(found, Warm)) == 2

    def test_requests_come_before_min_ready(self):
        """With room for one, it is the request's."""
        found = plan(
            a_snapshot(waiting=[a_request()], min_ready={"small": 1}, quotas={"alpha": room_for(1)})
        )

        assert [type(decision) for decision in found.decisions] == [Place]

    def test_surplus_is_let_go_after_a_while(self):
        """One more than min-ready, and for long: the oldest is deleted."""
        old, new = a_node(1, ready_at=NOW - 100), a_node(2)

        found = plan(a_snapshot(min_ready={"small": 1}, idle=[old, new]))

        assert [retire.node for retire in of_kind(found, Retire)] == [old]

    def test_idle_nodes_make_room_for_another_label(self):
        """A full shelf never starves a request that quota keeps waiting; no more go than must."""
        shelf = [a_node(n, label="other") for n in range(1, 4)]
        provider = a_provider(pools=[a_pool(labels=("small", "other"))])

        found = plan(
            a_snapshot(
                waiting=[a_request()],
                idle=shelf,
                min_ready={"other": 3},
                providers=[provider],
                quotas={"alpha": room_for(3, used=3)},
            )
        )

        assert [retire.node.id for retire in of_kind(found, Retire)] == ["0000000001"]

    def test_what_is_being_deleted_is_room_enough(self):
        """Nothing more is deleted while a node that will make the room is on its way out."""
        provider = a_provider(pools=[a_pool(labels=("small", "other"))])
        quota = room_for(3, used=3, freeing=Resources(instances=1))

        found = plan(
            a_snapshot(
                waiting=[a_request()],
                idle=[a_node(1, label="other")],
                min_ready={"other": 1},
                providers=[provider],
                quotas={"alpha": quota},
            )
        )

        assert of_kind(found, Retire) == []


class TestArithmetic:
    @settings(max_examples=200, deadline=None)
    @given(
        limit=st.integers(0, 12) | st.just(UNLIMITED) | st.none(),
        used=st.integers(0, 6),
        sizes=st.lists(st.integers(1, 4), max_size=12),
    )
    def test_a_pass_never_promises_more_than_there_is(self, limit, used, sizes):
        """Whatever waits, the launches of one pass fit into the quota."""
        waiting = [a_request(n, labels=("small",) * size) for n, size in enumerate(sizes)]
        quota = QuotaView(limits=Limits(instances=limit), used=Resources(instances=used))

        found = plan(a_snapshot(waiting=waiting, quotas={"alpha": quota}))

        launched = sum(len(place.launch) for place in of_kind(found, Place))
        if limit is None or limit == UNLIMITED:
            assert launched == sum(sizes)
        else:
            assert used + launched <= max(limit, used)

    @settings(max_examples=100, deadline=None)
    @given(sizes=st.lists(st.integers(1, 3), min_size=1, max_size=8), seed=st.randoms())
    def test_the_plan_does_not_depend_on_the_order_of_arrival(self, sizes, seed):
        """Pure: the same requests in any order give the same plan."""
        waiting = [a_request(n, labels=("small",) * size) for n, size in enumerate(sizes)]
        shuffled = list(waiting)
        seed.shuffle(shuffled)
        quotas = {"alpha": room_for(5)}

        assert plan(a_snapshot(waiting=waiting, quotas=quotas)) == plan(
            a_snapshot(waiting=shuffled, quotas=quotas)
        )

    def test_a_backlog_costs_no_more_than_its_head(self, monkeypatch):
        """5,000 equal requests that cannot be placed are looked at once."""
        looks = []
        import trellis.scheduler.plan as module

        real = module.best_place
        monkeypatch.setattr(module, "best_place", lambda *a: looks.append(1) or real(*a))
        waiting = [a_request(n) for n in range(5000)]

        plan(a_snapshot(waiting=waiting, quotas={"alpha": room_for(1, used=1)}))

        assert len(looks) == 1


def test_a_failed_node_keeps_its_request():
    """The builder's placed request really is pending (a guard for the tests above)."""
    request = placed(a_request())

    assert request.placement is not None
    assert attrs.asdict(request)["placement"]["provider"] == "alpha"


class TestProviderThatMayNotCreate:
    """The limit of a day is used up, or creates have failed in a row."""

    def test_what_is_ready_there_is_handed_out(self):
        found = plan(
            a_snapshot(
                waiting=[a_request()],
                idle=[a_node(1)],
                providers=[a_provider(barred="used up"), a_provider("beta")],
            )
        )

        (place,) = found.decisions
        assert isinstance(place, Place)
        assert (place.provider, len(place.take), place.launch) == ("alpha", 1, ())

    def test_what_waits_for_a_launch_there_goes_elsewhere_at_once(self):
        request = placed(a_request())
        pending = [PendingView(request=request, nodes={})]

        found = plan(a_snapshot(pending=pending, providers=[a_provider(barred="used up")]))

        (decision,) = found.decisions
        assert isinstance(decision, GiveUp)
        assert decision.reason == "used up"

    def test_nothing_is_launched_there_and_no_node_makes_room_for_nothing(self):
        found = plan(
            a_snapshot(
                waiting=[a_request(labels=("large",))],
                idle=[a_node(1)],
                providers=[a_provider(barred="used up", pools=[a_pool(["small", "large"])])],
                quotas={"alpha": room_for(1, used=1)},
                min_ready={"small": 1},
            )
        )

        assert found.decisions == ()
        assert list(found.waits.values()) == [{"alpha": "used up"}]
