"""The plan where breakers are not closed: one probe at a time, and nothing done in vain."""

from typing import ClassVar

import attrs
import pytest

from trellis.model.node import NodeState
from trellis.model.quota import Limits, Resources
from trellis.scheduler.decisions import GiveUp, Place, Refill, Retire, RunShort, Warm
from trellis.scheduler.plan import SHORT_PATIENCE_S, plan
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

OPEN = Held(key="alpha:image:1", reason="image tiny: 3 launches failed", left_s=20.0)
HALF = attrs.evolve(OPEN, turn=True, left_s=0.0)


def of_kind(found, kind):
    return [decision for decision in found.decisions if isinstance(decision, kind)]


def held_by(held, **parts):
    return a_provider(pools=[a_pool(labels_held={"small": [held]})], **parts)


class TestProbe:
    def test_of_a_whole_queue_one_request_goes(self):
        """Half-open lets exactly one through, the first in the order of service."""
        waiting = [a_request(n) for n in range(1, 101)]

        found = plan(a_snapshot(waiting=waiting, providers=[held_by(HALF)]))

        (place,) = of_kind(found, Place)
        assert place.request is waiting[0]
        (reasons,) = found.waits.values()
        assert OPEN.reason in reasons["alpha"]

    def test_while_it_is_open_none_goes(self):
        """Nor while its probe is under way."""
        found = plan(a_snapshot(waiting=[a_request()], providers=[held_by(OPEN)]))

        assert of_kind(found, Place) == []

    def test_one_breaker_over_several_providers_has_one_probe(self):
        """What fails everywhere is not tried everywhere at once."""
        pool = a_pool(labels_held={"small": [HALF]})
        providers = [a_provider(name, pools=[pool]) for name in ("alpha", "beta", "gamma")]
        waiting = [a_request(n) for n in range(1, 11)]

        found = plan(a_snapshot(waiting=waiting, providers=providers))

        assert len(of_kind(found, Place)) == 1

    def test_a_launch_goes_only_where_every_breaker_lets_it(self):
        """The flavor's probe is due, the image's is not."""
        pool = a_pool(
            labels_held={"small": [OPEN]},
            spots_held={("f1", None): attrs.evolve(HALF, key="alpha:capacity:1")},
        )

        found = plan(a_snapshot(waiting=[a_request()], providers=[a_provider(pools=[pool])]))

        assert of_kind(found, Place) == []

    def test_two_flavors_have_a_probe_each(self):
        """Breakers of different things do not wait for each other."""
        offers = {
            "small": an_offer("small"),
            "big": an_offer("big", shape=a_shape(flavor_id="f2")),
        }
        spots = {
            ("f1", None): attrs.evolve(HALF, key="one"),
            ("f2", None): attrs.evolve(HALF, key="two"),
        }
        pool = a_pool(offers=offers, spots_held=spots)
        waiting = [a_request(n, labels=(x,)) for n, x in enumerate(("small", "big", "small"))]

        found = plan(a_snapshot(waiting=waiting, providers=[a_provider(pools=[pool])]))

        assert [place.request.ask.labels for place in of_kind(found, Place)] == [
            ("small",),
            ("big",),
        ]

    def test_a_set_goes_as_one(self):
        """All its launches are decided together; all but one wait for the probe (P9)."""
        request = a_request(labels=("small", "small", "small"))

        found = plan(a_snapshot(waiting=[request, a_request(2)], providers=[held_by(HALF)]))

        (place,) = of_kind(found, Place)
        assert len(place.launch) == 3

    def test_the_shelf_leaves_the_turn_to_requests(self):
        """What nobody waits for goes as the probe only long after it is due."""
        asked = {"min_ready": {"small": 1}}
        late = attrs.evolve(HALF, shelf_turn=True)

        early = plan(a_snapshot(providers=[held_by(HALF)], **asked))
        both = plan(a_snapshot(waiting=[a_request()], providers=[held_by(late)], **asked))
        alone = plan(a_snapshot(providers=[held_by(late)], **asked))

        assert of_kind(early, Warm) == []
        assert (len(of_kind(both, Place)), of_kind(both, Warm)) == (1, [])
        assert len(of_kind(alone, Warm)) == 1

    def test_ready_nodes_are_handed_out_whatever_is_open(self):
        """A breaker stops launches and nothing else."""
        found = plan(a_snapshot(waiting=[a_request()], idle=[a_node(1)], providers=[held_by(OPEN)]))

        assert len(of_kind(found, Place)) == 1


class TestNothingInVain:
    """A request that waits for a breaker does not need room, so none is made or kept for it."""

    FULL: ClassVar = {"alpha": QuotaView(limits=Limits(instances=2), used=Resources(instances=2))}

    @pytest.fixture
    def provider(self):
        offers = {"small": an_offer("small"), "other": an_offer("other")}
        return a_provider(pools=[a_pool(offers=offers, labels_held={"small": [OPEN]})])

    def test_idle_nodes_are_not_deleted_for_it(self, provider):
        """They would go one after the other and nothing would come of it."""
        idle = [a_node(n, label="other") for n in (1, 2)]

        found = plan(
            a_snapshot(
                waiting=[a_request()], idle=idle, providers=[provider], quotas=self.FULL,
                min_ready={"other": 2},
            )
        )  # fmt: skip

        assert of_kind(found, Retire) == []

    def test_other_labels_are_kept_ready_meanwhile(self, provider):
        """Its wait is for no quota."""
        found = plan(
            a_snapshot(waiting=[a_request()], providers=[provider], min_ready={"other": 1})
        )

        assert [warm.launch.offer.label for warm in of_kind(found, Warm)] == ["other"]

    def test_no_room_is_kept_for_it_however_long_it_waits(self, provider):
        """What comes after it is served, if the room is there."""
        quota = QuotaView(limits=Limits(instances=1), used=Resources())
        starving = a_request(1, created_at=NOW - 3600)
        other = a_request(2, labels=("other",))

        found = plan(
            a_snapshot(waiting=[starving, other], providers=[provider], quotas={"alpha": quota})
        )

        assert [place.request for place in of_kind(found, Place)] == [other]

    def test_room_is_made_for_its_probe(self, provider):
        """Once one may go, it is a request like any other."""
        pool = attrs.evolve(provider.pools[0], labels_held={"small": [HALF]})
        idle = [a_node(n, label="other") for n in (1, 2)]

        found = plan(
            a_snapshot(
                waiting=[a_request()], idle=idle, providers=[a_provider(pools=[pool])],
                quotas=self.FULL, min_ready={"other": 2},
            )
        )  # fmt: skip

        assert len(of_kind(found, Retire)) == 1


class TestPlacedRequests:
    def pending(self):
        return PendingView(request=placed(a_request()), nodes={})

    def test_one_whose_breaker_stays_open_for_long_goes_elsewhere_at_once(self):
        """Waiting at the place would be in vain."""
        held = attrs.evolve(OPEN, left_s=SHORT_PATIENCE_S + 1)

        found = plan(a_snapshot(pending=[self.pending()], providers=[held_by(held)]))

        (given_up,) = of_kind(found, GiveUp)
        assert OPEN.reason in given_up.reason

    def test_one_whose_breaker_is_tried_soon_waits(self):
        """A short wait is better than giving up what a set has."""
        found = plan(a_snapshot(pending=[self.pending()], providers=[held_by(OPEN)]))

        assert len(of_kind(found, RunShort)) == 1

    def test_the_replacement_of_a_node_may_be_the_probe(self):
        """Requests that have a place come before those that have none."""
        found = plan(
            a_snapshot(pending=[self.pending()], waiting=[a_request(9)], providers=[held_by(HALF)])
        )

        assert len(of_kind(found, Refill)) == 1
        assert of_kind(found, Place) == []

    def test_a_set_keeps_what_is_building(self):
        """Those that wait for the probe stand in their slots."""
        request = placed(a_request(labels=("small", "small")))
        nodes = {slot: a_node(slot + 1, state=NodeState.BUILDING) for slot in (0, 1)}

        found = plan(
            a_snapshot(
                pending=[PendingView(request=request, nodes=nodes)], providers=[held_by(OPEN)]
            )
        )

        assert found.decisions == ()
