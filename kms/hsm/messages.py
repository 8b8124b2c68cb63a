"""What crosses the channel between the web process and an HSM worker.

A frame is a 4-byte big-endian length and a msgpack body, at most MAX_FRAME bytes. A request is a
whole use case; no message lets a caller choose bytes to sign or blobs to unwrap.
"""

import msgspec

from kms.domain.rows import Row, SealedRow
from kms.hsm.disk_messages import DiskCommand, DiskReleased
from kms.ports import (
    Approved,
    CertifyOrder,
    Minted,
    MintOrder,
    ReportOrder,
    Resealed,
    ResealItem,
    RetireOrder,
    TokenInfo,
)

MAX_FRAME = 8 << 20


class Mint(msgspec.Struct, frozen=True, tag="mint", forbid_unknown_fields=True):
    """Mint one epoch (space tokens)."""

    order: MintOrder


class SealRows(msgspec.Struct, frozen=True, tag="seal-rows", forbid_unknown_fields=True):
    """MAC rows; each must be the canonical form of a typed record of this token's space."""

    rows: tuple[Row, ...]


class SealApproved(msgspec.Struct, frozen=True, tag="seal-approved", forbid_unknown_fields=True):
    """MAC rows that an approved request permits."""

    approved: Approved


class Reseal(msgspec.Struct, frozen=True, tag="reseal", forbid_unknown_fields=True):
    """Wrap epochs' keys to the newest vault key (space tokens)."""

    items: tuple[ResealItem, ...]
    now: int


class RetireVault(msgspec.Struct, frozen=True, tag="retire-vault", forbid_unknown_fields=True):
    """Destroy an older vault key pair, as an approved request says (space tokens)."""

    order: RetireOrder


class Certify(msgspec.Struct, frozen=True, tag="certify", forbid_unknown_fields=True):
    """Sign a destruction certificate (space tokens)."""

    order: CertifyOrder


class CheckRows(msgspec.Struct, frozen=True, tag="check-rows", forbid_unknown_fields=True):
    """Check rows' MACs."""

    rows: tuple[SealedRow, ...]


class SignCheckpoint(
    msgspec.Struct, frozen=True, tag="sign-checkpoint", forbid_unknown_fields=True
):
    """Sign a tree head that extends the last one (site token)."""

    size: int
    root: bytes
    proof: tuple[bytes, ...]


class LastCheckpoint(
    msgspec.Struct, frozen=True, tag="last-checkpoint", forbid_unknown_fields=True
):
    """Ask for the last tree head signed (site token)."""


class SignReport(msgspec.Struct, frozen=True, tag="sign-report", forbid_unknown_fields=True):
    """Sign a statement about a report (site token)."""

    order: ReportOrder


class Describe(msgspec.Struct, frozen=True, tag="describe", forbid_unknown_fields=True):
    """Ask for TokenInfo."""


Command = (
    Mint
    | SealRows
    | SealApproved
    | CheckRows
    | Reseal
    | RetireVault
    | Certify
    | SignCheckpoint
    | LastCheckpoint
    | SignReport
    | Describe
    | DiskCommand
)


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One request; answers come in the order of requests and repeat ``id``."""

    id: int
    command: Command


class MintDone(msgspec.Struct, frozen=True, tag="minted", forbid_unknown_fields=True):
    """Answer to Mint."""

    minted: Minted


class RowsSealed(msgspec.Struct, frozen=True, tag="rows-sealed", forbid_unknown_fields=True):
    """Answer to SealRows and SealApproved, in the same order; to a disk's step: its next row."""

    rows: tuple[SealedRow, ...]


class Done(msgspec.Struct, frozen=True, tag="done", forbid_unknown_fields=True):
    """Answer to CheckRows: all hold; to what destroys keys: they are gone."""


class ResealDone(msgspec.Struct, frozen=True, tag="resealed", forbid_unknown_fields=True):
    """Answer to Reseal."""

    resealed: Resealed


class Certified(msgspec.Struct, frozen=True, tag="certified", forbid_unknown_fields=True):
    """Answer to Certify and CertifyErasure."""

    certificate: str


class CheckpointSigned(msgspec.Struct, frozen=True, tag="checkpoint", forbid_unknown_fields=True):
    """Answer to SignCheckpoint."""

    note: str


class ReportSigned(msgspec.Struct, frozen=True, tag="report-signed", forbid_unknown_fields=True):
    """Answer to SignReport."""

    statement: str


class TreeHead(msgspec.Struct, frozen=True, tag="tree-head", forbid_unknown_fields=True):
    """Answer to LastCheckpoint."""

    size: int
    root: bytes


class Described(msgspec.Struct, frozen=True, tag="described", forbid_unknown_fields=True):
    """Answer to Describe."""

    info: TokenInfo


class Failed(msgspec.Struct, frozen=True, tag="failed", forbid_unknown_fields=True):
    """The request failed: a code of kms.errors and texts without secrets."""

    code: str
    message: str
    hint: str = ""


Answer = (
    MintDone
    | RowsSealed
    | Done
    | ResealDone
    | Certified
    | CheckpointSigned
    | ReportSigned
    | TreeHead
    | Described
    | DiskReleased
    | Failed
)


class Response(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One answer."""

    id: int
    answer: Answer
