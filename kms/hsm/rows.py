"""Row MACs: seals and checks rows of this token's own records, nothing else.

The site's token seals Space records and what is the site's own; a space's token seals that space's
other records. What people have to approve is sealed by guard.py alone, a disk's next row by
diskkeys.py.
"""

import hmac
from collections.abc import Iterable

from kms.domain.approvals import Request, RequestState
from kms.domain.disks import Disk
from kms.domain.grants import Grant, Hold, Share
from kms.domain.models import Meeting, Recipient, RecipientKind, Space
from kms.domain.policies import SitePolicy, SpacePolicy
from kms.domain.rows import Record, Row, RowKind, SealedRow, row_key, row_space
from kms.domain.states import MeetingState
from kms.errors import ApprovalRequired, Forbidden, IntegrityFailure
from kms.hsm.keyring import Keyring
from kms.statements.canonical import mac_input, read_row


class RowSealer:
    """Makes and checks MACs for one space's rows; ``space`` is empty for the site's token."""

    def __init__(self, space: str) -> None:
        self._space = space

    def seal(self, keys: Keyring, rows: Iterable[Row]) -> tuple[SealedRow, ...]:
        """Return the rows with their MACs; raise InvalidInput, Forbidden, ApprovalRequired."""
        rows = tuple(rows)
        for row in rows:
            record = read_row(row)
            self.check_own(record)
            check_unguarded(record)
        return self.seal_own(keys, rows)

    @staticmethod
    def seal_own(keys: Keyring, rows: Iterable[Row]) -> tuple[SealedRow, ...]:
        """Return rows that the worker made itself, with their MACs."""
        return tuple(SealedRow(row, keys.mac(mac_input(row))) for row in rows)

    @staticmethod
    def check(keys: Keyring, rows: Iterable[SealedRow]) -> None:
        """Raise IntegrityFailure unless every MAC holds."""
        for sealed in rows:
            if not hmac.compare_digest(keys.mac(mac_input(sealed.row)), sealed.mac):
                raise IntegrityFailure("a stored row is not what the service wrote")

    def check_own(self, record: Record) -> None:
        """Raise Forbidden unless the record is this token's to seal."""
        kind = RowKind(row_key(record).partition("/")[0])
        if row_space(row_key(record), kind) != self._space:
            raise Forbidden("this token does not seal that record")
        if isinstance(record, Space) and not record.sealed:
            raise Forbidden("the service can seal a space; ceremonies alone make or unseal one")


def check_unguarded(record: Record) -> None:
    """Raise ApprovalRequired for a record that only an approved request brings about."""
    match record:
        case SpacePolicy() | SitePolicy() | Share() | Disk():
            guarded = True
        case Grant():
            guarded = not record.revoked
        case Hold():
            guarded = bool(record.lifted)
        case Meeting():
            guarded = record.state is MeetingState.DESTROYED
        case Recipient():
            guarded = record.kind is RecipientKind.VAULT and bool(record.revoked)
        case Request():
            guarded = record.state is RequestState.EXECUTED
        case _:
            guarded = False
    if guarded:
        raise ApprovalRequired(f"a row of {row_key(record)} needs an approved request")
