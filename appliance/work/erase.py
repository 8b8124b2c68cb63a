"""Erases what is left on the device of a disk whose keys are destroyed already."""

import os

from appliance.storage.device import DeviceRef, Pinned, pin
from appliance.storage.header import REGION_BYTES, claimed_uuid, claims_luks, read_region
from appliance.storage.metadata import HeaderRefused
from appliance.work.bench import Bench, Outcome
from appliance.work.checking import check_device
from appliance.work.lock import close_at_once
from kms.domain.disks import DiskState
from kms.domain.ids import DiskId
from kms.errors import IntegrityFailure, StateNotAllowed

_OURS = frozenset({"", "crypto_LUKS"})
"""What udev says of a device that was a disk, or half erased."""


def erase(bench: Bench, ref: DeviceRef, disk: DiskId) -> Outcome:
    """Wipe slots and header of a disk, and the backups of its header.

    Raise StateNotAllowed unless its worker says that it is erased, HeaderRefused if another disk's
    header or other content lies on the device, IntegrityFailure if the header region cannot be
    overwritten.
    """
    with pin(ref) as pinned:
        held = bench.link.held(disk)
        if not held.disk.erased:
            raise StateNotAllowed("officers have not erased the disk", hint="see disk erase")
        check_device(ref, held.disk)
        _check_ours(pinned, disk)
        close_at_once(bench, disk)
        bench.told(20, "wiping slots and header")
        pinned.check()
        bench.luks.erase(pinned.path)
        _check_blank(pinned)
        bench.backups.forget(disk)
    return Outcome(DiskState.UNKNOWN, message="slots, header and header backups are wiped")


def _check_ours(pinned: Pinned, disk: DiskId) -> None:
    """Raise HeaderRefused if what lies on the device is not the disk, or its remains."""
    region = read_region(pinned.descriptor)
    if claims_luks(region) and claimed_uuid(region) not in {disk, ""}:
        raise HeaderRefused("uuid", "another encrypted disk's header lies on the device")
    if not claims_luks(region) and pinned.ref.content not in _OURS:
        raise HeaderRefused("content", f"the device holds {pinned.ref.content} by now")


def _check_blank(pinned: Pinned) -> None:
    """Raise IntegrityFailure unless the device itself says that the region is overwritten."""
    os.posix_fadvise(pinned.descriptor, 0, REGION_BYTES, os.POSIX_FADV_DONTNEED)
    if read_region(pinned.descriptor).strip(b"\0"):
        raise IntegrityFailure(
            "the device does not keep what is written over its header",
            hint="destroy the device itself; its keys are gone already",
        )
