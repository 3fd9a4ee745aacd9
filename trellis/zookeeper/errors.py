"""What can go wrong with ZooKeeper, by what to do about it.

ZooKeeperError
├── NoSuchZnodeError        the znode, or the parent of one to be made, is not there
├── ZnodeExistsError        it is there already
├── OtherVersionError       somebody wrote it meanwhile: read again, decide again
├── HasChildrenError        it cannot be deleted while it has children
├── NotAllowedError         read-only server, or an ACL forbids it: a person has to act
├── SessionLostError        the session is over: its ephemeral znodes are gone; open another
├── DisconnectedError       no answer: the call may have been carried out; read before repeating
└── UnreachableServersError no session could be opened; says what was tried and why it failed
"""

from trellis.errors import TrellisError


class ZooKeeperError(TrellisError):
    """The root of what a `Session` raises; the text names the call and the path."""


class NoSuchZnodeError(ZooKeeperError):
    """The znode is not there; for a create, its parent."""


class ZnodeExistsError(ZooKeeperError):
    """A znode of this path is there already."""


class OtherVersionError(ZooKeeperError):
    """The znode does not have the version that the caller read."""


class HasChildrenError(ZooKeeperError):
    """The znode has children and cannot be deleted."""


class NotAllowedError(ZooKeeperError):
    """The server is read-only, or an ACL forbids it; the text says what to do."""


class SessionLostError(ZooKeeperError):
    """The session has expired or was closed: all its ephemeral znodes are gone."""


class DisconnectedError(ZooKeeperError):
    """The connection broke before the answer: the call may or may not have been carried out."""


class UnreachableServersError(ZooKeeperError):
    """No session could be opened; the text says with which servers, why not, and what to do."""
