"""Turns a unit into the steps that the writer runs; what cannot be stored is refused here.

Runs on the caller's side, so that a bad unit never reaches the batch of others.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kms.domain.models import Epoch
from kms.domain.rows import Row, SealedRow
from kms.errors import Conflict
from kms.ports import (
    Change,
    DropEnvelopes,
    PutCheckpoint,
    PutEnvelopes,
    PutReply,
    PutRow,
)
from kms.statements.canonical import read_row
from kms.store.statements import TABLES, Statements


@dataclass(frozen=True, slots=True)
class Step:
    """One statement and the parameters of each of its runs.

    ``follows`` demands that it changes exactly one row; ``erases`` asks that what it deletes
    leaves the write-ahead log soon.
    """

    sql: str
    runs: tuple[tuple[Any, ...], ...]
    follows: bool = False
    erases: bool = False

    def apply(self, connection: sqlite3.Connection) -> None:
        """Run it; raise Conflict if a row's version does not follow, or what the driver raises."""
        if len(self.runs) == 1:
            done = connection.execute(self.sql, self.runs[0])
        else:
            done = connection.executemany(self.sql, self.runs)
        if self.follows and done.rowcount != 1:
            raise Conflict("the row's version does not follow the stored one")


def steps_of(changes: Iterable[Change], statements: Statements) -> list[Step]:
    """Return the steps of a unit; raise InvalidInput for a row whose body is not its key's."""
    return [_step(change, statements) for change in changes]


def _step(change: Change, statements: Statements) -> Step:
    match change:
        case PutRow():
            return _put_row(change.sealed, statements)
        case PutEnvelopes():
            insert = statements.insert_envelope
            runs = [
                insert.bind(
                    space=one.space,
                    meeting=one.meeting,
                    epoch=one.epoch,
                    recipient=one.recipient,
                    blob=one.blob,
                )
                for one in change.envelopes
            ]
            return Step(insert.sql, tuple(runs))
        case DropEnvelopes():
            drop = statements.drop_envelopes
            which = drop.bind(space=change.space, meeting=change.meeting, epoch=change.epoch)
            return Step(drop.sql, (which,), erases=True)
        case PutReply():
            remember = statements.insert_reply
            reply = remember.bind(
                principal=change.principal,
                key=change.key,
                request=change.request,
                status=change.status,
                body=change.body,
                created=change.created,
            )
            return Step(remember.sql, (reply,))
        case PutCheckpoint():
            sign = statements.insert_checkpoint
            return Step(sign.sql, (sign.bind(size=change.size, note=change.note),))


def _put_row(sealed: SealedRow, statements: Statements) -> Step:
    row = sealed.row
    values = _columns(row) | {"version": row.version, "body": row.body, "mac": sealed.mac}
    if row.version == 1:
        insert = statements.insert_row[row.kind]
        return Step(insert.sql, (insert.bind(**values),))
    update = statements.update_row[row.kind]
    at = {f"at_{name}": values.pop(name) for name in TABLES[row.kind][1]}
    new = {f"new_{name}": value for name, value in values.items()}
    return Step(update.sql, (update.bind(**at, **new, old_version=row.version - 1),), follows=True)


def _columns(row: Row) -> dict[str, str | int]:
    record = read_row(row)
    columns = {name: getattr(record, name) for name in TABLES[row.kind][1]}
    if isinstance(record, Epoch):
        columns["state"] = record.state.value
    return columns
