"""What an ask may say beyond its labels: its rank, a provider it prefers, and no reuse."""

import attrs
import pytest

from trellis.model.quota import Limits, Resources
from trellis.model.request import Declined
from trellis.scheduler.claims import Claims
from trellis.scheduler.decisions import Place, Retire
from trellis.scheduler.memory import Memory
from trellis.scheduler.plan import plan
from trellis.scheduler.snapshot import Held, QuotaView, TenantView, queue_shape
from trellis.testing.builders import (
    NOW,
    a_node,
    a_pool,
    a_provider,
    a_request,
    a_snapshot,
    an_offer,
)


def room_for(instances, used=0):
    return QuotaView(limits=Limits(instances=instances), used=Resources(instances=used))


def places(found):
    return [decision for decision in found.decisions if isinstance(decision, Place)]


def two(**beta):
    return [a_provider("alpha"), a_provider("beta", **beta)]


class TestRank:
    def test_lower_ranks_of_a_priority_are_served_first(self):
        """Then the oldest; a priority goes before any rank."""
        late = a_request(9, rank=0)
        ranked = [a_request(1, rank=2), a_request(2, rank=1), late, a_request(8, rank=1)]
        urgent = a_request(7, priority=100, rank=5)

        found = plan(a_snapshot(waiting=[*ranked, urgent]))

        order = [urgent, late, ranked[1], ranked[3], ranked[0]]
        assert [place.request for place in places(found)] == order

    def test_it_orders_requests_for_different_labels_too(self):
        """Queues of different shapes are one line."""
        small, large = a_request(1, rank=1), a_request(2, ["large"], rank=0)
        pool = a_pool(("small", "large"))

        found = plan(
            a_snapshot(
                waiting=[small, large],
                providers=[a_provider(pools=[pool])],
                quotas={"alpha": room_for(1)},
            )
        )

        assert [place.request for place in places(found)] == [large]

    def test_no_tenant_gets_ahead_of_another_by_its_ranks(self):
        """Where shares are configured, who has least is asked first."""
        tenants = {
            name: TenantView(limits=Limits(), used=Resources(instances=used), share=1.0)
            for name, used in (("acme", 5), ("zeta", 0))
        }
        claims = Claims(a_snapshot(tenants=tenants))

        rich, poor = a_request(1, tenant="acme", rank=0), a_request(2, tenant="zeta", rank=9)

        assert claims.order(poor) < claims.order(rich)


class TestPreferred:
    def test_the_preferred_provider_is_taken_though_another_is_better(self):
        """Even where a node is ready elsewhere."""
        found = plan(
            a_snapshot(waiting=[a_request(prefers="beta")], providers=two(), idle=[a_node(7)])
        )

        (place,) = places(found)
        assert place.provider == "beta"

    def test_it_is_waited_for_while_it_is_full(self):
        """As others wait for it; and the reasons say so."""
        request = a_request(prefers="beta")
        found = plan(
            a_snapshot(waiting=[request], providers=two(), quotas={"beta": room_for(1, 1)})
        )

        assert places(found) == []
        reasons = found.waits[queue_shape(request)]
        assert reasons["alpha"] == "the request prefers provider beta"
        assert reasons["beta"].startswith("quota: ")

    @pytest.mark.parametrize(
        ("parts", "why"),
        [
            ({"closed": "it does not answer"}, "it does not answer"),
            ({"paused": "paused by ada: repairs"}, "paused by ada: repairs"),
            ({"barred": "no creates today"}, "no creates today"),
            ({"dropped": True}, "there is none of this name"),
            ({"pools": [a_pool(("large",))]}, "does not offer small"),
            ({"pools": [a_pool((), missing={"small": "no image tiny"})]}, "small: no image tiny"),
            (
                {"pools": [a_pool(labels_held={"small": [Held(key="b", reason="breaker open")]})]},
                "breaker open",
            ),
            (
                {"pools": [a_pool(limits=Limits(instances=0))]},
                "its limits of 0 let no small be launched",
            ),
            (
                {"pools": [a_pool(label_limits={"small": 0}), a_pool(limits=Limits(cores=0))]},
                "its limits of 0 let no small be launched",
            ),
            (
                {"pools": [a_pool(limits=Limits(cores=1), offers={"small": an_offer()})]},
                None,
            ),
        ],
        ids=[
            "closed",
            "paused",
            "barred",
            "dropped",
            "other",
            "missing",
            "breaker",
            "shut",
            "shut2",
            "fits",
        ],
    )
    def test_it_is_dropped_where_it_cannot_serve_and_the_reason_is_told(self, parts, why):
        """Any other serves then."""
        found = plan(a_snapshot(waiting=[a_request(prefers="beta")], providers=two(**parts)))

        (place,) = places(found)
        assert place.provider == ("alpha" if why else "beta")
        told = f"not beta, which it prefers: {why}"
        assert (told in place.reason) == (why is not None)

    def test_one_that_would_never_hold_it_is_dropped(self):
        """An empty project of it would not either."""
        found = plan(
            a_snapshot(
                waiting=[a_request(1, ["small"] * 3, prefers="beta")],
                providers=two(),
                quotas={"beta": room_for(2)},
            )
        )

        (place,) = places(found)
        assert place.provider == "alpha"
        assert "the whole quota is" in place.reason

    @pytest.mark.parametrize(("until", "provider"), [(NOW + 9, "alpha"), (NOW - 9, "beta")])
    def test_one_that_has_declined_is_dropped_as_long_as_that_holds(self, until, provider):
        """It is taken again afterwards."""
        declined = (Declined(provider="beta", reason="3 launches failed", at=NOW, until=until),)
        request = a_request(prefers="beta", declined=declined)

        (place,) = places(plan(a_snapshot(waiting=[request], providers=two())))

        assert place.provider == provider

    def test_one_that_there_is_not_is_no_reason_to_wait(self):
        """Zuul may name a provider of another launcher."""
        (place,) = places(plan(a_snapshot(waiting=[a_request(prefers="nobody")])))

        assert "not nobody, which it prefers: there is none of this name" in place.reason


class TestReuse:
    def test_nodes_that_are_ready_are_not_given_to_one_that_wants_none(self):
        """A new one is launched for it, and the ready one is left for others."""
        fresh, any_ = a_request(1, reuse=False), a_request(2)
        found = plan(a_snapshot(waiting=[fresh, any_], idle=[a_node(7)]))

        first, second = places(found)
        assert (first.request, len(first.launch), first.take) == (fresh, 1, ())
        assert (second.request, len(second.take)) == (any_, 1)

    def test_they_make_room_for_it(self):
        """Where there is none beside them."""
        found = plan(
            a_snapshot(
                waiting=[a_request(reuse=False)], idle=[a_node(7)], quotas={"alpha": room_for(1, 1)}
            )
        )

        assert places(found) == []
        assert [d.node.id for d in found.decisions if isinstance(d, Retire)] == ["0000000007"]

    def test_what_was_found_for_the_one_is_not_taken_for_the_other(self):
        """Answers that are kept from pass to pass know of it."""
        memory = Memory()
        world = a_snapshot(waiting=[a_request(1)], idle=[a_node(7)])
        plan(world, memory)
        snapshot = attrs.evolve(
            world, queues=a_snapshot(waiting=[a_request(1, reuse=False)]).queues
        )

        (place,) = places(plan(snapshot, memory))

        assert place.take == ()


def _calls_of_a_pass(waiting):
    """How often a request is looked at in one pass over a backlog that has no room."""
    looks = 0

    class Counted(list):
        def __getitem__(self, index):
            nonlocal looks
            looks += 1
            return super().__getitem__(index)

        def __iter__(self):
            raise AssertionError("a pass goes through a whole queue")

    requests = [
        a_request(number, prefers=("beta", None)[number % 2], rank=number % 50, tenant="acme")
        for number in range(waiting)
    ]
    world = a_snapshot(
        waiting=requests, providers=two(), quotas=dict.fromkeys(("alpha", "beta"), room_for(1, 1))
    )
    queues = {shape: Counted(queue) for shape, queue in world.queues.items()}
    found = plan(attrs.evolve(world, queues=queues))
    assert places(found) == []
    return looks


def test_a_pass_over_5000_costs_what_one_over_50_does():
    """What has no place is not looked at one by one, whatever its ranks and preferences."""
    assert _calls_of_a_pass(5000) == _calls_of_a_pass(50)
