"""Rate limits at work: buckets, and what a refusal says of how long to wait."""

import email.utils
import math
from datetime import UTC, datetime
from typing import Final

from trellis.sim.cloud.spec import RateLimit, RetryAfter
from trellis.sim.cloud.wire import Request, Response, answer

_EPSILON: Final = 1e-9
_TEN_YEARS_S: Final = 315_360_000
_ABSURD: Final = (
    RetryAfter.ZERO,
    RetryAfter.NEGATIVE,
    RetryAfter.YEARS,
    RetryAfter.WORDS,
    RetryAfter.PAST,
    RetryAfter.FUTURE,
)


class Bucket:
    """A rate limit at work."""

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._level = limit.calls
        self._at: float | None = None
        self._refusals = 0

    @property
    def faults(self) -> tuple[str, ...]:
        """The names of the faults that a refusal of it is."""
        limit = self._limit
        sensible = not limit.retry_after or limit.says in (RetryAfter.SECONDS, RetryAfter.DATE)
        return ("rate-limits",) if sensible else ("rate-limits", "absurd-retry-after")

    def concerns(self, request: Request, service: str) -> bool:
        """Whether the limit is about such calls."""
        limit = self._limit
        if limit.service is None:
            if service == "identity":
                return False
        elif limit.service != service:
            return False
        if limit.method is not None and limit.method != request.method:
            return False
        return limit.path is None or request.path.endswith(limit.path)

    def take(self, now: float, utc: float) -> Response | None:
        """Count a call; returns the refusal if it is one too many.

        Args:
            now: seconds of the cloud's clock.
            utc: the same moment as UTC seconds.
        """
        limit = self._limit
        if self._at is not None:
            refill = (now - self._at) * limit.calls / limit.per_s
            self._level = min(limit.calls, self._level + refill)
        self._at = now
        if self._level >= 1.0 - _EPSILON:
            self._level -= 1.0
            return None
        self._refusals += 1
        wait = math.ceil((1.0 - self._level) * limit.per_s / limit.calls)
        if limit.tells_at:
            return _come_again(limit, utc + wait)
        refused = _too_many(limit, self._said(wait, utc))
        return refused.with_headers(Date=_date(utc)) if limit.says is RetryAfter.DATE else refused

    def _said(self, wait: int, utc: float) -> str:
        """How long to wait, in the words of this limit; "" if it does not say."""
        limit = self._limit
        if not limit.retry_after:
            return ""
        says = limit.says
        if says is RetryAfter.ABSURD:
            says = _ABSURD[self._refusals % len(_ABSURD)]
        return {
            RetryAfter.SECONDS: str(wait),
            RetryAfter.DATE: _date(utc + wait),
            RetryAfter.ZERO: "0",
            RetryAfter.NEGATIVE: str(-wait),
            RetryAfter.YEARS: str(_TEN_YEARS_S),
            RetryAfter.WORDS: "in a while",
            RetryAfter.PAST: _date(utc - _TEN_YEARS_S),
            RetryAfter.FUTURE: _date(utc + _TEN_YEARS_S),
        }[says]


def _date(utc: float) -> str:
    return email.utils.formatdate(utc, usegmt=True)


def _come_again(limit: RateLimit, at: float) -> Response:
    """Rackspace's: the time at which to come again is in the body alone, in one of two ways."""
    moment = datetime.fromtimestamp(math.ceil(at), UTC).strftime("%Y-%m-%dT%H:%M:%S")
    over = {"code": limit.status, "message": "OverLimit Retry...", "details": "Error Details..."}
    zone = "Z" if limit.tells_at == "retryAt" else " UTC"
    return answer(limit.status, {"overLimit": over | {limit.tells_at: moment + zone}})


def _too_many(limit: RateLimit, said: str) -> Response:
    if limit.status == 413:
        fault = {"code": 413, "message": "This request was rate-limited."}
        fault["details"] = f"Only {limit.calls:g} request(s) can be made every {limit.per_s:g} s."
        if said:
            fault["retryAfter"] = said
        refused = answer(413, {"overLimit": fault})
    else:
        text = {"status": f"{limit.status} Too Many Requests", "message": "Too Many Requests"}
        refused = answer(limit.status, {"error": text})
    return refused.with_headers(Retry_After=said) if said else refused
