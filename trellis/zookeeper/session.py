"""A session with ZooKeeper, as everything else sees it."""

import enum
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

import attrs
import trio

ANY_VERSION = -1


@attrs.frozen(kw_only=True)
class Stat:
    """What ZooKeeper keeps of a znode beside its data.

    Attributes:
        czxid: transaction that made it: tells apart two znodes that had one path.
        mzxid: transaction that last wrote its data.
        pzxid: transaction that last made or deleted one of its children.
        version: how often its data was written since it was made.
        cversion: how often a child of it was made or deleted since.
        ephemeral_owner: the session that it ends with; 0 is no ephemeral znode.
        children: how many it has.
        created_ms: when it was made, by the server's clock, in ms since the epoch.
        modified_ms: when its data was last written, the same.
    """

    czxid: int
    mzxid: int
    pzxid: int
    version: int
    cversion: int
    ephemeral_owner: int
    children: int
    created_ms: int
    modified_ms: int


class Happened(enum.Enum):
    """What a persistent watch tells of a znode."""

    MADE = "made"
    WRITTEN = "written"
    DELETED = "deleted"
    MISSED = "missed"
    """The connection was away: anything may have happened below the watched path. Read it all."""


@attrs.frozen
class News:
    """Something happened to a znode; read it to know what it is now.

    Attributes:
        path: of the znode; of `MISSED`, the watched path.
    """

    happened: Happened
    path: str


@attrs.frozen(kw_only=True)
class Check:
    """Part of a transaction: fails unless the znode is there with this version."""

    path: str
    version: int = ANY_VERSION


@attrs.frozen(kw_only=True)
class Create:
    """Part of a transaction: makes a znode; with ``sequence`` ten digits are put after the path."""

    path: str
    data: bytes = b""
    ephemeral: bool = False
    sequence: bool = False


@attrs.frozen(kw_only=True)
class Write:
    """Part of a transaction: writes a znode's data."""

    path: str
    data: bytes
    version: int = ANY_VERSION


@attrs.frozen(kw_only=True)
class Delete:
    """Part of a transaction: deletes a znode, which must have no children."""

    path: str
    version: int = ANY_VERSION


Operation = Check | Create | Write | Delete


class Session(Protocol):
    """One session with ZooKeeper.

    All calls raise `DisconnectedError` while the connection is away or if it breaks before the
    answer, and `SessionLostError` for ever once the session is over. A call that is cancelled may
    or may not be carried out; its answer is dropped.
    """

    @property
    def id(self) -> int:
        """The session's id: ``ephemeral_owner`` of what it makes."""
        ...

    async def get(self, path: str) -> tuple[bytes, Stat]:
        """A znode's data.

        Raises:
            NoSuchZnodeError: it is not there.
        """
        ...

    async def exists(self, path: str) -> Stat | None:
        """What there is of a znode; None if it is not there."""
        ...

    async def children(self, path: str) -> tuple[str, ...]:
        """The names of a znode's children, in no order.

        Raises:
            NoSuchZnodeError: it is not there.
        """
        ...

    async def create(
        self, path: str, data: bytes = b"", *, ephemeral: bool = False, sequence: bool = False
    ) -> str:
        """Make a znode.

        Returns:
            its path, with the ten digits that ``sequence`` put after it.

        Raises:
            ZnodeExistsError, NoSuchZnodeError (of the parent), NotAllowedError.
        """
        ...

    async def make_path(self, path: str) -> None:
        """Make a plain znode and those above it, where they are not there yet."""
        ...

    async def write(self, path: str, data: bytes, *, version: int = ANY_VERSION) -> Stat:
        """Write a znode's data.

        Raises:
            NoSuchZnodeError, OtherVersionError, NotAllowedError.
        """
        ...

    async def delete(self, path: str, *, version: int = ANY_VERSION) -> None:
        """Delete a znode.

        Raises:
            NoSuchZnodeError, OtherVersionError, HasChildrenError, NotAllowedError.
        """
        ...

    async def transact(self, operations: Sequence[Operation]) -> tuple[str, ...]:
        """Carry out all of the operations, or none.

        Returns:
            the path of each; that of a sequential create has its digits.

        Raises:
            the error of the first operation that cannot be; none was carried out.
        """
        ...

    def watch(self, path: str) -> AbstractAsyncContextManager[trio.MemoryReceiveChannel[News]]:
        """Be told of all that happens to a znode and all below it, while the block lasts.

        Needs ZooKeeper 3.6 or newer (persistent recursive watches). Nothing is missed unsaid: what
        cannot be told, as the connection was away or the reader was slow, comes as one `MISSED`.
        A znode need not be there to be watched. The channel ends when the session is over.
        """
        ...

    async def wait_connected(self) -> None:
        """Wait until calls can be made; returns at once if they can.

        Raises:
            SessionLostError: they never can again.
        """
        ...

    async def wait_lost(self) -> None:
        """Wait until the session is over; returns at once if it is."""
        ...


@attrs.frozen(kw_only=True)
class Servers:
    """Which ZooKeeper, and how to get to it.

    Attributes:
        hosts: ``host:port``, an IPv6 address in brackets.
        chroot: path that all paths are below; "" is none.
        timeout_s: after so long without a sign of life the session is over.
        tls: the files for TLS; None is a plain connection.
    """

    hosts: tuple[str, ...]
    chroot: str = ""
    timeout_s: float = 10.0
    tls: "Tls | None" = None


@attrs.frozen(kw_only=True)
class Tls:
    """Files in PEM: who we are, and whom we believe.

    Attributes:
        check_name: whether a server's certificate must be for the name it is reached by.
    """

    cert: Path
    key: Path
    ca: Path
    check_name: bool = True


OpenSession = Callable[[Servers], AbstractAsyncContextManager[Session]]
"""Opens a session for as long as a block lasts; raises `UnreachableServersError`.

Leaving the block closes the session, which ends its ephemeral znodes at once.
"""
