"""kazoo's lock, on a `Session`: what Zuul, Nodepool and Trellis exclude each other by.

A lock is a folder. Who wants it makes an ephemeral sequential znode in it, the contender
(``<32 hex>__lock__<10 digits>``); the one with the lowest digits holds the lock until it deletes
its contender or its session ends. The digits are the number of contenders ever made there.
"""

import hashlib
import re
from contextlib import suppress

import trio

from trellis.zookeeper.errors import (
    NoSuchZnodeError,
    OtherVersionError,
    SessionLostError,
    ZnodeExistsError,
    ZooKeeperError,
)
from trellis.zookeeper.session import Create, Operation, Session

WITHDRAW_S = 2.0
"""How long a cancelled attempt may take to delete its contender; the session's end does it too."""

_DIGITS = re.compile(r"\d{10}$")


class Lock:
    """A lock at ``folder``, held or wanted by one session.

    The contender's name follows from the session and the folder. So whoever makes the lock again
    in the same session, after a broken connection or a task's crash, finds the contender that it
    may have left: there are never two. Therefore one task at a time may use a folder's lock;
    ``token`` makes another name, for two that must exclude each other within one session.

    All methods raise `DisconnectedError` and `SessionLostError` as the session's calls do. After
    the first, call the same method again once connected: it takes up what it finds.
    """

    def __init__(
        self, session: Session, folder: str, *, identifier: bytes = b"", token: str | None = None
    ) -> None:
        """Lock ``folder``, which is made if need be.

        Args:
            session: the lock ends with it.
            folder: path of the lock.
            identifier: data of the contender: tells people whose it is.
            token: 32 hex digits that no other contender has; None derives them.
        """
        self._session = session
        self.folder = folder
        self._identifier = identifier
        self._prefix = f"{token or _token(session.id, folder)}__lock__"
        self._contender: str | None = None
        self._held = False

    @property
    def held(self) -> bool:
        """Whether it was acquired and not released since; says nothing of the session's end."""
        return self._held

    @property
    def path(self) -> str:
        """The contender's path, while held: for a `Check` or `Delete` in a transaction.

        A write in one transaction with it is carried out only if the lock is still held.
        """
        if not self._held or self._contender is None:
            raise RuntimeError(f"the lock {self.folder} is not held")
        return f"{self.folder}/{self._contender}"

    async def try_acquire(self, *, seen: tuple[str, ...] | None = None) -> bool:
        """Take the lock if nobody has it or waits for it.

        Args:
            seen: the names in its folder, if they were seen of late and no attempt since is in
                doubt: saves the look before the contender is made. The look after it is what
                decides.

        Returns:
            whether it is held now; if not, no contender of ours is left. Where another's
            contender is there already, nothing is written.

        Cancelled, it deletes its contender, for at most `WITHDRAW_S`.
        """
        try:
            if await self._first(contend=False, seen=seen):
                return True
            if self._contender is not None:
                await self.release()
        except trio.Cancelled:
            with trio.move_on_after(WITHDRAW_S, shield=True), suppress(ZooKeeperError):
                await self.release()
            raise
        return False

    async def take_new(self, *also: Operation) -> bool:
        """Take a lock that nobody ever wanted, in one transaction with other operations.

        The folder is made with the contender: so nobody can have come before.

        Returns:
            whether it was done, all of it; if not, nothing was: the folder is there, or one of
            the other operations cannot be.

        Cancelled, it may leave its contender until the session ends.
        """
        path = f"{self.folder}/{self._prefix}"
        contender = Create(path=path, data=self._identifier, ephemeral=True, sequence=True)
        try:
            made = await self._session.transact([Create(path=self.folder), contender, *also])
        except (ZnodeExistsError, NoSuchZnodeError, OtherVersionError):
            return False
        self._contender = made[1].rpartition("/")[2]
        self._held = True
        return True

    async def acquire(self) -> None:
        """Take the lock, waiting for all who came before.

        Cancelled, it deletes its contender, for at most `WITHDRAW_S`.
        """
        try:
            while not await self._first(contend=True):
                await self._wait_predecessor()
        except trio.Cancelled:
            with trio.move_on_after(WITHDRAW_S, shield=True), suppress(ZooKeeperError):
                await self.release()
            raise

    async def release(self) -> None:
        """Delete our contender, wherever it stands; does nothing if there is none.

        The folder stays: who waits there would lose its place with it.
        """
        self._held = False
        contender = self._contender or self._ours(await self._names())
        if contender is not None:
            with suppress(NoSuchZnodeError):
                await self._session.delete(f"{self.folder}/{contender}")
        self._contender = None

    def forget(self) -> None:
        """The contender was deleted by the caller, in a transaction of its own."""
        self._held = False
        self._contender = None

    async def _first(self, *, contend: bool, seen: tuple[str, ...] | None = None) -> bool:
        """Have a contender; whether it is the first. With ``contend`` also behind others."""
        self._held = False
        names = await self._names() if seen is None else seen
        while True:
            self._contender = self._ours(names)
            if self._contender is not None:
                self._held = self._predecessor(names or ()) is None
                return self._held
            if not contend and _contenders(names or ()):
                return False
            if await self._make(fresh=names is None) and names is None:
                self._held = True
                return True  # The folder was made with it: nobody can have come before.
            names = await self._names()

    async def _make(self, *, fresh: bool) -> bool:
        """Make the contender, ``fresh`` with its folder; False if the folder is not as thought."""
        path = f"{self.folder}/{self._prefix}"
        try:
            if fresh:
                made = await self._session.transact(
                    [
                        Create(path=self.folder),
                        Create(path=path, data=self._identifier, ephemeral=True, sequence=True),
                    ]
                )
                self._contender = made[-1].rpartition("/")[2]
            else:
                await self._session.create(path, self._identifier, ephemeral=True, sequence=True)
        except ZnodeExistsError:
            return False
        except NoSuchZnodeError:
            if fresh:
                await self._session.make_path(self.folder.rpartition("/")[0] or "/")
            return False
        return True

    async def _wait_predecessor(self) -> None:
        """Wait until the contender just before ours may be gone."""
        before = self._predecessor(await self._names() or ())
        if before is None:
            return
        path = f"{self.folder}/{before}"
        async with self._session.watch(path) as news:
            while await self._session.exists(path) is not None:
                try:
                    await news.receive()
                except trio.EndOfChannel:
                    raise SessionLostError(
                        f"lock {self.folder}: the session ended while waiting"
                    ) from None

    async def _names(self) -> tuple[str, ...] | None:
        try:
            return await self._session.children(self.folder)
        except NoSuchZnodeError:
            return None

    def _ours(self, names: tuple[str, ...] | None) -> str | None:
        """The lowest that is named as ours."""
        ours = [name for name in names or () if name.startswith(self._prefix)]
        return min(ours, key=_digits, default=None)

    def _predecessor(self, names: tuple[str, ...]) -> str | None:
        assert self._contender is not None
        own = _digits(self._contender)
        before = [name for name in _contenders(names) if _digits(name) < own]
        return max(before, key=_digits, default=None)


def contenders(names: tuple[str, ...]) -> tuple[str, ...]:
    """Of a lock folder's children, those that hold the lock or wait for it; the holder first.

    Any name that ends with ten digits counts: other clients have other words before them.
    """
    return tuple(sorted(_contenders(names), key=_digits))


def _contenders(names: tuple[str, ...]) -> list[str]:
    return [name for name in names if _DIGITS.search(name)]


def _digits(name: str) -> str:
    found = _DIGITS.search(name)
    return found.group() if found else ""


def _token(session: int, folder: str) -> str:
    return hashlib.sha256(f"{session} {folder}".encode()).hexdigest()[:32]
