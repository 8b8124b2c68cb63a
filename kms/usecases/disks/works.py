"""Works on a disk's keys, as the appliance does them: begun, committed, finished. Each step may be
asked for again, since its answer may have been lost.
"""

from kms.domain.disks import Work, check_may_begin
from kms.domain.ids import DiskId
from kms.errors import StateNotAllowed
from kms.ports import BeginWork, CommitWork, FinishWork
from kms.usecases.disks.common import Found, load, lock_of, make_keys, permit, take_step
from kms.usecases.disks.keys import drop_old, old_keks
from kms.usecases.disks.views import DiskView, view_of
from kms.usecases.services import Call, Services, uninterrupted

_NEVER_UNDER_WAY = frozenset({Work.NONE, Work.RECOVER})


@uninterrupted
async def begin(services: Services, call: Call, disk: DiskId, work: Work) -> DiskView:
    """Begin a work, for which the worker makes keys; the same one under way is returned as it is,
    but for a recovery, which is asked for anew where the KEK of the last one is lost.

    Raise NotFound, Sealed, StateNotAllowed, IntegrityFailure, HsmUnavailable, AuditUnavailable.
    """
    await permit(services, call, disk)
    async with services.locks.of(lock_of(disk)):
        found = await load(services, disk)
        if _is_under_way(found, work):
            return view_of(services, found)
        check_may_begin(found.disk, work)
        marks = (old_keks(disk),) if work is Work.RECOVER else ()
        details = {"work": work.value}
        after = await make_keys(services, call, found, BeginWork(work), details, *marks)
        return view_of(services, after)


def _is_under_way(found: Found, work: Work) -> bool:
    """Whether a work has begun: an enrolled disk waits for its first one, without keys."""
    disk = found.disk
    begun = disk.key or disk.next_key or disk.next_recovery
    return disk.work is work and work not in _NEVER_UNDER_WAY and not disk.erased and bool(begun)


@uninterrupted
async def commit(services: Services, call: Call, disk: DiskId, proof: str) -> DiskView:
    """Make the work's keys, which open the disk, its keys; done before, nothing changes.

    ``proof``: the appliance's word for it, which the worker checks (``work_proof``).

    Raise NotFound, Sealed, StateNotAllowed, VerificationFailed, IntegrityFailure, HsmUnavailable,
    AuditUnavailable.
    """
    await permit(services, call, disk)
    async with services.locks.of(lock_of(disk)):
        found = await load(services, disk)
        work = found.disk.work
        if found.disk.committed and work not in {Work.NONE, Work.ERASE}:
            return view_of(services, found)
        found.disk.commit()
        details = {"work": work.value}
        return view_of(services, await take_step(services, call, found, CommitWork(proof), details))


@uninterrupted
async def finish(services: Services, call: Call, disk: DiskId, header: str, proof: str) -> DiskView:
    """End the work; ``header`` is the SHA-256 (base64url) of the header region that the disk has
    from now on, ``proof`` as in ``commit``. Done before with that header, nothing changes.

    Raise as ``commit``.
    """
    await permit(services, call, disk)
    async with services.locks.of(lock_of(disk)):
        found = await load(services, disk)
        work = found.disk.work
        if work is Work.NONE:
            _check_same(found, header)
            return view_of(services, found)
        found.disk.finish(header, services.seconds())
        details = {"work": work.value, "header": header}
        after = await take_step(services, call, found, FinishWork(header, proof), details)
        await drop_old(services, after)
        return view_of(services, after)


def _check_same(found: Found, header: str) -> None:
    if found.disk.header != header or not header:
        raise StateNotAllowed("no work goes on, and the disk's registered header is another")
