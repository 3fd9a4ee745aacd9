"""What is decided about a canary, figure by figure."""

from itertools import product
from math import comb

import attrs
import pytest

from trellis.images.canary import (
    ALPHA,
    LEAST_FAILURES,
    PROBE_EVERY_S,
    PROBE_FAILING_S,
    Probed,
    Rule,
    Step,
    chance_of,
    first_is_full,
    judge,
    only_one_fails,
)
from trellis.model.image import Trial
from trellis.spi.config import ImageConfig

RULE = Rule(share=0.05, nodes=5, quiet_s=7200.0)
SOON, LATE = 60.0, 7201.0


def a_trial(ready=0, failed=0, before_ready=0, before_failed=0):
    return Trial(
        since=0.0,
        ready=ready,
        failed=failed,
        before_ready=before_ready,
        before_failed=before_failed,
    )


def beside(*counts, now=SOON, rule=RULE):
    """The verdict on a canary beside an upload before it."""
    return judge(a_trial(*counts), rule, has_previous=True, now=now)


def alone(*counts, now=SOON, rule=RULE):
    """The verdict on an upload that nothing came before."""
    return judge(a_trial(*counts), rule, has_previous=False, now=now)


class TestChance:
    def test_is_fishers_exact_test(self):
        """Against the definition, term by term, for all small tables."""
        for ready, failed, before_ready, before_failed in product(range(6), repeat=4):
            tried, bad = ready + failed, failed + before_failed
            everything = tried + before_ready + before_failed
            expected = sum(
                comb(bad, count) * comb(everything - bad, tried - count)
                for count in range(failed, min(tried, bad) + 1)
            ) / comb(everything, tried)

            found = chance_of(ready, failed, before_ready, before_failed)

            assert found == pytest.approx(expected, abs=1e-12)

    def test_is_not_upset_by_large_counts(self):
        assert chance_of(5, 5, 99_000, 1_000) < 1e-6
        assert chance_of(500, 50, 100_000, 10_000) > 0.4

    def test_without_a_failure_nothing_speaks_against_it(self):
        assert 1.0 == chance_of(7, 0, 3, 3) == chance_of(0, 0, 0, 0)


class TestPromotion:
    def test_when_enough_nodes_became_ready(self):
        assert Step.PROMOTE is beside(5, 0, 95, 0).step

    def test_not_before(self):
        found = beside(4, 0, 80, 0)

        assert Step.WAIT is found.step
        assert "4 of 4 launches from it became ready" in found.why
        assert "5 of it have to become ready" in found.why

    def test_also_without_any_launch_of_the_one_before(self):
        """Nothing failed: there is nothing to compare."""
        assert Step.PROMOTE is beside(5, 0, 0, 0).step

    def test_one_failure_is_chance(self):
        assert Step.PROMOTE is beside(5, 1, 200, 0).step

    def test_though_it_fails_where_the_one_before_fails_as_often(self):
        assert Step.PROMOTE is beside(5, 3, 60, 40).step

    def test_it_says_the_figures(self):
        assert beside(5, 1, 90, 2).why == (
            "5 of 6 launches from it became ready; 90 of 92 from the image before it in the same "
            "time"
        )

    def test_at_once_where_nothing_is_tried(self):
        rule = attrs.evolve(RULE, share=0.0)

        assert Step.PROMOTE is beside(rule=rule).step
        assert Step.PROMOTE is alone(rule=rule).step


class TestWithdrawal:
    def test_when_it_is_clearly_worse(self):
        found = beside(0, 2, 38, 0)

        assert Step.WITHDRAW is found.step
        assert "clearly worse than the image before it (p = 0.0013)" in found.why
        assert "0 of 2 launches from it became ready; 38 of 38 from the image before" in found.why

    def test_though_enough_of_its_nodes_became_ready(self):
        assert Step.WITHDRAW is beside(5, 3, 100, 0).step

    def test_never_for_fewer_failures_than_the_least(self):
        for ready, before in product(range(6), range(0, 3000, 100)):
            found = beside(ready, LEAST_FAILURES - 1, before, 0)

            assert found.step is not Step.WITHDRAW

    def test_not_while_both_fail(self):
        """That is the cloud, not the image."""
        found = beside(0, 8, 2, 30)

        assert Step.WAIT is found.step
        assert "both fail, so it looks like the cloud and not the image" in found.why

    def test_more_failures_never_speak_for_it(self):
        """A table that condemns it condemns it still with a failure of its own more."""
        for counts in product(range(5), range(6), range(0, 60, 7), range(0, 30, 5)):
            ready, failed, *before = counts
            if beside(*counts).step is Step.WITHDRAW:
                assert Step.WITHDRAW is beside(ready, failed + 1, *before).step


class TestNothingToCompareWith:
    def test_the_one_before_is_tried_too(self):
        found = beside(0, 2, 0, 0)

        assert (Step.PROBE, Probed.BEFORE) == (found.step, found.probe)
        assert "too few launches of the image before it to compare with" in found.why

    def test_until_it_can_tell(self):
        """Probes of both come to an end, and to a verdict, where the image is bad."""
        failed, before, probes = 2, 0, 0
        while (found := beside(0, failed, before, 0)).step is Step.PROBE:
            failed += found.probe is Probed.CANARY
            before += found.probe is Probed.BEFORE
            probes += 1

        assert Step.WITHDRAW is found.step
        assert probes <= 10
        assert chance_of(0, failed, before, 0) < ALPHA

    def test_one_that_works_at_last_is_promoted_after_twice_as_many(self):
        """No failure rate is compared for ever."""
        assert Step.PROBE is beside(5, 2, 13, 0).step
        assert Step.PROMOTE is beside(5, 2, 14, 0).step


class TestQuiet:
    def test_it_is_probed_when_launches_are_too_long_in_coming(self):
        found = beside(1, 0, 20, 0, now=LATE)

        assert (Step.PROBE, Probed.CANARY) == (found.step, found.probe)
        assert "not decided after 2 h" in found.why
        assert PROBE_EVERY_S == found.every_s

    def test_not_before_that(self):
        assert Step.WAIT is beside(1, 0, 20, 0, now=7199.0).step

    def test_both_are_tried_in_turn_while_both_fail(self):
        """Or a bad image would be tried alone for ever once the cloud is well again."""
        assert Probed.BEFORE is beside(0, 9, 0, 8, now=LATE).probe
        found = beside(0, 9, 0, 9, now=LATE)

        assert (Step.PROBE, Probed.CANARY) == (found.step, found.probe)
        assert PROBE_FAILING_S == found.every_s

    @pytest.mark.parametrize("canary", [True, False], ids=["bad-image", "good-image"])
    def test_it_ends_after_the_cloud_was_bad_for_both(self, canary):
        """From ten failures of each: a bad image is withdrawn, a good one promoted."""
        counts = [0, 10, 0, 10]
        for _ in range(60):
            found = beside(*counts, now=LATE)
            if found.step is not Step.PROBE:
                break
            if found.probe is Probed.BEFORE:
                counts[2] += 1
            else:
                counts[1 if canary else 0] += 1

        assert found.step is (Step.WITHDRAW if canary else Step.PROMOTE)


class TestTheOnlyOne:
    def test_is_promoted_after_enough_nodes(self):
        assert Step.WAIT is alone(4, 2).step
        assert Step.PROMOTE is alone(5, 2).step

    def test_is_never_withdrawn(self):
        for counts in product(range(8), range(40)):
            assert alone(*counts).step is not Step.WITHDRAW

    def test_serves_no_requests_after_so_many_failures(self):
        assert "" == only_one_fails(a_trial(0, 4), RULE)

        assert "its only image fails: 5 of 5 launches" == only_one_fails(a_trial(0, 5), RULE)

    def test_is_tried_by_probes_then(self):
        found = alone(0, 5)

        assert (Step.PROBE, Probed.CANARY) == (found.step, found.probe)
        assert PROBE_FAILING_S == found.every_s
        assert "its only image fails: 5 of 5 launches" == found.why

    def test_serves_again_once_probes_work(self):
        assert only_one_fails(a_trial(0, 10), RULE)
        assert "" == only_one_fails(a_trial(2, 10), RULE)

    def test_until_one_became_ready_no_more_are_begun_than_would_have_it_stop(self):
        assert not first_is_full(None, RULE, 4)
        assert first_is_full(None, RULE, 5)
        assert not first_is_full(a_trial(0, 2), RULE, 2)
        assert first_is_full(a_trial(0, 2), RULE, 3)

    @pytest.mark.parametrize("nodes", [1, 2, 7])
    def test_when_all_of_these_have_failed_it_is_probed_and_not_forgotten(self, nodes):
        """There is no number of failures with which it neither serves nor is tried again."""
        rule = attrs.evolve(RULE, nodes=nodes)
        for failed in range(20):
            full = first_is_full(a_trial(0, failed), rule, 0)
            assert full == bool(only_one_fails(a_trial(0, failed), rule))

    def test_has_as_many_as_are_asked_for_once_one_became_ready(self):
        assert not first_is_full(a_trial(1, 9), RULE, 1000)

    def test_has_as_many_as_are_asked_for_where_nothing_is_tried(self):
        assert not first_is_full(None, attrs.evolve(RULE, share=0.0), 1000)

    def test_serves_where_nothing_is_tried(self):
        assert "" == only_one_fails(a_trial(0, 50), attrs.evolve(RULE, share=0.0))
        assert "" == only_one_fails(None, RULE)

    def test_is_probed_when_it_is_quiet(self):
        assert Step.PROBE is alone(1, 0, now=LATE).step


def test_the_rule_is_what_the_configuration_says():
    config = ImageConfig(name="x", canary_share=0.2, canary_nodes=3, canary_quiet=60.0)

    assert Rule(share=0.2, nodes=3, quiet_s=60.0) == Rule.of(config)
