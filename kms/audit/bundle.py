"""The evidence bundle: one SQLite file that an auditor can take away, browse and verify offline.

Written once and exclusively. Read without trust: immutable, no triggers, exactly the known schema.
"""

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlite_utils import Database

from kms.errors import AlreadyExists, VerificationFailed

FORMAT = "conclave-evidence-3"
_BATCH = 10_000

_TABLES = {
    "meta": "(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    "leaf": "(seq INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT",
    "checkpoint": "(size INTEGER PRIMARY KEY, note TEXT NOT NULL) STRICT",
    "manifest": "(space TEXT NOT NULL, meeting TEXT NOT NULL, epoch INTEGER NOT NULL, jws TEXT "
    "NOT NULL, PRIMARY KEY (space, meeting, epoch)) STRICT, WITHOUT ROWID",
    "addendum": "(sha256 TEXT PRIMARY KEY, jws TEXT NOT NULL) STRICT, WITHOUT ROWID",
    "register": "(sha256 TEXT PRIMARY KEY, jws TEXT NOT NULL) STRICT, WITHOUT ROWID",
    "request": "(id TEXT PRIMARY KEY, space TEXT NOT NULL, jws TEXT NOT NULL) STRICT, "
    "WITHOUT ROWID",
    "approval": "(request TEXT NOT NULL, place INTEGER NOT NULL, jws TEXT NOT NULL, "
    "PRIMARY KEY (request, place)) STRICT, WITHOUT ROWID",
    "certificate": "(request TEXT PRIMARY KEY, jws TEXT NOT NULL) STRICT, WITHOUT ROWID",
    "key_list": "(version INTEGER PRIMARY KEY, jws TEXT NOT NULL) STRICT",
}
"""One B-tree each: an index beside a table could tell the verifier something else than people."""

_VIEWS = {
    "log": """SELECT seq, body ->> 'time' AS time, body ->> 'actor' AS actor,
 body ->> 'action' AS action, body ->> 'phase' AS phase, body ->> 'outcome' AS outcome,
 body ->> 'space' AS space, body ->> 'resource' AS resource FROM leaf""",
    "rotation": """SELECT seq, body ->> 'time' AS time, body ->> 'space' AS space,
 body ->> 'resource' AS resource, body ->> '$.details.reason' AS reason,
 body ->> '$.details.state' AS state, body ->> 'actor' AS actor FROM leaf
 WHERE body ->> 'phase' = 'result' AND body ->> 'outcome' = 'succeeded'
 AND body ->> 'action' IN ('meeting.open', 'roster.change', 'epoch.rotate')""",
    "key_access": """SELECT seq, body ->> 'time' AS time, body ->> 'actor' AS actor,
 body ->> 'auth' AS auth, body ->> 'action' AS action, body ->> 'resource' AS resource,
 body ->> '$.details.recipient' AS recipient FROM leaf
 WHERE body ->> 'action' IN ('envelope.fetch', 'envelope.relay')""",
}
"""For people who open the file in Datasette or any SQLite tool; the verifier reads no view."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What goes into a bundle; iterables are read once, the leaves first, each in order
    of its keys.

    ``leaves`` are leaf bytes from sequence 0; ``checkpoints`` (size, note); ``manifests`` (space,
    meeting, epoch, JWS); ``addenda`` (SHA-256 of the JWS, JWS); ``key_lists`` (version, JWS).
    ``registers`` (SHA-256, JWS) of people; ``requests`` (id, space, JWS) that were carried out,
    ``approvals`` (request, place from 0, JWS) of theirs, ``certificates`` (request, JWS) of what
    they destroyed. ``exported`` is RFC 3339 UTC.
    """

    site: str
    exported: str
    leaves: Iterable[bytes]
    checkpoints: Iterable[tuple[int, str]]
    manifests: Iterable[tuple[str, str, int, str]]
    key_lists: Iterable[tuple[int, str]]
    addenda: Iterable[tuple[str, str]] = ()
    registers: Iterable[tuple[str, str]] = ()
    requests: Iterable[tuple[str, str, str]] = ()
    approvals: Iterable[tuple[str, int, str]] = ()
    certificates: Iterable[tuple[str, str]] = ()


def write_bundle(
    path: Path, evidence: Evidence, progress: Callable[[int], None] | None = None
) -> None:
    """Write a new bundle (mode 0600); ``progress`` hears how many leaves are written.

    Raise AlreadyExists if the file is there. What fails half-way leaves no file.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError as error:
        raise AlreadyExists(
            f"{path} is there", hint="choose a new name: files are never overwritten"
        ) from error
    try:
        with closing(sqlite3.connect(path)) as connection:
            _fill(Database(connection), evidence, progress or (lambda _: None))
        _sync(path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _fill(database: Database, evidence: Evidence, progress: Callable[[int], None]) -> None:
    for statement in ("PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF"):
        database.execute(statement)
    _create(database)
    meta = {"exported": evidence.exported, "format": FORMAT, "site": evidence.site}
    _insert(database, "meta", ("key", "value"), meta.items())
    _insert(database, "leaf", ("seq", "body"), _numbered(evidence.leaves, progress))
    _insert(database, "key_list", ("version", "jws"), evidence.key_lists)
    columns = ("space", "meeting", "epoch", "jws")
    _insert(database, "manifest", columns, evidence.manifests)
    _insert(database, "addendum", ("sha256", "jws"), evidence.addenda)
    _insert(database, "register", ("sha256", "jws"), evidence.registers)
    _insert(database, "request", ("id", "space", "jws"), evidence.requests)
    _insert(database, "approval", ("request", "place", "jws"), evidence.approvals)
    _insert(database, "certificate", ("request", "jws"), evidence.certificates)
    _insert(database, "checkpoint", ("size", "note"), evidence.checkpoints)


def _create(database: Database) -> None:
    for name, columns in _TABLES.items():
        database.execute(f"CREATE TABLE {name} {columns}")
    for name, query in _VIEWS.items():
        database.create_view(name, query)


def _numbered(
    leaves: Iterable[bytes], progress: Callable[[int], None]
) -> Iterator[tuple[int, str]]:
    count = 0
    for count, leaf in enumerate(leaves, 1):
        yield count - 1, leaf.decode()
        if count % _BATCH == 0:
            progress(count)
    progress(count)


def _insert(
    database: Database, table: str, columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]
) -> None:
    records = (dict(zip(columns, row, strict=True)) for row in rows)
    database.table(table).insert_all(records, batch_size=_BATCH)


def _sync(path: Path) -> None:
    for name in (path, path.parent):
        descriptor = os.open(name, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class Bundle:
    """A bundle being read; every failure of the file itself is a VerificationFailed.

    Texts come as bytes, as they stand in the file: nothing is decoded before it is checked.
    """

    def __init__(self, path: Path) -> None:
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        try:
            self._connection = sqlite3.connect(uri, uri=True)
        except sqlite3.Error as error:
            raise VerificationFailed("the bundle cannot be opened") from error
        self._connection.text_factory = bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def check_schema(self) -> None:
        """Raise VerificationFailed unless tables, columns and views are exactly those written."""
        for setting in ("trusted_schema = OFF", "cell_size_check = ON", "query_only = ON"):
            list(self._rows(f"PRAGMA {setting}"))
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.text_factory = bytes
            _create(Database(connection))
            expected = _schema(connection)
        if self._guard(lambda: _schema(self._connection)) != expected:
            raise VerificationFailed("the bundle has other tables or columns than it should")
        meta = self.meta()
        if set(meta) != {b"exported", b"format", b"site"} or meta[b"format"] != FORMAT.encode():
            raise VerificationFailed("the bundle's meta table is not as it should be")
        if list(self._rows("PRAGMA quick_check(1)")) != [(b"ok",)]:
            raise VerificationFailed("the bundle's pages are damaged")

    def meta(self) -> dict[bytes, bytes]:
        """Return the bundle's own description; nothing vouches for ``exported``."""
        return dict(self._rows("SELECT key, value FROM meta"))

    def leaf_count(self) -> int:
        """Return the number of leaves, for progress."""
        return int(next(self._rows("SELECT count(*) FROM leaf"))[0])

    def leaves(self) -> Iterator[tuple[int, bytes]]:
        """Yield (seq, body) by sequence."""
        return self._rows("SELECT seq, body FROM leaf ORDER BY seq")

    def checkpoints(self) -> Iterator[tuple[int, bytes]]:
        """Yield (size, note) by size."""
        return self._rows("SELECT size, note FROM checkpoint ORDER BY size")

    def key_lists(self) -> Iterator[tuple[int, bytes]]:
        """Yield (version, JWS) by version."""
        return self._rows("SELECT version, jws FROM key_list ORDER BY version")

    def manifest(self, space: str, meeting: str, epoch: int) -> bytes | None:
        """Return one epoch's manifest."""
        query = "SELECT jws FROM manifest WHERE space = ? AND meeting = ? AND epoch = ?"
        row = next(self._rows(query, (space, meeting, epoch)), None)
        return None if row is None else row[0]

    def manifest_count(self) -> int:
        """Return the number of manifests."""
        return int(next(self._rows("SELECT count(*) FROM manifest"))[0])

    def addendum(self, sha256: str) -> bytes | None:
        """Return the addendum that a leaf names."""
        row = next(self._rows("SELECT jws FROM addendum WHERE sha256 = ?", (sha256,)), None)
        return None if row is None else row[0]

    def addendum_count(self) -> int:
        """Return the number of addenda."""
        return int(next(self._rows("SELECT count(*) FROM addendum"))[0])

    def register(self, sha256: str) -> bytes | None:
        """Return the register of people that a leaf names."""
        row = next(self._rows("SELECT jws FROM register WHERE sha256 = ?", (sha256,)), None)
        return None if row is None else row[0]

    def request(self, request: str) -> tuple[str, str, list[str]] | None:
        """Return a request's space, its JWS and its approvals in order."""
        row = next(self._rows("SELECT space, jws FROM request WHERE id = ?", (request,)), None)
        if row is None:
            return None
        query = "SELECT jws FROM approval WHERE request = ? ORDER BY place"
        approvals = [_text(one) for (one,) in self._rows(query, (request,))]
        return _text(row[0]), _text(row[1]), approvals

    def request_count(self) -> int:
        """Return the number of requests."""
        return int(next(self._rows("SELECT count(*) FROM request"))[0])

    def certificate(self, request: str) -> bytes | None:
        """Return the destruction certificate of a request."""
        query = "SELECT jws FROM certificate WHERE request = ?"
        row = next(self._rows(query, (request,)), None)
        return None if row is None else row[0]

    def _rows(self, query: str, values: tuple[str | int, ...] = ()) -> Iterator[Any]:
        cursor = self._guard(lambda: self._connection.execute(query, values))
        while rows := self._guard(lambda: cursor.fetchmany(1000)):
            yield from rows

    def _guard(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter: a garbled SQLite message
            raise VerificationFailed("the bundle is not a readable SQLite file") from error


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _schema(connection: sqlite3.Connection) -> set[tuple[bytes, ...]]:
    return set(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema"))
