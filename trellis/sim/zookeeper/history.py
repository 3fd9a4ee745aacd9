"""What happened to a simulated tree, for those who judge: who did what, when."""

from collections import Counter
from typing import Final

import attrs

from trellis.zookeeper.session import Happened

END_OF_SESSION: Final = "end of session"


@attrs.frozen(kw_only=True)
class Change:
    """One thing that was done to one znode.

    Attributes:
        at: seconds on the clock.
        zxid: the transaction; what has the same one was done at once.
        who: whom the session belongs to (`FakeZooKeeper.opener`); "" is nobody named.
        session: that did it.
        data: of the znode after it; that it had when it was deleted.
        version: the znode's after it.
        ephemeral: it ends with a session.
        by_end: an ephemeral znode that went with its session.
    """

    at: float
    zxid: int
    who: str
    session: int
    happened: Happened
    path: str
    data: bytes
    version: int
    ephemeral: bool = False
    by_end: bool = False


@attrs.define
class Counts:
    """How many calls somebody made, and what they were.

    Attributes:
        writes: znodes made, written and deleted by calls that were carried out: a transaction
            counts by its parts, a check is none of them.
        reads: calls that read.
        calls: by name, also of those that failed.
    """

    writes: int = 0
    reads: int = 0
    calls: Counter[str] = attrs.field(factory=Counter)
