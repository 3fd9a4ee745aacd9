"""What befalls a call on its way: decided before it is handled, apart from who handles it.

`SimTransport` acts on the verdict in process; a server of the same application over loopback
HTTP acts on it in its own way.
"""

import enum
import math
from random import Random
from typing import Final

import attrs

from trellis.sim.cloud.spec import CloudSpec, Outage, OutageKind, RateLimit
from trellis.sim.cloud.timeline import Timeline
from trellis.sim.cloud.wire import Request, Response, answer, html, nova_fault

_CHANGES: Final = ("POST", "PUT", "DELETE", "PATCH")
_CAN_LOSE: Final = ("servers", "floatingips", "ports", "volumes", "os-keypairs")
_EPSILON: Final = 1e-9


class Fate(enum.Enum):
    """How a call ends."""

    ANSWERED = "answered"
    REFUSED = "refused"
    """No connection: not carried out."""
    HUNG = "hung"
    """Connected, and never answered nor carried out."""
    GATEWAY = "gateway"
    """A proxy answers 502 in HTML: not carried out."""
    LOST = "lost"
    """The connection breaks before the answer."""
    BROKEN = "broken"
    """Answered with an error of the cloud's."""
    CUT = "cut"
    """The connection breaks in the middle of the answer."""
    PAGE = "page"
    """Answered 200 with a page in HTML by something in between."""


@attrs.frozen(kw_only=True)
class Verdict:
    """What will happen to one call.

    Attributes:
        latency_s: time it takes in all.
        acts_first: it is carried out at its beginning, else at its end.
        acts: it is carried out at all.
        acts_after_s: it is carried out only so much later, whatever else.
        silent: for a lost one: nothing more is heard, instead of a reset.
        status: of a broken one.
    """

    fate: Fate
    latency_s: float
    acts_first: bool = False
    acts: bool = True
    acts_after_s: float | None = None
    silent: bool = False
    status: int = 500


class FaultDice:
    """Decides the fate of calls; one source of chance, drawn in the order of the calls."""

    def __init__(self, spec: CloudSpec, timeline: Timeline, random: Random) -> None:
        self._timeline = timeline
        self._random = random
        self.spec = spec

    @property
    def spec(self) -> CloudSpec:
        """What the cloud is like now."""
        return self._spec

    @spec.setter
    def spec(self, spec: CloudSpec) -> None:
        self._spec = spec
        self._steady = not spec.fault_windows and not _any_call_fault(spec)

    def judge(self, request: Request, service: str, resource: str) -> Verdict:
        """Decide what happens to a call.

        Args:
            request: the call.
            service: identity, compute, network, image or volume.
            resource: what it is about: the first part of the path below the version.
        """
        random, spec = self._random, self._spec
        latency = spec.latency.for_verb(request.method).draw(random)
        first = random.random() < 0.5
        outage = self._outage(service)
        if outage is not None:
            return _down(outage, latency)
        if self._steady:
            return Verdict(fate=Fate.ANSWERED, latency_s=latency, acts_first=first)
        faults = spec.faults_at(self._timeline.age)
        changes = request.method in _CHANGES and service != "identity"
        can_lose = changes and resource in _CAN_LOSE
        if can_lose and random.random() < faults.lose_request:
            silent = random.random() < 0.5
            return Verdict(fate=Fate.LOST, latency_s=latency, acts=False, silent=silent)
        if can_lose and random.random() < faults.lose_answer:
            late = None
            is_create = request.method == "POST" and request.path.endswith("/servers")
            if is_create and random.random() < faults.appear_late:
                late = random.uniform(faults.appear_late_s[0], faults.appear_late_s[1])
            silent = random.random() < 0.5
            return Verdict(
                fate=Fate.LOST,
                latency_s=latency,
                acts_first=first,
                acts_after_s=late,
                silent=silent,
            )
        if random.random() < faults.server_error:
            acts = changes and random.random() < 0.5
            status = random.choice((500, 502, 503))
            return Verdict(
                fate=Fate.BROKEN, latency_s=latency, acts_first=first, acts=acts, status=status
            )
        # Drawn only where they are wanted: other scenarios keep their stories.
        if faults.cut_answer > 0.0 and random.random() < faults.cut_answer:
            return Verdict(fate=Fate.CUT, latency_s=latency, acts_first=first)
        if faults.html_answer > 0.0 and random.random() < faults.html_answer:
            acts = changes and random.random() < 0.5
            return Verdict(fate=Fate.PAGE, latency_s=latency, acts_first=first, acts=acts)
        return Verdict(fate=Fate.ANSWERED, latency_s=latency, acts_first=first)

    def _outage(self, service: str) -> Outage | None:
        age = self._timeline.age
        for outage in self._spec.outages:
            here = not outage.services or service in outage.services
            if here and outage.start <= age < outage.end:
                return outage
        return None


def _any_call_fault(spec: CloudSpec) -> bool:
    faults = spec.faults
    return any(
        (
            faults.lose_answer,
            faults.lose_request,
            faults.server_error,
            faults.cut_answer,
            faults.html_answer,
        )
    )


def _down(outage: Outage, latency: float) -> Verdict:
    fates = {
        OutageKind.REFUSE: Fate.REFUSED,
        OutageKind.HANG: Fate.HUNG,
        OutageKind.GATEWAY: Fate.GATEWAY,
    }
    fate = fates[outage.kind]
    return Verdict(fate=fate, latency_s=latency, acts=False)


def broken_answer(status: int) -> Response:
    """The answer of a call that broke: Nova's own for 500, a proxy's page for the others."""
    if status == 500:
        message = "Unexpected API Error. Please report this at https://bugs.launchpad.net/nova/."
        return nova_fault(500, message)
    return html(status, {502: "Bad Gateway", 503: "Service Unavailable"}[status])


class Bucket:
    """A rate limit at work."""

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._level = limit.calls
        self._at: float | None = None

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

    def take(self, now: float) -> Response | None:
        """Count a call; returns the refusal if it is one too many."""
        limit = self._limit
        if self._at is not None:
            refill = (now - self._at) * limit.calls / limit.per_s
            self._level = min(limit.calls, self._level + refill)
        self._at = now
        if self._level >= 1.0 - _EPSILON:
            self._level -= 1.0
            return None
        wait = math.ceil((1.0 - self._level) * limit.per_s / limit.calls)
        return _too_many(limit, wait)


def _too_many(limit: RateLimit, wait: int) -> Response:
    if limit.status == 413:
        fault = {"code": 413, "message": "This request was rate-limited."}
        fault["details"] = f"Only {limit.calls:g} request(s) can be made every {limit.per_s:g} s."
        if limit.retry_after:
            fault["retryAfter"] = str(wait)
        refused = answer(413, {"overLimit": fault})
    else:
        text = {"status": f"{limit.status} Too Many Requests", "message": "Too Many Requests"}
        refused = answer(limit.status, {"error": text})
    return refused.with_headers(Retry_After=str(wait)) if limit.retry_after else refused
