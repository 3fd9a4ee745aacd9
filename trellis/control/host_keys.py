"""Whose a host key is: the same key on two nodes is a zombie, or one baked into an image.

A key counts from the moment it is scanned until seven days after its node is gone (design §5b,
rule 11). For nodes that are gone a number of 64 bits stands for a key, and one key for a node,
which shows the same ones or none of them again.
"""

import hashlib
import sqlite3
import weakref
from typing import Final

import trio

from trellis.model.names import NodeId
from trellis.model.node import Node, NodeState
from trellis.store.store import Store

KEPT_S: Final = 7 * 24 * 3600.0
MOST_GONE: Final = 250_000
"""Enough for 30,000 nodes a day; about 14 MB when it is full."""
PAGE: Final = 500
_PURGED: Final = 200
"""So many more than the most are kept before the oldest are dropped."""


class HostKeys:
    """The host keys of nodes that live, that boot, and that are gone."""

    def __init__(self) -> None:
        self._live: dict[str, NodeId] = {}
        self._claimed: dict[str, NodeId] = {}
        self._gone = _Gone()

    def claim(self, key: str, node_id: NodeId) -> NodeId | None:
        """Note that a node shows a key; returns the other node that has shown it, if any.

        It counts for those that are scanned at the same moment, before it is on record. It
        lapses when the launch ends without it.
        """
        owner = self._live.get(key) or self._gone.owner(key)
        if owner is None:
            owner = self._claimed.setdefault(key, node_id)
        return owner if owner != node_id else None

    def see(self, before: Node | None, after: Node | None) -> None:
        """Take in a change of a node; *after* is None once it is gone."""
        if before is not None and (after is None or after.state is not NodeState.BUILDING):
            for key in [k for k, owner in self._claimed.items() if owner == before.id]:
                del self._claimed[key]
        if after is not None:
            self._live.update(dict.fromkeys(after.host_keys, after.id))
        elif before is not None:
            for key in before.host_keys:
                if self._live.get(key) == before.id:
                    del self._live[key]
            self._remember(before)

    def forget(self, before: float) -> None:
        """Forget the nodes that were gone before this time."""
        self._gone.forget(before)

    async def load(self, store: Store, now: float) -> None:
        """Read the keys of nodes that were gone when this process started, newest first.

        Cancelled, it has read a part of them.
        """
        position: int | None = None
        while len(self._gone) < MOST_GONE:
            page = await store.history_page(Node, limit=PAGE, before=position)
            for archived in page:
                if archived.at > now - KEPT_S:
                    self._remember(archived.record)
            if len(page) < PAGE or page[-1].at <= now - KEPT_S:
                return
            position = page[-1].position
            await trio.lowlevel.checkpoint()

    def _remember(self, node: Node) -> None:
        for key in node.host_keys[:1]:
            self._gone.add(key, node.state_at, node.id)


class _Gone:
    """Keys of nodes that are gone. A table of SQLite in memory: a fifth of what a dict takes."""

    def __init__(self) -> None:
        self._table = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._table.execute(
            "CREATE TABLE gone (number INTEGER PRIMARY KEY, at REAL, node TEXT) STRICT"
        )
        self._table.execute("CREATE INDEX gone_at ON gone (at)")
        self._count = 0
        # Newer Pythons warn of a connection that is dropped without it.
        weakref.finalize(self, self._table.close)

    def __len__(self) -> int:
        return self._count

    def owner(self, key: str) -> NodeId | None:
        """The node that had this key."""
        found = self._table.execute("SELECT node FROM gone WHERE number = ?", (_number(key),))
        row = found.fetchone()
        return None if row is None else NodeId(row[0])

    def add(self, key: str, at: float, node_id: NodeId) -> None:
        """Note that a node had it, unless another had it before."""
        added = self._table.execute(
            "INSERT OR IGNORE INTO gone VALUES (?, ?, ?)", (_number(key), at, node_id)
        )
        self._count += added.rowcount
        if self._count > MOST_GONE + _PURGED:
            self._drop("number IN (SELECT number FROM gone ORDER BY at LIMIT ?)", _PURGED)

    def forget(self, before: float) -> None:
        """Forget those that were gone before this time."""
        self._drop("at < ?", before)

    def _drop(self, which: str, value: float) -> None:
        dropped = self._table.execute(f"DELETE FROM gone WHERE {which}", (value,))
        self._count -= dropped.rowcount


def _number(key: str) -> int:
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
