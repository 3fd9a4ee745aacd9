"""Whether a node that has long been ready still is what it was (rule 8)."""

import attrs
import structlog
import trio

from trellis.control.ssh_scan import NotReachableError, scan
from trellis.errors import ConflictError
from trellis.model.names import NodeId
from trellis.model.node import Node, NodeState
from trellis.model.records import Change
from trellis.store.store import Store
from trellis.world import World

log = structlog.get_logger()

CHECK_AT_MOST_S = 10.0


@attrs.define(eq=False, kw_only=True)
class Rechecks:
    """Looks at nodes that have long been ready, each once at a time."""

    store: Store
    world: World
    _under_way: set[NodeId] = attrs.field(factory=set, init=False)

    async def recheck(self, node: Node) -> None:
        """See whether a node is still there; delete it if not.

        Returns at once if that is under way: each pass of the planner asks for it again.
        """
        if node.id in self._under_way:
            return
        self._under_way.add(node.id)
        try:
            await self._recheck(node)
        finally:
            self._under_way.discard(node.id)

    async def _recheck(self, node: Node) -> None:
        fault = await changed_since(node, self.world)
        now = self.world.wall()
        if fault:
            after = node.became(NodeState.DELETING, now, fault=fault)
        else:
            after = attrs.evolve(node, checked_at=now)
        try:
            await self.store.commit([Change(node, after)])
        except ConflictError:
            log.debug("recheck_outrun", node=node.id)


async def changed_since(node: Node, world: World) -> str:
    """Why a node is not what became ready; "" if it is. Takes ten seconds at most."""
    assert node.addresses is not None
    try:
        with trio.fail_after(CHECK_AT_MOST_S):
            keys = await scan(
                world.connect,
                node.addresses.interface_ip,
                node.login.connection_port,
                entropy=world.random.randbytes,
            )
    except (NotReachableError, trio.TooSlowError) as error:
        return f"ready, but it does not answer any more: {error or 'no answer in time'}"
    if set(keys) != set(node.host_keys):
        return "ready, but it shows other host keys than when it became so"
    return ""
