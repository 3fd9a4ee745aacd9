"""What others use is known between two bounds, and a refusal closes a quota for a while."""

from hypothesis import given
from hypothesis import strategies as st

from trellis.control.quota import FIRST_REFUSAL_S, Quota
from trellis.model.quota import Limits, QuotaReading, Resources


def servers(count):
    return Resources(instances=count)


def reading(used, limit=10):
    return QuotaReading(limits=Limits(instances=limit), used=servers(used), read_at=0.0)


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_what_is_not_ours_is_others():
    """With nothing of ours on its way, the rest of what is used is a stranger's."""
    quota = Quota("q", Clock())

    quota.learn(reading(7), certain=servers(3), possible=servers(3))

    assert quota.others == servers(4)


def test_our_own_traffic_does_not_look_like_a_stranger():
    """Two creates in flight may or may not be counted: the estimate stays at nobody."""
    quota = Quota("q", Clock())

    quota.learn(reading(4), certain=servers(3), possible=servers(5))

    assert quota.others == servers(0)


def test_a_stranger_who_leaves_is_forgotten_at_once():
    """The upper bound pulls the estimate down."""
    quota = Quota("q", Clock())
    quota.learn(reading(8), certain=servers(3), possible=servers(3))

    quota.learn(reading(3), certain=servers(3), possible=servers(3))

    assert quota.others == servers(0)


@given(
    truth=st.integers(0, 20),
    ours=st.integers(0, 20),
    moving=st.integers(0, 5),
    counted=st.floats(0, 1),
    before=st.integers(0, 20),
)
def test_the_estimate_is_never_off_by_more_than_what_moves(truth, ours, moving, counted, before):
    """Whatever was believed before, the error is at most the number of ours in motion."""
    quota = Quota("q", Clock())
    quota.others = servers(before)
    shown = truth + ours + round(moving * counted)

    quota.learn(reading(shown), certain=servers(ours), possible=servers(ours + moving))

    assert abs(quota.others.instances - truth) <= moving


def test_a_refusal_closes_the_quota_longer_each_time():
    """Refusals of one occasion count once; a success forgets them all."""
    clock = Clock()
    quota = Quota("q", clock)

    quota.refused()
    quota.refused()
    assert quota.view(ours=servers(0), freeing=servers(0)).refused
    clock.now += FIRST_REFUSAL_S + 0.1
    assert not quota.view(ours=servers(0), freeing=servers(0)).refused
    quota.refused()
    clock.now += FIRST_REFUSAL_S + 0.1
    assert quota.view(ours=servers(0), freeing=servers(0)).refused
    quota.accepted()

    assert not quota.view(ours=servers(0), freeing=servers(0)).refused
    assert quota.refusals == 3


def space(gib, limit=None):
    used = Resources(volumes=gib // 20, volume_gib=gib)
    return QuotaReading(limits=Limits(volume_gib=limit), used=used, read_at=0.0)


def volumes(count):
    return Resources(volumes=count, volume_gib=20 * count)


def test_a_refusal_shows_that_too_little_was_thought_of_others_volumes():
    """Volumes come after their servers, so the bounds are wide: one refusal is enough."""
    quota = Quota("q", Clock())
    quota.learn(space(100), certain=volumes(2), possible=volumes(6))
    assert quota.others == volumes(0)

    quota.refused()
    quota.learn(space(100), certain=volumes(4), possible=volumes(6))
    assert quota.others == volumes(1)
    quota.learn(space(120), certain=volumes(5), possible=volumes(7))

    assert quota.others == volumes(1)


def test_a_refusal_changes_nothing_where_the_bounds_are_narrow():
    """Servers are counted as soon as they are asked for."""
    quota = Quota("q", Clock())
    quota.learn(reading(4), certain=servers(3), possible=servers(5))

    quota.refused()
    quota.learn(reading(4), certain=servers(3), possible=servers(5))

    assert quota.others == servers(0)
