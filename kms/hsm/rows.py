"""Row MACs: seals and checks rows of this token's own records, nothing else.

The site's token seals Space records; a space's token seals that space's other records.
"""

import hmac
from collections.abc import Iterable

from kms.domain.rows import Record, Row, RowKind, SealedRow, row_key, row_space
from kms.errors import Forbidden, IntegrityFailure
from kms.hsm.keyring import Keyring
from kms.statements.canonical import mac_input, read_row


class RowSealer:
    """Makes and checks MACs for one space's rows; ``space`` is empty for the site's token."""

    def __init__(self, space: str) -> None:
        self._space = space

    def seal(self, keys: Keyring, rows: Iterable[Row]) -> tuple[SealedRow, ...]:
        """Return the rows with their MACs; raise InvalidInput, Forbidden."""
        rows = tuple(rows)
        for row in rows:
            self._check_own(read_row(row))
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

    def _check_own(self, record: Record) -> None:
        kind = RowKind(row_key(record).partition("/")[0])
        if row_space(row_key(record), kind) != self._space:
            raise Forbidden("this token does not seal that record")
