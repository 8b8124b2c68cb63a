"""Rows that carry a MAC, so that a change made behind the service's back is found.

A row's body is the canonical JSON of one typed record. The MAC (HMAC-SHA256 by the token's
row-MAC key) covers kind, key, version and body; the last leaf about the row repeats its version.
"""

from dataclasses import dataclass
from enum import StrEnum

from kms.domain.approvals import Request
from kms.domain.disks import Disk
from kms.domain.grants import Grant, Hold, Share
from kms.domain.models import Epoch, Meeting, Recipient, Roster, Space
from kms.domain.policies import SitePolicy, SpacePolicy

Record = (
    Space
    | Recipient
    | Meeting
    | Roster
    | Epoch
    | SpacePolicy
    | SitePolicy
    | Request
    | Grant
    | Hold
    | Share
    | Disk
)


class RowKind(StrEnum):
    """Which record a row holds."""

    SPACE = "space"
    RECIPIENT = "recipient"
    MEETING = "meeting"
    ROSTER = "roster"
    EPOCH = "epoch"
    POLICY = "policy"
    SITE_POLICY = "site-policy"
    REQUEST = "request"
    GRANT = "grant"
    HOLD = "hold"
    SHARE = "share"
    DISK = "disk"


RECORD_TYPES: dict[RowKind, type[Record]] = {
    RowKind.SPACE: Space,
    RowKind.RECIPIENT: Recipient,
    RowKind.MEETING: Meeting,
    RowKind.ROSTER: Roster,
    RowKind.EPOCH: Epoch,
    RowKind.POLICY: SpacePolicy,
    RowKind.SITE_POLICY: SitePolicy,
    RowKind.REQUEST: Request,
    RowKind.GRANT: Grant,
    RowKind.HOLD: Hold,
    RowKind.SHARE: Share,
    RowKind.DISK: Disk,
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


def row_space(key: str, kind: RowKind) -> str:
    """Return whose token seals a row: a space's, or the site's (empty)."""
    if kind in {RowKind.SPACE, RowKind.SITE_POLICY}:
        return ""
    return key.split("/", 2)[1]


_KEYS: dict[type[Record], tuple[RowKind, tuple[str, ...]]] = {
    Space: (RowKind.SPACE, ("space",)),
    Recipient: (RowKind.RECIPIENT, ("space", "recipient")),
    Meeting: (RowKind.MEETING, ("space", "meeting")),
    Roster: (RowKind.ROSTER, ("space", "meeting")),
    Epoch: (RowKind.EPOCH, ("space", "meeting", "epoch")),
    SpacePolicy: (RowKind.POLICY, ("space",)),
    SitePolicy: (RowKind.SITE_POLICY, ("name",)),
    Request: (RowKind.REQUEST, ("space", "id")),
    Grant: (RowKind.GRANT, ("space", "grant")),
    Hold: (RowKind.HOLD, ("space", "hold")),
    Share: (RowKind.SHARE, ("space", "meeting")),
    Disk: (RowKind.DISK, ("space", "disk")),
}


def row_key(record: Record) -> str:
    """Return the record's unique key, such as ``meeting/treasury/0193...``."""
    kind, names = _KEYS[type(record)]
    return "/".join([kind, *(str(getattr(record, name)) for name in names)])
