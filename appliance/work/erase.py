"""Erases what is left on the device of a disk whose keys are destroyed already."""

import os
from collections.abc import Mapping

from appliance.storage.device import DeviceRef, Pinned, pin
from appliance.storage.file_systems import content_of
from appliance.storage.header import (
    REGION_BYTES,
    claimed_uuid,
    claims_luks,
    parse_region,
    read_region,
)
from appliance.storage.header_policy import TOKEN
from appliance.storage.metadata import HeaderRefused
from appliance.work.bench import Bench, Outcome
from appliance.work.checking import check_device, identifiers
from appliance.work.lock import close_at_once
from kms.domain.disks import DiskState
from kms.domain.ids import DiskId
from kms.errors import IntegrityFailure, StateNotAllowed


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
        _check_ours(pinned, identifiers(held.disk, bench.link.site))
        close_at_once(bench, disk)
        bench.told(20, "wiping slots and header")
        pinned.check()
        bench.luks.erase(pinned.path)
        _check_blank(pinned)
        bench.backups.forget(disk)
    return Outcome(DiskState.UNKNOWN, message="slots, header and header backups are wiped")


def _check_ours(pinned: Pinned, ours: dict[str, str]) -> None:
    """Raise HeaderRefused if what lies on the device is not the disk, or its remains: by what udev
    said when it appeared, and by what is there now.
    """
    region, told = read_region(pinned.descriptor), pinned.ref.content
    if not claims_luks(region):
        found = content_of(region) or ("" if told == "crypto_LUKS" else told)
        if found:
            raise HeaderRefused("content", f"the device holds {found} by now")
    elif claimed_uuid(region) not in {ours["disk"], ""}:
        raise HeaderRefused("uuid", "another encrypted disk's header lies on the device")
    elif not all(token == {"type": TOKEN, "keyslots": [], **ours} for token in _tokens(region)):
        raise HeaderRefused("token", "the header on the device says that it is another space's")


def _tokens(region: bytes) -> tuple[Mapping[str, object], ...]:
    """Return what an intact header says whose it is; of a damaged one nothing is believed."""
    try:
        return tuple(parse_region(region).metadata.tokens.values())
    except HeaderRefused:
        return ()


def _check_blank(pinned: Pinned) -> None:
    """Raise IntegrityFailure unless the device itself says that the region is overwritten."""
    os.posix_fadvise(pinned.descriptor, 0, REGION_BYTES, os.POSIX_FADV_DONTNEED)
    if read_region(pinned.descriptor).strip(b"\0"):
        raise IntegrityFailure(
            "the device does not keep what is written over its header",
            hint="destroy the device itself; its keys are gone already",
        )
