"""The first schema: sealed rows, envelopes, leaves, checkpoints, replies."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def _blob(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=False)


def _place(name: str) -> sa.Column[int]:
    return sa.Column(name, _BIG, primary_key=True, autoincrement=False)


def _sealed() -> tuple[sa.Column[int], sa.Column[bytes], sa.Column[bytes]]:
    return _number("version"), _blob("body"), _blob("mac")


def _belongs_to(table: str, *names: str) -> sa.ForeignKeyConstraint:
    targets = [f"{table}.{name}" for name in names]
    return sa.ForeignKeyConstraint(names, targets, deferrable=True, initially="DEFERRED")


def upgrade() -> None:
    """Make the tables."""
    _make_rows()
    op.create_index(
        "epoch_pending",
        "epoch",
        ["space", "meeting", "epoch"],
        sqlite_where=sa.text("state = 'pre-activation'"),
        postgresql_where=sa.text("state = 'pre-activation'"),
    )
    op.create_table(
        "envelope",
        _text("space"),
        _text("meeting"),
        _number("epoch"),
        _text("recipient"),
        _blob("blob"),
        sa.PrimaryKeyConstraint("space", "meeting", "epoch", "recipient"),
        _belongs_to("epoch", "space", "meeting", "epoch"),
        sqlite_with_rowid=False,
        sqlite_strict=True,
    )
    op.create_table("leaf", _place("seq"), _blob("body"), sqlite_strict=True)
    op.create_table("checkpoint", _place("size"), _text("note"), sqlite_strict=True)
    op.create_table(
        "reply",
        _text("principal"),
        _text("key"),
        _text("request"),
        _number("status"),
        _blob("body"),
        sa.Column("created", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("principal", "key"),
        sqlite_strict=True,
    )


def _make_rows() -> None:
    op.create_table(
        "space", _text("space"), *_sealed(), sa.PrimaryKeyConstraint("space"), sqlite_strict=True
    )
    for table, second in (("recipient", "recipient"), ("meeting", "meeting")):
        op.create_table(
            table,
            _text("space"),
            _text(second),
            *_sealed(),
            sa.PrimaryKeyConstraint("space", second),
            _belongs_to("space", "space"),
            sqlite_strict=True,
        )
    op.create_table(
        "roster",
        _text("space"),
        _text("meeting"),
        *_sealed(),
        sa.PrimaryKeyConstraint("space", "meeting"),
        _belongs_to("meeting", "space", "meeting"),
        sqlite_strict=True,
    )
    op.create_table(
        "epoch",
        _text("space"),
        _text("meeting"),
        _number("epoch"),
        _text("state"),
        *_sealed(),
        sa.PrimaryKeyConstraint("space", "meeting", "epoch"),
        _belongs_to("meeting", "space", "meeting"),
        sqlite_strict=True,
    )


def downgrade() -> None:
    """Drop the tables, those that point to others first."""
    op.drop_index("epoch_pending", "epoch")
    for table in ("reply", "checkpoint", "leaf", "envelope", "epoch", "roster"):
        op.drop_table(table)
    for table in ("meeting", "recipient", "space"):
        op.drop_table(table)
