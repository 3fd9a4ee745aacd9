"""A simulated ZooKeeper: the same `trellis.zookeeper.session.Session`, on virtual time.

`Tree` is what one server keeps, with every number that ZooKeeper counts; `FakeZooKeeper` serves
sessions from it, with latency and with everything that can happen to a connection. Knows nothing
of nodes and requests.
"""

from trellis.sim.zookeeper.history import Change, Counts
from trellis.sim.zookeeper.server import Called, FakeZooKeeper, Latency, Strike, fake_zookeeper
from trellis.sim.zookeeper.tree import Tree

__all__ = [
    "Called",
    "Change",
    "Counts",
    "FakeZooKeeper",
    "Latency",
    "Strike",
    "Tree",
    "fake_zookeeper",
]
