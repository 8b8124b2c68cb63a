"""Begins, goes on with and ends the works on a disk's keys (kms/domain/disks.Work)."""

from collections.abc import Callable

from appliance.storage.device import DeviceRef, pin
from appliance.work.bench import Bench, Outcome, passphrase, standing
from appliance.work.checking import check, check_device, check_opens
from appliance.work.job import Job
from appliance.work.prepare import encrypt_device, format_device
from appliance.work.rotate import rekey, rotate_recovery, rotate_slot
from appliance.work.volume import rotate_volume
from kms.domain.disks import Disk, DiskState, Work
from kms.domain.ids import DiskId
from kms.errors import InvalidInput, StateNotAllowed

_CARRY_OUT: dict[Work, Callable[[Job], None]] = {
    Work.FORMAT: format_device,
    Work.ENCRYPT: encrypt_device,
    Work.SLOT: rotate_slot,
    Work.RECOVERY: rotate_recovery,
    Work.VOLUME: rotate_volume,
    Work.RECOVER: rekey,
}
FIRST = frozenset({Work.FORMAT, Work.ENCRYPT})


def look(bench: Bench, ref: DeviceRef, disk: DiskId) -> Outcome:
    """Return how a disk stands once its header is checked: ROTATING or ERASING while a work goes
    on. Raise HeaderRefused, DeviceChanged, and what kms says.
    """
    with pin(ref) as pinned:
        known = bench.link.held(disk).disk
        if known.erased:
            return Outcome(DiskState.ERASING)
        if known.work in FIRST:
            check_device(ref, known)
            return Outcome(DiskState.ROTATING)
        check(bench, pinned, known)
        if known.work is not Work.NONE:
            return Outcome(DiskState.ROTATING)
        return standing(bench, known.disk)


def go_on(bench: Bench, ref: DeviceRef, disk: DiskId) -> Outcome:
    """Go on with the work that is under way on a disk, if any, to its end.

    Raise HeaderRefused, DeviceChanged, ProgramFailed, what kms says, and StateNotAllowed for a
    recovery that needs the order with the recovered key.
    """
    with pin(ref) as pinned:
        job = Job(bench, pinned, disk)
        if job.disk.work in {Work.NONE, Work.ERASE}:
            return standing(bench, job.disk.disk)
        return end(job)


def rotate(bench: Bench, ref: DeviceRef, disk: DiskId, work: Work) -> Outcome:
    """Carry out SLOT, RECOVERY or VOLUME from its beginning, or go on with it."""
    with pin(ref) as pinned:
        job = Job(bench, pinned, disk)
        if job.disk.work is Work.NONE:
            check(bench, pinned, job.disk)
            check_opens(bench, pinned.path, job.held.keys.key)
            job.begin(work)
        _check_under_way(job.disk, work)
        return end(job)


def prepare(bench: Bench, ref: DeviceRef, disk: DiskId) -> Outcome:
    """Make a device the disk that officers enrolled, or go on; nothing if that is done."""
    with pin(ref) as pinned:
        job = Job(bench, pinned, disk)
        if job.disk.work is Work.NONE:
            check(bench, pinned, job.disk)
            return standing(bench, job.disk.disk, "the disk is prepared already")
        if job.disk.work not in FIRST:
            raise StateNotAllowed(f"the work {job.disk.work} goes on", hint="it ends by itself")
        return end(job)


def recover(bench: Bench, ref: DeviceRef, disk: DiskId, sealed_key: str) -> Outcome:
    """Carry out RECOVER with what the ceremony wrote (base64url), or go on with it.

    Raise EnvelopeRefused for a key that is another appliance's or disk's, InvalidInput for one that
    does not open the disk.
    """
    recovered = bench.link.recovered(disk, sealed_key)
    with pin(ref) as pinned:
        try:
            job = Job(bench, pinned, disk, recovered=recovered)
        except StateNotAllowed:
            # After a site was restored no HSM has the KEK: before the work kms gives no key at all.
            if bench.luks.opens(pinned.path, passphrase(recovered)) is None:
                raise _of_another_time() from None
            bench.link.begin(disk, Work.RECOVER)
            job = Job(bench, pinned, disk, recovered=recovered)
        if job.disk.work is not Work.RECOVER:
            check(bench, pinned, job.disk)
            if not job.opens(recovered):
                return _not_needed(job)
            job.begin(Work.RECOVER)
        return end(job)


def _not_needed(job: Job) -> Outcome:
    """Return how a disk stands that was recovered already; raise InvalidInput if it was not."""
    if job.disk.work is Work.NONE and job.opens(job.held.keys.key):
        return standing(job.bench, job.disk.disk, "the disk has a working key; nothing was changed")
    raise _of_another_time()


def _of_another_time() -> InvalidInput:
    return InvalidInput(
        "the recovered key does not open the disk",
        hint="it was recovered from an older record, or the recovery key was changed since",
    )


def end(job: Job) -> Outcome:
    """Carry out what is left of the work under way."""
    disk = job.disk
    check_device(job.pinned.ref, disk)
    if disk.work in FIRST:
        if disk.key is None and disk.next_key is None:
            job.begin(disk.work)
    else:
        check(job.bench, job.pinned, disk)
    _CARRY_OUT[disk.work](job)
    job.tell(95, "registering the header")
    job.finish()
    return standing(job.bench, job.disk.disk, "; ".join(job.notes))


def _check_under_way(disk: Disk, work: Work) -> None:
    if disk.work is not work:
        raise StateNotAllowed(f"the work {disk.work} is not over", hint="it goes on by itself")
