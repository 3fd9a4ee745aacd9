"""How long a cloud asks to be left alone, in all the ways clouds say it."""

import datetime as dt
import email.utils
import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from trellis.http.message import UNREADABLE

LONGEST_S: Final = 600.0
"""More is not believed: a wrong clock at the cloud must not stop us for a day."""

_BODY_KEYS: Final = ("retryAt", "retryAfter", "retry_after", "retry_at")


def retry_after(headers: Mapping[str, str], body: bytes, *, now: float) -> float | None:
    """Read the delay from an answer.

    ``Retry-After`` holds seconds or an HTTP date; Rackspace writes ``retryAt`` or ``retryAfter``
    into the body, as an ISO time, one variant with the word ``UTC`` at its end. Dates are read
    against the answer's own ``Date``, so that the two clocks need not agree.

    Args:
        headers: of the answer.
        body: of the answer, of whatever kind.
        now: UTC seconds since the epoch, for answers without ``Date``.

    Returns:
        Seconds, from 0 to `LONGEST_S`; None if the answer says nothing that can be read.
    """
    sent_at = _http_date(headers.get("date", ""))
    now = now if sent_at is None else sent_at
    if text := headers.get("retry-after", "").strip():
        # The header given twice arrives as one, with a comma, which a date has as well.
        for part in (text, *text.split(",")):
            delay = _delay(part.strip(), now)
            if delay is not None:
                return delay
    if b"retry" not in body[:4096]:
        return None
    try:
        answer = msgspec.json.decode(body)
    except UNREADABLE:
        return None
    for found in _members(answer):
        delay = _delay(str(found), now)
        if delay is not None:
            return delay
    return None


def _members(answer: Any) -> list[Any]:
    """The values of the keys we know, in the answer or in its one wrapping object."""
    if not isinstance(answer, dict):
        return []
    layers = [answer, *(inner for inner in answer.values() if isinstance(inner, dict))]
    return [layer[key] for layer in layers for key in _BODY_KEYS if key in layer]


def _delay(text: str, now: float) -> float | None:
    try:
        delay = float(text)
    except ValueError:
        at = _http_date(text)
        at = _iso_date(text) if at is None else at
        if at is None:
            return None
        delay = at - now
    if math.isnan(delay):
        return None
    return min(LONGEST_S, max(0.0, delay))


def _http_date(text: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _iso_date(text: str) -> float | None:
    text = text.strip().removesuffix("UTC").strip()
    try:
        at = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=dt.UTC)
    return at.timestamp()
