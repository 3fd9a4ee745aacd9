"""What is kept ready: replaced before it is let go, and never given up for nothing."""

import attrs

from trellis.model.quota import Limits, Resources
from trellis.scheduler.decisions import Fail, Place, Retire, Warm
from trellis.scheduler.plan import plan
from trellis.scheduler.ready import JITTER
from trellis.scheduler.snapshot import Held, QuotaView
from trellis.testing.builders import (
    NOW,
    a_node,
    a_pool,
    a_provider,
    a_request,
    a_snapshot,
)

PLACE = ("alpha", "main", "small")


def of_kind(found, kind):
    return [decision for decision in found.decisions if isinstance(decision, kind)]


def retired(found):
    return [decision.node.id for decision in of_kind(found, Retire)]


def outdated(number, **fields):
    return a_node(number, label_hash="before", **fields)


def aged(*nodes, **fields):
    """A shelf for one node of at most 50 s."""
    return a_snapshot(idle=nodes, min_ready={"small": 1}, max_ready_age_s={"small": 50.0}, **fields)


class TestMaxReadyAge:
    def test_a_replacement_is_launched_first(self):
        old = a_node(1, ready_at=NOW - 100)

        found = plan(aged(old))

        assert len(of_kind(found, Warm)) == 1
        assert retired(found) == []

    def test_one_replacement_at_a_time_is_enough(self):
        old = a_node(1, ready_at=NOW - 100)

        found = plan(aged(old, warming={"small": 1}))

        assert (of_kind(found, Warm), retired(found)) == ([], [])

    def test_it_goes_when_the_replacement_is_ready(self):
        old, fresh = a_node(1, ready_at=NOW - 100), a_node(2, ready_at=NOW - 1)

        found = plan(aged(old, fresh))

        assert (of_kind(found, Warm), retired(found)) == ([], [old.id])

    def test_ages_end_apart(self):
        """A shelf that was filled at one moment is not emptied at one moment."""
        nodes = [a_node(n, ready_at=NOW - 50.0 * (1 - JITTER / 2)) for n in range(1, 41)]

        found = plan(a_snapshot(idle=nodes, max_ready_age_s={"small": 50.0}))

        assert 5 < len(retired(found)) < 35

    def test_nothing_goes_before_its_time(self):
        nodes = [a_node(n, ready_at=NOW - 50.0 * (1 - JITTER) + 1) for n in range(1, 41)]

        assert retired(plan(a_snapshot(idle=nodes, max_ready_age_s={"small": 50.0}))) == []


class TestChangedLabel:
    def changed(self, *nodes, wanted=1, **fields):
        return a_snapshot(idle=nodes, min_ready={"small": wanted}, hashes={PLACE: "now"}, **fields)

    def test_idle_nodes_are_replaced_first_then_deleted(self):
        fresh = a_node(2, label_hash="now")

        assert retired(plan(self.changed(outdated(1)))) == []
        assert len(of_kind(plan(self.changed(outdated(1))), Warm)) == 1
        assert retired(plan(self.changed(outdated(1), fresh))) == [outdated(1).id]

    def test_each_replacement_lets_one_go(self):
        """Two of three are still to be replaced: three serve all the time."""
        idle = outdated(1), outdated(2), outdated(3), a_node(4, label_hash="now")

        assert len(retired(plan(self.changed(*idle, wanted=3, warming={"small": 2})))) == 1

    def test_without_min_ready_they_just_go(self):
        assert retired(plan(self.changed(outdated(1), wanted=0))) == [outdated(1).id]

    def test_nodes_of_before_hashes_were_recorded_stay(self):
        assert retired(plan(self.changed(a_node(1)))) == []

    def test_a_request_gets_one_of_the_new_kind_if_there_is_one(self):
        old, new = outdated(1), a_node(2, label_hash="now")

        found = plan(self.changed(old, new, waiting=[a_request()]))

        assert [place.take for place in of_kind(found, Place)] == [((0, new),)]

    def test_and_one_of_the_old_kind_rather_than_wait(self):
        found = plan(self.changed(outdated(1), waiting=[a_request()]))

        assert [place.take for place in of_kind(found, Place)] == [((0, outdated(1)),)]

    def full(self, *nodes, freeing=0, **fields):
        quota = QuotaView(
            limits=Limits(instances=2),
            used=Resources(instances=2),
            freeing=Resources(instances=freeing),
        )
        return self.changed(*nodes, wanted=2, quotas={"alpha": quota}, **fields)

    def test_where_there_is_no_room_for_both_one_goes_first(self):
        found = plan(self.full(outdated(1), outdated(2)))

        assert len(retired(found)) == 1

    def test_and_no_second_one_while_the_first_is_deleted(self):
        assert retired(plan(self.full(outdated(1), freeing=1))) == []

    def test_what_serves_is_not_given_up_for_an_image_that_fails(self):
        pool = attrs.evolve(
            a_pool(), labels_held={"small": [Held(key="image", reason="launch failed")]}
        )

        found = plan(self.full(outdated(1), outdated(2), providers=[a_provider(pools=[pool])]))

        assert retired(found) == []

    def test_nor_on_a_provider_that_is_paused(self):
        providers = [a_provider(paused="paused by ann: maintenance")]

        assert retired(plan(self.full(outdated(1), outdated(2), providers=providers))) == []


class TestDroppedProvider:
    def test_who_insists_on_it_is_told_so(self):
        """A provider that is configured no longer will serve nobody again."""
        provider = a_provider(dropped=True, closed="no longer configured")

        found = plan(a_snapshot(waiting=[a_request(provider="alpha")], providers=[provider]))

        assert [fail.reason for fail in of_kind(found, Fail)] == [
            "no provider is configured for it"
        ]

    def test_others_wait_for_those_that_are_left(self):
        providers = [
            a_provider("alpha", dropped=True, closed="no longer configured"),
            a_provider("beta", closed="unavailable"),
        ]

        found = plan(a_snapshot(waiting=[a_request()], providers=providers))

        assert of_kind(found, Fail) == []


class TestLabelThatIsOfferedNoLonger:
    def test_what_nobody_can_be_given_goes_and_is_no_part_of_the_shelf(self):
        """A node of a label that its provider has lost would stand in the way of a fresh one."""
        lost = a_node(1, provider="alpha")
        without = a_provider("alpha", pools=[attrs.evolve(a_pool(), offers={}, missing={})])
        other = a_provider("beta")

        found = plan(a_snapshot(idle=[lost], providers=[without, other], min_ready={"small": 1}))

        assert retired(found) == [lost.id]
        (warm,) = of_kind(found, Warm)
        assert warm.launch.provider == "beta"

    def test_what_the_cloud_lacks_for_now_stays(self):
        """Its image is gone from the cloud, or is not known yet: the node serves all the same."""
        node = a_node(1, provider="alpha")
        pool = attrs.evolve(a_pool(), offers={}, missing={"small": "no image"})

        found = plan(
            a_snapshot(
                idle=[node], providers=[a_provider("alpha", pools=[pool])], min_ready={"small": 1}
            )
        )

        assert retired(found) == []
