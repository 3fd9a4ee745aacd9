"""What holds of the reckoning with quota, whatever clouds tell and however creates fare."""

from hypothesis import given, settings
from hypothesis import strategies as st

from trellis.control.quota import MOST_TRY_S, Quota
from trellis.model.quota import RESOURCE_NAMES, UNLIMITED, Limits, QuotaReading, Resources
from trellis.testing.builders import a_node, a_shape

ONE = Resources(instances=1)
NODE = a_node(1, shape=a_shape(resources=ONE))

numbers = st.integers(0, 10**6)
sizes = st.builds(Resources, **dict.fromkeys(RESOURCE_NAMES, numbers))
figures = st.one_of(st.none(), st.just(UNLIMITED), st.integers(0, 10**6))
all_limits = st.builds(Limits, **dict.fromkeys(RESOURCE_NAMES, figures))


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@given(one=sizes, other=sizes)
def test_what_is_added_can_be_taken_away(one, other):
    """To the last unit of each thing."""
    assert one + other == other + one
    assert one + other - other == one


@given(limits=all_limits, used=sizes, wanted=sizes)
def test_what_is_short_is_what_would_be_too_much(limits, used, wanted):
    """Unlimited and unknown are never short; nor is what is not wanted."""
    short = limits.short_of(used, wanted)

    for name in RESOURCE_NAMES:
        limit = getattr(limits, name)
        too_much = (
            limit is not None
            and getattr(wanted, name) > 0
            and getattr(used, name) + getattr(wanted, name) > limit
        )
        assert (name in short) == too_much


@given(
    truth=st.integers(0, 20),
    ours=st.integers(0, 20),
    moving=st.integers(0, 5),
    counted=st.floats(0, 1),
    before=st.integers(0, 20),
)
def test_the_estimate_is_never_off_by_more_than_what_moves(truth, ours, moving, counted, before):
    """Whatever was believed before, the error is at most the number of ours in motion."""
    quota = Quota("q", Clock(), now=Clock())
    quota.others = Resources(instances=before)
    shown = Resources(instances=truth + ours + round(moving * counted))

    quota.learn(
        QuotaReading(limits=Limits(), used=shown, read_at=0.0),
        certain=Resources(instances=ours),
        possible=Resources(instances=ours + moving),
    )

    assert abs(quota.others.instances - truth) <= moving


@given(
    story=st.lists(
        st.one_of(
            st.tuples(st.just("read"), all_limits, sizes, sizes, sizes),
            st.tuples(st.just("refused"), st.sampled_from(["", "cores", "ram", "ports"])),
            st.tuples(st.just("unread")),
            st.tuples(st.just("accepted")),
            st.tuples(st.just("wait"), st.floats(0, 5000)),
        ),
        max_size=20,
    ),
    ours=sizes,
)
def test_nothing_is_negative_and_nothing_above_what_is_told(story, ours):
    """Others' use, ceilings, and what the planner is shown, after any story."""
    clock = Clock()
    quota = Quota("q", clock, now=clock, sent=lambda _: ours)
    for what, *parts in story:
        match what:
            case "read":
                limits, used, part, more = parts
                certain = Resources(
                    **{n: min(getattr(part, n), getattr(more, n)) for n in RESOURCE_NAMES}
                )
                quota.learn(
                    QuotaReading(limits=limits, used=used, read_at=0.0),
                    certain=certain,
                    possible=part + more,
                    proved=certain,
                )
            case "refused":
                quota.refused(NODE, f"Quota exceeded for {parts[0]}: Requested 1")
            case "unread":
                quota.unread()
            case "accepted":
                quota.accepted()
            case "wait":
                clock.now += parts[0]

        view = quota.view(ours=ours, freeing=Resources())
        assert all(getattr(quota.others, name) >= 0 for name in RESOURCE_NAMES)
        assert all(ceiling >= 0 for ceiling in quota.ceilings.values())
        for name in RESOURCE_NAMES:
            told, shown = getattr(view.whole, name), getattr(view.limits, name)
            assert told is None or shown <= told
            assert getattr(view.used, name) >= getattr(ours, name)


@given(
    real=st.integers(0, 30),
    told=st.one_of(st.none(), st.just(UNLIMITED), st.integers(31, 500)),
    stranger=st.integers(0, 10),
    shown=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_it_comes_to_what_the_cloud_gives_whatever_the_cloud_tells(real, told, stranger, shown):
    """All that there is is used in the end, and refusals stay at one in a hundred.

    The cloud gives *real* servers to all together, and tells another limit or none; what a
    stranger uses of it may be shown or not.
    """
    clock = Clock()
    ours = {"there": 0}
    quota = Quota("q", clock, now=clock, sent=lambda _: Resources(instances=ours["there"]))
    free = max(0, real - stranger)
    creates = 0

    def read():
        mine = Resources(instances=ours["there"])
        others = stranger if shown and told is not None else 0
        quota.learn(
            QuotaReading(
                limits=Limits(instances=told),
                used=Resources(instances=ours["there"] + others),
                read_at=0.0,
            ),
            certain=mine,
            possible=mine,
            proved=mine,
        )

    read()
    for minute in range(240):
        clock.now += 60.0
        ours["there"] = 0 if minute % 4 == 0 else ours["there"]  # all are given back
        for _ in range(200):
            view = quota.view(ours=Resources(instances=ours["there"]), freeing=Resources())
            if view.refused:
                break
            full = view.limits.short_of(view.used, ONE)
            if full and not (view.one_more and not view.whole.short_of(view.used, ONE)):
                break
            creates += 1
            if ours["there"] < free:
                ours["there"] += 1
                quota.accepted()
            else:
                quota.refused(NODE, "Quota exceeded for instances: Requested 1")
        read()

    assert quota.refusals <= 3 + creates / 100 + 240 * 60 / MOST_TRY_S
    assert ours["there"] == free
