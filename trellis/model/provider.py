"""What Trellis remembers of a provider over a restart."""

import attrs

from trellis.model.breaker import BreakerRecord
from trellis.model.names import NodeId


@attrs.frozen(kw_only=True)
class Pause:
    """Who stopped launches, why and until when; None is until resumed."""

    by: str
    reason: str
    since: float
    until: float | None = None
    drain: bool = False
    """True: idle nodes are deleted too."""


@attrs.frozen(kw_only=True)
class Tombstone:
    """Whose a thing was: a leaked server, or what was attached to it and carries no mark."""

    external_id: str
    node_id: NodeId
    at: float


@attrs.frozen(kw_only=True)
class Ceiling:
    """Where a cloud refused though by its figures there was room.

    Attributes:
        quota: the project and region, as `trellis.control.quota.quota_name` names it.
        resource: what was short.
        most: so much of it all together use.
        told: the limit that the cloud tells; None if it tells none, or that there is none.
        at: when it was refused last, in UTC seconds.
    """

    quota: str
    resource: str
    most: int
    told: int | None
    at: float


@attrs.frozen(kw_only=True)
class ProviderRecord:
    """The durable part of a provider.

    Attributes:
        configuration: its last one, without secrets, as `trellis.config.remember` writes it.
        pause: set while launches are stopped.
        strange: external ids of things with node ids the store had never issued when they were
            first seen.
        adopted: external ids of things with node ids the store never issued that a person has
            declared to be ours.
        condemned: external ids of leaks that a person has ordered to be deleted.
        tombstones: leaked servers and what they had, kept for 7 days.
        breakers: those over its launches that are not closed.
        ceilings: of the quota it draws on.
    """

    name: str
    configuration: str = ""
    pause: Pause | None = None
    strange: tuple[str, ...] = ()
    adopted: tuple[str, ...] = ()
    condemned: tuple[str, ...] = ()
    tombstones: tuple[Tombstone, ...] = ()
    breakers: tuple[BreakerRecord, ...] = ()
    ceilings: tuple[Ceiling, ...] = ()

    def pause_at(self, now: float) -> Pause | None:
        """The pause in force at a moment, if there is one."""
        pause = self.pause
        over = pause is not None and pause.until is not None and pause.until <= now
        return None if over else pause


@attrs.frozen(kw_only=True)
class Opening:
    """One opening of the store: the mark on the tags of all that was launched under it.

    Attributes:
        mark: drawn at random; "" for what an earlier release launched without one.
        first_node: the lowest number that a node launched under it can have.
    """

    mark: str
    first_node: int


@attrs.frozen(kw_only=True)
class Lineage:
    """The openings of the store, the oldest first: the one record that tells them apart.

    Attributes:
        store: drawn at random when the store was made; each mark begins with it.
        openings: those in which nodes were launched, and the present one.
    """

    store: str
    openings: tuple[Opening, ...] = ()


@attrs.frozen(kw_only=True)
class StoreMeta:
    """The one record about the store itself.

    Attributes:
        deployment: whose store this is.
        next_node: the number of the next node; it only rises.
        lost: so many commits of another store were known to be missing when this one was made in
            its place; 0 once that has been taken account of.
    """

    deployment: str
    next_node: int = 1
    lost: int = 0
