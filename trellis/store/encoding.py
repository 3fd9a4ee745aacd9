"""How records and events are written: JSON of the model's classes, strictly typed when read.

A key that this release does not know is passed over and a missing one takes its default, so
that the minor releases on both sides of an upgrade read each other's rows.
"""

import json
from typing import Any, Final

import attrs
import msgspec

from trellis.errors import StoreMismatchError
from trellis.model.records import KINDS, Event, Key, Record, key_of
from trellis.model.request import NodeRequest
from trellis.store.log import EventRow

KIND_OF: Final[dict[type[object], str]] = {cls: kind for kind, cls in KINDS.items()}

_ENCODER: Final = msgspec.json.Encoder()
_DECODERS: Final = {kind: msgspec.json.Decoder[Any](cls) for kind, cls in KINDS.items()}
_EVENT_DECODER: Final = msgspec.json.Decoder(Event)


def named(key: Key) -> str:
    """A record's name for messages. Who knows a lease's id may end it, so it is cut short."""
    kind, record_id = key
    return f"{kind} {record_id[:6]}…" if kind == "lease" else f"{kind} {record_id}"


def encode_record(record: Record) -> str:
    """Write a record.

    Raises:
        ValueError: it would not read back as it is, for a number like infinity, a list in
            the place of a tuple, or a text that is no Unicode. A bug of the caller, better
            found now than at the next start.
    """
    key = key_of(record)
    try:
        value = _ENCODER.encode(record)
        again = _DECODERS[key[0]].decode(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{named(key)} cannot be recorded: {error}") from error
    if again != record:
        wrong = [
            field.name
            for field in attrs.fields(type(record))
            if getattr(again, field.name) != getattr(record, field.name)
        ]
        raise ValueError(f"{named(key)} would not read back as it is written: {', '.join(wrong)}")
    return value.decode()


def decode_record(key: Key, value: str) -> Record:
    """Read a record.

    Raises:
        StoreMismatchError: this release has no such kind of record, or cannot read this one;
            the message names kind and id and never holds a value.
    """
    kind = key[0]
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise StoreMismatchError(
            f"the store holds {named(key)}, a kind of record unknown to this release: "
            f"start the release that wrote it"
        )
    try:
        record: Record = decoder.decode(value)
    except (ValueError, TypeError) as error:
        raise StoreMismatchError(
            f"the store's {named(key)} cannot be read: {error}. "
            f"Start the release that wrote it, or restore the store from a copy"
        ) from error
    if key_of(record) != key:
        raise StoreMismatchError(
            f"the store's {named(key)} holds another record, {named(key_of(record))}: "
            f"restore the store from a copy"
        )
    return record


def event_row(event: Event) -> EventRow:
    """Write an event."""
    return EventRow(
        id=event.id,
        at=event.at,
        subjects=tuple(dict.fromkeys((event.subject, *event.about))),
        value=_ENCODER.encode(event).decode(),
    )


def decode_event(row: EventRow) -> Event:
    """Read an event.

    Raises:
        StoreMismatchError: this release cannot read it.
    """
    try:
        return _EVENT_DECODER.decode(row.value)
    except (ValueError, TypeError) as error:
        raise StoreMismatchError(f"the store's event {row.id} cannot be read: {error}") from error


def lookup_of(record: Record) -> str | None:
    """The second key by which an archived record is found: a request's idempotency key."""
    if isinstance(record, NodeRequest) and record.ask.idempotency_key is not None:
        return lookup_text((record.ask.requestor, record.ask.idempotency_key))
    return None


def lookup_text(lookup: tuple[str, ...]) -> str:
    """A second key as the log keeps it: unambiguous whatever characters its parts have."""
    return json.dumps(lookup)
