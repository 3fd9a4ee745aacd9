"""Which znodes bear our marks: by the request of Trellis's whose nodes they are."""

import trio

from trellis.model.names import NodeId, RequestId
from trellis_zuul.mirror import Mirror, Znode
from trellis_zuul.node_wire import DocumentError, Mark, read_node
from trellis_zuul.paths import NODES, name_of, node_path, parent_of


class Marks:
    """Finds the znodes of a request's nodes without reading all there are.

    Args:
        nodes: the mirror of all nodes, before it is run.
    """

    def __init__(self, nodes: Mirror, *, deployment: str, source: str) -> None:
        self._deployment, self._source = deployment, source
        self._nodes = nodes
        self._marks: dict[str, Mark] = {}
        self._of: dict[RequestId, dict[str, NodeId]] = {}
        self._unseen: dict[str, tuple[Mark, float]] = {}
        nodes.tell(self._told)

    def of(self, request: RequestId) -> dict[NodeId, str]:
        """The ids in ZooKeeper of a request's nodes, by Trellis's id; of two the lower one."""
        znodes = self._of.get(request, {})
        return {znodes[name]: name for name in sorted(znodes, reverse=True)}

    def made(self, name: str, mark: Mark) -> None:
        """Note a znode that was made; the mirror may not show it yet."""
        if node_path(name) not in self._nodes:
            self._unseen[name] = mark, trio.current_time()
        self._note(name, mark)

    def unseen(self, for_s: float) -> dict[str, Mark]:
        """Those made so long ago that the mirror has not shown since: it was removed at once."""
        by = trio.current_time() - for_s
        return {name: mark for name, (mark, at) in self._unseen.items() if at <= by}

    def forget_unseen(self, name: str) -> bool:
        """Forget one that is gone, for somebody to see to its node; False if it was seen by now."""
        if self._unseen.pop(name, None) is None:
            return False
        self._forget(name)
        return True

    def _note(self, name: str, mark: Mark) -> None:
        self._marks[name] = mark
        self._of.setdefault(mark.request, {})[name] = mark.node

    def _told(self, path: str, before: Znode | None, now: Znode | None) -> None:
        if parent_of(path) != NODES:
            return
        name = name_of(path)
        if now is not None:
            self._unseen.pop(name, None)
        if name in self._marks and now is not None and now.is_same(before):
            return  # a mark is written once
        self._forget(name)
        mark = None if now is None else _mark(now.data)
        if mark is not None and mark.is_of(self._deployment, self._source):
            self._note(name, mark)

    def _forget(self, name: str) -> None:
        if (known := self._marks.pop(name, None)) is not None:
            znodes = self._of[known.request]
            del znodes[name]
            if not znodes:
                del self._of[known.request]


def _mark(data: bytes) -> Mark | None:
    if not data:
        return None
    try:
        return read_node(data).mark
    except DocumentError:
        return None
