"""The tables, defined once for every database. Rows are sealed, envelopes signed by their manifest.

Foreign keys are checked at the commit, so the order of changes within a unit does not matter.
"""

import sqlalchemy as sa

METADATA = sa.MetaData()
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _key(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, primary_key=True) for name in names]


def _sealed() -> list[sa.Column[int] | sa.Column[bytes]]:
    return [
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
    ]


def _belongs_to(table: str, *names: str) -> sa.ForeignKeyConstraint:
    targets = [f"{table}.{name}" for name in names]
    return sa.ForeignKeyConstraint(names, targets, deferrable=True, initially="DEFERRED")


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, primary_key=True, autoincrement=False)


space = sa.Table("space", METADATA, *_key("space"), *_sealed(), sqlite_strict=True)
recipient = sa.Table(
    "recipient",
    METADATA,
    *_key("space", "recipient"),
    *_sealed(),
    _belongs_to("space", "space"),
    sqlite_strict=True,
)
meeting = sa.Table(
    "meeting",
    METADATA,
    *_key("space", "meeting"),
    *_sealed(),
    _belongs_to("space", "space"),
    sqlite_strict=True,
)
roster = sa.Table(
    "roster",
    METADATA,
    *_key("space", "meeting"),
    *_sealed(),
    _belongs_to("meeting", "space", "meeting"),
    sqlite_strict=True,
)
epoch = sa.Table(
    "epoch",
    METADATA,
    *_key("space", "meeting"),
    _number("epoch"),
    sa.Column("state", sa.Text, nullable=False),
    *_sealed(),
    _belongs_to("meeting", "space", "meeting"),
    sqlite_strict=True,
)
PRESENT = sa.literal_column("state").in_(
    [sa.literal_column(f"'{state}'") for state in ("active", "suspended", "compromised")]
)
PENDING: sa.ColumnClause[str] = sa.literal_column("'pre-activation'")
"""Literals, not parameters: only so does the planner use the partial indexes below."""
sa.Index(
    "epoch_pending",
    epoch.c.space,
    epoch.c.meeting,
    epoch.c.epoch,
    sqlite_where=epoch.c.state == PENDING,
    postgresql_where=epoch.c.state == PENDING,
)
sa.Index(
    "epoch_present",
    epoch.c.space,
    epoch.c.meeting,
    epoch.c.epoch,
    sqlite_where=PRESENT,
    postgresql_where=PRESENT,
)
envelope = sa.Table(
    "envelope",
    METADATA,
    *_key("space", "meeting"),
    _number("epoch"),
    *_key("recipient"),
    sa.Column("blob", sa.LargeBinary, nullable=False),
    _belongs_to("epoch", "space", "meeting", "epoch"),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)
leaf = sa.Table(
    "leaf",
    METADATA,
    sa.Column("seq", _BIG, primary_key=True, autoincrement=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sqlite_strict=True,
)
checkpoint = sa.Table(
    "checkpoint",
    METADATA,
    sa.Column("size", _BIG, primary_key=True, autoincrement=False),
    sa.Column("note", sa.Text, nullable=False),
    sqlite_strict=True,
)
policy = sa.Table("policy", METADATA, *_key("space"), *_sealed(), sqlite_strict=True)
site_policy = sa.Table("site-policy", METADATA, *_key("name"), *_sealed(), sqlite_strict=True)
request = sa.Table(
    "request",
    METADATA,
    *_key("space", "id"),
    sa.Column("state", sa.Text, nullable=False),
    *_sealed(),
    sqlite_strict=True,
)
sa.Index("request_id", request.c.id, unique=True)
sa.Index("request_state", request.c.state, request.c.id)
grant = sa.Table("grant", METADATA, *_key("space", "grant"), *_sealed(), sqlite_strict=True)
hold = sa.Table("hold", METADATA, *_key("space", "hold"), *_sealed(), sqlite_strict=True)
share = sa.Table(
    "share",
    METADATA,
    *_key("space", "meeting"),
    *_sealed(),
    _belongs_to("meeting", "space", "meeting"),
    sqlite_strict=True,
)
disk = sa.Table(
    "disk",
    METADATA,
    *_key("space", "disk"),
    *_sealed(),
    _belongs_to("space", "space"),
    sqlite_strict=True,
)
sa.Index("disk_id", disk.c.disk, unique=True)
device = sa.Table(
    "device",
    METADATA,
    *_key("serial"),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sqlite_strict=True,
)
disk_order = sa.Table(
    "disk_order",
    METADATA,
    *_key("order"),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("disk", sa.Text, nullable=False),
    sa.Column("serial", sa.Text, nullable=False),
    sa.Column("created", _BIG, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sqlite_strict=True,
)
TO_DO = sa.literal_column("state").in_(
    [sa.literal_column(f"'{state}'") for state in ("waiting", "running")]
)
sa.Index("disk_order_disk", disk_order.c.disk, disk_order.c.order)
sa.Index(
    "disk_order_to_do",
    disk_order.c.order,
    sqlite_where=TO_DO,
    postgresql_where=TO_DO,
)
certificate = sa.Table(
    "certificate",
    METADATA,
    *_key("request"),
    sa.Column("jws", sa.Text, nullable=False),
    sqlite_strict=True,
)
lease = sa.Table(
    "lease",
    METADATA,
    *_key("name"),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("until", _BIG, nullable=False),
    sqlite_strict=True,
)
mark = sa.Table(
    "mark",
    METADATA,
    *_key("name"),
    sa.Column("value", _BIG, nullable=False),
    sqlite_strict=True,
)
reply = sa.Table(
    "reply",
    METADATA,
    *_key("principal", "key"),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("created", _BIG, nullable=False),
    sqlite_strict=True,
)
