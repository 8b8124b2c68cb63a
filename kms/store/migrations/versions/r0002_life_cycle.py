"""The life cycle: present epochs; policies, requests, grants, holds, shares; leases, marks."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_ROWS = {
    "policy": ("space",),
    "site-policy": ("name",),
    "grant": ("space", "grant"),
    "hold": ("space", "hold"),
}
_PRESENT = sa.text("state IN ('active', 'suspended', 'compromised')")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, _BIG, nullable=False)


def _sealed() -> tuple[sa.Column[int], sa.Column[bytes], sa.Column[bytes]]:
    return (
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
    )


def upgrade() -> None:
    """Add the tables, and an index of the epochs that are in use."""
    op.create_index(
        "epoch_present",
        "epoch",
        ["space", "meeting", "epoch"],
        sqlite_where=_PRESENT,
        postgresql_where=_PRESENT,
    )
    for table, key in _ROWS.items():
        columns = [_text(name) for name in key]
        key_of = sa.PrimaryKeyConstraint(*key)
        op.create_table(table, *columns, *_sealed(), key_of, sqlite_strict=True)
    _make_requests()
    _make_shares()
    op.create_table(
        "certificate",
        _text("request"),
        _text("jws"),
        sa.PrimaryKeyConstraint("request"),
        sqlite_strict=True,
    )
    op.create_table(
        "lease",
        _text("name"),
        _text("holder"),
        _number("until"),
        sa.PrimaryKeyConstraint("name"),
        sqlite_strict=True,
    )
    op.create_table(
        "mark", _text("name"), _number("value"), sa.PrimaryKeyConstraint("name"), sqlite_strict=True
    )


def _make_requests() -> None:
    op.create_table(
        "request",
        _text("space"),
        _text("id"),
        _text("state"),
        *_sealed(),
        sa.PrimaryKeyConstraint("space", "id"),
        sqlite_strict=True,
    )
    op.create_index("request_id", "request", ["id"], unique=True)
    op.create_index("request_state", "request", ["state", "id"])


def _make_shares() -> None:
    op.create_table(
        "share",
        _text("space"),
        _text("meeting"),
        *_sealed(),
        sa.PrimaryKeyConstraint("space", "meeting"),
        sa.ForeignKeyConstraint(
            ["space", "meeting"],
            ["meeting.space", "meeting.meeting"],
            deferrable=True,
            initially="DEFERRED",
        ),
        sqlite_strict=True,
    )


def downgrade() -> None:
    """Drop what was added."""
    for table in ("mark", "lease", "certificate", "share", "request", *reversed(_ROWS)):
        op.drop_table(table)
    op.drop_index("epoch_present", "epoch")
