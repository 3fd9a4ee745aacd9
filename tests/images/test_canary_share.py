"""One bad image never costs more than its canary share: for any order of launches and ends."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.images.canary_story import Story
from trellis.images.canary import Rule, Step, may_try

RULE = Rule(share=0.05, nodes=5, quiet_s=7200.0)
RULES = st.builds(
    Rule,
    share=st.sampled_from([0.0, 0.01, 0.05, 0.07, 0.1, 0.25, 0.29, 1 / 3, 0.5, 0.9, 1.0]),
    nodes=st.integers(1, 8),
    quiet_s=st.just(7200.0),
)


@given(rule=RULES, steps=st.lists(st.integers(0, 3), max_size=400))
def test_bounds_hold_after_each_launch(rule, steps):
    """Steps: 0, 1 and 2 launch, 3 ends a launch, the oldest one."""
    tried = launched = 0
    flying: list[bool] = []
    for step in steps:
        if step == 3:
            del flying[:1]
            continue
        canary = may_try(
            rule,
            tried=tried,
            launched=launched,
            tried_in_flight=sum(flying),
            in_flight=len(flying),
        )
        tried, launched = tried + canary, launched + 1
        flying.append(canary)

        assert tried <= rule.share * launched + 1e-9
        if canary:
            assert sum(flying) <= max(1.0, rule.share * len(flying) + 1e-9)
            assert sum(flying) <= rule.nodes


@pytest.mark.parametrize("share", [0.05, 0.07, 0.1, 0.29, 0.5, 1.0], ids=str)
def test_one_at_a_time_it_is_each_kth(share):
    """No share is lost to the arithmetic of floats either."""
    rule = Rule(share=share, nodes=5, quiet_s=7200.0)
    tried = 0
    for launched in range(1000):
        tried += may_try(rule, tried=tried, launched=launched, tried_in_flight=0, in_flight=0)

    assert tried == round(share * 1000)


def test_a_share_of_nothing_is_never_tried():
    rule = Rule(share=0.0, nodes=5, quiet_s=7200.0)

    assert not may_try(rule, tried=0, launched=10**6, tried_in_flight=0, in_flight=0)


class TestAThousandLaunches:
    @pytest.mark.parametrize("flights", [1, 20, 300])
    @pytest.mark.parametrize("seed", range(5))
    def test_a_bad_image_costs_a_few_of_them_and_is_withdrawn(self, seed, flights):
        story = Story(rule=RULE, bad=1.0, good=0.02, random=Random(seed), flights=flights)

        story.run(1000)

        assert Step.WITHDRAW is story.step
        # Those that were under way when two had failed end too.
        assert story.failed <= 2 + RULE.nodes
        assert story.failed <= RULE.share * 1000
        assert story.worst_share <= RULE.share
        assert story.most_in_flight <= max(1, RULE.share * flights)

    @pytest.mark.parametrize("seed", range(10))
    def test_a_good_one_is_promoted(self, seed):
        story = Story(rule=RULE, bad=0.02, good=0.02, random=Random(seed)).run(1000)

        assert Step.PROMOTE is story.step

    def test_as_good_as_before_it_is_seldom_withdrawn(self):
        """Looked at after each end and not once only, chance has more than ALPHA."""
        stories = [
            Story(rule=RULE, bad=0.2, good=0.2, random=Random(seed)).run(600) for seed in range(200)
        ]

        assert sum(story.step is Step.WITHDRAW for story in stories) <= 10

    def test_one_that_fails_every_other_time_seldom_passes(self):
        stories = [
            Story(rule=RULE, bad=0.5, good=0.02, random=Random(seed)).run(600)
            for seed in range(100)
        ]

        assert sum(story.step is Step.WITHDRAW for story in stories) >= 75

    def test_whatever_becomes_of_it_it_has_no_more_than_its_share(self):
        """Even one about which nothing can be decided, as the other fails as well."""
        story = Story(rule=RULE, bad=1.0, good=1.0, random=Random(1)).run(1000)

        assert Step.WAIT is story.step
        assert story.tried <= RULE.share * 1000
