"""Whose a host key is: the same key on two nodes is a zombie, or one baked into an image.

A key counts from the moment it is scanned until seven days after its node is gone (design §5b,
rule 11). For nodes that are gone a number of 64 bits stands for a key, and one key for a node,
which shows the same ones or none of them again.
"""

import hashlib
from typing import Final

import trio

from trellis.model.names import NodeId
from trellis.model.node import Node, NodeState
from trellis.store.store import Store

KEPT_S: Final = 7 * 24 * 3600.0
MOST_GONE: Final = 250_000
"""Enough for 30,000 nodes a day; about 70 MB when it is full."""
PAGE: Final = 500


class HostKeys:
    """The host keys of nodes that live, that boot, and that are gone."""

    def __init__(self) -> None:
        self._live: dict[str, NodeId] = {}
        self._claimed: dict[str, NodeId] = {}
        self._gone: dict[int, tuple[float, NodeId]] = {}

    def claim(self, key: str, node_id: NodeId) -> NodeId | None:
        """Note that a node shows a key; returns the other node that has shown it, if any.

        It counts for those that are scanned at the same moment, before it is on record. It
        lapses when the launch ends without it.
        """
        gone = self._gone.get(_number(key))
        owner = self._live.get(key) or (gone[1] if gone is not None else None)
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
        old = [number for number, (at, _) in self._gone.items() if at < before]
        for number in old:
            del self._gone[number]

    async def load(self, store: Store, now: float) -> None:
        """Read the keys of nodes that were gone when this process started, newest first.

        Cancelled, it has read a part of them.
        """
        await self._load(store, now)
        # The oldest first again, as those that are forgotten first.
        self._gone = dict(sorted(self._gone.items(), key=lambda entry: entry[1]))

    async def _load(self, store: Store, now: float) -> None:
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
            self._gone.setdefault(_number(key), (node.state_at, node.id))
        while len(self._gone) > MOST_GONE:
            del self._gone[next(iter(self._gone))]


def _number(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest())
