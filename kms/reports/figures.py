"""Works figures out from an evidence bundle, by queries that anybody can put to the same file.

The file is opened read-only and no query can write, attach or load anything. The one function that
SQLite lacks is ``payload``: the JSON that a JWS carries.
"""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kms.domain.reports import Period
from kms.errors import InvalidInput, VerificationFailed
from kms.statements.canonical import b64u, unb64u

MOST_ROWS = 2000
"""A figure has so many rows at most; what it counts is in the bundle whole."""
_STEPS = 2_000_000_000
"""Instructions of SQLite after which a query is given up: a report can come from elsewhere."""
_ALLOWED = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION})

Value = str | int
Rows = list[list[Value]]


@dataclass(frozen=True, slots=True)
class Worked:
    """A figure worked out: its rows (``more`` were left out), how many leaves or documents it
    counts, the first and the last of them (-1 if they have no number), and the SHA-256 of their
    texts in order, a new line after each (base64url).
    """

    rows: Rows
    more: int
    counted: int
    first: int
    last: int
    evidence: str


class Evidence:
    """A bundle whose figures are worked out for one period; see ``opened``."""

    def __init__(self, connection: sqlite3.Connection, period: Period, offset: int) -> None:
        self._connection = connection
        self._bound = dict(zip(("since", "until"), period.bounds, strict=True))
        self._bound["ahead"] = ahead(offset)

    def work_out(self, query: str, sources: str) -> Worked:
        """Return a figure by its two queries; raise VerificationFailed for one that cannot be."""
        rows = [[_value(one) for one in row] for row in self._rows(query)]
        hasher, counted, first, last = hashlib.sha256(), 0, -1, -1
        for key, text in self._rows(sources):
            first = key if counted == 0 and isinstance(key, int) else first
            last = key if isinstance(key, int) else last
            hasher.update(str(text).encode() + b"\n")
            counted += 1
        kept, more = rows[:MOST_ROWS], max(0, len(rows) - MOST_ROWS)
        return Worked(kept, more, counted, first, last, b64u(hasher.digest()))

    def _rows(self, query: str) -> Iterator[tuple[Value | float | None, ...]]:
        left = _STEPS // 1_000_000

        def tired() -> bool:
            nonlocal left
            left -= 1
            return left < 0

        self._connection.set_progress_handler(tired, 1_000_000)
        try:
            yield from self._connection.execute(query, self._bound)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise VerificationFailed(f"a figure cannot be worked out: {error}") from error


def ahead(offset: int) -> str:
    """Return what ``:ahead`` stands for in queries: SQLite's modifier that makes UTC the site's
    time.
    """
    return f"{offset:+d} minutes"


@contextmanager
def opened(bundle: Path, period: Period, offset: int) -> Iterator[Evidence]:
    """Open a bundle, whose days are those of a time ``offset`` minutes ahead of UTC; raise
    VerificationFailed.

    The view ``log`` is worked out once, so that a hundred queries need not do it a hundred times.
    """
    uri = f"{bundle.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        connection = sqlite3.connect(uri, uri=True)
    except sqlite3.Error as error:
        raise VerificationFailed("the bundle cannot be opened") from error
    try:
        _prepare(connection)
        yield Evidence(connection, period, offset)
    except sqlite3.Error as error:
        raise VerificationFailed("the bundle is not a readable SQLite file") from error
    finally:
        connection.close()


def _prepare(connection: sqlite3.Connection) -> None:
    connection.create_function("payload", 1, _payload, deterministic=True)
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("CREATE TEMP TABLE log AS SELECT * FROM main.log")
    for columns in ("seq", "action", "time"):
        connection.execute(f"CREATE INDEX temp.log_{columns} ON log ({columns})")
    connection.commit()
    connection.execute("SELECT 1 FROM json_each('[]')")  # made on first use: later it may not be
    connection.execute("PRAGMA query_only = ON")
    connection.set_authorizer(_authorize)


def _authorize(action: int, *_names: object) -> int:
    recursive = action == sqlite3.SQLITE_RECURSIVE
    return sqlite3.SQLITE_OK if action in _ALLOWED and not recursive else sqlite3.SQLITE_DENY


def _payload(token: object) -> str | None:
    """Return the JSON that a JWS carries, its signature unchecked; None for what is no JWS."""
    try:
        return unb64u(str(token).split(".")[1]).decode()
    except (IndexError, InvalidInput, UnicodeDecodeError):
        return None


def _value(found: Value | float | None) -> Value:
    """Return what stands in a cell; nothing as an empty text. Raise VerificationFailed."""
    if isinstance(found, str | int):
        return found
    if found is None:
        return ""
    raise VerificationFailed("a figure has a cell that is neither text nor a whole number")
