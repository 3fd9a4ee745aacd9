"""The shape of the SQLite file, and the numbered steps from each shape to the next."""

import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from trellis.errors import StoreMismatchError

Migration = Callable[[sqlite3.Connection], None]
"""One step from a schema to the next, inside a transaction; uses `execute` only."""

APPLICATION_ID: Final = 0x54524C53
"""Marks a SQLite file as a store of ours (*TRLS*)."""

_SCHEMA_1: Final = (
    """CREATE TABLE state (
         one INTEGER PRIMARY KEY CHECK (one = 1),
         incarnation INTEGER NOT NULL,
         revision INTEGER NOT NULL,
         last_event INTEGER NOT NULL
       ) STRICT""",
    "INSERT INTO state VALUES (1, 0, 0, 0)",
    """CREATE TABLE record (
         kind TEXT NOT NULL,
         id TEXT NOT NULL,
         value TEXT NOT NULL,
         PRIMARY KEY (kind, id)
       ) STRICT""",
    """CREATE TABLE event (
         id INTEGER PRIMARY KEY,
         at REAL NOT NULL,
         subjects TEXT NOT NULL,
         value TEXT NOT NULL
       ) STRICT""",
    """CREATE TABLE event_about (
         subject TEXT NOT NULL,
         event INTEGER NOT NULL,
         PRIMARY KEY (subject, event)
       ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE history (
         position INTEGER PRIMARY KEY AUTOINCREMENT,
         kind TEXT NOT NULL,
         id TEXT NOT NULL,
         at REAL NOT NULL,
         lookup TEXT,
         value TEXT NOT NULL
       ) STRICT""",
    "CREATE UNIQUE INDEX history_key ON history (kind, id)",
    "CREATE INDEX history_page ON history (kind, position)",
    "CREATE INDEX history_lookup ON history (kind, lookup, position) WHERE lookup IS NOT NULL",
)


def _create(connection: sqlite3.Connection) -> None:
    for statement in _SCHEMA_1:
        connection.execute(statement)


MIGRATIONS: Final[tuple[Migration, ...]] = (_create,)
"""Migration n leads from schema n to schema n + 1; schema 0 is an empty file."""


def copy_name(path: Path, version: int) -> Path:
    """Where the copy is kept that is made before the migration from schema *version*."""
    return path.with_name(f"{path.name}.v{version}.bak")


def migrate(
    connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration] = MIGRATIONS
) -> None:
    """Bring the file to this release's schema, each step in a transaction of its own.

    A copy of a file that has a schema is kept before its first step; a crash at any moment
    leaves a file that the next start brings on.

    Args:
        connection: to the file, in autocommit mode.
        path: the file's path, for the copy and for messages.
        migrations: the steps, from schema 0.

    Raises:
        StoreMismatchError: the file's schema is newer than these steps lead to, or the file
            is no store of ours.
        sqlite3.Error: the file cannot be read or written.
    """
    version = _version(connection, path)
    if version > len(migrations):
        raise StoreMismatchError(_way_back(path, version, len(migrations)))
    if 0 < version < len(migrations):
        _keep_copy(connection, copy_name(path, version))
    for number in range(version, len(migrations)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            migrations[number](connection)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {number + 1}")
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and (application or version or tables):
        raise StoreMismatchError(
            f"{path} is a SQLite file of another program: give `store:` a path of its own"
        )
    return int(version)


def _way_back(path: Path, version: int, known: int) -> str:
    text = (
        f"store {path} has schema {version} and this release knows up to {known}: it was "
        f"written by a newer release. Start that release again; or, to go back,"
    )
    copies = [copy_name(path, older) for older in range(known, 0, -1)]
    found = next((copy for copy in copies if copy.exists()), None)
    if found is None:
        return f"{text} restore a copy from before the upgrade (none is beside the store)"
    return (
        f"{text} move {path.name}, {path.name}-wal and {path.name}-shm away and copy "
        f"{found.name} to {path.name}: what was recorded since that copy was made is lost, "
        f"and the clouds may hold nodes it does not know (see `trellis leak list`)"
    )


def _keep_copy(connection: sqlite3.Connection, target: Path) -> None:
    # Through a name of its own: a copy cut short by a crash must not look like one to go back to.
    partial = target.with_name(f"{target.name}.partial")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    copy = sqlite3.connect(partial, isolation_level=None)
    try:
        connection.backup(copy)
        # The copy of a WAL file says WAL too; as one plain file it is easier to move.
        copy.execute("PRAGMA journal_mode = DELETE").fetchone()
    finally:
        copy.close()
    with open(partial, "rb") as file:
        os.fsync(file.fileno())
    partial.replace(target)
    sync_folder(target)


def sync_folder(path: Path) -> None:
    """Make a new or renamed file's name durable: its folder holds it, not the file."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
