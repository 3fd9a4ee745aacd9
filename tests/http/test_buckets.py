"""The arithmetic of one bucket, on times given by hand."""

import math

import pytest

from trellis.http.buckets import DAY_S, Bucket, Limit


def spend(bucket: Bucket, now: float) -> int:
    """Take tokens until there are none, and count them."""
    taken = 0
    while bucket.delay(now) == 0.0 and taken < 1000:
        bucket.take(now)
        taken += 1
    return taken


def test_burst_then_rate():
    """After the burst a token comes each 1 / rate seconds."""
    bucket = Bucket(Limit(per_s=2.0, burst=3), 0.0)

    assert spend(bucket, 0.0) == 3
    assert pytest.approx(bucket.delay(0.0)) == 0.5
    assert spend(bucket, 0.5) == 1
    assert spend(bucket, 100.0) == 3


def test_without_limit_nothing_waits():
    """No plan means no waiting until the cloud refuses."""
    assert spend(Bucket(Limit(), 0.0), 0.0) == 1000


def test_refusal_pauses_as_long_as_asked_and_halves_the_rate():
    """Retry-After 30 keeps calls away for 30 s, then half the rate holds."""
    bucket = Bucket(Limit(per_s=10.0), 0.0)

    bucket.refused(100.0, sent_at=99.0, pause_s=30.0)

    assert pytest.approx(bucket.delay(100.0)) == 30.0
    assert bucket.rate(100.0) == 5.0
    assert spend(bucket, 130.0) == 1


def test_rate_comes_back_in_a_minute():
    """Recovery is additive, and stays for long a little below what was refused."""
    bucket = Bucket(Limit(per_s=10.0), 0.0)
    bucket.refused(0.0, sent_at=0.0, pause_s=10.0)

    assert pytest.approx(bucket.rate(40.0)) == 7.5
    assert pytest.approx(bucket.rate(70.0)) == 9.5
    assert pytest.approx(bucket.rate(600.0)) == 9.5
    assert pytest.approx(bucket.rate(667.0)) == 9.75
    assert bucket.rate(7000.0) == 10.0


def test_calls_under_way_when_it_slowed_halve_once():
    """Fifty refusals of one moment are one piece of news."""
    bucket = Bucket(Limit(per_s=16.0), 0.0)

    for _ in range(50):
        bucket.refused(5.0, sent_at=4.0, pause_s=1.0)

    assert bucket.rate(5.0) == 8.0


def test_refusals_that_follow_halve_again():
    """A call sent after the slowing down says that it was not enough."""
    bucket = Bucket(Limit(per_s=16.0), 0.0)

    bucket.refused(0.0, sent_at=0.0, pause_s=1.0)
    bucket.refused(1.0, sent_at=1.0, pause_s=1.0)

    assert pytest.approx(bucket.rate(1.0)) == 4.0


def test_refusals_without_delay_pause_exponentially():
    """OVH documents no Retry-After: 1 s, 2 s, 4 s, and after a success 1 s again."""
    bucket = Bucket(Limit(per_s=1000.0), 0.0)
    pauses = []
    now = 0.0
    for _ in range(3):
        bucket.refused(now, sent_at=now, pause_s=None)
        pauses.append(round(bucket.delay(now), 1))
        now += 50.0
    bucket.accepted(sent_at=now)
    bucket.refused(now + 1, sent_at=now + 1, pause_s=None)

    assert pauses == [1.0, 2.0, 4.0]
    assert pytest.approx(bucket.delay(now + 1), abs=0.01) == 1.0


def test_bucket_without_plan_learns_from_what_it_did():
    """A refusal at some 20 calls a second leaves about half of that."""
    bucket = Bucket(Limit(), 0.0)
    for call in range(100):
        bucket.take(call / 20)

    bucket.refused(5.0, sent_at=5.0, pause_s=1.0)

    assert 8.0 < bucket.rate(5.0) < 12.0
    assert bucket.rate(50.0) > bucket.rate(10.0)


def test_what_was_refused_is_not_what_the_cloud_takes():
    """Of 40 calls sent in one moment it took 20: that is what the guess begins with."""
    bucket = Bucket(Limit(), 0.0)
    for _ in range(40):
        bucket.take(5.0)

    for _ in range(20):
        bucket.refused(5.01, sent_at=5.0, pause_s=1.0)

    assert pytest.approx(bucket.rate(5.01), rel=0.03) == 10.0
    assert 18.0 < bucket.rate(300.0) < 20.0


def test_rate_that_was_learnt_is_not_refused_again():
    """A cloud that takes 20 calls a second refuses once, and not each minute."""
    bucket, cloud, refusals = Bucket(Limit(), 0.0), Bucket(Limit(per_s=20.0, burst=20), 0.0), 0
    for step in range(60_000):
        now = step / 100
        while bucket.delay(now) == 0.0:
            bucket.take(now)
            if cloud.delay(now) > 0.0:
                bucket.refused(now, sent_at=now, pause_s=1.0)
                refusals += 1
                break
            cloud.take(now)

    assert refusals <= 2


def test_day_limit_counts_calls_of_earlier_processes():
    """Of 1000 a day, 998 stored intents leave 2; the next comes when the oldest is a day old."""
    bucket = Bucket(Limit(per_day=1000), 0.0)
    bucket.note_past([-DAY_S + 60 + second for second in range(998)])

    assert spend(bucket, 0.0) == 2
    assert pytest.approx(bucket.delay(0.0)) == 60.0
    assert spend(bucket, 60.0) == 1


def test_given_back_token_is_there_again():
    """Also in the count of the day."""
    bucket = Bucket(Limit(per_s=1.0, burst=1, per_day=1), 0.0)
    bucket.take(0.0)

    bucket.give_back()

    assert spend(bucket, 0.0) == 1
    assert bucket.delay(0.0) > 80_000.0


@pytest.mark.parametrize("limit", [{"per_s": 0.0}, {"per_s": math.nan}, {"burst": 0.5}])
def test_limits_that_could_never_let_a_call_through_are_refused(limit):
    """A bucket that never fills would stall in silence."""
    with pytest.raises(ValueError, match="must be"):
        Limit(**limit)


def test_refusals_without_an_end_are_waited_for_as_the_first_ones():
    """A cloud that refuses all night does not end in an arithmetic error."""
    bucket, now = Bucket(Limit(per_s=10.0), 0.0), 0.0

    for _ in range(1100):
        now += 100.0
        bucket.refused(now, sent_at=now - 1.0, pause_s=None)

    assert pytest.approx(bucket.delay(now)) == 60.0


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (Limit(per_s=0.75, burst=15.0), "0.75 calls a second, 15 at once"),
        (Limit(per_s=5.0, per_day=1000), "5 calls a second, 10 at once; 1000 a day"),
        (Limit(per_day=1000), "1000 a day"),
    ],
    ids=["rate", "both", "day"],
)
def test_limit_is_shown_in_words(limit, words):
    """A profile's rates are read by people."""
    assert str(limit) == words
