"""Between our words and kazoo's: requests, numbers, errors."""

from typing import Any, Final, assert_never

from kazoo.exceptions import (
    AuthFailedError,
    BadVersionError,
    ConnectionLoss,
    EphemeralOnLocalSessionError,
    InvalidACLError,
    NoAuthError,
    NoChildrenForEphemeralsError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    NotReadOnlyCallError,
    OperationTimeoutError,
    QuotaExceededError,
    RequestTimeoutError,
    SessionExpiredError,
    SessionMovedError,
)
from kazoo.protocol import serialization as wire
from kazoo.protocol.states import ZnodeStat
from kazoo.security import OPEN_ACL_UNSAFE

from trellis.zookeeper.errors import (
    DisconnectedError,
    HasChildrenError,
    NoSuchZnodeError,
    NotAllowedError,
    OtherVersionError,
    SessionLostError,
    ZnodeExistsError,
    ZooKeeperError,
)
from trellis.zookeeper.session import Check, Create, Delete, Operation, Stat, Write

AWAY: Final = "the connection to ZooKeeper is away"
BROKE: Final = "the connection to ZooKeeper broke before the answer"
OVER: Final = "the session with ZooKeeper is over"
_EPHEMERAL, _SEQUENCE = 1, 2


def request_of(operation: Operation, path: str) -> Any:
    """kazoo's request for an operation on a path with its chroot."""
    match operation:
        case Check(version=version):
            return wire.CheckVersion(path, version)
        case Create(data=data, ephemeral=ephemeral, sequence=sequence):
            flags = _EPHEMERAL * ephemeral + _SEQUENCE * sequence
            return wire.Create(path, data, OPEN_ACL_UNSAFE, flags)
        case Write(data=data, version=version):
            return wire.SetData(path, data, version)
        case Delete(version=version):
            return wire.Delete(path, version)
        case _:
            assert_never(operation)


def size_of(request: Any) -> int:
    """How many bytes of data are written with it."""
    match request:
        case wire.Create(data=data) | wire.SetData(data=data):
            return len(data)
        case wire.Transaction(operations=operations):
            return sum(map(size_of, operations))
        case _:
            return 0


def stat_of(stat: ZnodeStat) -> Stat:
    """What kazoo knows of a znode, in our words."""
    return Stat(
        czxid=stat.czxid,
        mzxid=stat.mzxid,
        pzxid=stat.pzxid,
        version=stat.version,
        cversion=stat.cversion,
        ephemeral_owner=stat.ephemeralOwner,
        children=stat.numChildren,
        created_ms=stat.ctime,
        modified_ms=stat.mtime,
    )


_ERRORS: Final[dict[type[Exception], tuple[type[ZooKeeperError], str]]] = {
    NoNodeError: (NoSuchZnodeError, "no such znode"),
    NodeExistsError: (ZnodeExistsError, "it is there already"),
    BadVersionError: (OtherVersionError, "it has another version"),
    NotEmptyError: (HasChildrenError, "it has children"),
    NoAuthError: (
        NotAllowedError,
        "an ACL forbids it: let our certificate or address have all rights at this path",
    ),
    InvalidACLError: (NotAllowedError, "the server refuses our ACL"),
    NotReadOnlyCallError: (
        NotAllowedError,
        "the server is read-only, as it has no quorum: bring up the other servers",
    ),
    NoChildrenForEphemeralsError: (NotAllowedError, "an ephemeral znode has no children"),
    EphemeralOnLocalSessionError: (NotAllowedError, "a local session has no ephemeral znodes"),
    QuotaExceededError: (NotAllowedError, "a quota of ZooKeeper's forbids it: raise it there"),
    ConnectionLoss: (DisconnectedError, BROKE),
    OperationTimeoutError: (DisconnectedError, "no answer in time"),
    RequestTimeoutError: (DisconnectedError, "no answer in time"),
    SessionMovedError: (DisconnectedError, "the session has moved to another server"),
    AuthFailedError: (SessionLostError, "the server refuses our credentials"),
    SessionExpiredError: (SessionLostError, OVER),
}


def error_of(error: Exception, what: str) -> ZooKeeperError:
    """Ours for kazoo's; ``what`` names the call and the path."""
    for kind in type(error).__mro__:
        if kind in _ERRORS:
            ours, why = _ERRORS[kind]
            return ours(f"{what}: {why}")
    return ZooKeeperError(f"{what}: {type(error).__name__}: {error}")
