"""Turns a unit into the steps that the writer runs; what cannot be stored is refused here.

Runs on the caller's side, so that a bad unit never reaches the batch of others.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import starmap
from typing import Any

from kms.domain.approvals import Request
from kms.domain.disks import DiskOrder
from kms.domain.models import Epoch
from kms.domain.rows import Row, SealedRow
from kms.errors import Conflict
from kms.ports import (
    Change,
    DropDevice,
    DropEnvelope,
    DropEnvelopes,
    PutCertificate,
    PutCheckpoint,
    PutDevice,
    PutEnvelopes,
    PutMac,
    PutMark,
    PutOrder,
    PutReply,
    PutRow,
    TakeLease,
)
from kms.statements.canonical import encode_record, read_row
from kms.store.statements import TABLES, Statements, in_chunks


@dataclass(frozen=True, slots=True)
class Step:
    """One statement and its parameters.

    ``follows`` demands that it changes exactly one row, ``takes`` that it returns one; ``erases``
    asks that what it deletes leaves the write-ahead log soon.
    """

    sql: str
    parameters: tuple[Any, ...]
    follows: bool = False
    erases: bool = False
    takes: bool = False

    def apply(self, connection: sqlite3.Connection) -> None:
        """Run it; raise Conflict if a row's version does not follow, or what the driver raises."""
        done = connection.execute(self.sql, self.parameters)
        if self.follows and done.rowcount != 1:
            raise Conflict("the row's version does not follow the stored one")
        if self.takes and done.fetchone() is None:
            raise Conflict("another holder has the lease")


def steps_of(changes: Iterable[Change], statements: Statements) -> list[Step]:
    """Return the steps of a unit; raise InvalidInput for a row whose body is not its key's."""
    return [step for change in changes for step in _steps(change, statements)]


def _steps(change: Change, statements: Statements) -> Iterator[Step]:
    match change:
        case PutRow():
            yield _put_row(change.sealed, statements)
        case PutMac():
            yield _put_mac(change.sealed, statements)
        case PutEnvelopes():
            rows = [
                (one.space, one.meeting, one.epoch, one.recipient, one.blob)
                for one in change.envelopes
            ]
            yield from starmap(Step, in_chunks(statements.insert_envelopes, rows))
        case DropEnvelopes():
            drop = statements.drop_envelopes
            which = drop.bind(space=change.space, meeting=change.meeting, epoch=change.epoch)
            yield Step(drop.sql, which, erases=True)
        case DropEnvelope():
            yield _drop_envelope(change, statements)
        case TakeLease():
            yield _take_lease(change, statements)
        case PutReply() | PutCheckpoint() | PutCertificate() | PutMark():
            yield _remember(change, statements)
        case PutDevice() | DropDevice():
            yield _device(change, statements)
        case PutOrder():
            yield _put_order(change.order, statements)


def _remember(
    change: PutReply | PutCheckpoint | PutCertificate | PutMark, statements: Statements
) -> Step:
    """Return the step of a change whose fields are the columns."""
    kept = {
        PutReply: statements.insert_reply,
        PutCheckpoint: statements.insert_checkpoint,
        PutCertificate: statements.insert_certificate,
        PutMark: statements.put_mark,
    }[type(change)]
    return Step(kept.sql, kept.bind(**asdict(change)))


def _device(change: PutDevice | DropDevice, statements: Statements) -> Step:
    if isinstance(change, DropDevice):
        drop = statements.drop_device
        return Step(drop.sql, drop.bind(serial=change.serial))
    put, device = statements.put_device, change.device
    return Step(put.sql, put.bind(serial=device.serial, body=encode_record(device)))


def _put_order(order: DiskOrder, statements: Statements) -> Step:
    values = statements.put_order.bind(
        order=order.order,
        state=order.state.value,
        disk=order.disk,
        serial=order.serial,
        created=order.created,
        body=encode_record(order),
    )
    return Step(statements.put_order.sql, values)


def _take_lease(change: TakeLease, statements: Statements) -> Step:
    take = statements.take_lease
    values = take.bind(name=change.name, holder=change.holder, until=change.until, now=change.now)
    return Step(take.sql, values, takes=True)


def _drop_envelope(change: DropEnvelope, statements: Statements) -> Step:
    drop = statements.drop_envelope
    which = drop.bind(
        space=change.space,
        meeting=change.meeting,
        epoch=change.epoch,
        recipient=change.recipient,
    )
    return Step(drop.sql, which, erases=True)


def _put_row(sealed: SealedRow, statements: Statements) -> Step:
    row = sealed.row
    values = _columns(row) | {"version": row.version, "body": row.body, "mac": sealed.mac}
    if row.version == 1:
        insert = statements.insert_row[row.kind]
        return Step(insert.sql, insert.bind(**values))
    update = statements.update_row[row.kind]
    at = {f"at_{name}": values.pop(name) for name in TABLES[row.kind][1]}
    new = {f"new_{name}": value for name, value in values.items()}
    return Step(update.sql, update.bind(**at, **new, old_version=row.version - 1), follows=True)


def _put_mac(sealed: SealedRow, statements: Statements) -> Step:
    row, update = sealed.row, statements.update_mac[sealed.row.kind]
    at = {name: value for name, value in _columns(row).items() if name in TABLES[row.kind][1]}
    values = update.bind(**at, at_version=row.version, at_body=row.body, new_mac=sealed.mac)
    return Step(update.sql, values, follows=True)


def _columns(row: Row) -> dict[str, str | int]:
    record = read_row(row)
    columns = {name: getattr(record, name) for name in TABLES[row.kind][1]}
    if isinstance(record, Epoch | Request):
        columns["state"] = record.state.value
    return columns
