"""The waits of launches, which end when somebody else has ended the launch."""

import contextlib
from collections.abc import Callable, Iterator

import attrs
import trio

from trellis.control.amend import head
from trellis.control.life_records import MovedOnError, still_building
from trellis.model.names import NodeId
from trellis.model.node import Node, NodeState
from trellis.store.store import Store


@attrs.define(eq=False, kw_only=True)
class LaunchWaits:
    """For what the launches of one provider wait now, each for one thing at a time.

    Attributes:
        unwanted: why a node must not be created any more; "" while it may be.
    """

    store: Store
    unwanted: Callable[[Node], str]
    _scopes: dict[NodeId, trio.CancelScope] = attrs.field(factory=dict, init=False)

    @contextlib.contextmanager
    def interruptible(self, node_id: NodeId) -> Iterator[None]:
        """A wait that ends when the launch has been ended. Calls are never cut off like this:
        a create cut off would be one in doubt.

        Raises:
            MovedOnError: the launch has been ended.
        """
        with trio.CancelScope() as scope:
            self._scopes[node_id] = scope
            try:
                still_building(head(self.store, Node, node_id))
                yield
            finally:
                del self._scopes[node_id]
        if scope.cancelled_caught:
            raise MovedOnError

    def node_changed(self, before: Node | None, after: Node | None) -> None:
        """End the wait of a launch that somebody else has ended."""
        ended = after is None or after.state is not NodeState.BUILDING or after.set_apart
        if before is not None and ended:
            scope = self._scopes.get(before.id)
            if scope is not None:
                scope.cancel()

    def reconsider(self) -> None:
        """End the waits of launches that are not created and wanted no longer."""
        for node_id, scope in self._scopes.items():
            node = head(self.store, Node, node_id)
            if node.server is None and self.unwanted(node):
                scope.cancel()
