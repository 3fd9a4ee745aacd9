"""Durations as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trellis.config.durations import read_duration, write_duration


@pytest.mark.parametrize(
    ("written", "seconds"),
    [(30, 30), (0.5, 0.5), ("90s", 90), ("8h", 28800), ("1h30m", 5400), ("7d", 604800),
     ("1.5h", 5400), ("2w", 1209600), (" 5m ", 300), (0, 0)],
)  # fmt: skip
def test_durations_are_read(written, seconds):
    assert read_duration(written) == seconds


@pytest.mark.parametrize(
    ("written", "advice"),
    [
        ("8 hours", "'8 hours' is no duration; write 8h"),
        ("90sec", "write 90s"),
        ("5 min", "write 5m"),
        ("250ms", "write 0.25"),
        ("3 months", "write days, as 30d"),
        ("8H", "write 8h"),
        ("30", "write a number of seconds, or for example 90s"),
        ("", "for example 90s"),
        ("1:30", "for example 90s"),
        ("-5m", "for example 90s"),
        ("soon", "for example 90s"),
        (-1, "a duration cannot be '-1'"),
        (float("nan"), "a duration cannot be 'nan'"),
        (float("inf"), "longer than a hundred years"),
        (10**400, "longer than a hundred years"),
        ("9" * 400 + "h", "longer than a hundred years"),
        (True, "no duration"),
        (None, "no duration"),
    ],
)
def test_what_is_no_duration_is_refused_with_what_to_write(written, advice):
    with pytest.raises(ValueError) as refused:
        read_duration(written)

    assert advice in str(refused.value)


@given(st.one_of(st.integers(0, 10**9), st.floats(0, 10**9)))
def test_a_written_duration_reads_back_the_same(seconds):
    assert read_duration(write_duration(float(seconds))) == seconds


def test_durations_are_written_in_the_largest_units():
    written = [write_duration(x) for x in (90, 28800, 604800, 0, 1.5)]

    assert written == ["1m30s", "8h", "7d", 0, 1.5]
