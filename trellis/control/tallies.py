"""How many nodes stand against the limits that are ours alone: of tenants, of labels in a pool."""

from collections import Counter, defaultdict
from collections.abc import Collection

from trellis.model.node import Node, NodeState
from trellis.model.quota import Resources

NOTHING = Resources()


class Tallies:
    """Counts that follow from the nodes alone, kept up to date node by node.

    Attributes:
        held: what each tenant holds: nodes launched for its requests, handed out to it, or held
            by a person after that, until they are given back; "" stands for requests without one.
        labels: nodes of each label in a pool that are not proved gone.
        labels_freeing: those of them that are being deleted.
    """

    def __init__(self, dying: Collection[NodeState]) -> None:
        self._dying = dying
        self.held: dict[str, Resources] = {}
        self.labels = defaultdict[tuple[str, str], Counter[str]](Counter)
        self.labels_freeing = defaultdict[tuple[str, str], Counter[str]](Counter)

    def count(self, node: Node, sign: int) -> None:
        """Count a node in (+1) or out (-1)."""
        pool = node.provider, node.pool
        self.labels[pool][node.label] += sign
        if node.state in self._dying:
            self.labels_freeing[pool][node.label] += sign
        elif node.allocated_to is not None:
            name = node.tenant or ""
            held, size = self.held.get(name, NOTHING), node.shape.resources
            self.held[name] = held + size if sign > 0 else held - size
            if self.held[name] == NOTHING:
                del self.held[name]  # requestors may name any number of tenants
