"""Every statement of the service, compiled once from SQLAlchemy Core to the driver's own text.

The hot path hands that text to the plain DBAPI connection, which keeps it prepared.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.expression import ClauseElement

from kms.domain.rows import RowKind
from kms.store import tables as t

CHUNKS = (64, 32, 16, 8, 4, 2, 1)
"""Rows in one INSERT: each statement hands the interpreter's lock over once, not once a row."""

TABLES: dict[RowKind, tuple[sa.Table, tuple[str, ...]]] = {
    RowKind.SPACE: (t.space, ("space",)),
    RowKind.RECIPIENT: (t.recipient, ("space", "recipient")),
    RowKind.MEETING: (t.meeting, ("space", "meeting")),
    RowKind.ROSTER: (t.roster, ("space", "meeting")),
    RowKind.EPOCH: (t.epoch, ("space", "meeting", "epoch")),
}
"""Where each kind of row lies, and its key's columns in the order of the key's text."""


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL text with positional parameters, their names in order, and those that never change."""

    sql: str
    names: tuple[str, ...]
    fixed: Mapping[str, Any]

    def bind(self, **values: Any) -> tuple[Any, ...]:
        """Return the parameters in order."""
        every = {**self.fixed, **values}
        return tuple([every[name] for name in self.names])


def compiled(clause: ClauseElement, dialect: Dialect) -> Statement:
    """Return a clause as the text that the driver runs."""
    result = clause.compile(dialect=dialect)
    fixed = {name: value for name, value in result.params.items() if value is not None}
    return Statement(str(result), tuple(getattr(result, "positiontup", None) or ()), fixed)


def in_chunks(
    inserts: Mapping[int, Statement], rows: Sequence[tuple[Any, ...]]
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield the statements, with their parameters, that insert rows in the columns' order."""
    at = 0
    for size, insert in inserts.items():
        while len(rows) - at >= size:
            yield insert.sql, tuple(chain.from_iterable(rows[at : at + size]))
            at += size


class Statements:
    """The statements in one dialect; its paramstyle must be positional."""

    def __init__(self, dialect: Dialect) -> None:
        def make(clause: ClauseElement) -> Statement:
            return compiled(clause, dialect)

        self.insert_row = {kind: make(sa.insert(table)) for kind, (table, _) in TABLES.items()}
        self.update_row = {
            kind: make(_update(table, *key)) for kind, (table, key) in TABLES.items()
        }
        self.update_mac = {
            kind: make(_update_mac(table, *key)) for kind, (table, key) in TABLES.items()
        }
        self.row = {kind: make(_select(table, key)) for kind, (table, key) in TABLES.items()}
        self.meetings = make(_page(t.meeting, ("space",), "meeting"))
        self.epochs = make(_page(t.epoch, ("space", "meeting"), "epoch"))
        self.recipients = make(_select(t.recipient, ("space",)).order_by(t.recipient.c.recipient))
        self.spaces = make(_select(t.space, ()).order_by(t.space.c.space))
        self.pending = make(
            _select(t.epoch, ())
            .where(t.epoch.c.state == t.PENDING)
            .order_by(t.epoch.c.space, t.epoch.c.meeting, t.epoch.c.epoch)
        )
        self.insert_envelopes = {size: make(_insert(t.envelope, size)) for size in CHUNKS}
        self.drop_envelopes = make(
            sa.delete(t.envelope).where(*_equal(t.envelope, "space", "meeting", "epoch"))
        )
        one_envelope = _equal(t.envelope, "space", "meeting", "epoch", "recipient")
        self.drop_envelope = make(sa.delete(t.envelope).where(*one_envelope))
        self.envelope = make(sa.select(t.envelope.c.blob).where(*one_envelope))
        self.insert_reply = make(sa.insert(t.reply))
        self.reply = make(
            sa.select(t.reply.c.request, t.reply.c.status, t.reply.c.body).where(
                *_equal(t.reply, "principal", "key")
            )
        )
        self.insert_checkpoint = make(sa.insert(t.checkpoint))
        self.checkpoints = make(
            sa.select(t.checkpoint)
            .where(t.checkpoint.c.size > _free("after"))
            .order_by(t.checkpoint.c.size)
            .limit(_free("limit"))
        )
        self.last_checkpoint = make(
            sa.select(t.checkpoint).where(
                t.checkpoint.c.size == sa.select(sa.func.max(t.checkpoint.c.size)).scalar_subquery()
            )
        )
        self.insert_leaves = {size: make(_insert(t.leaf, size)) for size in CHUNKS}
        self.all_leaves = make(sa.select(t.leaf.c.seq, t.leaf.c.body).order_by(t.leaf.c.seq))
        self.leaves = make(
            sa.select(t.leaf.c.body)
            .where(t.leaf.c.seq >= _free("start"), t.leaf.c.seq < _free("stop"))
            .order_by(t.leaf.c.seq)
        )


def _equal(table: sa.Table, *names: str) -> list[sa.ColumnElement[bool]]:
    return [table.c[name] == _free(name) for name in names]


def _select(table: sa.Table, key: tuple[str, ...]) -> sa.Select[Any]:
    own = TABLES[RowKind(table.name)][1]
    columns = [table.c[name] for name in (*own, "version", "body", "mac")]
    return sa.select(*columns).where(*_equal(table, *key))


def _page(table: sa.Table, within: tuple[str, ...], by: str) -> sa.Select[Any]:
    page = _select(table, within).where(table.c[by] > _free("after"))
    return page.order_by(table.c[by]).limit(_free("limit"))


def _update(table: sa.Table, *key: str) -> sa.Update:
    where = [table.c[name] == _free(f"at_{name}") for name in key]
    where.append(table.c.version == _free("old_version"))
    changed = [c.name for c in table.c if c.name not in key]
    return sa.update(table).where(*where).values({name: _free(f"new_{name}") for name in changed})


def _update_mac(table: sa.Table, *key: str) -> sa.Update:
    """Return the UPDATE of a row's MAC alone, where version and body are still those sealed."""
    where = [*_equal(table, *key), table.c.version == _free("at_version")]
    where.append(table.c.body == _free("at_body"))
    return sa.update(table).where(*where).values(mac=_free("new_mac"))


def _insert(table: sa.Table, size: int) -> sa.Insert:
    """Return the INSERT of so many rows; its parameters are theirs in the columns' order."""
    return sa.insert(table).values(
        [{column.name: _free(f"{column.name}{i}") for column in table.c} for i in range(size)]
    )


def _free(name: str) -> sa.BindParameter[Any]:
    return sa.bindparam(name)
