"""Which function carries out which order, and what a dry run says of it."""

from collections.abc import Callable

from appliance.storage.device import DeviceRef, pin
from appliance.storage.luks import check_device_mapper
from appliance.work.bench import Bench, Outcome, standing
from appliance.work.checking import check, check_device
from appliance.work.erase import erase
from appliance.work.headers import back_up, restore
from appliance.work.job import Job
from appliance.work.lock import close_at_once, lock
from appliance.work.opening import unlock
from appliance.work.works import FIRST, look, prepare, recover, rotate
from kms.domain.disks import DiskState, OrderKind, Work
from kms.domain.ids import DiskId
from kms.errors import StateNotAllowed
from kms.wire.disks import OrderToDo

_Function = Callable[[Bench, DeviceRef, DiskId, OrderToDo], Outcome]


def carry_out(bench: Bench, ref: DeviceRef, order: OrderToDo) -> Outcome:
    """Carry out an order, or its dry run: then nothing changes but what kms logs.

    Raise HeaderRefused for a disk that belongs into quarantine, DeviceChanged, NoDeviceMapper,
    ProgramFailed, and what kms says.
    """
    if order.disk is None:
        if order.kind not in {OrderKind.QUARANTINE, OrderKind.RELEASE}:
            raise StateNotAllowed("the device is no disk of a space", hint="enrol it first")
        held = order.kind is OrderKind.QUARANTINE
        return Outcome(DiskState.QUARANTINED if held else DiskState.SEEN)
    if order.dry_run:
        return _dry_run(bench, ref, DiskId(order.disk), order)
    return _FUNCTIONS[order.kind](bench, ref, DiskId(order.disk), order)


def _rotate(work: Work) -> _Function:
    return lambda bench, ref, disk, _order: rotate(bench, ref, disk, work)


def _recover(bench: Bench, ref: DeviceRef, disk: DiskId, order: OrderToDo) -> Outcome:
    if order.sealed_key is None:
        raise StateNotAllowed("the order carries no recovered key")
    return recover(bench, ref, disk, order.sealed_key)


def _quarantine(bench: Bench, _ref: DeviceRef, disk: DiskId, _order: OrderToDo) -> Outcome:
    close_at_once(bench, disk)
    return Outcome(DiskState.QUARANTINED)


_FUNCTIONS: dict[OrderKind, _Function] = {
    OrderKind.PREPARE: lambda bench, ref, disk, _order: prepare(bench, ref, disk),
    OrderKind.UNLOCK: lambda bench, ref, disk, _order: unlock(bench, ref, disk),
    OrderKind.LOCK: lambda bench, _ref, disk, _order: lock(bench, disk),
    OrderKind.ROTATE_SLOT: _rotate(Work.SLOT),
    OrderKind.ROTATE_VOLUME: _rotate(Work.VOLUME),
    OrderKind.VERIFY_RECOVERY: _rotate(Work.RECOVERY),
    OrderKind.RECOVER: _recover,
    OrderKind.QUARANTINE: _quarantine,
    OrderKind.RELEASE: lambda bench, ref, disk, _order: look(bench, ref, disk),
    OrderKind.BACK_UP_HEADER: lambda bench, ref, disk, _order: back_up(bench, ref, disk),
    OrderKind.RESTORE_HEADER: lambda bench, ref, disk, _order: restore(bench, ref, disk),
    OrderKind.ERASE: lambda bench, ref, disk, _order: erase(bench, ref, disk),
}

_ADD_SLOT = "add a slot for the new slot key and see that it opens the disk"
_ADD_RECOVERY = "add a slot for the new recovery key and see that it opens the disk"
_REGISTER = "register the new header and back it up"
_STEPS: dict[OrderKind, tuple[str, ...]] = {
    OrderKind.PREPARE: (
        "have kms make the disk's first keys",
        "write a LUKS2 header, or encrypt the file system in place",
        "leave what lay on a formatted device readable until the disk's own data overwrite it",
        "see that slot key and recovery key open the disk",
        "make a file system if the disk is formatted anew",
        _REGISTER,
    ),
    OrderKind.UNLOCK: ("open the disk by a copy of its header", "mount it as its policy says"),
    OrderKind.LOCK: ("unmount the disk", "close it"),
    OrderKind.ROTATE_SLOT: (
        "have kms make another slot key",
        _ADD_SLOT,
        "wipe the slot of the present slot key",
        _REGISTER,
    ),
    OrderKind.ROTATE_VOLUME: (
        "have kms make another slot key and recovery key",
        _ADD_SLOT,
        _ADD_RECOVERY,
        "wipe all other slots",
        "encrypt the whole disk by another volume key",
        _REGISTER,
    ),
    OrderKind.VERIFY_RECOVERY: (
        "have kms make another recovery key",
        _ADD_RECOVERY,
        "wipe the slot of the present recovery key",
        _REGISTER,
    ),
    OrderKind.RECOVER: (
        "see that the recovered key opens the disk",
        "have kms make another slot key and recovery key",
        "add a slot for each and wipe all other slots",
        _REGISTER,
    ),
    OrderKind.QUARANTINE: ("close the disk", "leave it alone until people release it"),
    OrderKind.RELEASE: ("see that the header is the registered one",),
    OrderKind.BACK_UP_HEADER: ("copy the registered header to the appliance",),
    OrderKind.RESTORE_HEADER: ("write the backup of the registered header onto the device",),
    OrderKind.ERASE: (
        "close the disk",
        "wipe all slots and overwrite the header",
        "delete the backups of its header",
    ),
}
_CLOSES = frozenset({OrderKind.LOCK, OrderKind.QUARANTINE})
_WITHOUT_HEADER = frozenset({OrderKind.ERASE, OrderKind.RESTORE_HEADER})
"""Orders for which the header on the device need not be the disk's own."""


def _dry_run(bench: Bench, ref: DeviceRef, disk: DiskId, order: OrderToDo) -> Outcome:
    """Return what would be done, once all is checked that can be without changing anything."""
    kind, steps = order.kind, _STEPS[order.kind]
    if kind is OrderKind.RECOVER:
        bench.link.recovered(disk, order.sealed_key or "")  # kms may have no key of it any more
    if kind in {*_CLOSES, OrderKind.RECOVER}:
        return standing(bench, disk, "\n".join(steps), steps)
    with pin(ref) as pinned:
        job = Job(bench, pinned, disk)
        check_device(ref, job.disk)
        if kind not in _WITHOUT_HEADER and job.disk.work not in FIRST:
            check(bench, pinned, job.disk)
            job.opener((job.held.keys.key, job.held.keys.next_key))
        if kind is OrderKind.UNLOCK:
            check_device_mapper()
        if job.disk.work not in {Work.NONE, Work.ERASE, *FIRST}:
            steps = ("go on with the work that is under way first", *steps)
        return standing(bench, disk, "\n".join(steps), steps)
