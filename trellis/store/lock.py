"""The lock beside the store's file: one daemon at a time."""

import contextlib
import fcntl
import os
import socket
from pathlib import Path

from trellis.errors import StoreFailedError, StoreInUseError


class StoreLock:
    """An advisory lock of the kernel on ``<file>.lock``, which names its holder in words.

    The kernel lets go of it when the process ends, however it ends. The file stays: removing
    it would let two daemons hold locks on two files of one name.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._path = store.with_name(f"{store.name}.lock")
        self._fd: int | None = None

    def take(self) -> None:
        """Take the lock. Blocks for no longer than the file system does.

        Raises:
            StoreInUseError: another process has it; the message names process and host.
            StoreFailedError: the lock's file cannot be written.
        """
        try:
            # Not inherited by subprocesses: an image build that outlives us must not hold it.
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreFailedError(
                f"store {self._store}: cannot write its lock file {self._path}: "
                f"{error.strerror}. The daemon must be able to write in this folder"
            ) from error
        try:
            self._lock(fd)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def _lock(self, fd: int) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(fd, 200, 0).decode(errors="replace").strip() or "another process"
            raise StoreInUseError(
                f"store {self._store} is in use by {holder}. Stop that daemon first, "
                f"or give this one a store of its own"
            ) from error
        except OSError as error:
            raise StoreFailedError(
                f"store {self._store}: its file system cannot lock {self._path}: "
                f"{error.strerror}. Keep the store on a local disk"
            ) from error
        with contextlib.suppress(OSError):  # a full disk costs the name only, not the lock
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"pid {os.getpid()} on {socket.gethostname()}\n".encode(), 0)

    def release(self) -> None:
        """Let go of the lock. Fine if it is not held."""
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None
