"""Every statement of the service, compiled once from SQLAlchemy Core to the driver's own text.

The hot path hands that text to the plain DBAPI connection, which keeps it prepared.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
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
    RowKind.POLICY: (t.policy, ("space",)),
    RowKind.SITE_POLICY: (t.site_policy, ("name",)),
    RowKind.REQUEST: (t.request, ("space", "id")),
    RowKind.GRANT: (t.grant, ("space", "grant")),
    RowKind.HOLD: (t.hold, ("space", "hold")),
    RowKind.SHARE: (t.share, ("space", "meeting")),
    RowKind.DISK: (t.disk, ("space", "disk")),
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
        self.present = make(_after(_select(t.epoch, ("space",)).where(t.PRESENT)))
        self.requests, self.newest_requests = map(make, _requests())
        self.request_of = make(_select(t.request, ("id",)))
        self.grants = make(_select(t.grant, ("space",)).order_by(t.grant.c.grant))
        self.holds = make(_select(t.hold, ("space",)).order_by(t.hold.c.hold))
        self.shares = make(_select(t.share, ("space",)).order_by(t.share.c.meeting))
        self.disks = make(_select(t.disk, ()).order_by(t.disk.c.space, t.disk.c.disk))
        self.disk_of = make(_select(t.disk, ("disk",)))
        self.put_device = make(_put(_UPSERT[dialect.name], t.device))
        self.devices = make(sa.select(t.device.c.body).order_by(t.device.c.serial))
        self.device = make(sa.select(t.device.c.body).where(*_equal(t.device, "serial")))
        self.drop_device = make(sa.delete(t.device).where(*_equal(t.device, "serial")))
        self.put_order = make(_put(_UPSERT[dialect.name], t.disk_order))
        orders = sa.select(t.disk_order.c.body)
        self.order_of = make(orders.where(*_equal(t.disk_order, "order")))
        self.open_orders = make(orders.where(t.TO_DO).order_by(t.disk_order.c.order))
        self.orders = make(_newest(orders))
        self.orders_of = make(_newest(orders.where(*_equal(t.disk_order, "disk"))))
        self.kept_for = make(_kept_for())
        self.count_kept = make(
            sa.select(t.envelope.c.space, sa.func.count())
            .where(*_equal(t.envelope, "recipient"))
            .group_by(t.envelope.c.space)
        )
        self.count_envelopes = make(
            sa.select(sa.func.count())
            .select_from(t.envelope)
            .where(*_equal(t.envelope, "space", "meeting", "epoch"))
        )
        self.insert_certificate = make(sa.insert(t.certificate))
        self.certificate = make(
            sa.select(t.certificate.c.jws).where(*_equal(t.certificate, "request"))
        )
        self.take_lease = make(_take_lease(_UPSERT[dialect.name]))
        self.lease = make(
            sa.select(t.lease.c.holder, t.lease.c.until).where(*_equal(t.lease, "name"))
        )
        self.put_mark = make(_put(_UPSERT[dialect.name], t.mark))
        self.mark = make(sa.select(t.mark.c.value).where(*_equal(t.mark, "name")))
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


def _kept_for() -> sa.Select[Any]:
    """Return the SELECT of a page of a space's epochs that one recipient has an envelope of."""
    own = t.epoch.c
    place = sa.and_(
        t.envelope.c.space == own.space,
        t.envelope.c.meeting == own.meeting,
        t.envelope.c.epoch == own.epoch,
        t.envelope.c.recipient == _free("recipient"),
    )
    return _after(_select(t.epoch, ("space",)).join(t.envelope, place))


def _after(epochs: sa.Select[Any]) -> sa.Select[Any]:
    """Return a page of epochs by meeting and number, after one of them."""
    own = t.epoch.c
    after = sa.or_(
        own.meeting > _free("after_meeting"),
        sa.and_(own.meeting == _free("after_meeting"), own.epoch > _free("after_epoch")),
    )
    return epochs.where(after).order_by(own.meeting, own.epoch).limit(_free("limit"))


_UPSERT: dict[str, Callable[[sa.Table], Any]] = {
    "postgresql": postgresql.insert,
    "sqlite": sqlite.insert,
}
"""INSERT that can say what to do about a conflict, by dialect."""


def _take_lease(upsert: Callable[[sa.Table], Any]) -> ClauseElement:
    """Return the upsert that takes a free or own lease; it changes no row of another's."""
    new = upsert(t.lease).values({c.name: _free(c.name) for c in t.lease.c})
    taken = new.on_conflict_do_update(
        index_elements=["name"],
        set_={"holder": new.excluded.holder, "until": new.excluded.until},
        where=sa.or_(t.lease.c.holder == new.excluded.holder, t.lease.c.until <= _free("now")),
    )
    return cast("ClauseElement", taken.returning(t.lease.c.name))


def _put(upsert: Callable[[sa.Table], Any], table: sa.Table) -> ClauseElement:
    """Return the upsert of a row by its key, which takes the place of what was there."""
    new = upsert(table).values({c.name: _free(c.name) for c in table.c})
    kept = {c.name: new.excluded[c.name] for c in table.c if not c.primary_key}
    key = [c.name for c in table.primary_key]
    return cast("ClauseElement", new.on_conflict_do_update(index_elements=key, set_=kept))


def _newest(orders: sa.Select[Any]) -> sa.Select[Any]:
    """Return a page of orders, newest first, before one of them."""
    before = orders.where(t.disk_order.c.order < _free("before"))
    return before.order_by(t.disk_order.c.order.desc()).limit(_free("limit"))


def _requests() -> tuple[sa.Select[Any], sa.Select[Any]]:
    """Select a page of the requests in a state: by id after one, and the last first before one."""
    page, number = _select(t.request, ("state",)).limit(_free("limit")), t.request.c.id
    return (
        page.where(number > _free("after")).order_by(number),
        page.where(number < _free("before")).order_by(number.desc()),
    )


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
