"""The open database file: one connection that writes, one that reads, and which file they mean.

Never goes on with a file that is gone, was replaced or lost its write-ahead log, unless the one
that lies there now is shown to hold everything that was written.
"""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from kms.errors import ConclaveError, IntegrityFailure, StoreUnavailable
from kms.store.connection import (
    FileIdentity,
    connect_reader,
    connect_writer,
    identify,
    translate,
    wal_path,
)

Accept = Callable[[sqlite3.Connection], None]
"""Raises unless the file behind a connection holds everything that was written."""


class Database:
    """One SQLite file. ``writer`` and ``ready`` are the writing thread's, ``read`` anyone's."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity: FileIdentity | None = None
        self._refused: tuple[FileIdentity, int, int] | None = None
        self._reading = threading.Lock()
        self._reader: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None

    @property
    def writer(self) -> sqlite3.Connection:
        """The writing connection; raise StoreUnavailable if there is none."""
        if self._writer is None:
            raise StoreUnavailable("the database is not open")
        return self._writer

    def open(self, accept: Accept) -> None:
        """Open both connections to a file that ``accept`` takes; raise what it raises.

        What a write-ahead log holds may be in the page cache alone, after a failed fsync or a
        kill: it is folded into the file, and so synced, before anyone relies on it.
        """
        self._writer = connect_writer(self._path)
        try:
            fold(self._writer)
            accept(self._writer)
            with self._reading:
                self._reader = connect_reader(self._path)
        except (sqlite3.Error, ConclaveError) as error:
            self.close()
            raise translate(error) from error
        self._identity = identify(self._path)

    def close(self) -> None:
        """Close both connections; SQLite folds the write-ahead log into the file if it can."""
        self._identity = None
        with self._reading:
            for connection in (self._reader, self._writer):
                if connection is not None:
                    connection.close()
            self._reader = self._writer = None

    def read(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return what a query finds; raise StoreUnavailable or IntegrityFailure."""
        with self._reading:
            if self._reader is None:
                raise StoreUnavailable("the database is not open")
            try:
                return self._reader.execute(sql, parameters).fetchall()
            except (sqlite3.Error, OverflowError, ValueError) as error:
                raise translate(error) from error

    def scan(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return what a query finds that looks at many rows, on a connection of its own: nobody
        else waits for it. To be asked in a thread; raise StoreUnavailable or IntegrityFailure.
        """
        with closing(connect_reader(self._path)) as connection:
            try:
                found = connection.execute(sql, parameters).fetchall()
            except (sqlite3.Error, OverflowError, ValueError) as error:
                raise translate(error) from error
        if identify(self._path) != self._identity:
            raise StoreUnavailable("another file lies under the database's name")
        return found

    def ready(self, accept: Accept) -> None:
        """Return if the open file still lies under its name, else open what lies there now.

        Raise StoreUnavailable while nothing lies there that ``accept`` takes.
        """
        now = identify(self._path)
        if self._identity is not None:
            if now == self._identity:
                return
            if now.database is None:
                raise StoreUnavailable(
                    "the database file is gone or read-only", hint="put it back; writing resumes"
                )
            self._leave(now)
        self.reopen(accept)

    def reopen(self, accept: Accept) -> None:
        """Close, open anew and check; raise StoreUnavailable, then nothing is open."""
        self.close()
        if self._refused is not None and self._refused == self._signature():
            raise StoreUnavailable("the file under the database's name is still not the right one")
        try:
            self.open(lambda connection: _check(connection, accept))
        except IntegrityFailure as error:
            self._refused = self._signature()
            raise StoreUnavailable(
                f"the file under the database's name is not what was written: {error.message}",
                hint="put back the database or a complete copy of it; writing resumes",
            ) from error

    def _signature(self) -> tuple[FileIdentity, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return identify(self._path), found.st_size, found.st_mtime_ns

    def _leave(self, now: FileIdentity) -> None:
        """Fold the write-ahead log into the file that it belongs to, then let go of both.

        SQLite removes the log by name when it closes: one that came with another file is kept out
        of its way, and ours must not stay behind to be replayed into that other file.
        """
        fold(self.writer)
        own = self._identity
        log, aside = wal_path(self._path), self._path.with_name(self._path.name + "-aside")
        foreign = own is not None and now.log is not None and now.log != own.log
        if foreign:
            log.rename(aside)
        self.close()
        if foreign:
            aside.rename(log)


def fold(connection: sqlite3.Connection) -> None:
    """Move the write-ahead log into the file, synced, and empty it; raise if that fails."""
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise StoreUnavailable("the database is being read by another process")


def _check(connection: sqlite3.Connection, accept: Accept) -> None:
    if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise IntegrityFailure("it is damaged")
    accept(connection)
