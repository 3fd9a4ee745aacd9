"""What lies beside the store's file and tells when that is not what was written last.

SQLite goes on writing to a file that was deleted or replaced under it, where nobody finds it
again; and an older copy that was put in its place looks as good as the latest state.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

from trellis.errors import StoreFailedError

_DIGITS: Final = 20


class Witness:
    """The file ``<store>.seen``: the revision of the last commit that was made durable here.

    It is written after each commit and not synced, so after a loss of power it may be behind the
    store. It is never ahead of it, unless the store was set back.

    Args:
        store: the store's file, which is there.

    Attributes:
        seen: the revision found at the start; 0 where there was none to be read.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._files = [store, store.with_name(f"{store.name}-wal")]
        self._identities = [_identity(file) for file in self._files]
        self.seen = 0
        self._fd: int | None = None
        # On a full disk or one that may not be written there is no witness: that costs no commit.
        with contextlib.suppress(OSError):
            path = store.with_name(f"{store.name}.seen")
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            digits = os.pread(self._fd, _DIGITS, 0)
            self.seen = int(digits) if len(digits) == _DIGITS and digits.isdigit() else 0

    def testify(self, revision: int) -> None:
        """Note that the commit of *revision* is durable, in files that are still the store's.

        Raises:
            StoreFailedError: they are not: what was written is in a file that has no name.
        """
        for file, identity in zip(self._files, self._identities, strict=True):
            if _identity(file) != identity:
                raise StoreFailedError(
                    f"store {self._store}: {file.name} was deleted or replaced while the daemon "
                    f"ran, so that nothing it writes can be found again. Put the file back from "
                    f"a copy if there is one, and start the daemon again: the clouds may hold "
                    f"nodes the store does not know (see `trellis leak list`)"
                )
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.pwrite(self._fd, b"%0*d\n" % (_DIGITS, revision), 0)

    def close(self) -> None:
        """Let go of the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
