"""What befalls a call on its way: decided before it is handled, apart from who handles it.

`SimTransport` acts on the verdict in process; a server of the same application over loopback
HTTP acts on it in its own way.
"""

import enum
from random import Random
from typing import Any, Final

import attrs

from trellis.sim.cloud.spec import CloudSpec, Faults, OutageKind
from trellis.sim.cloud.timeline import Timeline
from trellis.sim.cloud.wire import Request, Response, html, nova_fault

_CHANGES: Final = ("POST", "PUT", "DELETE", "PATCH")
_CAN_LOSE: Final = (
    "servers", "floatingips", "ports", "volumes", "os-keypairs", "images", "tasks", "objects",
)  # fmt: skip


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
    UNAUTHORISED = "unauthorised"
    """Answered 401, whatever the token or the credentials are: not carried out."""
    REDIRECTED = "redirected"
    """Answered 302 to another host: not carried out."""
    TRICKLED = "trickled"
    """Answered byte by byte."""
    ENDLESS = "endless"
    """Answered without end."""
    HUGE = "huge"
    SHORT = "short"
    ODD = "odd"
    GARBAGE = "garbage"
    """These four: answered with what `trellis.sim.cloud.spoil` makes of the answer."""


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
        faults: names of the faults that make it so.
        trickle_s: over how long the answer comes, where it trickles.
        variant: which of its forms a fault takes.
        revokes: with it all tokens become worthless.
    """

    fate: Fate
    latency_s: float
    acts_first: bool = False
    acts: bool = True
    acts_after_s: float | None = None
    silent: bool = False
    status: int = 500
    faults: tuple[str, ...] = ()
    trickle_s: float = 0.0
    variant: int = 0
    revokes: bool = False


_SPOILT: Final = (
    ("trickle", Fate.TRICKLED),
    ("endless_answer", Fate.ENDLESS),
    ("huge_answer", Fate.HUGE),
    ("short_answer", Fate.SHORT),
    ("odd_answer", Fate.ODD),
    ("garbage_headers", Fate.GARBAGE),
)
"""Faults that let a call act, and what they do to its answer."""

_DOWN: Final = {
    OutageKind.REFUSE: Fate.REFUSED,
    OutageKind.HANG: Fate.HUNG,
    OutageKind.GATEWAY: Fate.GATEWAY,
}
_BURST_SHARE: Final = 0.9


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
        self._steady = not spec.fault_windows and not _any_call_fault(spec.faults)

    def judge(self, request: Request, service: str, resource: str) -> Verdict:
        """Decide what happens to a call.

        Args:
            request: the call.
            service: identity, compute, network, image, volume or object-store.
            resource: what it is about: the first part of the path below the version.
        """
        random, spec = self._random, self._spec
        latency = spec.latency.for_verb(request.method).draw(random)
        first = random.random() < 0.5
        met: tuple[str, ...] = ()
        if spec.outages:
            down, met, slow_s = self._outage(request, service, latency, first)
            latency += slow_s
            if down is not None:
                return down
        verdict = Verdict(fate=Fate.ANSWERED, latency_s=latency, acts_first=first, faults=met)
        if self._steady:
            return verdict
        faults = spec.faults_at(self._timeline.age)
        return self._struck(verdict, faults, request, service, resource)

    def _struck(
        self, verdict: Verdict, faults: Faults, request: Request, service: str, resource: str
    ) -> Verdict:
        random = self._random
        changes = request.method in _CHANGES and service != "identity"
        can_lose = changes and resource in _CAN_LOSE
        if can_lose and random.random() < faults.lose_request:
            silent = random.random() < 0.5
            return _met(verdict, Fate.LOST, "lose-request", acts=False, silent=silent)
        if can_lose and random.random() < faults.lose_answer:
            names, late = ["lose-answer"], None
            is_create = request.method == "POST" and request.path.endswith("/servers")
            if is_create and random.random() < faults.appear_late:
                names.append("appear-late")
                late = random.uniform(faults.appear_late_s[0], faults.appear_late_s[1])
            silent = random.random() < 0.5
            return _met(verdict, Fate.LOST, *names, acts_after_s=late, silent=silent)
        makes_image = request.method == "POST" and service == "image"
        makes_image = makes_image and resource in ("images", "tasks")
        if makes_image and self._befalls(faults.image_create_lost):
            return _met(verdict, Fate.LOST, "image-create-lost")
        if random.random() < faults.server_error:
            acts = changes and random.random() < 0.5
            status = random.choice((500, 502, 503))
            return _met(verdict, Fate.BROKEN, "server-error", acts=acts, status=status)
        # From here on drawn only where they are wanted: other scenarios keep their stories.
        if self._befalls(faults.cut_answer):
            return _met(verdict, Fate.CUT, "cut-answer")
        if self._befalls(faults.html_answer):
            acts = changes and random.random() < 0.5
            return _met(verdict, Fate.PAGE, "html-answer", acts=acts)
        if self._befalls(faults.reset):
            acts = not changes or random.random() < 0.5
            return _met(verdict, Fate.LOST, "reset", acts=acts)
        if self._befalls(faults.hang_call):
            return _met(verdict, Fate.HUNG, "hang-call", acts=False)
        if self._befalls(faults.redirect):
            return _met(verdict, Fate.REDIRECTED, "redirect", acts=False)
        if service != "identity" and self._befalls(faults.refuse_token):
            return _met(verdict, Fate.UNAUTHORISED, "refuse-token", acts=False)
        if service != "identity" and self._befalls(faults.revoke_tokens):
            return _met(verdict, Fate.ANSWERED, "revoke-tokens", revokes=True)
        for name, fate in _SPOILT:
            if self._befalls(getattr(faults, name)):
                more = {"trickle_s": faults.trickle_s, "variant": random.getrandbits(32)}
                return _met(verdict, fate, name.replace("_", "-"), **more)
        return verdict

    def _befalls(self, probability: float) -> bool:
        return probability > 0.0 and self._random.random() < probability

    def _outage(
        self, request: Request, service: str, latency: float, first: bool
    ) -> tuple[Verdict | None, tuple[str, ...], float]:
        """How an outage ends a call, if one does; else what befalls it, and how slow it is."""
        age, met, slow_s = self._timeline.age, list[str](), 0.0
        for outage in self._spec.outages:
            if not outage.holds(age, service):
                continue
            name = outage.kind.value
            verdict = Verdict(
                fate=Fate.HUNG, latency_s=latency, acts_first=first, faults=(name,)
            )  # fmt: skip
            match outage.kind:
                case OutageKind.SLOW:
                    met.append(name)
                    slow_s += outage.slow_s
                case OutageKind.BURST if self._random.random() < _BURST_SHARE:
                    changes = request.method in _CHANGES and service != "identity"
                    acts = changes and self._random.random() < 0.5
                    status = self._random.choice((500, 502, 503))
                    down = attrs.evolve(verdict, fate=Fate.BROKEN, acts=acts, status=status)
                    return down, (), slow_s
                case OutageKind.LOCKED if service == "identity" and request.method == "POST":
                    return attrs.evolve(verdict, fate=Fate.UNAUTHORISED, acts=False), (), slow_s
                case kind if kind in _DOWN:
                    return attrs.evolve(verdict, fate=_DOWN[kind], acts=False), (), slow_s
        return None, tuple(met), slow_s


def _met(verdict: Verdict, fate: Fate, *names: str, **more: Any) -> Verdict:
    return attrs.evolve(verdict, fate=fate, faults=(*verdict.faults, *names), **more)


_CALL_FAULTS: Final = (
    "lose_answer", "lose_request", "server_error", "cut_answer", "html_answer", "reset",
    "hang_call", "redirect", "refuse_token", "revoke_tokens", "image_create_lost",
    *(name for name, _ in _SPOILT),
)  # fmt: skip


def _any_call_fault(faults: Faults) -> bool:
    return any(getattr(faults, name) for name in _CALL_FAULTS)


def broken_answer(status: int) -> Response:
    """The answer of a call that broke: Nova's own for 500, a proxy's page for the others."""
    if status == 500:
        message = "Unexpected API Error. Please report this at https://bugs.launchpad.net/nova/."
        return nova_fault(500, message)
    return html(status, {502: "Bad Gateway", 503: "Service Unavailable"}[status])
