"""What Trellis shows of itself: behind `provider show`, `quota`, `leak list` and `explain`."""

import enum
from collections.abc import Mapping

import attrs

from trellis.model.provider import Pause
from trellis.model.quota import Limits, Resources
from trellis.model.records import Event
from trellis.model.request import Declined


class Health(enum.Enum):
    """Whether a provider can be used now."""

    STARTING = "starting"
    AVAILABLE = "available"
    UNAVAILABLE = "unavailable"


class SourceState(enum.Enum):
    """How a demand source fares."""

    STARTING = "starting"
    RUNNING = "running"
    TROUBLED = "troubled"
    """It runs and cannot do its work, as what it listens to is away."""
    CRASHED = "crashed"
    """It is started again in a moment."""
    DROPPED = "dropped"
    """It is configured no longer, and there is still something that it asked for."""


@attrs.frozen(kw_only=True)
class SourceStatus:
    """One demand source, and what it has asked for."""

    name: str
    type: str
    """"" of one that is configured no longer."""
    state: SourceState
    since: float | None
    """Since when it is in this state; None of one that is configured no longer."""
    reason: str
    """What stands in its way; "" if nothing does."""
    requests: Mapping[str, int]
    """Its live requests by state."""
    crashes: int = 0
    """Since it was started."""


@attrs.frozen(kw_only=True)
class LabelStatus:
    """One label: who offers it, and how many nodes of it there are by state."""

    name: str
    min_ready: int
    offered_by: tuple[str, ...]
    """``provider/pool`` of each pool that can make it now."""
    missing: Mapping[str, str]
    """``provider/pool`` of each pool that cannot, with the reason."""
    nodes: Mapping[str, int]
    host_key_checking: bool = True
    max_servers: int | None = None
    """Most nodes of it at a time over all providers; None is as many as there is room for."""


@attrs.frozen(kw_only=True)
class PoolStatus:
    """One pool of a provider, with its own limits and what they hold."""

    name: str
    labels: tuple[str, ...]
    limits: Limits
    used: Resources
    missing: Mapping[str, str]
    """By label, what the cloud lacks for it."""


@attrs.frozen(kw_only=True)
class QuotaStatus:
    """The quota of one project in one region, as Trellis reckons with it."""

    provider: str
    """One of the providers that draw on it."""
    limits: Limits
    """As the cloud tells them."""
    ours: Resources
    """Reserved by records: everything of ours that is not proved gone."""
    others: Resources
    read_at: float | None
    refusals: int
    """Creates that the cloud refused for quota since the start."""
    providers: tuple[str, ...] = ()
    """All of them: what the cloud counts together is reckoned together."""
    project_id: str = ""
    """"" until the first login."""
    region: str = ""
    reserved: Resources = attrs.field(factory=Resources)
    """The part of ours that is planned and of which no create has been sent."""
    ceilings: Mapping[str, int] = attrs.field(factory=dict)
    """What refusals taught: the use, by all, at which the cloud refused though it told more."""


@attrs.frozen(kw_only=True)
class TenantStatus:
    """One tenant: what it holds, and what it may."""

    name: str
    """"" stands for requests that name none."""
    limits: Limits
    held: Resources
    waiting: int
    """Requests of it that wait to be placed."""
    share: float | None = None


@attrs.frozen(kw_only=True)
class BudgetStatus:
    """The launch budget of a minute, over all providers."""

    limit: int
    used: int
    """Launches decided upon in the last 60 seconds, also before a restart."""


@attrs.frozen(kw_only=True)
class QuirkStatus:
    """One way in which a provider's cloud is not stock, and how that is known.

    Attributes:
        value: as text; "" where a method is overridden.
        stock: what a stock cloud does instead; "" where stock has no word on it.
        sure: documented, run, inferred or unverified.
    """

    name: str
    value: str
    does: str
    stock: str
    evidence: str
    era: str
    check: str
    sure: str


@attrs.frozen(kw_only=True)
class ProviderStatus:
    """One provider: its health and why, its pools, and the counts that matter."""

    name: str
    type: str
    cloud: str
    region: str
    health: Health
    reason: str
    """Why it is unavailable or still starting; "" when available."""
    since: float
    pause: Pause | None
    pools: tuple[PoolStatus, ...]
    nodes: Mapping[str, int]
    quota: QuotaStatus
    backoffs: Mapping[str, str]
    """What is left alone after failures, and until when, in words."""
    sweep: str
    """``report``, ``delete``, or ``stopped: …`` with the alarm."""
    api_calls: Mapping[str, int]
    """Calls since the start, by service and verb."""
    quirks: tuple[QuirkStatus, ...] = ()
    """In what its cloud is not stock, as far as the type's profile says."""
    priority: int = 100
    weight: float | None = None
    lately: Mapping[str, str] = attrs.field(factory=dict)
    """By label, how its launches have ended lately, in words: what placement goes by."""


@attrs.frozen(kw_only=True)
class Leak:
    """A thing tagged ours that no record claims."""

    id: str
    provider: str
    kind: str
    external_id: str
    node_id: str | None
    first_seen: float
    sightings: int
    note: str
    """What Trellis does or waits for: a second sighting, a person's word, the deletion."""


@attrs.frozen(kw_only=True)
class PlannedStep:
    """One thing the scheduler would do or cannot do now, with its reason."""

    action: str
    subject: str
    reason: str


@attrs.frozen(kw_only=True)
class Outlook:
    """What a request waits for and when it may be ready.

    Attributes:
        words: what it waits for, in words; "" if it waits for nothing.
        estimate_s: seconds from now until it is ready, as likely less as more; None is unknown.
        basis: what the estimate is taken from, or why there is none; "" if it does not wait.
    """

    words: str
    estimate_s: float | None
    basis: str


@attrs.frozen(kw_only=True)
class Explanation:
    """Why something is as it is.

    Attributes:
        words: one or two sentences for a person.
        waits_for: what would move it on; "" if it waits for nothing.
        since: since when it is in this state.
        declined: providers that could not serve it, each with the reason.
        history: its events, oldest first.
        estimate_s: seconds from now until it is ready, where that is known.
        estimate_basis: what the estimate is taken from, or why there is none.
        console: the end of the console of a node whose launch failed; "" if it was not read.
    """

    subject: str
    state: str
    since: float
    words: str
    waits_for: str
    declined: tuple[Declined, ...]
    history: tuple[Event, ...]
    estimate_s: float | None = None
    estimate_basis: str = ""
    console: str = ""
