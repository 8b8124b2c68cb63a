"""Encrypted disks: their sealed rows, the devices that were seen, orders to the appliance."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TO_DO = sa.text("state IN ('waiting', 'running')")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=False)


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "disk",
        _text("space"),
        _text("disk"),
        sa.Column("version", sa.Integer, nullable=False),
        _bytes("body"),
        _bytes("mac"),
        sa.PrimaryKeyConstraint("space", "disk"),
        sa.ForeignKeyConstraint(["space"], ["space.space"], deferrable=True, initially="DEFERRED"),
        sqlite_strict=True,
    )
    op.create_index("disk_id", "disk", ["disk"], unique=True)
    op.create_table(
        "device",
        _text("serial"),
        _bytes("body"),
        sa.PrimaryKeyConstraint("serial"),
        sqlite_strict=True,
    )
    _make_orders()


def _make_orders() -> None:
    op.create_table(
        "disk_order",
        _text("order"),
        _text("state"),
        _text("disk"),
        _text("serial"),
        sa.Column("created", _BIG, nullable=False),
        _bytes("body"),
        sa.PrimaryKeyConstraint("order"),
        sqlite_strict=True,
    )
    op.create_index("disk_order_disk", "disk_order", ["disk", "order"])
    op.create_index(
        "disk_order_to_do", "disk_order", ["order"], sqlite_where=_TO_DO, postgresql_where=_TO_DO
    )


def downgrade() -> None:
    """Drop what was added."""
    for table in ("disk_order", "device", "disk"):
        op.drop_table(table)
