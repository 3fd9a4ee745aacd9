"""Breakers: what is left alone after it failed again and again, and how it is tried again."""

import enum

import attrs

from trellis.model.names import NodeId


class Scope(enum.Enum):
    """What a breaker is about, from the widest to the narrowest."""

    ACCOUNT = "account"
    """The credentials, or the identity service: a login is its probe."""
    REGION = "region"
    """One provider: it cannot be read, its creates fail, or no image at all comes up there."""
    EVERYWHERE = "everywhere"
    """One label, whose launches fail at several providers."""
    IMAGE = "image"
    """One image of one provider: its servers do not come up, or do not answer."""
    LABEL = "label"
    """One label of one pool: the cloud rejects what it comes down to, or it alone fails."""
    CAPACITY = "capacity"
    """One pool, flavor and zone: *No valid host*."""


class Stage(enum.IntEnum):
    """How far a launch came; a breaker closes when its probe has passed what had failed."""

    CREATED = 1
    """The cloud took the create."""
    ACTIVE = 2
    """The server is active."""
    READY = 3
    """It answers."""


class BreakerState(enum.Enum):
    """Whether launches go through."""

    CLOSED = "closed"
    """They do."""
    OPEN = "open"
    """None does, until a time."""
    HALF_OPEN = "half-open"
    """One does, as the probe: how it ends decides."""


@attrs.frozen(kw_only=True)
class BreakerRecord:
    """A breaker that is not closed, as it is remembered over a restart.

    Attributes:
        id: stable and fit for a URL: provider, scope, and a hash of the subject.
        subject: what it is about, in words.
        failures: launches that failed in a row.
        stage: what a launch must pass to close it.
        wait_s: seconds that it was opened for the last time.
        since: when it opened first, in UTC seconds.
        next_at: when it lets a probe through, in UTC seconds.
        reason: the last failure.
        probe: the node that is tried; None while there is none.
        last: the latest node that failed.
    """

    id: str
    scope: Scope
    key: tuple[str, ...]
    subject: str
    failures: int
    stage: Stage
    wait_s: float
    since: float
    next_at: float
    reason: str
    probe: NodeId | None = None
    last: str = ""


@attrs.frozen(kw_only=True)
class BreakerStatus:
    """A breaker as people see it.

    Attributes:
        provider: "" for one that is about all providers.
        since: when it opened first, in UTC seconds.
        next_probe_s: seconds until a probe may go; 0.0 if one may go now, None while one is
            under way.
        words: all of it in one sentence.
    """

    id: str
    provider: str
    scope: Scope
    subject: str
    state: BreakerState
    since: float
    failures: int
    reason: str
    next_probe_s: float | None
    probe: NodeId | None
    words: str
