"""The kinds of record, the changes between them, and the events that changes are."""

from collections.abc import Mapping
from typing import Final

import attrs

from trellis.model.asked import words_of
from trellis.model.breaker import BreakerRecord
from trellis.model.image import Build, ImageRecord, Upload
from trellis.model.image_events import told_of
from trellis.model.node import Node, NodeState, ResourceKind
from trellis.model.provider import Lineage, ProviderRecord, StoreMeta
from trellis.model.request import ENDED, Lease, NodeRequest

Record = (
    Node | NodeRequest | Lease | ProviderRecord | StoreMeta | Lineage | ImageRecord | Build | Upload
)
Key = tuple[str, str]
"""Kind and id of a record."""

KINDS: Final[Mapping[str, type[Record]]] = {
    "node": Node,
    "request": NodeRequest,
    "lease": Lease,
    "provider": ProviderRecord,
    "meta": StoreMeta,
    "lineage": Lineage,
    "image": ImageRecord,
    "build": Build,
    "upload": Upload,
}
_KIND_OF: Final = {cls: kind for kind, cls in KINDS.items()}
_NAMED: Final = (ResourceKind.SERVER, ResourceKind.VOLUME, ResourceKind.FLOATING_IP)


def key_of(record: Record) -> Key:
    """The key of a record: its kind, and its id or name."""
    kind = _KIND_OF[type(record)]
    match record:
        case ProviderRecord() | ImageRecord():
            return kind, record.name
        case StoreMeta() | Lineage():
            return kind, "store"
        case _:
            return kind, record.id


@attrs.frozen
class Change:
    """One record before and after; the record must still be *before* when it is committed.

    Attributes:
        before: as the writer read it; None makes a new record.
        after: as it shall be.
        archive: True moves *after* from the records into the history, where it is kept for
            ``history-age`` and no longer changed.
        why: the reason in words; it becomes part of the event.
    """

    before: Record | None
    after: Record
    why: str = ""
    archive: bool = False

    @property
    def key(self) -> Key:
        """Kind and id of the record that changes."""
        return key_of(self.after)


@attrs.frozen(kw_only=True)
class Event:
    """A fact, durable for a day on the stream and for ``history-age`` in `explain`.

    Attributes:
        id: rises in commit order; opaque to clients.
        type: ``node.ready``, ``request.cancelled``, … the kind of record and its new state.
        subject: id of the record.
        about: other ids by which it is found: a node's request, a request's nodes; of a node that
            is gone also its server, volumes and floating IPs, as what a cloud left of it may name
            nothing else; of a request that has ended also its tenant and its metadata's values.
    """

    id: int
    at: float
    type: str
    subject: str
    about: tuple[str, ...] = ()
    why: str = ""
    data: Mapping[str, str] = attrs.field(factory=dict)


def event_of(change: Change, event_id: int, at: float) -> Event | None:
    """The event that a change is, if it is one: each step of a record's life is."""
    subject = change.key[1]
    before, after = change.before, change.after
    match after:
        case Node():
            return _node_event(before, after, change.why, event_id, at)
        case NodeRequest():
            if isinstance(before, NodeRequest) and before.state is after.state and not change.why:
                return None
            place = {"provider": after.placement.provider} if after.placement else {}
            return Event(
                id=event_id, at=at, type=f"request.{after.state.value}", subject=subject,
                about=after.nodes + _found_by(after), why=change.why or after.reason or "",
                data=place,
            )  # fmt: skip
        case Lease() if after.ended_at is None and _has_fewer_nodes(before, after):
            return None  # their own steps say so
        case Lease():
            if after.ended_at is not None:
                step = "ended"
            else:
                step = "renewed" if before is not None else "granted"
            # A lease's id is its key: events name the request instead.
            return Event(
                id=event_id, at=at, type=f"lease.{step}", subject=after.request_id,
                about=after.nodes, why=change.why,
            )  # fmt: skip
        case ProviderRecord() if isinstance(before, ProviderRecord) and after == attrs.evolve(
            before, ceilings=after.ceilings
        ):
            return None  # what is learnt of a quota is no step of anybody's
        case ProviderRecord() if moved := _moved(before, after):
            breaker, step = moved
            return Event(
                id=event_id, at=at, type=f"breaker.{step}", subject=breaker.id,
                about=tuple(x for x in (breaker.probe, after.name) if x), why=change.why,
                data={"scope": breaker.scope.value, "what": breaker.subject},
            )  # fmt: skip
        case ProviderRecord():
            was = before.pause if isinstance(before, ProviderRecord) else None
            if after.pause == was:
                step = "decided"
            else:
                step = "paused" if after.pause else "resumed"
            return Event(
                id=event_id, at=at, type=f"provider.{step}", subject=subject, why=change.why
            )
        case ImageRecord() | Build() | Upload():
            told = told_of(before, after, change.why)
            if told is None:
                return None
            return Event(
                id=event_id, at=at, type=told.type, subject=subject, about=told.about,
                why=told.why, data=told.data,
            )  # fmt: skip
        case _:
            return None


def _found_by(request: NodeRequest) -> tuple[str, ...]:
    """The words of a request that has ended; while it lives it is found by them otherwise."""
    return words_of(request.ask) if request.state in ENDED else ()


def _has_fewer_nodes(before: object, after: Lease) -> bool:
    return isinstance(before, Lease) and before.nodes != after.nodes


def _moved(before: object, after: ProviderRecord) -> tuple[BreakerRecord, str] | None:
    """The breaker that a change is about, and its step."""
    was = {b.id: b for b in before.breakers} if isinstance(before, ProviderRecord) else {}
    now = {b.id: b for b in after.breakers}
    for breaker in was.values():
        if breaker.id not in now:
            return breaker, "closed"
    for breaker in now.values():
        if (known := was.get(breaker.id)) == breaker:
            continue
        half = known is not None and known.failures == breaker.failures and breaker.probe
        return breaker, "half-open" if half else "opened"
    return None


def _node_event(before: object, after: Node, why: str, event_id: int, at: float) -> Event | None:
    if isinstance(before, Node) and before.state is after.state and not why:
        return None
    about: tuple[str, ...] = tuple(x for x in (after.allocated_to, after.replaces) if x)
    if isinstance(before, Node) and before.allocated_to and before.allocated_to not in about:
        about = (*about, before.allocated_to)
    if after.state is NodeState.GONE:
        about += tuple(x.external_id for x in after.resources if x.external_id and x.kind in _NAMED)
    data = {"label": after.label, "provider": after.provider, "pool": after.pool}
    if after.external_id:
        data["external_id"] = after.external_id
    if after.state is NodeState.READY and after.ready_at is not None:
        data["took_s"] = f"{after.ready_at - after.created_at:.1f}"
    return Event(
        id=event_id, at=at, type=f"node.{after.state.value}", subject=after.id, about=about,
        why=why or after.fault or "", data=data,
    )  # fmt: skip
