"""Backups of headers: useless without the disk's keys, and only of the registered header.

A header that opens what lies on the device is never overwritten by one that would not.
"""

from appliance.storage.device import DeviceRef, pin
from appliance.storage.header import parse_region, read_region
from appliance.storage.metadata import HeaderRefused
from appliance.work.bench import Bench, Outcome, standing
from appliance.work.checking import check, check_device
from appliance.work.volume import volume_digest
from kms.domain.disks import DiskState, Work
from kms.domain.ids import DiskId
from kms.errors import StateNotAllowed


def back_up(bench: Bench, ref: DeviceRef, disk: DiskId) -> Outcome:
    """Keep a copy of a disk's registered header; raise HeaderRefused if the disk has another."""
    with pin(ref) as pinned:
        known = bench.link.held(disk).disk
        if known.work is not Work.NONE:
            raise StateNotAllowed(f"the work {known.work} is not over", hint="it goes on by itself")
        check(bench, pinned, known)
        return standing(bench, known.disk, "the registered header is backed up")


def restore(bench: Bench, ref: DeviceRef, disk: DiskId) -> Outcome:
    """Write the backup of the registered header onto its device, in place of a damaged one, which
    is kept aside.

    Raise StateNotAllowed while the disk is open, erased, or a work goes on, by what kms says or the
    header that is there: another volume key's header would destroy what is on the disk. Raise
    NotFound without a backup.
    """
    with pin(ref) as pinned:
        known = bench.link.held(disk).disk
        if known.erased or known.work is not Work.NONE or bench.is_open(disk):
            raise StateNotAllowed(
                "a header is restored on a closed disk, on which no work goes on",
                hint="lock the disk first, or let the work come to its end",
            )
        check_device(ref, known)
        there = read_region(pinned.descriptor)
        _check_same_volume(there, bench.backups.load(disk, known.header), disk)
        bench.backups.set_aside(disk, there)
        pinned.check()
        bench.backups.restore(disk, known.header, pinned.path)
        check(bench, pinned, known)
        return Outcome(DiskState.ENROLLED, message="the registered header is restored")


def _check_same_volume(there: bytes, backup: bytes, disk: DiskId) -> None:
    """Raise StateNotAllowed if an intact header of the disk says that its data are, or are being,
    encrypted by another volume key than the backup's: kms is older than the disk then.
    """
    try:
        found = parse_region(there)
    except HeaderRefused:
        return
    ours = any(copy.uuid == disk for copy in found.copies)
    if ours and (found.reencrypts or volume_digest(found) != volume_digest(parse_region(backup))):
        raise StateNotAllowed(
            "the header on the device is intact, and newer than the registered one",
            hint="restoring it would destroy the data: bring the newest store of kms back instead",
        )
