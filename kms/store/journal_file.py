"""The journal's file: one connection that writes, one that reads; derived, so never synced.

Deleted, damaged or of another version it is made anew. Used from any thread.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kms.errors import StoreUnavailable
from kms.store.connection import make_file
from kms.store.journal_tables import SCHEMA, VERSION

_BUSY_MS = 5000
Values = dict[str, Any] | tuple[Any, ...]
Read = Callable[[str, Values], list[tuple[Any, ...]]]


class JournalFile:
    """One SQLite file with its two connections. ``broken`` is set when it has to be made anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing, self._reading = threading.RLock(), threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self.broken = True

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Yield the writing connection in a transaction; raise StoreUnavailable."""
        with self._writing, self._guarded():
            if self._writer is None:
                raise _not_there()
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise
            self._writer.execute("COMMIT")

    @contextmanager
    def reading(self) -> Iterator[Read]:
        """Yield a way to ask for rows, all of one moment; raise StoreUnavailable."""
        with self._reading, self._guarded():
            connection = self._reader
            if connection is None:
                raise _not_there()
            connection.execute("BEGIN")
            try:
                yield lambda sql, values: connection.execute(sql, values).fetchall()
            finally:
                connection.execute("ROLLBACK")

    def make(self) -> None:
        """Open the file if it is sound, else put a new one in its place; raise StoreUnavailable."""
        self.close()
        with self._writing, self._reading, self._guarded():
            try:
                self._open()
            except sqlite3.DatabaseError:
                self._drop()
                self._open()
            self.broken = False

    def make_anew(self) -> None:
        """Put a new file in its place; raise StoreUnavailable."""
        with self._writing, self._reading, self._guarded():
            self._drop()
        self.make()

    def close(self) -> None:
        """Close both connections."""
        with self._writing, self._reading:
            for connection in (self._reader, self._writer):
                if connection is not None:
                    connection.close()
            self._reader = self._writer = None

    def _open(self) -> None:
        make_file(self._path)
        self._writer = _connect(self._path)
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if version == 0 and not self._writer.execute("SELECT 1 FROM sqlite_master").fetchall():
            for statement in SCHEMA:
                self._writer.execute(statement)
        elif version != VERSION:
            raise sqlite3.DatabaseError("tables of another version")
        self._reader = _connect(self._path)
        self._reader.execute("PRAGMA query_only=1")

    def _drop(self) -> None:
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._reader = self._writer = None
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn what SQLite says into StoreUnavailable; have the file made anew."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            self.broken = True
            raise _not_there() from error


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode=wal", "synchronous=0", f"busy_timeout={_BUSY_MS}"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    connection.execute("PRAGMA trusted_schema=0")
    return connection


def _not_there() -> StoreUnavailable:
    return StoreUnavailable(
        "the journal of the log is being made anew", hint="wait a moment and try again"
    )
