"""Devices that are a disk of no space: so many are remembered, and none that is gone, unless people
or a check have put it aside. The log tells of all.
"""

from kms.domain.disks import Device, DiskState
from kms.errors import StateNotAllowed
from kms.ports import Change, DropDevice
from kms.usecases.disks.common import told_disks
from kms.usecases.services import Services

MOST = 1000
"""So many are remembered: a device that changes its serial number must not fill the list."""
LOCK = "devices"
"""The lock under which devices come into the list and leave it."""


def is_forgotten(services: Services, device: Device) -> bool:
    """Whether nothing of a device is remembered: a stranger that is gone, and not put aside."""
    gone = device.state is DiskState.GONE and not device.code
    return gone and _is_stranger(device, _serials(services))


def make_room(services: Services, new: Device) -> tuple[Change, ...]:
    """Return which strangers are forgotten for a new device, those first that have been gone for
    longest; raise StateNotAllowed if too many are there.
    """
    serials = _serials(services)
    if not _is_stranger(new, serials):
        return ()
    strangers = [one for one in services.store.devices() if _is_stranger(one, serials)]
    excess = max(len(strangers) + 1 - MOST, 0)
    gone = [one for one in strangers if one.state is DiskState.GONE]
    if excess > len(gone):
        raise StateNotAllowed(
            f"{MOST} devices that are no disk of a space are there already",
            hint="unplug what is not needed",
        )
    gone.sort(key=lambda one: one.changed)
    return tuple(DropDevice(one.serial) for one in gone[:excess])


def _serials(services: Services) -> set[str]:
    return {one.serial for one in told_disks(services)}


def _is_stranger(device: Device, serials: set[str]) -> bool:
    return not device.disk and device.serial not in serials
