"""What truly happened in a simulated cloud: the only thing an oracle needs to read."""

import enum
import hashlib
from operator import attrgetter
from typing import Final

import attrs

from trellis.sim.catalogue import Struck


class What(enum.Enum):
    """The kinds of fact."""

    SERVER_CREATED = "server-created"
    SERVER_ACTIVE = "server-active"
    SERVER_ERROR = "server-error"
    SERVER_DELETING = "server-deleting"
    SERVER_DELETED = "server-deleted"
    SERVER_RETURNED = "server-returned"
    """A deleted server is there again."""
    FLOATING_IP_CREATED = "floating-ip-created"
    FLOATING_IP_DELETED = "floating-ip-deleted"
    PORT_CREATED = "port-created"
    PORT_DELETED = "port-deleted"
    VOLUME_CREATED = "volume-created"
    VOLUME_DELETED = "volume-deleted"
    KEYPAIR_CREATED = "keypair-created"
    KEYPAIR_DELETED = "keypair-deleted"
    IMAGE_CREATED = "image-created"
    IMAGE_ACTIVE = "image-active"
    IMAGE_DELETED = "image-deleted"
    IMAGE_REFUSED = "image-refused"
    """There was no room for an image."""
    OBJECT_CREATED = "object-created"
    OBJECT_DELETED = "object-deleted"
    QUOTA_REFUSED = "quota-refused"
    RATE_LIMITED = "rate-limited"
    ANSWER_LOST = "answer-lost"
    REQUEST_LOST = "request-lost"
    LOGIN = "login"
    STRANGER_HARMED = "stranger-harmed"
    """A caller changed or deleted what the stranger owns: a violation."""


@attrs.frozen(kw_only=True)
class Fact:
    """One thing that happened.

    Attributes:
        at: when, in seconds of the cloud's clock.
        id: of the thing; for a refused or lost call, the call.
        who: the user who owns the thing, or ``stranger``.
        metadata: a server's metadata or an image's properties, sorted: whose it is by its tag.
        detail: a fault's message, a floating IP's description, what quota was short; of a server
            that was created, its flavor.
        asked_at: when the call that did it reached the cloud; None if no call did.
        ssh_at: for a server that became active, when its guest answers; None is never.
    """

    at: float
    what: What
    region: str = ""
    id: str = ""
    name: str = ""
    who: str = ""
    metadata: tuple[tuple[str, str], ...] = ()
    detail: str = ""
    asked_at: float | None = None
    ssh_at: float | None = None


_VALUES: Final = attrgetter(*(field.name for field in attrs.fields(Fact)))


@attrs.define(eq=False)
class Ledger:
    """The facts in the order of time, and how many calls of each kind there were.

    Attributes:
        calls: by kind, as ``GET compute /servers/detail``; ids are written ``*``.
        calls_by_minute: calls by the minute of the cloud's clock.
        statuses: answers by HTTP status.
        peak_instances: the most servers of the account at one time, by region.
        struck: faults that took effect, by their names in the catalogue.
        unattributable: ids of what the cloud left lying though it had never shown whose it is.
    """

    facts: list[Fact] = attrs.field(factory=list)
    calls: dict[str, int] = attrs.field(factory=dict)
    calls_by_minute: dict[int, int] = attrs.field(factory=dict)
    statuses: dict[int, int] = attrs.field(factory=dict)
    peak_instances: dict[str, int] = attrs.field(factory=dict)
    struck: Struck = attrs.field(factory=Struck)
    unattributable: set[str] = attrs.field(factory=set)

    def of(self, *kinds: What) -> list[Fact]:
        """The facts of these kinds."""
        return [fact for fact in self.facts if fact.what in kinds]

    @property
    def violations(self) -> list[Fact]:
        """What no well-behaved caller ever causes."""
        return self.of(What.STRANGER_HARMED)

    @property
    def total_calls(self) -> int:
        """All calls that reached the cloud."""
        return sum(self.calls.values())

    def digest(self) -> str:
        """A hash of all of it: equal for two runs that went alike."""
        digest = hashlib.sha256()
        for fact in self.facts:
            digest.update(repr(_VALUES(fact)).encode())
        digest.update(repr(sorted(self.calls.items())).encode())
        digest.update(repr(sorted(self.statuses.items())).encode())
        return digest.hexdigest()

    def counted(self, call: str, status: int, at: float) -> None:
        """Count one answered call."""
        self.calls[call] = self.calls.get(call, 0) + 1
        minute = int(at // 60)
        self.calls_by_minute[minute] = self.calls_by_minute.get(minute, 0) + 1
        self.statuses[status] = self.statuses.get(status, 0) + 1

    def saw_instances(self, region: str, instances: int) -> None:
        """Remember the peak."""
        if instances > self.peak_instances.get(region, 0):
            self.peak_instances[region] = instances
