"""Change a record that others may be changing too: read, decide, write, with no await between."""

from collections.abc import Callable
from typing import TypeVar

from trellis.errors import UnknownIdError
from trellis.model.image import Build, ImageRecord, Upload
from trellis.model.node import Node
from trellis.model.provider import ProviderRecord
from trellis.model.records import Change
from trellis.model.request import Lease, NodeRequest
from trellis.store.store import Store

R = TypeVar("R", Node, NodeRequest, Lease, ProviderRecord, ImageRecord, Build, Upload)


def head(store: Store, cls: type[R], record_id: str) -> R:
    """The newest version of a record, durable or on its way to be.

    Raises:
        UnknownIdError: there is none.
    """
    record = store.head(cls, record_id)
    if record is None:
        raise UnknownIdError(f"there is no {cls.__name__.lower()} {record_id}")
    return record


async def amend(
    store: Store, cls: type[R], record_id: str, change: Callable[[R], R], *, why: str = ""
) -> R:
    """Apply *change* to the newest version of a record and wait until that is durable.

    The newest version is read and staged without an await between, so nobody comes between
    and there is no conflict to retry.

    Raises:
        UnknownIdError: there is no such record.
        whatever *change* raises, with nothing written.
    """
    before = head(store, cls, record_id)
    after = change(before)
    if after != before:
        await store.commit([Change(before, after, why=why)])
    return after
