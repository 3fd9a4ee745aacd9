"""How long a cloud asks to be left alone."""

import pytest

from trellis.http.retry_after import LONGEST_S, retry_after

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ({"retry-after": "12"}, b"", 12.0),
        ({"retry-after": "0"}, b"", 0.0),
        ({"retry-after": "1.5"}, b"", 1.5),
        ({"retry-after": "-3"}, b"", 0.0),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:30 GMT"}, b"", 30.0),
        ({"retry-after": "86400"}, b"", LONGEST_S),
        ({"retry-after": "soon"}, b"", None),
        ({"retry-after": "nan"}, b"", None),
        ({}, b'{"overLimit": {"retryAt": "2027-01-15T08:00:45Z"}}', 45.0),
        ({}, b'{"overLimit": {"retryAfter": "2027-01-15T08:00:45UTC"}}', 45.0),
        ({}, b'{"overLimit": {"retryAfter": 7}}', 7.0),
        ({}, b'{"retryAt": "2027-01-15T08:00:45.250+00:00"}', 45.25),
        ({"retry-after": "soon"}, b'{"overLimit": {"retryAfter": 7}}', 7.0),
        ({}, b'{"overLimit": {"message": "retry later"}}', None),
        ({}, b"<html>retryAfter</html>", None),
        ({}, b'["retryAfter"]', None),
        ({}, b"", None),
    ],
)
def test_reads_every_form(headers, body, expected):
    """Seconds, an HTTP date, a time in the body; capped, and None for what cannot be read."""
    assert expected == retry_after(headers, body, now=NOW)


def test_dates_are_read_against_the_answers_own_date():
    """Our clock may differ from the cloud's by any amount."""
    headers = {
        "retry-after": "Fri, 15 Jan 2027 08:00:30 GMT",
        "date": "Fri, 15 Jan 2027 08:00:10 GMT",
    }

    assert retry_after(headers, b"", now=0.0) == 20.0
