"""Nodes with the mark of a deployment that is gone: a daemon that was given another name.

They are nobody's then: a daemon goes by its own mark alone. Whether they are used is not known
here, and their servers are in another store. So it is said, for a person to see to, and nothing is
touched.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import structlog
import trio

from trellis_zuul.ground import Ground
from trellis_zuul.mirror import Znode
from trellis_zuul.node_wire import DocumentError, read_node
from trellis_zuul.paths import NODES, name_of, parent_of
from trellis_zuul.pools import SETTLED_S
from trellis_zuul.raw_object import NotAnObjectError, read_object

log = structlog.get_logger()

EVERY_S: Final = 60.0
_MOST_NAMED: Final = 5


class LeftMarks:
    """Runs on one session's ground; the mirrors must not run yet.

    Args:
        report: is told what there is to say, and "" when there is nothing any more.
        said: the deployments of which the log has been told; outlives sessions.
    """

    def __init__(self, ground: Ground, report: Callable[[str], None], said: set[str]) -> None:
        self._ground, self._report, self._said = ground, report, said
        self._others: dict[str, tuple[str, str]] = {}
        """By a node's name in the tree: the deployment that its mark names, and its provider."""
        ground.nodes.tell(self._told)

    async def run(self) -> None:
        """Look once the pools that are there have been registered, then now and then."""
        await trio.sleep(SETTLED_S)
        while True:
            self._look()
            await trio.sleep(EVERY_S)

    def _told(self, path: str, before: Znode | None, now: Znode | None) -> None:
        if parent_of(path) != NODES:
            return
        if before is not None and before.data and now is not None and now.is_same(before):
            return  # a mark is written once, and a node a dozen times
        try:
            document = None if now is None or not now.data else read_node(now.data)
        except DocumentError:
            document = None
        mark = None if document is None else document.mark
        if document is None or mark is None or mark.deployment == self._ground.deployment:
            self._others.pop(name_of(path), None)
        else:
            self._others[name_of(path)] = mark.deployment, document.provider or ""

    def _look(self) -> None:
        left = self._left()
        for deployment, names in left.items():
            if deployment not in self._said:
                self._said.add(deployment)
                log.error(
                    "zuul_nodes_of_another_deployment",
                    deployment=deployment,
                    nodes=len(names),
                    remedy=_words(deployment, names),
                )
        self._report(" ".join(_words(deployment, names) for deployment, names in left.items()))

    def _left(self) -> Mapping[str, list[str]]:
        """By deployment, the nodes on providers of ours while no daemon of that name is here."""
        if not self._others:
            return {}
        here = frozenset(self._registered())
        ours = {pool.provider for pool in self._ground.port.offers()}
        left: dict[str, list[str]] = {}
        for name, (deployment, provider) in sorted(self._others.items()):
            if deployment not in here and provider in ours:
                left.setdefault(deployment, []).append(name)
        return left

    def _registered(self) -> Iterable[str]:
        """What the registered pools say whose they are."""
        for path in self._ground.pools:
            znode = self._ground.pools.get(path)
            try:
                host = read_object(b"" if znode is None else znode.data).get("hostname")
            except NotAnObjectError:
                continue
            if isinstance(host, str):
                yield host


def _words(deployment: str, names: list[str]) -> str:
    named = ", ".join(names[:_MOST_NAMED]) + (", …" if len(names) > _MOST_NAMED else "")
    return (
        f"In ZooKeeper there are nodes of deployment {deployment!r} ({len(names)}: {named}) on "
        "providers that are configured here, and no daemon of that name serves here: they are left "
        "alone. If this daemon had that name before, run one with it and its store until they are "
        "gone; if that store is lost, delete their servers in the cloud, then these znodes."
    )
