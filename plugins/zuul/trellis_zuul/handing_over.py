"""The znodes of a fulfilled request's nodes: made once, found again, named in order."""

from collections.abc import Sequence

from trellis.errors import TrellisError
from trellis.model.names import NodeId, RequestId
from trellis.model.node import Node, NodeState
from trellis.model.request import NodeRequest
from trellis.zookeeper.errors import NoSuchZnodeError, OtherVersionError
from trellis.zookeeper.session import Check, Create, Stat
from trellis_zuul.ground import Ground
from trellis_zuul.marks import Marks
from trellis_zuul.node_wire import Handover, Mark, ready_document
from trellis_zuul.paths import NODES, name_of, request_path
from trellis_zuul.pools import Pools
from trellis_zuul.request_wire import RequestDocument


class LateNodesError(TrellisError):
    """A node died before it could be handed out; the text says which."""


class HandingOver:
    """Makes znodes of nodes.

    Args:
        marks: finds those of before this session, and those whose making was not answered.
    """

    def __init__(self, ground: Ground, pools: Pools, marks: Marks) -> None:
        self._ground, self._pools, self._marks = ground, pools, marks

    def znodes_of(self, request: RequestId) -> dict[NodeId, str]:
        """The ids in ZooKeeper of a request's nodes, as far as they were made."""
        return self._marks.of(request)

    async def znodes_for(
        self, request: NodeRequest, document: RequestDocument, stat: Stat, *, lock: str
    ) -> tuple[str, ...]:
        """The ids in ZooKeeper of a request's nodes in the order of its labels; makes what lacks.

        Args:
            stat: of Zuul's request, as it was read: if it was changed since, nothing is made.
            lock: the contender by which we hold its lock.

        Raises:
            UnfitNodeError: a node must not be handed out.
            LateNodesError: a node is ready no longer.
            NoSuchZnodeError: Zuul has deleted its request.
            OtherVersionError: it was changed.
        """
        nodes = await self._ground.port.nodes_of(request)
        known = self.znodes_of(request.id)
        lacking = [node for node in nodes if node.id not in known]
        for node in lacking:
            if node.state is not NodeState.READY or node.lost:
                raise LateNodesError(f"node {node.id} is {node.state.value}")
            if node.allocated_to != request.id:
                raise LateNodesError(f"node {node.id} is another request's, or nobody's, by now")
        if lacking:
            await self._make(request, lacking, document, stat, lock)
            known = self.znodes_of(request.id)
        return tuple(known[node.id] for node in nodes)

    async def _make(
        self,
        request: NodeRequest,
        nodes: Sequence[Node],
        document: RequestDocument,
        stat: Stat,
        lock: str,
    ) -> None:
        now = self._ground.wall()
        documents = [
            ready_document(node, self._handover(request, node, document), now) for node in nodes
        ]
        # What is tried while the connection is away would be in doubt for nothing.
        await self._ground.session.wait_connected()
        port, source = self._ground.port, self._ground.source
        shown = self._ground.shown
        first = shown.note(request.id, lambda: port.asked_by(source))
        # If the answer is lost they are found by their marks. If the lock is lost, or Zuul has
        # deleted its request, none is made: not even by a call that arrives very late.
        try:
            paths = await self._ground.session.transact(
                [
                    Check(path=lock),
                    Check(path=request_path(document.id), version=stat.version),
                    *(Create(path=f"{NODES}/", data=data, sequence=True) for data in documents),
                ]
            )
        except (NoSuchZnodeError, OtherVersionError):
            if first:
                shown.take_back(request.id)
            raise
        for node, path in zip(nodes, paths[2:], strict=True):
            mark = Mark(
                deployment=self._ground.deployment,
                source=self._ground.source,
                node=node.id,
                request=request.id,
            )
            self._marks.made(name_of(path), mark)

    def _handover(self, request: NodeRequest, node: Node, document: RequestDocument) -> Handover:
        offer = self._pools.offer_of(node.provider, node.pool)
        return Handover(
            deployment=self._ground.deployment,
            source=self._ground.source,
            zuul_request=document.id,
            request=request.id,
            requestor=document.requestor,
            tenant=document.tenant,
            launcher=None if offer is None else offer[0],
            attributes={} if offer is None else offer[1].attributes,
        )
