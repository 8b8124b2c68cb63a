"""Connections to one SQLite file: how they are opened, what must be in force, which file it is.

A connection that does not run as it must is refused, never used with weaker guarantees.
"""

import os
import sqlite3
import stat
from dataclasses import dataclass
from pathlib import Path

from kms.errors import ConclaveError, Conflict, IntegrityFailure, InvalidInput, StoreUnavailable

_BUSY_MS = 5000
_PRAGMAS: dict[str, str | int] = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL: a commit is on the disk when it returns
    "secure_delete": 1,
    "foreign_keys": 1,
    "busy_timeout": _BUSY_MS,
    "wal_autocheckpoint": 4096,  # pages, 16 MiB
    "trusted_schema": 0,
}
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_UNIT_ERRORS = (OverflowError, ValueError, sqlite3.DataError, sqlite3.InterfaceError)


def primary_code(error: Exception) -> int:
    """Return SQLite's primary result code of an error, 0 if the driver itself raised it."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def translate(error: Exception) -> ConclaveError:
    """Return what an error of the driver means to a caller."""
    if isinstance(error, ConclaveError):
        return error
    if isinstance(error, sqlite3.IntegrityError):
        return Conflict("a row of that key is there, or one that it belongs to is not")
    if isinstance(error, _UNIT_ERRORS):
        return InvalidInput("a value that the database cannot hold")
    if primary_code(error) in _DAMAGED:
        return IntegrityFailure("the database file is damaged")
    return StoreUnavailable(
        "the database does not work: {error}",
        hint="mend disk and file; writing resumes by itself",
        about={"error": error},
    )


def connect_writer(path: Path) -> sqlite3.Connection:
    """Open the file for writing, checked; raise StoreUnavailable."""
    connection = _open(path, "rw")
    try:
        for name, value in _PRAGMAS.items():
            _set(connection, name, value)
        connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
    except Exception as error:
        connection.close()
        raise translate(error) from error
    return connection


def _set(connection: sqlite3.Connection, name: str, value: str | int) -> None:
    connection.execute(f"PRAGMA {name}={value}").fetchall()
    (got,) = connection.execute(f"PRAGMA {name}").fetchone()
    if got != value:
        raise StoreUnavailable(f"SQLite does not run with {name}={value} but with {got}")


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open the file for reading only; raise StoreUnavailable."""
    connection = _open(path, "ro")
    try:
        connection.execute("PRAGMA query_only=1")
        connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}").fetchall()
        connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
    except Exception as error:
        connection.close()
        raise translate(error) from error
    return connection


def _open(path: Path, mode: str) -> sqlite3.Connection:
    try:
        return sqlite3.connect(
            f"{path.as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=64,
        )
    except sqlite3.Error as error:
        raise translate(error) from error


def make_file(path: Path) -> None:
    """Make the database file, readable by its owner alone, unless it is there."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreUnavailable(f"cannot write {path}: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """Which files lie under the database's names: device and inode of each, None if missing."""

    database: tuple[int, int] | None
    log: tuple[int, int] | None


def wal_path(path: Path) -> Path:
    """Return where SQLite keeps the write-ahead log of a database."""
    return path.with_name(path.name + "-wal")


def identify(path: Path) -> FileIdentity:
    """Look which files lie there now; a file without write permission counts as missing."""
    return FileIdentity(_inode(path), _inode(wal_path(path)))


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found.st_mode & stat.S_IWUSR else None
