"""Rows that carry a MAC, so that a change made behind the service's back is found.

A row's body is the canonical JSON of one typed record. The MAC (HMAC-SHA256 by the token's
row-MAC key) covers kind, key, version and body; the last leaf about the row repeats its version.
"""

from dataclasses import dataclass
from enum import StrEnum

from kms.domain.models import Epoch, Meeting, Recipient, Roster, Space

Record = Space | Recipient | Meeting | Roster | Epoch


class RowKind(StrEnum):
    """Which record a row holds."""

    SPACE = "space"
    RECIPIENT = "recipient"
    MEETING = "meeting"
    ROSTER = "roster"
    EPOCH = "epoch"


RECORD_TYPES: dict[RowKind, type[Record]] = {
    RowKind.SPACE: Space,
    RowKind.RECIPIENT: Recipient,
    RowKind.MEETING: Meeting,
    RowKind.ROSTER: Roster,
    RowKind.EPOCH: Epoch,
}


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Row:
    """One version of one record, as it is MACed and stored; ``version`` counts from 1."""

    kind: RowKind
    key: str
    version: int
    body: bytes


@dataclass(frozen=True, slots=True)
class SealedRow:
    """A row with its MAC (32 bytes)."""

    row: Row
    mac: bytes


def row_key(record: Record) -> str:
    """Return the record's unique key, such as ``meeting/treasury/0193...``."""
    match record:
        case Space():
            return f"space/{record.space}"
        case Recipient():
            return f"recipient/{record.space}/{record.recipient}"
        case Meeting():
            return f"meeting/{record.space}/{record.meeting}"
        case Roster():
            return f"roster/{record.space}/{record.meeting}"
        case Epoch():
            return f"epoch/{record.space}/{record.meeting}/{record.epoch}"
