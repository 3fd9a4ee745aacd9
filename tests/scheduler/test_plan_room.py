"""The plan: for whom there is room, for whom it is made or kept, and what stands in its way."""

from trellis.model.node import Login
from trellis.model.quota import Limits, Resources
from trellis.scheduler.decisions import (
    Fail,
    Fulfil,
    Place,
    Retire,
    Warm,
)
from trellis.scheduler.plan import plan
from trellis.scheduler.snapshot import Held, PendingView, QuotaView
from trellis.testing.builders import (
    NOW,
    a_node,
    a_pool,
    a_provider,
    a_request,
    a_shape,
    a_snapshot,
    an_offer,
    placed,
)


def room_for(instances, used=0, **parts):
    return QuotaView(limits=Limits(instances=instances), used=Resources(instances=used), **parts)


def of_kind(found, kind):
    return [decision for decision in found.decisions if isinstance(decision, kind)]


class TestRoomForOthers:
    def test_pools_of_a_provider_add_up(self):
        """Three nodes over two pools of two are placed, not failed."""
        pools = [a_pool(name=name, limits=Limits(instances=2)) for name in ("a", "b")]
        request = a_request(labels=("small",) * 3)

        found = plan(a_snapshot(waiting=[request], providers=[a_provider(pools=pools)]))

        assert of_kind(found, Fail) == []
        assert len(of_kind(found, Place)) == 1

    def test_the_smallest_offer_decides_what_is_hopeless(self):
        """A first pool with a flavor beyond the quota does not fail what the second can make."""
        big = a_shape(flavor_id="big", resources=Resources(instances=1, cores=64))
        pools = [
            a_pool(name="a", offers={"small": an_offer("small", "a", shape=big)}),
            a_pool(name="b"),
        ]
        quota = QuotaView(limits=Limits(cores=8), used=Resources())

        found = plan(
            a_snapshot(
                waiting=[a_request()],
                providers=[a_provider(pools=pools)],
                quotas={"alpha": quota},
            )
        )

        assert of_kind(found, Fail) == []

    def test_a_quota_of_nothing_is_waited_for(self):
        """A quota is taken away for a while now and then: no request fails for it."""
        found = plan(a_snapshot(waiting=[a_request()], quotas={"alpha": room_for(0)}))

        assert found.decisions == ()

    def test_what_the_cloud_lacks_now_may_come(self):
        """A label whose image is missing keeps its requests waiting, with that reason."""
        pool = a_pool(labels=(), missing={"small": "there is no image tiny"})

        found = plan(a_snapshot(waiting=[a_request()], providers=[a_provider(pools=[pool])]))

        assert of_kind(found, Fail) == []
        assert list(found.waits.values()) == [{"alpha": "small: there is no image tiny"}]

    def test_a_shelf_that_fills_a_pool_gives_way(self):
        """The pool's own limit counts like the cloud's quota."""
        pool = a_pool(("small", "other"), limits=Limits(instances=2), used=Resources(instances=2))
        shelf = [a_node(n, label="other") for n in (1, 2)]

        found = plan(
            a_snapshot(
                waiting=[a_request()],
                idle=shelf,
                providers=[a_provider(pools=[pool])],
                min_ready={"other": 2},
            )
        )

        assert len(of_kind(found, Retire)) == 1

    def test_room_is_made_where_it_can_be_made(self):
        """A first provider full of leases does not keep the second's shelf in the way."""
        pool = a_pool(("small", "other"))

        found = plan(
            a_snapshot(
                waiting=[a_request()],
                idle=[a_node(1, label="other", provider="beta")],
                providers=[a_provider("alpha", pools=[pool]), a_provider("beta", pools=[pool])],
                min_ready={"other": 1},
                quotas={"alpha": room_for(5, 5), "beta": room_for(1, 1)},
            )
        )

        assert len(of_kind(found, Retire)) == 1

    def test_nothing_is_retired_in_vain(self):
        """Where the whole shelf would not be enough, it stays, and is not filled either (P7)."""
        pool = a_pool(("small", "other"))
        shelf = [a_node(n, label="other") for n in (1, 2)]

        found = plan(
            a_snapshot(
                waiting=[a_request(labels=("small",) * 5)],
                idle=shelf,
                providers=[a_provider(pools=[pool])],
                min_ready={"other": 4},
                quotas={"alpha": room_for(10, 8)},
            )
        )

        assert found.decisions == ()

    def test_room_is_kept_only_where_the_request_can_ever_be(self):
        """A provider too small for the starving request serves the others."""
        starving = a_request(1, labels=("small",) * 20, created_at=NOW - 2000)
        small = a_request(2, priority=300)

        found = plan(
            a_snapshot(
                waiting=[starving, small],
                providers=[a_provider("alpha"), a_provider("beta")],
                quotas={"alpha": room_for(10, 1), "beta": room_for(25, 10)},
            )
        )

        assert [(p.request, p.provider) for p in of_kind(found, Place)] == [(small, "alpha")]

    def test_room_is_kept_in_the_pool_too(self):
        """Without any quota it is the pool's own limit that is kept for the starving one."""
        starving = a_request(1, labels=("small",) * 4, created_at=NOW - 2000)
        others = [a_request(n, priority=300) for n in (2, 3)]
        pool = a_pool(limits=Limits(instances=4), used=Resources(instances=2))

        found = plan(a_snapshot(waiting=[starving, *others], providers=[a_provider(pools=[pool])]))

        assert of_kind(found, Place) == []

    def test_a_pool_is_used_in_its_own_zones(self):
        """When the pool of zone az1 is full, the node of the other pool goes to az2."""
        full = {"limits": Limits(instances=1), "used": Resources(instances=1)}
        pools = [
            a_pool(name="a", offers={"small": an_offer("small", "a", zones=("az1",))}, **full),
            a_pool(name="b", offers={"small": an_offer("small", "b", zones=("az2",))}),
        ]

        found = plan(a_snapshot(waiting=[a_request()], providers=[a_provider(pools=pools)]))

        (place,) = of_kind(found, Place)
        assert (place.az, place.launch[0].offer.pool) == ("az2", "b")

    def test_labels_without_a_common_zone_are_no_set(self):
        """Nothing is launched where a set could not meet (P9)."""
        offers = {
            "x": an_offer("x", zones=("az1",)),
            "y": an_offer("y", zones=("az2",)),
        }

        found = plan(
            a_snapshot(
                waiting=[a_request(labels=("x", "y"))],
                providers=[a_provider(pools=[a_pool(offers=offers)])],
            )
        )

        assert of_kind(found, Place) == []

    def test_without_named_zones_a_set_still_meets(self):
        """Idle nodes of two zones do not make one set."""
        idle = [a_node(1, az="z1"), a_node(2, az="z2")]

        found = plan(a_snapshot(waiting=[a_request(labels=("small",) * 2)], idle=idle))

        (place,) = of_kind(found, Place)
        assert len(place.take) == 1

    def test_what_has_no_ssh_is_handed_out_unchecked(self):
        """A node reached otherwise has no banner to read again."""
        request = placed(a_request())
        node = a_node(1, login=Login(connection_type="winrm"), checked_at=None)

        found = plan(a_snapshot(pending=[PendingView(request=request, nodes={0: node})]))

        assert len(of_kind(found, Fulfil)) == 1

    def test_a_label_that_keeps_failing_is_left_alone(self):
        """Requests do not hammer a bad image (P7)."""
        pool = a_pool(labels_held={"small": [Held(key="i", reason="launch failed")]})
        waiting = [a_request(n) for n in range(100)]

        found = plan(a_snapshot(waiting=waiting, providers=[a_provider(pools=[pool])]))

        assert of_kind(found, Place) == []

    def test_a_paused_provider_hands_out_what_is_ready(self):
        """Pause stops launches only (rule 10)."""
        provider = a_provider(paused="paused by ann: maintenance")

        found = plan(a_snapshot(waiting=[a_request(1), a_request(2)], idle=[a_node(1)],
                                providers=[provider]))  # fmt: skip

        assert [len(place.take) for place in of_kind(found, Place)] == [1]

    def test_a_drained_provider_lets_go_of_what_is_idle(self):
        """Also of nodes that become ready after the drain began."""
        provider = a_provider(paused="paused by ann: closing", draining=True)

        found = plan(a_snapshot(idle=[a_node(1)], providers=[provider]))

        assert len(of_kind(found, Retire)) == 1

    def test_what_stands_ready_at_a_dead_provider_does_not_count(self):
        """min-ready is kept by those that can be used."""
        providers = [a_provider("alpha", closed="unavailable"), a_provider("beta")]

        found = plan(a_snapshot(idle=[a_node(1)], providers=providers, min_ready={"small": 1}))

        assert [warm.launch.provider for warm in of_kind(found, Warm)] == ["beta"]

    def test_nodes_of_a_request_that_is_gone_are_let_go(self):
        """A safety net: whatever led to it, they are nobody's."""
        orphan = a_node(1, allocated_to="gone", slot=0)

        found = plan(a_snapshot(orphans=[orphan]))

        assert [retire.node for retire in of_kind(found, Retire)] == [orphan]
