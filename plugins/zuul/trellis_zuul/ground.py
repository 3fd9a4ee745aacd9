"""What every life is lived on: a session with ZooKeeper, its tree as it is seen, and the port."""

from collections.abc import Callable
from random import Random

import attrs

from trellis.spi.demand import DemandPort
from trellis.zookeeper.session import Session
from trellis_zuul.mirror import Mirror, Wanted
from trellis_zuul.paths import NODES, POOLS, REQUEST_LOCKS, REQUESTS, parent_of
from trellis_zuul.resume import Shown


@attrs.frozen(kw_only=True, eq=False)
class Ground:
    """One session's ground: another session has another.

    Attributes:
        deployment: whose nodes these are.
        source: name of the demand source.
        wall: UTC seconds since the epoch.
        shown: the requests whose nodes may have been shown, in this session or before.
        requests: Zuul's requests, by path.
        request_locks: folders of locks and the contenders in them, names only.
        nodes: everybody's nodes with their data; folders of their locks and contenders, names only.
        pools: the pools that launchers have registered.
    """

    session: Session
    port: DemandPort
    deployment: str
    source: str
    wall: Callable[[], float]
    random: Random
    shown: Shown
    requests: Mirror
    request_locks: Mirror
    nodes: Mirror
    pools: Mirror

    @property
    def mirrors(self) -> tuple[Mirror, ...]:
        """All of them: what is launched, registered and locked is read before what is asked."""
        return self.nodes, self.pools, self.request_locks, self.requests


def ground_of(
    session: Session,
    port: DemandPort,
    *,
    deployment: str,
    source: str,
    wall: Callable[[], float],
    random: Random,
    shown: Shown | None = None,
) -> Ground:
    """The ground of a session; its mirrors are empty until they are run."""
    return Ground(
        session=session,
        port=port,
        deployment=deployment,
        source=source,
        wall=wall,
        random=random,
        shown=shown or Shown(port.asked_by(source)),
        requests=Mirror(session, REQUESTS, _data_of_children(REQUESTS)),
        request_locks=Mirror(session, REQUEST_LOCKS, _folders),
        nodes=Mirror(session, NODES, _nodes),
        pools=Mirror(session, POOLS, _data_of_children(POOLS)),
    )


def _data_of_children(root: str) -> Callable[[str], Wanted]:
    def wanted(path: str) -> Wanted:
        return Wanted.DATA if parent_of(path) == root else Wanted.NAME

    return wanted


def _folders(path: str) -> Wanted:
    return Wanted.FOLDER if parent_of(path) == REQUEST_LOCKS else Wanted.NAME


def _nodes(path: str) -> Wanted:
    above = parent_of(path)
    if above == NODES:
        return Wanted.DATA
    return Wanted.FOLDER if parent_of(above) == NODES else Wanted.NAME
