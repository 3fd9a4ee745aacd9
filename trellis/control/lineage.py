"""Whose a server is, told by its origin: the very opening of the very store that launched it.

A deployment's name and a node id do not tell enough. Two daemons that are given one deployment by
mistake issue the same node ids; so does a store that was restored from an older copy, for servers
that somebody works on by now. Each opening of a store draws a mark, which goes on the tags of what
is launched under it, and on record with the first node id it may issue (design §5b, rule 1).
"""

from collections.abc import Iterable, Mapping
from random import Random
from typing import Final

import attrs
import structlog

from trellis.model.node import Node, NodeState
from trellis.model.provider import Lineage, Opening, ProviderRecord, StoreMeta
from trellis.model.records import Change
from trellis.spi.provider import Tag
from trellis.store.store import Store

log = structlog.get_logger()

MOST_OPENINGS: Final = 500
"""Openings remembered in which nodes were launched; what is left of older ones is strange."""
IDS_IN_A_COMMIT: Final = 100
"""Node ids passed over for each commit that is known to be lost, so that none is issued twice."""
MOST_PASSED_OVER: Final = 100_000_000
"""Node ids have ten digits: a witness that is damaged, or very far ahead, must not use them up."""
_LOST: Final = "lost"
_UNSETTLED: Final = frozenset({NodeState.BUILDING, NodeState.READY})


async def open_lineage(store: Store, random: Random) -> None:
    """Begin an opening, durable on return: what is launched from now on bears its mark.

    If the store is known to be an older copy of itself, its nodes that are building or ready are
    set apart: since the copy was made they may have been handed out.

    Raises:
        StoreFailedError: it could not be recorded.
    """
    meta, lineage = store.head(StoreMeta, "store"), store.head(Lineage, "store")
    assert meta is not None  # opening the store wrote it
    changes = list[Change]()
    if store.lost_commits:
        log.error(
            "store_is_an_older_copy",
            lost_commits=store.lost_commits,
            remedy="nodes that were building or ready in the copy are kept from everybody: "
            "'trellis node list' shows them, 'trellis node delete ID' ends one that is free",
        )
        changes += set_apart(store, _all_marks(store), "the store is an older copy of itself")
    known = lineage or Lineage(store=f"{random.getrandbits(32):08x}")
    openings = known.openings
    if lineage is None and meta.next_node > 1:
        openings = (Opening(mark="", first_node=1),)  # of a release that drew no marks
    # One in which nothing was launched has left nothing in any cloud.
    openings = tuple(one for one in openings if one.first_node < meta.next_node)
    if store.lost_commits:
        skipped = min(store.lost_commits * IDS_IN_A_COMMIT, MOST_PASSED_OVER)
        after = attrs.evolve(meta, next_node=meta.next_node + skipped, lost=0)
        changes.append(Change(meta, after))
        # What is between was issued by nobody whom this store knows.
        openings += (Opening(mark=_LOST, first_node=meta.next_node),)
        meta = after
    new = Opening(mark=f"{known.store}-{random.getrandbits(32):08x}", first_node=meta.next_node)
    kept = (*openings[-MOST_OPENINGS:], new)
    await store.commit([*changes, Change(lineage, attrs.evolve(known, openings=kept))])


def mark_of(store: Store) -> str:
    """The mark of this opening; "" in a store that has none yet."""
    lineage = store.head(Lineage, "store")
    return lineage.openings[-1].mark if lineage is not None else ""


def is_issued(store: Store, tag: Tag) -> bool:
    """Whether this store issued a tag's node id, under the mark that the tag bears.

    A tag without a mark is of an earlier release, or was made by hand: its number decides.
    """
    meta, lineage = store.head(StoreMeta, "store"), store.head(Lineage, "store")
    number = tag.number
    if meta is None or number is None:
        return False
    if not tag.origin or lineage is None:
        return number < meta.next_node
    ends = [one.first_node for one in lineage.openings[1:]] + [meta.next_node]
    return any(
        tag.origin == one.mark and one.first_node <= number < end
        for one, end in zip(lineage.openings, ends, strict=True)
    )


def marks_in_doubt(store: Store, strangers: Iterable[Tag]) -> frozenset[str]:
    """Under which marks this store launched nodes of whose later life it may not know.

    A tag of this very store that it never issued was issued after a copy was made of it, to
    which it has been set back since, or on which another daemon works: in that opening, or in one
    that the copy does not know. What this daemon itself has launched is never in doubt.
    """
    lineage = store.head(Lineage, "store")
    if lineage is None:
        return frozenset()
    marks = [one.mark for one in lineage.openings]
    doubted = set[str]()
    for tag in strangers:
        if tag.origin in marks:
            doubted.update(marks[: marks.index(tag.origin) + 1])
            doubted.discard(marks[-1])
        elif tag.origin.startswith(f"{lineage.store}-"):
            doubted.update(marks[:-1])
    return frozenset(doubted)


def estrange(store: Store, provider: str, strangers: Mapping[str, Tag]) -> None:
    """Remember things with node ids never issued here, and never issue those (rule 1).

    They stay strange, however far our own numbers rise, until a person decides.

    Args:
        strangers: the tags of a provider's things by their external ids.
    """
    meta = store.head(StoreMeta, "store")
    assert meta is not None
    record = store.head(ProviderRecord, provider)
    known = record or ProviderRecord(name=provider)
    new = tuple(one for one in strangers if one not in known.strange)
    highest = max((tag.number or 0 for tag in strangers.values()), default=0)
    changes = list[Change]()
    if new:
        after = attrs.evolve(known, strange=(*known.strange, *new))
        why = f"{len(new)} things carry node ids that were never issued here"
        changes.append(Change(record, after, why=why))
        if marks := marks_in_doubt(store, (strangers[one] for one in new)):
            why = f"the cloud has server {new[0]}, launched after this copy of the store"
            changes += set_apart(store, marks, why)
    if highest >= meta.next_node:
        changes.append(Change(meta, attrs.evolve(meta, next_node=highest + 1)))
    store.stage(changes)


def let_go(store: Store, provider: str, external_id: str) -> None:
    """Forget what is remembered of a thing that is proved gone; its id is never given again."""
    record = store.head(ProviderRecord, provider)
    if record is None:
        return

    def others(known: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(one for one in known if one != external_id)

    after = attrs.evolve(
        record,
        strange=others(record.strange),
        adopted=others(record.adopted),
        condemned=others(record.condemned),
    )
    if after != record:
        store.stage([Change(record, after, why=f"{external_id} is gone")])


def set_apart(store: Store, marks: frozenset[str], why: str) -> list[Change]:
    """The changes that keep nodes of these marks from everybody, those building or ready.

    To be staged with no await between.
    """
    changes = list[Change]()
    for node_id in store.all(Node):
        node = store.head(Node, node_id)
        if node is None or node.set_apart or node.state not in _UNSETTLED:
            continue
        if node.origin in marks:
            fault = f"set apart: {why}, so it may have been handed out already"
            after = attrs.evolve(node, set_apart=True, allocated_to=None, slot=None, fault=fault)
            changes.append(Change(node, after, why=fault))
    return changes


def _all_marks(store: Store) -> frozenset[str]:
    return frozenset(node.origin for node in store.all(Node).values())
