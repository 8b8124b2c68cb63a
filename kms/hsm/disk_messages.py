"""What crosses the channel to a space's worker about disks; part of messages.py."""

import msgspec

from kms.domain.rows import SealedRow
from kms.ports import (
    BeginWork,
    CertifyErasureOrder,
    CommitWork,
    DescribeDisk,
    DiskStep,
    EraseOrder,
    FinishWork,
    RotateKek,
)


class _Advance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Make a disk's next row. One command for each step: a union of dataclasses has no tag."""

    disk: SealedRow
    now: int


class BeginDisk(_Advance, frozen=True, tag="begin-disk", forbid_unknown_fields=True):
    """A work begins."""

    step: BeginWork


class CommitDisk(_Advance, frozen=True, tag="commit-disk", forbid_unknown_fields=True):
    """The work's keys are the disk's."""

    step: CommitWork


class FinishDisk(_Advance, frozen=True, tag="finish-disk", forbid_unknown_fields=True):
    """The work is over."""

    step: FinishWork


class RedescribeDisk(_Advance, frozen=True, tag="describe-disk", forbid_unknown_fields=True):
    """The disk has another label or mount policy."""

    step: DescribeDisk


class RotateDiskKek(_Advance, frozen=True, tag="rotate-kek", forbid_unknown_fields=True):
    """The disk gets its next KEK."""

    step: RotateKek


class ReleaseDisk(msgspec.Struct, frozen=True, tag="release-disk", forbid_unknown_fields=True):
    """Seal the disk's keys to the appliance, in answer to its nonce (16 bytes)."""

    disk: SealedRow
    nonce: bytes


class DropKeks(msgspec.Struct, frozen=True, tag="drop-keks", forbid_unknown_fields=True):
    """Destroy the disk's older KEKs."""

    disk: SealedRow


class EraseDisk(msgspec.Struct, frozen=True, tag="erase-disk", forbid_unknown_fields=True):
    """Destroy every KEK of a disk, as an approved request says."""

    order: EraseOrder


class CertifyErasure(
    msgspec.Struct, frozen=True, tag="certify-erasure", forbid_unknown_fields=True
):
    """Sign a certificate of erasure."""

    order: CertifyErasureOrder


AdvanceDisk = BeginDisk | CommitDisk | FinishDisk | RedescribeDisk | RotateDiskKek
DiskCommand = AdvanceDisk | ReleaseDisk | DropKeks | EraseDisk | CertifyErasure


def advance(disk: SealedRow, step: DiskStep, now: int) -> AdvanceDisk:
    """Return the command for a step."""
    match step:
        case BeginWork():
            return BeginDisk(disk, now, step)
        case CommitWork():
            return CommitDisk(disk, now, step)
        case FinishWork():
            return FinishDisk(disk, now, step)
        case DescribeDisk():
            return RedescribeDisk(disk, now, step)
        case RotateKek():
            return RotateDiskKek(disk, now, step)


class DiskReleased(msgspec.Struct, frozen=True, tag="disk-released", forbid_unknown_fields=True):
    """Answer to ReleaseDisk: a JWS (statements/release.py)."""

    release: str
