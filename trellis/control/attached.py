"""What a cloud made for our servers by itself: recorded when it is first seen attached (rule 4).

Nova gives its volumes and ports no mark of ours. A volume is known by the row of its server,
and becomes a part of the node's record before the node is ready: what is attached later is
somebody else's. Of nodes that are gone, the history tells which server and volumes were theirs.
"""

from collections.abc import Callable
from typing import Final

import attrs

from trellis.model.names import NodeId
from trellis.model.node import Node, Resource, ResourceKind
from trellis.model.provider import ProviderRecord, Tombstone
from trellis.model.records import Change
from trellis.spi.provider import Instance
from trellis.store.store import Store

KEPT_S: Final = 7 * 24 * 3600.0


@attrs.define(eq=False, kw_only=True)
class Attached:
    """Records what one provider's servers have, and tells whose a thing was.

    Attributes:
        provider: its name.
        deployment: rows with another deployment's tag are nobody's here.
    """

    provider: str
    deployment: str
    store: Store
    wall: Callable[[], float]

    def see(self, row: Instance) -> None:
        """Record what is attached to the server of a node that was never ready yet.

        No more than nova was told to make. Where a row shows more, nobody can tell which of them
        a person has attached: none is recorded, and what nova leaves of them is only reported.
        """
        if not row.volumes or row.tag is None or row.tag.deployment != self.deployment:
            return
        node = self.store.head(Node, row.tag.node_id)
        if node is None or node.external_id != row.external_id or node.ready_at is not None:
            return
        known = [x.external_id for x in node.resources if x.kind is ResourceKind.VOLUME]
        new = [volume_id for volume_id in row.volumes if volume_id not in known]
        if not new or len(known) + len(new) > node.shape.resources.volumes:
            return
        after = node
        for volume_id in new:
            seen = Resource(kind=ResourceKind.VOLUME, sent_at=self.wall(), external_id=volume_id)
            after = after.with_resource(seen)
        self.store.stage([Change(node, after)])

    async def bury(self, node_id: NodeId, server_id: str, *volume_ids: str) -> None:
        """Record whose a leaked server and its volumes were, for 7 days; durable on return.

        Where it has more volumes than its node was to have, none of them is taken for ours.

        Raises:
            StoreFailedError: it could not be recorded.
        """
        node = self.store.head(Node, node_id) or await self.store.history(Node, node_id)
        if node is not None and len(volume_ids) > node.shape.resources.volumes:
            volume_ids = ()
        record = self.store.head(ProviderRecord, self.provider)
        known = record or ProviderRecord(name=self.provider)
        now = self.wall()
        buried = {server_id, *volume_ids}
        kept = tuple(
            grave
            for grave in known.tombstones
            if now - grave.at < KEPT_S and grave.external_id not in buried
        )
        new = tuple(
            Tombstone(external_id=one, node_id=node_id, at=now) for one in (server_id, *volume_ids)
        )
        why = f"the leaked server {server_id} is about to be deleted"
        after = attrs.evolve(known, tombstones=(*kept, *new))
        await self.store.commit([Change(record, after, why=why)])

    async def whose(self, external_id: str) -> NodeId | None:
        """The node, gone by now, whose server or volume had this id; None if nobody knows.

        Raises:
            StoreFailedError: the history cannot be read.
        """
        now = self.wall()
        # Of all providers: two of them may look at one project (rule 9).
        for record in self.store.all(ProviderRecord).values():
            for grave in record.tombstones:
                if grave.external_id == external_id and now - grave.at < KEPT_S:
                    return grave.node_id
        for event in await self.store.events_about(external_id, 1):
            if event.type == "node.gone":
                return NodeId(event.subject)
        return None
