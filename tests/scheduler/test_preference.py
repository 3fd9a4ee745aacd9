"""Which place is preferred, and the words that say why."""

import attrs
import pytest

from trellis.model.quota import UNLIMITED, Limits, Resources
from trellis.scheduler.decisions import Place, Warm
from trellis.scheduler.plan import plan
from trellis.scheduler.preference import SLOWEST
from trellis.scheduler.room import Room
from trellis.scheduler.snapshot import QuotaView, Track
from trellis.testing.builders import (
    NOW,
    a_node,
    a_pool,
    a_provider,
    a_request,
    a_shape,
    a_snapshot,
    an_offer,
)

ALPHA, BETA = a_provider("alpha"), a_provider("beta")


def room(instances=10, used=0, **parts):
    return QuotaView(limits=Limits(instances=instances), used=Resources(instances=used), **parts)


def chosen(*providers, alpha=None, beta=None, tracks=None, **parts):
    """The one place that a plan for one request has."""
    quotas = {"alpha": alpha or room(), "beta": beta or room()}
    waiting = parts.pop("waiting", [a_request()])
    world = a_snapshot(
        waiting=waiting,
        providers=providers or (ALPHA, BETA),
        quotas=quotas,
        tracks=tracks or {},
        **parts,
    )
    (place,) = (d for d in plan(world).decisions if isinstance(d, Place))
    return place


def with_nodes(provider, count, **parts):
    """The provider with so many nodes of ours."""
    pool = a_pool(used=Resources(instances=count))
    return attrs.evolve(provider, pools=[pool], **parts)


class TestOrder:
    def test_the_emptier_one_is_preferred(self):
        """By what is taken of its room, whoever has taken it."""
        place = chosen(alpha=room(10, used=4), beta=room(100, used=30))

        assert place.provider == "beta"
        assert place.reason == (
            "beta: 0 ready, 1 to launch, because its room is then 31 % full; "
            "alpha less: its room is then 50 % full"
        )

    def test_what_is_nearest_to_its_limit_counts(self):
        """A project whose servers are not limited, but their memory is, is full by its memory."""
        memory = QuotaView(
            limits=Limits(instances=UNLIMITED, ram_mib=10 * 1024),
            used=Resources(instances=9, ram_mib=9 * 1024),
        )

        assert chosen(alpha=memory, beta=room(10, used=5)).provider == "beta"

    def test_a_pool_that_is_nearly_full_counts_as_the_project_does(self):
        """What is left in the quota is of no use to a pool that may not have it."""
        full = a_pool(limits=Limits(instances=10), used=Resources(instances=9))
        alpha = a_provider("alpha", pools=[full])

        assert chosen(alpha, BETA, alpha=room(1000, 9), beta=room(10, 8)).provider == "beta"

    def test_projects_without_limits_share(self):
        """The one with fewer nodes of ours is preferred, though both have room for ever."""
        endless = QuotaView(limits=Limits(), used=Resources())

        place = chosen(with_nodes(ALPHA, 5), with_nodes(BETA, 4), alpha=endless, beta=endless)

        assert place.provider == "beta"

    def test_a_lower_priority_number_goes_before_room(self):
        """The cloud that is wanted first is filled first."""
        pool = attrs.evolve(a_pool(), priority=50)
        place = chosen(ALPHA, a_provider("beta", pools=[pool]), beta=room(10, used=9))

        assert place.provider == "beta"
        assert place.reason == (
            "beta: 0 ready, 1 to launch, because its priority is 50; "
            "alpha less: its priority is 100"
        )

    def test_a_ready_node_goes_before_priority(self):
        """It is a shorter wait than any launch."""
        pool = attrs.evolve(a_pool(), priority=50)
        place = chosen(ALPHA, a_provider("beta", pools=[pool]), idle=[a_node(1)])

        assert place.provider == "alpha"
        assert place.reason == (
            "alpha: 1 ready, 0 to launch, because more of it is ready there; "
            "beta less: 1 to launch there"
        )

    def test_weights_go_before_room(self):
        """Who has least for its weight is preferred, however full the others are."""
        alpha, beta = with_nodes(ALPHA, 2, weight=1.0), with_nodes(BETA, 5, weight=3.0)
        place = chosen(alpha, beta, alpha=room(1000, 2), beta=room(10, 5))

        assert place.provider == "beta"
        assert place.reason == (
            "beta: 0 ready, 1 to launch, because it has 5 nodes for a weight of 3; "
            "alpha less: it has 2 nodes for a weight of 1"
        )

    def test_where_one_has_a_weight_the_others_count_one(self):
        """As tenants' shares do."""
        assert chosen(with_nodes(ALPHA, 2), with_nodes(BETA, 5, weight=3.0)).provider == "beta"
        assert chosen(with_nodes(ALPHA, 2), with_nodes(BETA, 9, weight=3.0)).provider == "alpha"

    def test_the_shelf_is_filled_by_the_same_order(self):
        """A node that is kept ready is launched where a request would be."""
        pool = attrs.evolve(a_pool(), priority=50)
        world = a_snapshot(
            providers=[ALPHA, a_provider("beta", pools=[pool])], min_ready={"small": 1}
        )

        (warm,) = (d for d in plan(world).decisions if isinstance(d, Warm))
        assert warm.launch.provider == "beta"


class TestPools:
    def pool(self, name, used=0, **parts):
        return a_pool(name=name, used=Resources(instances=used), **parts)

    def test_the_first_with_room_is_used(self):
        """As they are listed, where nothing else is said."""
        provider = a_provider("alpha", pools=[self.pool("p0", used=8), self.pool("p1")])

        assert [x.offer.pool for x in chosen(provider).launch] == ["p0"]

    def test_a_lower_priority_number_goes_first(self):
        provider = a_provider("alpha", pools=[self.pool("p0"), self.pool("p1", priority=10)])

        assert [x.offer.pool for x in chosen(provider).launch] == ["p1"]

    def in_two_zones(self):
        """A pool of last resort in a zone where nothing stands, and another where much does."""
        last, first = (
            attrs.evolve(
                a_pool(offers={"small": an_offer(pool=name, zones=(zone,))}, name=name),
                priority=priority,
            )
            for name, zone, priority in (("p0", "az1", 200), ("p1", "az2", 10))
        )
        return a_provider("alpha", pools=[last, first], zone_nodes={"az2": 5})

    def test_a_lower_priority_number_goes_first_in_whichever_zone(self):
        """The zone with the fewest nodes is for pools that are as good."""
        place = chosen(self.in_two_zones())

        assert [x.offer.pool for x in place.launch] == ["p1"]

    def test_a_lower_priority_number_goes_first_for_the_shelf(self):
        world = a_snapshot(providers=[self.in_two_zones()], min_ready={"small": 1})

        (warm,) = (d for d in plan(world).decisions if isinstance(d, Warm))
        assert (warm.launch.offer.pool, warm.launch.az) == ("p1", "az2")

    @pytest.mark.parametrize(("used", "name"), [(4, "p1"), (5, "p0")])
    def test_weights_divide_a_providers_nodes(self, used, name):
        """With 1 and 2, one pool has half of what the other has; at a tie, as listed."""
        provider = a_provider(
            "alpha", pools=[self.pool("p0", used=2), self.pool("p1", used=used, weight=2.0)]
        )

        assert [x.offer.pool for x in chosen(provider).launch] == [name]

    def test_a_providers_place_is_that_of_its_worst_pool(self):
        """A set that needs the pool of last resort is a last resort."""
        small = attrs.evolve(a_pool(("small",), name="p0"), priority=10)
        large = attrs.evolve(a_pool(("large",), name="p1"), priority=300)
        alpha = a_provider("alpha", pools=[small, large])
        beta = a_provider("beta", pools=[a_pool(("small", "large"))])

        both = [a_request(labels=("small", "large"))]
        assert chosen(alpha, beta, waiting=both).provider == "beta"
        assert chosen(alpha, beta).provider == "alpha"


class TestTracks:
    def test_failures_weigh(self):
        """Three of ten failed: what is as empty goes elsewhere, in words."""
        place = chosen(tracks={("alpha", "small"): Track(ready=7, failed=3)})

        assert place.provider == "beta"
        assert place.reason == (
            "beta: 0 ready, 1 to launch, because its room is then 10 % full; "
            "alpha less: 3 of 10 launches failed in the last 15 min"
        )

    def test_a_better_record_does_not_beat_much_room(self):
        """It is less that goes there, not nothing."""
        tracks = {("alpha", "small"): Track(ready=9, failed=1)}

        assert chosen(tracks=tracks, alpha=room(100), beta=room(100, 50)).provider == "alpha"

    @pytest.mark.parametrize(("there", "name"), [(9, "beta"), (40, "alpha")])
    def test_what_failed_counts_as_if_it_stood_there_and_as_a_record(self, there, name):
        """Where all six failed nothing stands, and it is no emptier for that: six and one more,
        at a quarter of its share, is as much as 28 nodes."""
        tracks = {("alpha", "small"): Track(failed=6)}
        providers = with_nodes(ALPHA, 0, weight=1.0), with_nodes(BETA, there, weight=1.0)

        place = chosen(*providers, tracks=tracks, alpha=room(100), beta=room(100, there))

        assert place.provider == name

    def test_failures_of_another_label_do_not_weigh(self):
        """An image that does not boot is the matter of those who ask for it."""
        assert chosen(tracks={("alpha", "large"): Track(failed=9)}).provider == "alpha"

    def test_one_that_fails_is_used_where_there_is_no_other(self):
        """No record is so bad that a request would rather wait."""
        assert chosen(ALPHA, tracks={("alpha", "small"): Track(failed=200)}).provider == "alpha"

    def test_slow_launches_weigh(self):
        """Said with the time they take."""
        tracks = {
            ("alpha", "small"): Track(ready=5, took_s=90.0),
            ("beta", "small"): Track(ready=5, took_s=20.0),
        }
        place = chosen(tracks=tracks, alpha=room(10, 5), beta=room(10, 5))

        assert place.provider == "beta"
        assert place.reason.endswith("alpha less: launches take 90 s there, 20 s at the fastest")

    def test_the_slowest_gets_half_at_least(self):
        """Ten minutes and ten hours are alike."""
        tracks = {
            ("alpha", "small"): Track(ready=5, took_s=36_000.0),
            ("beta", "small"): Track(ready=5, took_s=20.0),
        }
        assert SLOWEST == 0.5
        assert chosen(tracks=tracks, alpha=room(100, 40), beta=room(100, 90)).provider == "alpha"

    def test_the_worst_label_of_a_set_counts(self):
        """It is ready when its last node is."""
        both = a_pool(("small", "large"))
        providers = [a_provider(name, pools=[both]) for name in ("alpha", "beta")]
        tracks = {
            ("alpha", "large"): Track(ready=1, failed=9),
            ("beta", "small"): Track(ready=9, failed=1),
        }
        waiting = [a_request(labels=("small", "large"))]

        assert chosen(*providers, tracks=tracks, waiting=waiting).provider == "beta"


class TestWords:
    def test_who_could_not_take_it_is_named_with_the_reason(self):
        """Also where it would have been preferred."""
        place = chosen(alpha=room(4, used=4))

        assert place.reason == (
            "beta: 0 ready, 1 to launch; alpha not: quota: 1 instances wanted, 4 of 4 taken"
        )

    def test_who_does_not_offer_it_is_not_named(self):
        place = chosen(ALPHA, a_provider("beta", pools=[a_pool(("large",))]))

        assert place.reason == "alpha: 0 ready, 1 to launch"

    def test_equals_are_told_by_name(self):
        """The same plan each time, and said so."""
        assert chosen().reason.endswith("; beta less: it is as good, and comes after it by name")

    def test_many_rivals_are_counted(self):
        """The reason stays short with any number of providers."""
        providers = [a_provider(f"p{n:02}") for n in range(15)]
        quotas = {p.name: room(10, used=n % 3) for n, p in enumerate(providers)}
        world = a_snapshot(waiting=[a_request()], providers=providers, quotas=quotas)

        (place,) = (d for d in plan(world).decisions if isinstance(d, Place))
        assert place.reason.endswith("; 11 more came after it")
        assert len(place.reason) < 400


def test_the_same_snapshot_gives_the_same_words():
    """Nothing but the snapshot decides, not even the order of its parts."""
    tracks = {("beta", "small"): Track(ready=7, failed=3), ("alpha", "small"): Track(ready=2)}
    parts = {"waiting": [a_request(n) for n in range(1, 8)], "tracks": tracks}
    one = a_snapshot(providers=[ALPHA, BETA], **parts)
    other = a_snapshot(
        providers=[BETA, ALPHA],
        **{**parts, "tracks": dict(reversed(list(tracks.items())))},
    )

    assert [d.reason for d in plan(one).decisions] == [d.reason for d in plan(other).decisions]
    assert one.now == NOW


def test_two_offers_of_one_pool_are_reckoned_together():
    """A set of two large nodes fills more than one of two small ones."""
    large = an_offer("large", shape=a_shape(resources=Resources(instances=1, cores=8)))
    pool = attrs.evolve(a_pool(), offers={"large": large})
    quotas = {
        "alpha": QuotaView(limits=Limits(cores=32), used=Resources()),
        "beta": QuotaView(limits=Limits(cores=64), used=Resources(cores=20)),
    }
    providers = [attrs.evolve(p, pools=[pool]) for p in (ALPHA, BETA)]

    one = chosen(*providers, waiting=[a_request(labels=("large",))], **quotas)
    two = chosen(*providers, waiting=[a_request(labels=("large",) * 2)], **quotas)

    assert (one.provider, two.provider) == ("alpha", "alpha")
    three = chosen(*providers, waiting=[a_request(labels=("large",) * 3)], **quotas)
    assert three.provider == "beta"


@pytest.mark.parametrize("many", [1, 2])
def test_where_the_quotas_figures_are_wrong_they_do_not_count(many):
    """A pool that ignores them is as full as its own limits say."""
    pool = a_pool(limits=Limits(instances=20), ignores_quota=True)
    alpha = a_provider("alpha", pools=[pool])
    waiting = [a_request(labels=("small",) * many)]

    place = chosen(alpha, BETA, alpha=room(100, 99), beta=room(100, 30), waiting=waiting)

    assert place.provider == "alpha"


def test_a_placement_costs_the_same_with_many_providers(monkeypatch):
    """Where nothing has been taken since, nothing is weighed again."""
    looks = []
    real = Room.fill
    monkeypatch.setattr(Room, "fill", lambda *args: looks.append(args) or real(*args))

    def cost(many, waiting):
        providers = [a_provider(f"p{n:02}") for n in range(many)]
        quotas = {p.name: room(1000, used=n) for n, p in enumerate(providers)}
        requests = [a_request(n) for n in range(1, waiting + 1)]
        looks.clear()
        plan(a_snapshot(waiting=requests, providers=providers, quotas=quotas))
        return len(looks)

    for_one_more = {many: (cost(many, 60) - cost(many, 20)) / 40 for many in (4, 8, 32)}

    assert max(for_one_more.values()) <= 6
    assert for_one_more[32] <= for_one_more[4] + 0.5
