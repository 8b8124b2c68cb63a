"""How a device becomes a disk of a space: by an approved request, which orders its preparation."""

from kms.domain.disks import (
    DiskState,
    DiskWish,
    OrderKind,
    Preparation,
    disk_of,
)
from kms.domain.ids import DiskId, SpaceName
from kms.errors import AlreadyExists, InvalidInput, NotFound, StateNotAllowed
from kms.ports import PutOrder
from kms.statements.request import CheckedRequest
from kms.usecases.approvals.effect import Effect
from kms.usecases.disks.common import disk_path, load
from kms.usecases.disks.devices import IN_USE
from kms.usecases.disks.orders import new_order
from kms.usecases.disks.placing import open_orders
from kms.usecases.disks.views import check_names, live_disk
from kms.usecases.services import Call, Services

_FILE_SYSTEM = "ext4"
"""What can be encrypted in place."""


async def prepare_enroll(services: Services, call: Call, checked: CheckedRequest) -> Effect:
    """Return the enrolment of a device and the order to prepare it. Raise NotFound for a device
    that was never reported, StateNotAllowed for one that cannot be enrolled, AlreadyExists for an
    id, serial number, label or mount point that another disk has.
    """
    wish, space = checked.parameters, SpaceName(checked.wanted.space)
    if not isinstance(wish, DiskWish):
        raise InvalidInput("the request names no device")
    if not services.settings.disks.appliance_key:
        raise StateNotAllowed(
            "no appliance may receive disk keys",
            hint="name the key that conclave-appliance key prints in [disks] appliance_key",
        )
    if (await services.cache.space(space)).retired:
        raise StateNotAllowed("the space is retired", hint="enrol the disk in another space")
    _check_device(services, wish)
    await _check_new(services, space, wish)
    now = services.seconds()
    disk = disk_of(space, wish, now)
    order = new_order(call.principal, OrderKind.PREPARE, wish.serial, disk, now)
    return Effect(
        disk_path(space, wish.disk),
        ((disk, 1),),
        (PutOrder(order),),
        {
            "disk": wish.disk,
            "serial": wish.serial,
            "preparation": wish.preparation.value,
            "replaces": wish.replaces,
        },
    )


def _check_device(services: Services, wish: DiskWish) -> None:
    device = services.store.device(wish.serial)
    if device is None:
        raise NotFound("no such device was reported", hint="conclave disk list shows them")
    if device.state is not DiskState.UNKNOWN or device.code == IN_USE:
        raise StateNotAllowed(
            "the device is {state}: only one on which nothing of ours lies, and which nothing else "
            "uses, is enrolled",
            hint="conclave disk list shows devices and why they are in their state",
            about={"state": device.code or device.state},
        )
    if device.size != wish.size:
        raise StateNotAllowed(
            "the device has {bytes} bytes, not {wanted}",
            about={"bytes": device.size, "wanted": wish.size},
        )
    if wish.preparation is Preparation.ENCRYPT and device.content != _FILE_SYSTEM:
        raise StateNotAllowed(
            "only a file system of type {type} is encrypted in place",
            hint="ask for the preparation format: it empties the device",
            about={"type": _FILE_SYSTEM},
        )
    if wish.preparation is Preparation.FORMAT and device.content and not wish.overwrite:
        raise StateNotAllowed(
            "there is something on the device: {content}",
            hint="ask for overwrite, which loses it; an ext4 file system can be encrypted in place",
            about={"content": device.content},
        )
    if open_orders(services, wish.serial):
        raise StateNotAllowed("an order about the device is not over")


async def _check_new(services: Services, space: SpaceName, wish: DiskWish) -> None:
    if services.store.disk(wish.disk) is not None:
        raise AlreadyExists("a disk of that id is there", hint="ask for a new id")
    known = live_disk(services, wish.serial)
    if known is not None and not known.erased:
        raise AlreadyExists("the device is a disk already", hint="erase the disk first")
    check_names(services, space, wish.disk, wish.label, wish.mount)
    if wish.replaces:
        replaced = (await load(services, DiskId(wish.replaces))).disk
        if replaced.space != space or replaced.erased:
            raise NotFound("the space has no such disk to replace")
