"""Backups of headers: useless without the disk's keys, and only of the registered header."""

from appliance.storage.device import DeviceRef, pin
from appliance.work.bench import Bench, Outcome, standing
from appliance.work.checking import check, check_device
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
        return standing(bench, known.disk, f"the header {known.header} is backed up")


def restore(bench: Bench, ref: DeviceRef, disk: DiskId) -> Outcome:
    """Write the backup of the registered header onto its device, whatever header is there.

    Raise StateNotAllowed while the disk is open, erased, or a work goes on: amid a reencryption an
    older header would destroy what is on the disk. Raise NotFound without a backup.
    """
    with pin(ref) as pinned:
        known = bench.link.held(disk).disk
        if known.erased or known.work is not Work.NONE or bench.is_open(disk):
            raise StateNotAllowed(
                "a header is restored on a closed disk, on which no work goes on",
                hint="lock the disk first, or let the work come to its end",
            )
        check_device(ref, known)
        bench.backups.restore(disk, known.header, pinned.path)
        check(bench, pinned, known)
        return Outcome(DiskState.ENROLLED, message="the registered header is restored")
