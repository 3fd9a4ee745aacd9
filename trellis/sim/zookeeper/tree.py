"""What a ZooKeeper server keeps: znodes and every number it counts of them. No time, no network.

The counting is ZooKeeper's own: a parent counts the children ever made below it, and from that
comes the number of the next sequential one; ``cversion`` as clients see it counts the deleted ones
too. All parts of a transaction have one zxid, and one that fails takes a zxid as well.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import assert_never

import attrs

from trellis.sim.zookeeper.paths import parent_of
from trellis.zookeeper.errors import (
    HasChildrenError,
    NoSuchZnodeError,
    NotAllowedError,
    OtherVersionError,
    ZnodeExistsError,
)
from trellis.zookeeper.session import (
    ANY_VERSION,
    Check,
    Create,
    Delete,
    Happened,
    Operation,
    Stat,
    Write,
)


@attrs.define(eq=False, kw_only=True)
class Znode:
    """One znode; `made_below` is how many children were ever made."""

    data: bytes
    czxid: int
    mzxid: int
    pzxid: int
    owner: int
    created_ms: int
    modified_ms: int
    version: int = 0
    made_below: int = 0
    children: dict[str, None] = attrs.field(factory=dict)

    @property
    def stat(self) -> Stat:
        """What clients see of it."""
        return Stat(
            czxid=self.czxid,
            mzxid=self.mzxid,
            pzxid=self.pzxid,
            version=self.version,
            cversion=self.made_below * 2 - len(self.children),
            ephemeral_owner=self.owner,
            children=len(self.children),
            created_ms=self.created_ms,
            modified_ms=self.modified_ms,
        )


@attrs.frozen
class Done:
    """One change that was made: how, to which znode, with what data and version since."""

    happened: Happened
    path: str
    data: bytes
    version: int
    ephemeral: bool


_Undo = Callable[[], object]


class Tree:
    """All znodes of one ZooKeeper. Paths are whole: a chroot is its clients' affair."""

    def __init__(self) -> None:
        self.zxid = 0
        self._znodes = {
            "/": Znode(data=b"", czxid=0, mzxid=0, pzxid=0, owner=0, created_ms=0, modified_ms=0)
        }
        self._of_session = dict[int, dict[str, None]]()

    # ------------------------------------------------------------------------------ reading

    def find(self, path: str) -> Znode | None:
        """A znode; None if it is not there."""
        return self._znodes.get(path)

    def znode(self, path: str, what: str = "read") -> Znode:
        """A znode.

        Raises:
            NoSuchZnodeError: it is not there; the text says *what* was to be done with it.
        """
        znode = self._znodes.get(path)
        if znode is None:
            raise NoSuchZnodeError(f"{what} {path}: there is no such znode")
        return znode

    def below(self, path: str) -> Iterable[str]:
        """The paths of all znodes below one, in no order; none if it is not there."""
        waiting = [path]
        while waiting:
            parent = waiting.pop()
            znode = self._znodes.get(parent)
            if znode is not None:
                stem = parent.rstrip("/")
                children = [f"{stem}/{name}" for name in znode.children]
                yield from children
                waiting += children

    def ephemerals(self, session: int) -> tuple[str, ...]:
        """The paths of a session's ephemeral znodes."""
        return tuple(self._of_session.get(session, ()))

    # ------------------------------------------------------------------------------ writing

    def apply(
        self, operations: Sequence[Operation], *, session: int, now_ms: int
    ) -> tuple[tuple[str, ...], list[Done]]:
        """Carry out all operations or none, as one transaction.

        Returns:
            the path of each, and what was changed, in order.

        Raises:
            the error of the first operation that cannot be.
        """
        self.zxid += 1
        paths, done, undo = list[str](), list[Done](), list[_Undo]()
        try:
            for operation in operations:
                paths.append(self._apply(operation, session, now_ms, done, undo))
        except Exception:
            for step in reversed(undo):
                step()
            raise
        return tuple(paths), done

    def end_session(self, session: int) -> list[Done]:
        """Delete the session's ephemeral znodes, as one transaction."""
        self.zxid += 1
        done = list[Done]()
        for path in self.ephemerals(session):
            self._delete(Delete(path=path), done, [])
        self._of_session.pop(session, None)
        return done

    def _apply(
        self, operation: Operation, session: int, now_ms: int, done: list[Done], undo: list[_Undo]
    ) -> str:
        match operation:
            case Check():
                self._checked(operation.path, operation.version, "check")
            case Create():
                return self._create(operation, session, now_ms, done, undo)
            case Write():
                self._write(operation, now_ms, done, undo)
            case Delete():
                self._delete(operation, done, undo)
            case _:
                assert_never(operation)
        return operation.path

    def _create(
        self, create: Create, session: int, now_ms: int, done: list[Done], undo: list[_Undo]
    ) -> str:
        parent_path = parent_of(create.path, sequence=create.sequence)
        parent = self._znodes.get(parent_path)
        if parent is None:
            raise NoSuchZnodeError(f"create {create.path}: there is no {parent_path}")
        path = create.path
        if create.sequence:
            path += f"{parent.made_below:010d}"
        if path in self._znodes:
            raise ZnodeExistsError(f"create {path}: it is there already")
        if parent.owner:
            raise NotAllowedError(
                f"create {path}: {parent_path} is ephemeral and can have no children"
            )
        owner = session if create.ephemeral else 0
        name = path.rpartition("/")[2]
        pzxid = parent.pzxid

        def undone() -> None:
            del self._znodes[path], parent.children[name]
            parent.made_below -= 1
            parent.pzxid = pzxid
            if owner:
                del self._of_session[owner][path]

        self._znodes[path] = Znode(
            data=create.data,
            czxid=self.zxid,
            mzxid=self.zxid,
            pzxid=self.zxid,
            owner=owner,
            created_ms=now_ms,
            modified_ms=now_ms,
        )
        parent.children[name] = None
        parent.made_below += 1
        parent.pzxid = self.zxid
        if owner:
            self._of_session.setdefault(owner, {})[path] = None
        undo.append(undone)
        done.append(Done(Happened.MADE, path, create.data, 0, create.ephemeral))
        return path

    def _write(self, write: Write, now_ms: int, done: list[Done], undo: list[_Undo]) -> None:
        znode = self._checked(write.path, write.version, "write")
        before = znode.data, znode.mzxid, znode.modified_ms

        def undone() -> None:
            znode.data, znode.mzxid, znode.modified_ms = before
            znode.version -= 1

        znode.data, znode.mzxid, znode.modified_ms = write.data, self.zxid, now_ms
        znode.version += 1
        undo.append(undone)
        done.append(
            Done(Happened.WRITTEN, write.path, write.data, znode.version, bool(znode.owner))
        )

    def _delete(self, delete: Delete, done: list[Done], undo: list[_Undo]) -> None:
        path = delete.path
        znode = self._checked(path, delete.version, "delete")
        if znode.children:
            raise HasChildrenError(f"delete {path}: it has {len(znode.children)} children")
        parent = self._znodes[parent_of(path)]
        name, pzxid, owner = path.rpartition("/")[2], parent.pzxid, znode.owner

        def undone() -> None:
            self._znodes[path] = znode
            parent.children[name] = None
            parent.pzxid = pzxid
            if owner:
                self._of_session[owner][path] = None

        del self._znodes[path], parent.children[name]
        parent.pzxid = self.zxid
        if owner:
            del self._of_session[owner][path]
        undo.append(undone)
        done.append(Done(Happened.DELETED, path, znode.data, znode.version, bool(znode.owner)))

    def _checked(self, path: str, version: int, what: str) -> Znode:
        znode = self.znode(path, what)
        if version not in (ANY_VERSION, znode.version):
            raise OtherVersionError(f"{what} {path}: its version is {znode.version}, not {version}")
        return znode
