"""How many turns are to be expected, and how a delay that makes no sense is believed."""

import math

import pytest
import trio
import trio.testing

from trellis.http.buckets import Bucket, Limit, RatePlan
from trellis.http.message import Verb
from trellis.http.rates import Buckets, Gate


def tokens_of(bucket, until):
    """Take tokens as they come, and count them."""
    now, taken = 0.0, 0
    while (now := now + bucket.delay(now)) <= until:
        bucket.take(now)
        taken += 1
    return taken


@pytest.mark.parametrize("pause_s", [0.0, 7.0, 45.0, 60.0])
def test_as_many_tokens_come_as_were_expected(pause_s):
    """After a refusal, with its pause and the rate that comes back by and by."""
    bucket = Bucket(Limit(per_s=10.0), 0.0)
    bucket.refused(0.0, sent_at=0.0, pause_s=pause_s)
    expected = bucket.within(0.0, 60.0)

    assert pytest.approx(tokens_of(bucket, 60.0), abs=25) == expected


def test_a_steady_limit_lets_through_its_burst_and_its_rate():
    """Thirty seconds at two a second, and what is there already."""
    assert Bucket(Limit(per_s=2.0, burst=3), 0.0).within(0.0, 30.0) == 63.0


def test_without_a_limit_there_is_no_end():
    """Nothing is known."""
    assert math.isinf(Bucket(Limit(), 0.0).within(0.0, 1.0))


async def test_what_others_wait_for_is_not_expected_by_creates(nursery, autojump_clock):
    """They go first mostly; and what a pause lets nobody have, creates have not either."""
    gate = Gate("compute", Buckets(RatePlan(every=Limit(per_s=1.0, burst=1))), 1000)
    await gate.enter(Verb.READ)
    before = gate.within(Verb.CREATE, 60.0)
    for _ in range(20):
        nursery.start_soon(gate.enter, Verb.DELETE)
    for _ in range(3):
        nursery.start_soon(gate.enter, Verb.CREATE)
    await trio.testing.wait_all_tasks_blocked()

    assert before == 60.0
    assert gate.within(Verb.CREATE, 60.0) == 40.0
    assert gate.in_line(Verb.CREATE) == 3
    assert gate.delay(Verb.CREATE) == pytest.approx(1.0)


def test_a_long_delay_is_believed_by_and_by():
    """Ten minutes: one at first, and ten once the cloud has insisted on it."""
    bucket, now, pauses = Bucket(Limit(per_s=10.0), 0.0), 0.0, []
    for _ in range(6):
        bucket.refused(now, sent_at=now, pause_s=600.0)
        pauses.append(round(bucket.delay(now)))
        now += bucket.delay(now) + 0.1

    assert pauses == [60, 120, 240, 480, 600, 600]


def test_once_a_call_is_taken_it_begins_anew():
    """What made no sense before does not stall the cloud for ten minutes each time."""
    bucket = Bucket(Limit(per_s=10.0), 0.0)
    bucket.refused(0.0, sent_at=0.0, pause_s=600.0)
    bucket.refused(60.0, sent_at=60.0, pause_s=600.0)
    bucket.accepted(sent_at=181.0)

    bucket.refused(200.0, sent_at=200.0, pause_s=600.0)

    assert bucket.delay(200.0) == pytest.approx(60.0)


def test_refusals_of_calls_that_were_under_way_do_not_prolong_it_beyond_that():
    """Fifty of one moment say what one says."""
    bucket = Bucket(Limit(per_s=10.0), 0.0)
    for _ in range(50):
        bucket.refused(1.0, sent_at=0.5, pause_s=600.0)

    assert bucket.delay(1.0) == pytest.approx(60.0)


async def test_a_turn_of_the_day_that_lapses_as_the_first_in_line_gives_up_goes_to_the_next(
    autojump_clock,
):
    """The next one in the line sees at once that there is one, not a day later."""
    plan = RatePlan(verbs={("compute", Verb.CREATE): Limit(per_day=1)})
    gate = Gate("compute", Buckets(plan), 20)
    began = trio.current_time()
    await gate.turn(Verb.CREATE)  # its call never comes

    async def give_up():
        with trio.move_on_at(began + 5.0):
            await gate.enter(Verb.CREATE)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(give_up)
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(60.0):
            await gate.enter(Verb.CREATE)
