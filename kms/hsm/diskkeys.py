"""Keys of encrypted disks: the worker makes them, seals each next row of a disk, and releases keys.

It trusts the row's MAC about what the disk is, its own token about where keys go: recovery keys to
the TRUSTED disk escrow key, releases to the appliance that the worker's own configuration names.
Nothing else of a disk key ever leaves this process in the clear.
"""

import hmac
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from kms.domain.disks import (
    NEW_RECOVERY,
    NEW_SLOT,
    Disk,
    RecoveryKey,
    SlotKey,
    Work,
    check_description,
    check_may_begin,
)
from kms.domain.rows import SealedRow
from kms.errors import IntegrityFailure, InvalidInput, StateNotAllowed, VerificationFailed
from kms.hsm.keks import RECOVERY, SLOT, Keks
from kms.hsm.keyring import SpaceKeyring
from kms.hsm.rows import RowSealer
from kms.hsm.token import Found, Token
from kms.ports import BeginWork, CommitWork, DescribeDisk, DiskStep, FinishWork, RotateKek
from kms.statements.canonical import b64u, make_row, read_row, unb64u
from kms.statements.diskkeys import KEY_BYTES, DiskKeys, bind_recovery, seal_keys, work_proof
from kms.statements.release import DiskRelease, sign_release

FIRST_SECONDS = 7 * 86_400
"""How long after its enrolment a device may be formatted or encrypted by it: a first row that was
kept says for ever that people want that.
"""
_FIRST = frozenset({Work.FORMAT, Work.ENCRYPT})


class DiskKeeper:
    """Keeps the disks of one space. ``appliance``: whom keys are released to; None: to nobody."""

    def __init__(
        self,
        token: Token,
        site: str,
        appliance: X25519PublicKey | None,
        clock: Callable[[], float],
    ) -> None:
        self._token = token
        self._site = site
        self._appliance = appliance
        self._clock = clock
        self._keks = Keks(token, site)

    def advance(self, keys: SpaceKeyring, sealed: SealedRow, step: DiskStep, now: int) -> SealedRow:
        """Return the disk's next row, sealed.

        Raise IntegrityFailure for a row that is not the service's or a key that does not open,
        VerificationFailed for a proof that does not hold, StateNotAllowed, InvalidInput.
        """
        disk = read_disk(keys, sealed)
        version = sealed.row.version
        row = make_row(self._next(keys, disk, version, step, now), version + 1)
        return RowSealer.seal_own(keys, (row,))[0]

    def release(self, keys: SpaceKeyring, sealed: SealedRow, nonce: bytes) -> str:
        """Return the signed release of the disk and every key that its row still names.

        Raise as ``advance``, StateNotAllowed without an appliance too.
        """
        disk = read_disk(keys, sealed)
        if self._appliance is None:
            raise StateNotAllowed(
                "no appliance is configured, so no disk key leaves the HSM",
                hint="put its key into [disks] appliance_key and start the workers anew",
            )
        opened = seal_keys(self._opened(disk), self._appliance, self._site, disk.disk, nonce)
        now = int(self._clock())
        release = DiskRelease(self._site, disk, sealed.row.version, b64u(nonce), now, b64u(opened))
        return sign_release(release, keys.manifest_kid, keys.sign_manifest)

    def drop_keks(self, keys: SpaceKeyring, sealed: SealedRow) -> None:
        """Destroy the KEKs that are older than each that the row names.

        Raise IntegrityFailure, StateNotAllowed while a work goes on: what it brings opens nothing
        before the appliance says so.
        """
        disk = _at_rest(read_disk(keys, sealed))
        named = [one.kek for one in (disk.key, disk.next_key, *_sealed_recoveries(disk)) if one]
        if named:
            self._keks.destroy_below(disk, min(named))

    # --- steps -----------------------------------------------------------------------------------

    def _next(self, keys: SpaceKeyring, disk: Disk, version: int, step: DiskStep, now: int) -> Disk:
        match step:
            case BeginWork():
                return self._begun(keys, disk, step.work, now)
            case CommitWork():
                return self._proved(disk.commit(), disk, version, step)
            case FinishWork():
                done = disk.finish(_checked_digest(step.header), now)
                return self._proved(done, disk, version, step, step.header)
            case DescribeDisk():
                check_description(step.label, step.mount)
                return replace(_at_rest(disk), label=step.label, mount=step.mount)
            case RotateKek():
                return self._rotated(_at_rest(disk))

    def _proved(
        self, after: Disk, disk: Disk, version: int, step: CommitWork | FinishWork, header: str = ""
    ) -> Disk:
        """Return ``after`` if the appliance, which alone has the keys, says that it came to that:
        whoever merely asks would otherwise have the only keys of a disk replaced by none of it.
        """
        wanted = work_proof(self._opened(disk), self._site, disk.disk, version, header)
        if not hmac.compare_digest(wanted.encode(), step.proof.encode()):
            raise VerificationFailed(
                "the appliance did not say that of the disk's keys",
                hint="the appliance fetches the keys anew and tells again how far the work is",
            )
        return after

    def _begun(self, keys: SpaceKeyring, disk: Disk, work: Work, now: int) -> Disk:
        check_may_begin(disk, work)
        if work in _FIRST and self._clock() - disk.enrolled > FIRST_SECONDS:
            raise StateNotAllowed(
                "the disk was enrolled more than seven days ago and never prepared",
                hint="enrol the device anew, after an erasure of this disk",
            )
        escrow = keys.disk_escrow() if work in NEW_RECOVERY else None
        current = disk.key.kek if disk.key and work is not Work.RECOVER else 0
        kek = current or self._keks.make(disk)
        key = self._new_slot_key(disk, kek, now) if work in NEW_SLOT else None
        recovery = self._new_recovery_key(escrow, disk, kek, now) if escrow else None
        return replace(disk.began(work, key, recovery), keks=max(disk.keks, kek))

    def _new_slot_key(self, disk: Disk, kek: int, now: int) -> SlotKey:
        key = self._token.random(KEY_BYTES)
        return SlotKey(kek, self._keks.seal(disk, kek, SLOT, key), now)

    def _new_recovery_key(self, escrow: Found, disk: Disk, kek: int, now: int) -> RecoveryKey:
        key, generation = self._token.random(KEY_BYTES), escrow.label.number
        bound = bind_recovery(key, self._site, disk, generation)
        escrowed = b64u(self._token.encrypt_oaep(escrow.handle, bound))
        return RecoveryKey(
            generation, escrowed, now, kek, self._keks.seal(disk, kek, RECOVERY, key)
        )

    def _rotated(self, disk: Disk) -> Disk:
        if disk.key is None:
            raise StateNotAllowed("the disk has no keys yet")
        key = self._keks.open(disk, disk.key.kek, SLOT, disk.key.sealed)
        kek = self._keks.make(disk)
        sealed = self._keks.seal(disk, kek, SLOT, key)
        return replace(disk, key=replace(disk.key, kek=kek, sealed=sealed), keks=kek)

    def _opened(self, disk: Disk) -> DiskKeys:
        """Return what the row still names; what a recovery replaces, unless it is lost."""
        recovers = disk.work is Work.RECOVER and disk.next_key is not None
        open_old = self._open_unless_lost if recovers else self._open
        return DiskKeys(
            key=open_old(disk, SLOT, disk.key),
            next_key=self._open(disk, SLOT, disk.next_key),
            recovery=open_old(disk, RECOVERY, disk.recovery),
            next_recovery=self._open(disk, RECOVERY, disk.next_recovery),
        )

    def _open_unless_lost(
        self, disk: Disk, purpose: str, key: SlotKey | RecoveryKey | None
    ) -> bytes | None:
        """Return a key; None if its KEK is gone, or is not what it was: a recovery that was only
        begun takes no key away, and one that is needed does not need the old KEK.
        """
        try:
            return self._open(disk, purpose, key)
        except (StateNotAllowed, IntegrityFailure):
            return None

    def _open(self, disk: Disk, purpose: str, key: SlotKey | RecoveryKey | None) -> bytes | None:
        if key is None or not key.sealed:
            return None
        return self._keks.open(disk, key.kek, purpose, key.sealed)


def read_disk(keys: SpaceKeyring, sealed: SealedRow) -> Disk:
    """Return a disk from its row; raise IntegrityFailure for a row that is not this token's,
    InvalidInput for one of something else.
    """
    RowSealer.check(keys, (sealed,))
    disk = read_row(sealed.row)
    if not isinstance(disk, Disk):
        raise InvalidInput("the row is not a disk's")
    return disk


def _at_rest(disk: Disk) -> Disk:
    """Return the disk; raise StateNotAllowed while a work goes on, or once it is erased."""
    if disk.erased:
        raise StateNotAllowed("the disk is erased")
    if disk.work is not Work.NONE:
        raise StateNotAllowed(f"the work {disk.work} is not over", hint="it goes on by itself")
    return disk


def _sealed_recoveries(disk: Disk) -> tuple[RecoveryKey, ...]:
    return tuple(one for one in (disk.recovery, disk.next_recovery) if one and one.sealed)


def _checked_digest(header: str) -> str:
    if len(unb64u(header)) != sha256().digest_size:
        raise InvalidInput("a header is named by its SHA-256 in base64url")
    return header
