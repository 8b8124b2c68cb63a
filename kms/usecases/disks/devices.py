"""Devices as the appliance reports them; each change of state stands in the log."""

from dataclasses import replace

from kms.audit.leaf import LeafDraft, Outcome, Phase
from kms.domain.disks import Device, DiskState, check_disk_transition
from kms.errors import InvalidInput
from kms.policy.authorizer import Target
from kms.ports import DropDevice, PutDevice, Unit
from kms.usecases.disks.common import disk_path, lock_of_device, told_disks
from kms.usecases.disks.strangers import LOCK, is_forgotten, make_room
from kms.usecases.disks.views import live_disk
from kms.usecases.services import Call, Services, authorize, uninterrupted

_OURS = frozenset(
    {
        DiskState.ENROLLED,
        DiskState.LOCKED,
        DiskState.OPEN,
        DiskState.MOUNTED,
        DiskState.ROTATING,
        DiskState.ERASING,
    }
)
"""States that only an enrolled disk is in."""
IN_USE = "device_in_use"
"""The code of an unknown device that the appliance's own machine uses for something else."""
NOT_PREPARED = "not_prepared"
"""The code of an enrolled disk on which nothing of ours lies yet."""


@uninterrupted
async def report(services: Services, call: Call, device: Device) -> Device:
    """Remember how a device stands; also in a sealed space, whose disks are being closed. One that
    is gone and no disk's is forgotten.

    Raise StateNotAllowed for a step that no device takes, or where too many strangers are there,
    InvalidInput for a state that only the disk itself can be in.
    """
    await authorize(services, call, Target(), f"devices/{device.serial}")
    locks = services.locks
    async with locks.of(lock_of_device(device.serial)), locks.of(LOCK):
        known = services.store.device(device.serial)
        if known is not None:
            check_disk_transition(known.state, device.state)
        _check_ours(services, device)
        is_news = known is None or _told(known) != _told(device)
        now = services.seconds() if is_news or known is None else known.changed
        new = replace(device, changed=now)
        if new != known:
            leaves = (_leaf(services, call, known, new),) if is_news else ()
            await _store(services, known, new, leaves)
        return new


async def _store(
    services: Services, known: Device | None, new: Device, leaves: tuple[LeafDraft, ...]
) -> None:
    if not is_forgotten(services, new):
        room = make_room(services, new) if known is None else ()
        await services.store.commit(Unit((*room, PutDevice(new)), leaves))
    elif known is not None:
        await services.store.commit(Unit((DropDevice(new.serial),), leaves))


def _check_ours(services: Services, device: Device) -> None:
    if device.state not in _OURS:
        return
    disk = live_disk(services, device.serial)
    if disk is None or disk.disk != device.disk:
        raise InvalidInput(
            f"a device that is {device.state} is the disk that is enrolled by its serial number"
        )


def _told(device: Device) -> tuple[DiskState, str, str]:
    """Return what people are told the change of."""
    return device.state, device.code, device.disk


def _leaf(services: Services, call: Call, known: Device | None, device: Device) -> LeafDraft:
    space = _space(services, device)
    path = disk_path(space, device.disk) if space else f"devices/{device.serial}"
    details = {
        "serial": device.serial,
        "state": device.state.value,
        "before": known.state.value if known else "",
        "code": device.code,
    }
    return call.leaf(space, path, Phase.EVENT, Outcome.SUCCEEDED, details=details)


def _space(services: Services, device: Device) -> str:
    """Return whose disk a device is; nobody's (empty) if it only carries the header of one."""
    named = (one for one in told_disks(services) if one.disk == device.disk)
    return next((one.space for one in named if one.serial == device.serial), "")
