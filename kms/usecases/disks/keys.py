"""Keys of a disk on their way to the appliance, and its next KEK."""

import logging

from kms.audit.leaf import Outcome, Phase
from kms.domain.disks import Disk, Work
from kms.domain.ids import DiskId
from kms.errors import ConclaveError, InvalidInput, StateNotAllowed
from kms.ports import PutMark, RotateKek, Unit
from kms.statements.diskkeys import NONCE_BYTES
from kms.usecases.disks.common import Found, announced, load, lock_of, make_keys, permit
from kms.usecases.disks.views import DiskView, view_of
from kms.usecases.services import Call, Services, uninterrupted

_LOG = logging.getLogger(__name__)
_OLD_KEKS = "disk-keks/{}"
"""The mark of a disk that has older KEKs on its token which nothing needs any more."""


@uninterrupted
async def fetch(services: Services, call: Call, disk: DiskId, nonce: bytes) -> tuple[DiskView, str]:
    """Return the disk and the signed release of its keys, sealed to the appliance for this nonce
    (16 bytes); of an erased disk it holds no keys, and so leaves no trace in the log.

    The intent is durable before the worker is asked. Raise NotFound, Sealed, StateNotAllowed,
    IntegrityFailure, HsmUnavailable, AuditUnavailable, StoreUnavailable.
    """
    await permit(services, call, disk)
    if len(nonce) != NONCE_BYTES:
        raise InvalidInput(f"a nonce has {NONCE_BYTES} bytes")
    async with services.locks.of(lock_of(disk)):
        found = await load(services, disk)
        if found.disk.erased:
            return view_of(services, found), await _opened(services, found, nonce)
        return view_of(services, found), await _released(services, call, found, nonce)


async def _released(services: Services, call: Call, found: Found, nonce: bytes) -> str:
    details = {
        "serial": found.disk.serial,
        "version": found.version,
        "work": found.disk.work.value,
    }
    async with announced(services, call, found, details) as intent:
        release = await _opened(services, found, nonce)
        leaf = call.leaf(
            found.disk.space,
            found.path,
            Phase.RESULT,
            Outcome.SUCCEEDED,
            intent=intent,
            details=details,
        )
        await services.store.commit(Unit(leaves=(leaf,)))
    return release


async def _opened(services: Services, found: Found, nonce: bytes) -> str:
    return await services.workers.space(found.disk.space).open_disk(found.sealed, nonce)


@uninterrupted
async def rotate_kek(services: Services, call: Call, disk: DiskId) -> DiskView:
    """Make the disk's next KEK, encrypt its keys by it and destroy the older ones; what of that
    fails is tried again by the schedule. Raise NotFound, StateNotAllowed while a work goes on.
    """
    await permit(services, call, disk)
    return await next_kek(services, call, disk)


async def next_kek(services: Services, call: Call, disk: DiskId) -> DiskView:
    """Do as ``rotate_kek`` in the service's own name."""
    async with services.locks.of(lock_of(disk)):
        found = await load(services, disk)
        check_idle(found.disk)
        after = await make_keys(services, call, found, RotateKek(), {}, old_keks(disk))
        await drop_old(services, after)
        return view_of(services, after)


def check_idle(disk: Disk) -> None:
    """Raise StateNotAllowed unless the disk has its keys and no work goes on."""
    if disk.erased:
        raise StateNotAllowed("the disk is erased")
    if disk.work is not Work.NONE or disk.key is None:
        raise StateNotAllowed(f"the work {disk.work} is not over", hint="it goes on by itself")


def old_keks(disk: DiskId) -> PutMark:
    """Return the change that remembers to destroy a disk's older KEKs."""
    return PutMark(_OLD_KEKS.format(disk), 1)


def has_old_keks(services: Services, disk: DiskId) -> bool:
    """Whether older KEKs of a disk are to be destroyed."""
    return bool(services.store.mark(_OLD_KEKS.format(disk), 0))


async def drop_old(services: Services, found: Found) -> None:
    """Destroy the KEKs that nothing needs any more, once no work goes on; where that fails it
    stays to be done.
    """
    disk = found.disk
    if disk.work is not Work.NONE or not has_old_keks(services, disk.disk):
        return
    try:
        await services.workers.space(disk.space).drop_keks(found.sealed)
        await services.store.commit(Unit((PutMark(_OLD_KEKS.format(disk.disk), 0),)))
    except ConclaveError as error:
        _LOG.warning("older KEKs of the disk %s stay for now: %s", disk.disk, error.code)
