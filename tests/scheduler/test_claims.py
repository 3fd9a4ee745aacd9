"""What tenants and labels may have, whatever room there is."""

import attrs
import pytest

from trellis.model.quota import Limits, Resources
from trellis.scheduler.decisions import Fail, Place, Retire, Warm
from trellis.scheduler.plan import plan
from trellis.scheduler.snapshot import QuotaView, TenantView
from trellis.testing.builders import (
    NOW,
    a_node,
    a_pool,
    a_provider,
    a_request,
    a_snapshot,
    an_offer,
)


def of_kind(found, kind):
    return [decision for decision in found.decisions if isinstance(decision, kind)]


def tenant(limit, held=0, **parts):
    return TenantView(limits=Limits(instances=limit), used=Resources(instances=held), **parts)


def reasons(found):
    return {reason for queue in found.waits.values() for reason in queue.values()}


class TestTenants:
    def test_who_holds_its_limit_waits_with_the_reason(self):
        """Others are served meanwhile, also those behind it that ask for the same."""
        mine, other = a_request(1, tenant="acme"), a_request(2, tenant="zeta")

        found = plan(a_snapshot(waiting=[mine, other], tenants={"acme": tenant(2, held=2)}))

        assert [place.request for place in of_kind(found, Place)] == [other]
        assert reasons(found) == {"tenant acme holds 2 of 2 (max-servers), 1 wanted"}

    def test_what_one_pass_gives_counts(self):
        """Two places are left to it, so two of its three requests are placed."""
        mine = [a_request(n, tenant="acme") for n in (1, 2, 3)]

        found = plan(a_snapshot(waiting=mine, tenants={"acme": tenant(2)}))

        assert [place.request for place in of_kind(found, Place)] == mine[:2]

    def test_ready_nodes_count_when_they_are_handed_out(self):
        """A shelf is nobody's; what is taken from it is its tenant's."""
        mine = [a_request(n, tenant="acme") for n in (1, 2)]
        idle = [a_node(1), a_node(2)]

        found = plan(a_snapshot(waiting=mine, idle=idle, tenants={"acme": tenant(1)}))

        (place,) = of_kind(found, Place)
        assert [node.id for _, node in place.take] == ["0000000001"]

    def test_cores_and_memory_are_limited_too(self):
        """By what the nodes come down to at the provider in question."""
        tenants = {"acme": TenantView(limits=Limits(cores=1), used=Resources())}

        found = plan(
            a_snapshot(
                waiting=[a_request(1, tenant="acme"), a_request(2, tenant="acme")],
                tenants=tenants,
            )
        )

        assert len(of_kind(found, Place)) == 1
        assert reasons(found) == {"tenant acme holds 1 of 1 (max-cores), 1 wanted"}

    def test_what_is_larger_than_the_whole_limit_fails_at_once(self):
        """It would wait for ever."""
        found = plan(
            a_snapshot(
                waiting=[a_request(labels=("small",) * 3, tenant="acme")],
                tenants={"acme": tenant(2)},
            )
        )

        (fail,) = of_kind(found, Fail)
        assert fail.reason == "tenant acme may have max-servers 2 in all, 3 wanted"

    def test_more_cores_than_the_whole_limit_anywhere_fails_at_once(self):
        """With what each provider would make of it."""
        tenants = {"acme": TenantView(limits=Limits(cores=2), used=Resources())}

        found = plan(
            a_snapshot(waiting=[a_request(labels=("small",) * 3, tenant="acme")], tenants=tenants)
        )

        (fail,) = of_kind(found, Fail)
        assert fail.reason == "alpha: tenant acme may have max-cores 2 in all, 3 wanted"

    def test_a_limit_of_nothing_has_it_wait(self):
        """It is how a tenant is stopped for a while."""
        found = plan(a_snapshot(waiting=[a_request(tenant="acme")], tenants={"acme": tenant(0)}))

        assert found.decisions == ()
        assert reasons(found) == {"tenant acme holds 0 of 0 (max-servers), 1 wanted"}

    def test_who_names_no_tenant_has_no_limit(self):
        """Nor has one that the configuration does not name."""
        found = plan(
            a_snapshot(
                waiting=[a_request(1), a_request(2, tenant="other")],
                tenants={"acme": tenant(0)},
            )
        )

        assert len(of_kind(found, Place)) == 2

    def test_who_starves_by_its_own_limit_keeps_no_room_from_others(self):
        """Room that is kept for it would serve nobody."""
        mine = a_request(1, tenant="acme", created_at=NOW - 700)
        quotas = {"alpha": QuotaView(limits=Limits(instances=1), used=Resources())}

        found = plan(
            a_snapshot(
                waiting=[mine, a_request(2)], quotas=quotas, tenants={"acme": tenant(1, held=1)}
            )
        )

        assert [place.request.ask.tenant for place in of_kind(found, Place)] == [None]

    def test_a_set_is_not_starved_by_its_own_tenant(self):
        """Past starve-after the tenant's smaller requests leave it what comes free."""
        large = a_request(1, labels=("small",) * 2, tenant="acme", created_at=NOW - 700)
        small = a_request(2, tenant="acme")

        found = plan(a_snapshot(waiting=[large, small], tenants={"acme": tenant(3, held=2)}))

        assert of_kind(found, Place) == []


class TestShares:
    def test_who_holds_least_for_its_share_is_first(self):
        """Two places: one each, though acme asked before."""
        waiting = [a_request(n, tenant="acme" if n < 3 else "zeta") for n in (1, 2, 3, 4)]
        quotas = {"alpha": QuotaView(limits=Limits(instances=2), used=Resources())}
        tenants = {"acme": tenant(None, share=1.0), "zeta": tenant(None)}

        found = plan(a_snapshot(waiting=waiting, quotas=quotas, tenants=tenants))

        served = [place.request.ask.tenant for place in of_kind(found, Place)]
        assert sorted(served) == ["acme", "zeta"]

    def test_without_shares_the_oldest_is_first(self):
        """As the design has it."""
        waiting = [a_request(n, tenant="acme" if n < 3 else "zeta") for n in (1, 2, 3, 4)]
        quotas = {"alpha": QuotaView(limits=Limits(instances=2), used=Resources())}
        tenants = {"acme": tenant(None), "zeta": tenant(None)}

        found = plan(a_snapshot(waiting=waiting, quotas=quotas, tenants=tenants))

        assert [p.request.ask.tenant for p in of_kind(found, Place)] == ["acme", "acme"]

    def test_priority_goes_before_shares(self):
        """Shares divide what is left within a priority."""
        urgent = a_request(1, tenant="acme", priority=100)
        tenants = {"acme": tenant(None, held=5, share=1.0), "zeta": tenant(None, share=9.0)}
        quotas = {"alpha": QuotaView(limits=Limits(instances=1), used=Resources())}

        found = plan(
            a_snapshot(
                waiting=[urgent, a_request(2, tenant="zeta")], quotas=quotas, tenants=tenants
            )
        )

        assert [place.request for place in of_kind(found, Place)] == [urgent]

    def test_who_names_no_tenant_counts_as_one(self):
        """With what all such requests hold together."""
        waiting = [a_request(1), a_request(2, tenant="zeta")]
        quotas = {"alpha": QuotaView(limits=Limits(instances=1), used=Resources())}

        found = plan(
            a_snapshot(
                waiting=waiting,
                quotas=quotas,
                tenants={"zeta": tenant(None, share=1.0)},
                tenant_nodes={"": 4},
            )
        )

        assert [place.request.ask.tenant for place in of_kind(found, Place)] == ["zeta"]


class TestLabels:
    def test_a_label_has_its_limit_over_all_providers(self):
        """A licence for three servers is for three, wherever they run."""
        providers = [a_provider("alpha"), a_provider("beta")]
        waiting = [a_request(n) for n in (1, 2)]

        found = plan(
            a_snapshot(
                waiting=waiting,
                providers=providers,
                label_limits={"small": 3},
                label_used={"small": 2},
            )
        )

        assert len(of_kind(found, Place)) == 1
        assert reasons(found) == {"label small: 3 of 3 (max-servers) are there"}

    def test_nodes_that_are_there_are_handed_out_at_the_limit(self):
        """They count already."""
        found = plan(
            a_snapshot(
                waiting=[a_request()],
                idle=[a_node(1)],
                label_limits={"small": 1},
                label_used={"small": 1},
            )
        )

        assert len(of_kind(found, Place)) == 1

    def test_more_than_the_limit_in_one_request_fails_at_once(self):
        """It would wait for ever; with a limit of 0 it waits."""
        request = a_request(labels=("small",) * 3)

        too_large = plan(a_snapshot(waiting=[request], label_limits={"small": 2}))
        stopped = plan(a_snapshot(waiting=[request], label_limits={"small": 0}))

        (fail,) = of_kind(too_large, Fail)
        assert fail.reason == "label small allows 2 (max-servers), 3 wanted"
        assert stopped.decisions == ()

    def test_a_shelf_elsewhere_gives_way(self):
        """The request insists on beta, and all that there may be stands idle on alpha."""
        found = plan(
            a_snapshot(
                waiting=[a_request(provider="beta")],
                idle=[a_node(1), a_node(2)],
                providers=[a_provider("alpha"), a_provider("beta")],
                label_limits={"small": 2},
                label_used={"small": 2},
                min_ready={"small": 2},
            )
        )

        (retire,) = of_kind(found, Retire)
        assert retire.node.id == "0000000001"
        assert of_kind(found, Warm) == []

    @pytest.mark.parametrize(
        "beta",
        [
            {"paused": "paused by ann"},
            {"barred": "the region"},
            {"closed": "unavailable"},
            {"launches_left": 0},
            {"pools": [a_pool(limits=Limits(instances=1), used=Resources(instances=1))]},
        ],
    )
    def test_a_shelf_does_not_give_way_where_that_would_not_help(self, beta):
        """It would be filled again and emptied again, as long as the request waits."""
        found = plan(
            a_snapshot(
                waiting=[a_request(provider="beta")],
                idle=[a_node(1), a_node(2)],
                providers=[a_provider("alpha"), a_provider("beta", **beta)],
                label_limits={"small": 2},
                label_used={"small": 2},
                min_ready={"small": 2},
            )
        )

        assert found.decisions == ()

    def test_and_only_as_much_as_is_not_on_its_way_out_already(self):
        """Until it is gone the next passes look on."""
        found = plan(
            a_snapshot(
                waiting=[a_request(provider="beta")],
                idle=[a_node(2)],
                providers=[a_provider("alpha"), a_provider("beta")],
                label_limits={"small": 2},
                label_used={"small": 2},
                label_freeing={"small": 1},
                min_ready={"small": 2},
            )
        )

        assert found.decisions == ()

    def test_the_shelf_keeps_to_the_limit(self):
        """min-ready asks for more than there may be."""
        found = plan(
            a_snapshot(min_ready={"small": 5}, label_limits={"small": 3}, label_used={"small": 1})
        )

        assert len(of_kind(found, Warm)) == 2

    def test_what_is_worn_out_makes_way_for_its_own_replacement(self):
        """At the limit there is no room for both."""
        node = a_node(1, ready_at=NOW - 9000)

        found = plan(
            a_snapshot(
                idle=[node],
                min_ready={"small": 1},
                max_ready_age_s={"small": 3600.0},
                label_limits={"small": 1},
                label_used={"small": 1},
            )
        )

        assert [d.node for d in of_kind(found, Retire)] == [node]


class TestLabelsOfAPool:
    def test_the_next_pool_is_used(self):
        """Two in the one, the third in the other."""
        pools = [
            a_pool(label_limits={"small": 2}),
            a_pool(name="second"),
        ]

        found = plan(
            a_snapshot(
                waiting=[a_request(labels=("small",) * 3)], providers=[a_provider(pools=pools)]
            )
        )

        (place,) = of_kind(found, Place)
        assert [launch.offer.pool for launch in place.launch] == ["main", "main", "second"]

    def test_a_full_pool_says_so(self):
        """With how many there are."""
        pool = a_pool(label_limits={"small": 2}, label_used={"small": 2})

        found = plan(a_snapshot(waiting=[a_request()], providers=[a_provider(pools=[pool])]))

        assert reasons(found) == {"pool main has 2 of 2 small (max-servers)"}

    def test_more_than_all_its_pools_allow_fails_at_once(self):
        """At every provider, with each one's reason."""
        pool = a_pool(label_limits={"small": 1})
        request = a_request(labels=("small", "small"))

        found = plan(a_snapshot(waiting=[request], providers=[a_provider(pools=[pool])]))

        (fail,) = of_kind(found, Fail)
        assert "the pools together allow 1 small (max-servers), 2 wanted" in fail.reason

    def test_idle_nodes_of_it_make_room(self):
        """A node from another zone is in the way of a set."""
        zones = ("a", "b")
        offers = {"small": attrs.evolve(an_offer(), zones=zones)}
        pool = a_pool(offers=offers, label_limits={"small": 2}, label_used={"small": 2})

        found = plan(
            a_snapshot(
                waiting=[a_request(labels=("small", "small"))],
                idle=[a_node(1, az="a"), a_node(2, az="b")],
                providers=[a_provider(pools=[pool])],
            )
        )

        assert len(of_kind(found, Retire)) >= 1


class TestTooLarge:
    @pytest.mark.parametrize("what", ["cores", "ram_mib"])
    def test_a_pools_cores_and_memory_count(self, what):
        """A pool whose whole limit is too small will never hold it."""
        pool = a_pool(limits=Limits(**{what: 1}))
        request = a_request(labels=("small", "small"))

        found = plan(a_snapshot(waiting=[request], providers=[a_provider(pools=[pool])]))

        (fail,) = of_kind(found, Fail)
        assert "the pools together allow 1" in fail.reason

    def test_every_provider_says_why(self):
        """One has too small a quota, the other too small a pool."""
        request = a_request(labels=("small",) * 3)
        providers = [
            a_provider("alpha"),
            a_provider("beta", pools=[a_pool(limits=Limits(instances=2))]),
        ]
        quotas = {"alpha": QuotaView(limits=Limits(cores=2), used=Resources())}

        found = plan(a_snapshot(waiting=[request], providers=providers, quotas=quotas))

        (fail,) = of_kind(found, Fail)
        assert fail.reason == (
            "alpha: the whole quota is 2 cores, 3 cores wanted; beta: the pools together allow 2 "
            "instances, 3 wanted for 3 small"
        )

    @pytest.mark.parametrize("trouble", [{"paused": "paused by ada"}, {"closed": "unavailable"}])
    def test_one_that_cannot_be_used_now_and_might_hold_it_is_waited_for(self, trouble):
        """It comes back."""
        request = a_request(labels=("small",) * 3)
        quotas = {"alpha": QuotaView(limits=Limits(cores=2), used=Resources())}
        providers = [a_provider("alpha"), a_provider("beta", **trouble)]

        found = plan(a_snapshot(waiting=[request], providers=providers, quotas=quotas))

        assert of_kind(found, Fail) == []

    def test_what_refusals_taught_makes_nothing_hopeless(self):
        """The cloud tells more, and may give it one day."""
        quota = QuotaView(limits=Limits(instances=1), told=Limits(instances=10), used=Resources())
        request = a_request(labels=("small",) * 3)

        found = plan(a_snapshot(waiting=[request], quotas={"alpha": quota}))

        assert found.decisions == ()
        assert reasons(found) == {
            "quota: 3 instances wanted, 0 of 1 taken (the cloud says 10, and refused more)"
        }

    def test_one_is_tried_above_what_refusals_taught_when_it_is_time(self):
        """One in a pass, not more."""
        quota = QuotaView(
            limits=Limits(instances=1),
            told=Limits(instances=10),
            used=Resources(instances=1),
            one_more=True,
        )

        found = plan(a_snapshot(waiting=[a_request(1), a_request(2)], quotas={"alpha": quota}))

        assert len(of_kind(found, Place)) == 1
