"""The one road to any cloud: lanes, time budgets, rate buckets, safe retries, counts.

Owns all outgoing HTTP; nothing else in the daemon makes an HTTP client. Knows no OpenStack:
what an answer means is read by the caller, except for what the road itself must obey (429, 413
and ``Retry-After``) and what it must refuse (redirects).
"""

from trellis.http.buckets import Limit, RatePlan
from trellis.http.counts import CallCount, CallKey
from trellis.http.message import Answer, Call, Headers, Verb
from trellis.http.road import Road
from trellis.http.transport import TransportFactory, TransportSettings, lane_transports
from trellis.http.wire import Progress, Wire, WireAnswer, WireError

__all__ = [
    "Answer",
    "Call",
    "CallCount",
    "CallKey",
    "Headers",
    "Limit",
    "Progress",
    "RatePlan",
    "Road",
    "TransportFactory",
    "TransportSettings",
    "Verb",
    "Wire",
    "WireAnswer",
    "WireError",
    "lane_transports",
]
