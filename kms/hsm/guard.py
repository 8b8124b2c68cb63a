"""What a worker seals only for an approved request, and its own look at that request.

It trusts the site root on its token, its clock, and nobody's word that enough people approved:
a web process gone bad gets no row that people have not signed for.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from kms.domain.approvals import (
    EpochTarget,
    GrantWish,
    HoldTarget,
    MeetingTarget,
    PolicyChange,
    Request,
    RequestState,
    Sharing,
    SitePolicyChange,
    VaultTarget,
    check_needs,
    grant_of,
    side_needs,
)
from kms.domain.disks import Disk, DiskTarget, DiskWish, disk_of
from kms.domain.grants import Hold, Share
from kms.domain.ids import SpaceName
from kms.domain.models import Epoch, Meeting, Recipient, RecipientKind
from kms.domain.people import Register
from kms.domain.policies import SITE_POLICY, GroupNeed, SitePolicy, SpacePolicy
from kms.domain.rows import Record, Row, SealedRow, row_key
from kms.domain.states import KeyState, MeetingState
from kms.errors import Forbidden, VerificationFailed
from kms.hsm.keyring import Keyring
from kms.hsm.rows import RowSealer
from kms.ports import Approved
from kms.statements.canonical import digest, read_row
from kms.statements.register import verify_register
from kms.statements.request import CheckedRequest, OperationRequest, check_quorum, verify_request

_ERASE = "disk.erase"
_ENDED_SECONDS = 60
"""How far the time at which a request ended may lie from the worker's clock."""


class Guard:
    """Checks approved requests for one token and seals what they permit; ``space`` is empty for
    the site's. Remembers the newest register and policy that it was shown, as long as it lives.
    """

    def __init__(self, site: str, rows: RowSealer, clock: Callable[[], float] = time.time) -> None:
        self._site = site
        self._rows = rows
        self._clock = clock
        self._register_version = 0
        self._policy_version = 0

    def seal(self, keys: Keyring, approved: Approved) -> tuple[SealedRow, ...]:
        """Return the request's row and those that it permits, with their MACs.

        Raise VerificationFailed, QuorumNotMet, Forbidden, InvalidInput, StateNotAllowed or
        IntegrityFailure for the row of a disk that is erased already, or is not the service's.
        """
        register = self.register(keys, approved.register)
        checked = self._check(keys, approved, register)
        rows = tuple(approved.rows)
        for row in (approved.request, *rows):
            self._rows.check_own(read_row(row))
        check_permitted(checked, rows)
        if checked.wanted.operation == _ERASE:
            self._check_erased(keys, rows[0], approved.before)
        check_now(rows, self._clock())
        return self._rows.seal_own(keys, (approved.request, *rows))

    def register(self, keys: Keyring, token: str) -> Register:
        """Return the register that the site root on this token signed, unless a newer one was
        shown before; raise VerificationFailed.
        """
        register = verify_register(token, keys.site_root())
        if register.site != self._site:
            raise VerificationFailed("the register of people is another site's")
        if register.version < self._register_version:
            raise VerificationFailed("a newer register of people was shown to this token before")
        self._register_version = register.version
        return register

    def _check(self, keys: Keyring, approved: Approved, register: Register) -> CheckedRequest:
        record, now = read_row(approved.request), int(self._clock())
        if not isinstance(record, Request) or record.state is not RequestState.EXECUTED:
            raise VerificationFailed("what permits rows is a request that is carried out with them")
        if abs(record.ended - now) > _ENDED_SECONDS:
            raise VerificationFailed("the request was not carried out now: a clock is wrong")
        sha256 = digest(approved.register.encode())
        checked = verify_request(record, self._site, register, sha256)
        self._check_needs(keys, checked, register, approved.policy)
        check_quorum(checked, register, now)
        return checked

    def _check_erased(self, keys: Keyring, row: Row, before: SealedRow | None) -> None:
        """Raise Forbidden unless the row is that of a disk which this token sealed, without its
        keys: device, KEKs and escrow are what the certificate will name.
        """
        if before is None:
            raise Forbidden("an erasure shows the disk's row as it stands")
        self._rows.check(keys, (before,))
        old, gone = read_row(before.row), read_row(row)
        follows = row.version == before.row.version + 1
        same = isinstance(old, Disk) and isinstance(gone, Disk) and gone == old.erase(gone.erased)
        if not (follows and same):
            raise Forbidden(f"the request for {_ERASE} does not permit these rows")

    def _check_needs(
        self, keys: Keyring, checked: CheckedRequest, register: Register, policy: SealedRow | None
    ) -> None:
        """Raise VerificationFailed unless the quorum is the one that the space's policy, or the
        default, demands. Of a partner's side this token can only tell that there is one.
        """
        wanted = checked.wanted
        own = side_needs(wanted.operation, register, self._policy(keys, wanted.space, policy))
        rest = wanted.quorum[len(own) :]
        if wanted.quorum[: len(own)] != own or bool(rest) is not wanted.rule.both:
            raise VerificationFailed("the request names another quorum than the one in force")
        if isinstance(checked.parameters, Sharing):
            _check_partner(rest, checked.parameters.partner)

    def _policy(self, keys: Keyring, space: str, sealed: SealedRow | None) -> SpacePolicy | None:
        """Return the space's policy that the caller says is in force; raise IntegrityFailure,
        VerificationFailed for another space's, or for an older one than was shown before.
        """
        version, policy = 0, None
        if sealed is not None:
            self._rows.check(keys, (sealed,))
            record, version = read_row(sealed.row), sealed.row.version
            if not isinstance(record, SpacePolicy) or record.space != space:
                raise VerificationFailed("this is not the space's policy")
            policy = record
        if version < self._policy_version:
            raise VerificationFailed("a newer policy was shown to this token before")
        self._policy_version = version
        return policy


def check_executed(
    site: str, keys: Keyring, sealed: SealedRow, token: str
) -> tuple[Request, CheckedRequest]:
    """Return a request that was carried out before, once everything in it has held under the
    register (JWS) of that time.

    Raise IntegrityFailure for a row that is not the service's, VerificationFailed or QuorumNotMet
    for a request or register that does not hold, Forbidden for one that was not carried out.
    """
    RowSealer.check(keys, (sealed,))
    record = read_row(sealed.row)
    if not isinstance(record, Request) or record.state is not RequestState.EXECUTED:
        raise Forbidden("only what an executed request asked for is done")
    register = verify_register(token, keys.site_root())
    checked = verify_request(record, site, register, digest(token.encode()))
    check_quorum(checked, register, record.ended)
    return record, checked


def _check_partner(needs: Sequence[GroupNeed], partner: str) -> None:
    check_needs(needs)
    if any(need.space != partner for need in needs):
        raise VerificationFailed("nobody of the partner's space is asked")


# --- what a request permits ----------------------------------------------------------------------

_Fits = Callable[[OperationRequest, Any, Record, int], bool]
"""Whether a record, in a row of that version, is what a request with those parameters permits."""


def check_permitted(checked: CheckedRequest, rows: Sequence[Row]) -> None:
    """Raise Forbidden unless the rows are exactly what the request's parameters permit.

    The rows of a meeting's destruction may come in parts.
    """
    wanted, parameters = checked.wanted, checked.parameters
    count, fits = _PERMITTED[wanted.operation]
    expected = max(1, len(rows)) if count is None else count
    whole = len({row.key for row in rows}) == len(rows) == expected
    if not whole or not all(fits(wanted, parameters, read_row(row), row.version) for row in rows):
        raise Forbidden(f"the request for {wanted.operation} does not permit these rows")


def check_now(rows: Sequence[Row], now: float) -> None:
    """Raise Forbidden for a disk that is not enrolled, or erased, now."""
    for disk in map(read_row, rows):
        if isinstance(disk, Disk) and abs((disk.erased or disk.enrolled) - now) > _ENDED_SECONDS:
            raise Forbidden("the disk's time is not the request's: a clock is wrong")


def _epoch_in(state: KeyState) -> _Fits:
    def fits(wanted: OperationRequest, target: EpochTarget, record: Record, _: int) -> bool:
        return (
            isinstance(record, Epoch)
            and (record.space, record.meeting) == (wanted.space, target.meeting)
            and (record.epoch, record.state) == (target.epoch, state)
        )

    return fits


def _meeting_gone(wanted: OperationRequest, target: MeetingTarget, record: Record, _: int) -> bool:
    if not isinstance(record, Meeting | Epoch):
        return False
    gone = record.state in {MeetingState.DESTROYED, KeyState.DESTROYED}
    return gone and (record.space, record.meeting) == (wanted.space, target.meeting)


def _hold_lifted(wanted: OperationRequest, target: HoldTarget, record: Record, _: int) -> bool:
    lifted = isinstance(record, Hold) and bool(record.lifted)
    return lifted and row_key(record) == f"hold/{wanted.space}/{target.hold}"


def _policy(_: OperationRequest, change: PolicyChange, record: Record, version: int) -> bool:
    return (record, version) == (change.policy, change.version)


def _site_policy(
    _: OperationRequest, change: SitePolicyChange, record: Record, version: int
) -> bool:
    return (record, version) == (SitePolicy(SITE_POLICY, change.text), change.version)


def _grant(wanted: OperationRequest, wish: GrantWish, record: Record, version: int) -> bool:
    granted = grant_of(SpaceName(wanted.space), wanted.id, wish, wanted.reason)
    return (record, version) == (granted, 1)


def _share(wanted: OperationRequest, sharing: Sharing, record: Record, _: int) -> bool:
    if not isinstance(record, Share | Meeting) or record.partner != sharing.partner:
        return False
    if isinstance(record, Meeting) and record.state is MeetingState.DESTROYED:
        return False
    if isinstance(record, Share) and record.request != wanted.id:
        return False
    return (record.space, record.meeting) == (wanted.space, sharing.meeting)


def _vault_revoked(wanted: OperationRequest, target: VaultTarget, record: Record, _: int) -> bool:
    return (
        isinstance(record, Recipient)
        and record.kind is RecipientKind.VAULT
        and (record.space, record.version) == (wanted.space, target.version)
        and bool(record.revoked)
    )


def _disk_enrolled(wanted: OperationRequest, wish: DiskWish, record: Record, version: int) -> bool:
    return (
        isinstance(record, Disk)
        and version == 1
        and record == disk_of(SpaceName(wanted.space), wish, record.enrolled)
    )


def _disk_erased(wanted: OperationRequest, target: DiskTarget, record: Record, _: int) -> bool:
    """Whether a disk is without every key: its last row. What it was, the guard asks."""
    return (
        isinstance(record, Disk)
        and (record.space, record.disk) == (wanted.space, target.disk)
        and record.erased > 0
        and record == replace(record, erased=0).erase(record.erased)
    )


def _nothing(_wanted: OperationRequest, _target: Any, _record: Record, _version: int) -> bool:
    """Whether a record is permitted by a request that changes none."""
    return False


_PERMITTED: dict[str, tuple[int | None, _Fits]] = {
    "epoch.resume": (1, _epoch_in(KeyState.ACTIVE)),
    "epoch.destroy": (1, _epoch_in(KeyState.DESTROYED)),
    "meeting.destroy": (None, _meeting_gone),
    "hold.lift": (1, _hold_lifted),
    "policy.change": (1, _policy),
    "site-policy.change": (1, _site_policy),
    "grant.create": (1, _grant),
    "meeting.share": (2, _share),
    "vault.retire": (1, _vault_revoked),
    "disk.enroll": (1, _disk_enrolled),
    _ERASE: (1, _disk_erased),
    "report.unmask": (0, _nothing),
}
"""For each operation how many rows (None: any number from 1) and which."""
