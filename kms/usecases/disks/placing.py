"""Which order fits which disk now: what stops is always taken, all else one after the other."""

from kms.domain.disks import Disk, DiskOrder, DiskState, OrderKind, OrderState, Work
from kms.errors import InvalidInput, NotFound, StateNotAllowed
from kms.policy.authorizer import NOT_THERE
from kms.statements.canonical import unb64u
from kms.usecases.services import Services

STOPPING = frozenset({OrderKind.LOCK, OrderKind.QUARANTINE})
"""Stopping is safe alone, and waits for nothing."""
_ANY_DEVICE = frozenset({OrderKind.QUARANTINE, OrderKind.RELEASE})
"""Orders about devices that may be no disk."""
_PAGE = 500


def check_order(
    services: Services, disk: Disk | None, kind: OrderKind, serial: str, sealed_key: str
) -> None:
    """Raise NotFound for a device that was never reported, InvalidInput, StateNotAllowed for an
    order that does not fit the disk (None: it is not enrolled), or while another is not over.
    """
    if (kind is OrderKind.RECOVER) is not bool(sealed_key):
        raise InvalidInput(
            "recover, and nothing else, carries the key that a ceremony has recovered",
            hint="name the file that the ceremony recover-disk has written",
        )
    unb64u(sealed_key)
    device = services.store.device(serial)
    if device is None:
        raise NotFound(NOT_THERE)
    if device.state is DiskState.GONE and kind is not OrderKind.ERASE:
        raise StateNotAllowed("the device is unplugged", hint="plug it in")
    if kind not in _ANY_DEVICE:
        _check_fits(disk, kind)
    if disk is not None and kind is OrderKind.ERASE:
        _check_not_wiped(services, disk)
    _check_none_open(services, kind, serial)


def _check_fits(disk: Disk | None, kind: OrderKind) -> None:
    if disk is None:
        raise StateNotAllowed(
            "the device is not enrolled", hint="ask for disk.enroll: conclave disk enroll"
        )
    if bool(disk.erased) is not (kind is OrderKind.ERASE):
        raise StateNotAllowed(
            "the disk is erased" if disk.erased else "a disk is erased by an approved request",
            hint="ask for disk.erase: conclave disk erase" if not disk.erased else "",
        )
    waits = disk.work in {Work.FORMAT, Work.ENCRYPT}
    if kind is OrderKind.PREPARE and not waits:
        raise StateNotAllowed("the disk is prepared already")
    if kind not in {*STOPPING, OrderKind.PREPARE, OrderKind.ERASE} and waits:
        raise StateNotAllowed("the disk is not prepared yet", hint="order prepare, or wait for it")


def _check_not_wiped(services: Services, disk: Disk) -> None:
    """Raise StateNotAllowed once the appliance has wiped the disk: whatever lies on the device by
    then is another's.
    """
    before = ""
    while page := services.store.disk_orders(disk.disk, before, _PAGE):
        done = (one for one in page if one.state is OrderState.DONE and not one.dry_run)
        if any(one.kind is OrderKind.ERASE for one in done):
            raise StateNotAllowed(
                "the disk is erased and wiped already",
                hint="what is on the device now is not the disk's",
            )
        before = page[-1].order


def _check_none_open(services: Services, kind: OrderKind, serial: str) -> None:
    """Raise StateNotAllowed while the same order, or one that this waits for, is not over."""
    for one in open_orders(services, serial):
        if one.kind is kind or (kind not in STOPPING and one.kind not in STOPPING):
            raise StateNotAllowed(
                "the order {kind} is not over yet: {order}",
                hint="conclave disk orders shows how far it is",
                about={"kind": one.kind, "order": one.order},
            )


def open_orders(services: Services, serial: str) -> list[DiskOrder]:
    """Return the orders about a device that wait or run."""
    return [one for one in services.store.open_orders() if one.serial == serial]
