"""What becomes of nodes that a request was given, and of which the tree has no znode.

At the start of a session each of our live requests and each znode with our mark has its life, and
most of what a crash or a lost session leaves is what a life meets anyway. One thing is not: a
request of Zuul's that is gone or answered without us, and a node reserved for it without a znode.

    its making                           the node's znode               the node is
    ----------------------------------   ----------------------------   -----------
    was not tried in this process, in    was never made                 given back
    which the request was fulfilled;
    or was refused by ZooKeeper
    was tried, or the request was        not made yet; or made, and     released
    fulfilled before this process        deleted in the tree by
                                         somebody, used or not

Of the second row nobody can tell which, so the node is deleted: it costs a boot, once a crash.
"""

from collections.abc import Callable, Iterable

from trellis.model.names import RequestId
from trellis.model.request import NodeRequest, RequestState

_MANY = 1000


class Shown:
    """The requests whose nodes may have been shown in the tree. Outlives sessions.

    Args:
        found: the requests that there were when this process began to show any.
    """

    def __init__(self, found: Iterable[NodeRequest]) -> None:
        self._ids = {one.id for one in found if one.state is RequestState.FULFILLED}
        self._many = _MANY

    def note(self, request: RequestId, live: Callable[[], Iterable[NodeRequest]]) -> bool:
        """Note, before it is tried, that nodes of a request are shown; whether that is new.

        Args:
            live: the requests that there are; the others may be forgotten. It is asked for only
                when as many came as were kept the last time: it costs what there is.
        """
        if len(self._ids) >= self._many:
            self._ids &= {one.id for one in live()}
            self._many = max(_MANY, 2 * len(self._ids))
        new = request not in self._ids
        self._ids.add(request)
        return new

    def take_back(self, request: RequestId) -> None:
        """It was tried, and ZooKeeper has refused it: nothing was shown."""
        self._ids.discard(request)

    def surely_not(self, request: NodeRequest) -> bool:
        """Whether a node of a fulfilled request that has no znode is known never to have had one.

        Else it is in doubt.
        """
        return request.id not in self._ids
