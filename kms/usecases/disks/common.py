"""What every use case of disks shares: the checked disk with its row, whom it is for, its place in
the log, and steps that its worker takes. Disks change under their lock, one step after the other.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from kms.audit.leaf import LeafDraft, Outcome, Phase
from kms.domain.disks import Disk
from kms.domain.ids import DiskId, SpaceName
from kms.domain.rows import RowKind, SealedRow
from kms.errors import (
    ConclaveError,
    IntegrityFailure,
    InvalidInput,
    NotFound,
    StoreUnavailable,
)
from kms.policy.authorizer import NOT_THERE, Target
from kms.ports import BeginWork, Change, DiskStep, Unit
from kms.statements.canonical import read_row
from kms.usecases.services import Call, Services, authorize, log_refusal, store_rows

NAMES = "disks"
"""The lock under which disks get serial numbers, labels and mount points that no other has."""
_LOOKS = 500
_PAUSE_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Found:
    """A checked disk and the row that it was read from."""

    disk: Disk
    sealed: SealedRow

    @property
    def version(self) -> int:
        """The row's version."""
        return self.sealed.row.version

    @property
    def path(self) -> str:
        """The resource that the log names."""
        return disk_path(self.disk.space, self.disk.disk)


def disk_path(space: str, disk: str) -> str:
    """Return the resource path of a disk."""
    return f"spaces/{space}/disks/{disk}"


def lock_of(disk: str) -> str:
    """Return the name of a disk's lock."""
    return f"disk:{disk}"


def lock_of_device(serial: str) -> str:
    """Return the name of the lock under which a device is reported and gets its orders."""
    return f"device:{serial}"


async def permit(services: Services, call: Call, disk: DiskId) -> None:
    """Let a caller do what it asks with a disk; raise NotFound, Forbidden, Sealed."""
    sealed = services.store.disk(disk)
    if sealed is None:
        error = NotFound(NOT_THERE)
        await log_refusal(services, call, "", f"disks/{disk}", error)
        raise error
    space = space_of(sealed)
    await authorize(services, call, Target(space=space), disk_path(space, disk))


def space_of(sealed: SealedRow) -> SpaceName:
    """Return whose disk a row is, by its key."""
    return SpaceName(sealed.row.key.split("/")[1])


async def load(services: Services, disk: DiskId) -> Found:
    """Return a disk, checked; raise NotFound, Sealed, IntegrityFailure.

    Whoever does not hold its lock may see a row that another is just making durable.
    """
    for _ in range(_LOOKS):
        record, version = await services.cache.disk(disk)
        sealed = services.store.disk(disk)
        if sealed is not None and sealed.row.version == version:
            return Found(record, sealed)
        await asyncio.sleep(_PAUSE_SECONDS)
    raise IntegrityFailure("a disk's row is not the version that was checked")


async def disks_of(services: Services, space: SpaceName) -> list[Found]:
    """Return every disk of a space, checked, by id; raise Sealed, IntegrityFailure also for one
    that is gone.
    """
    rows = [one for one in services.store.disks() if space_of(one) == space]
    if len(rows) != services.store.row_count(f"{RowKind.DISK}/{space}/"):
        raise IntegrityFailure("a disk that the log names is gone")
    return [await load(services, DiskId(one.row.key.rpartition("/")[2])) for one in rows]


def told_disks(services: Services) -> list[Disk]:
    """Return every disk as its row tells it, unchecked: for what is looked up, not for what is
    decided. One that cannot be read is left to whoever needs it.
    """
    found = []
    for sealed in services.store.disks():
        try:
            record = read_row(sealed.row)
        except InvalidInput:
            continue
        if isinstance(record, Disk):
            found.append(record)
    return found


# --- steps ---------------------------------------------------------------------------------------


async def take_step(
    services: Services, call: Call, found: Found, step: DiskStep, details: dict[str, Any]
) -> Found:
    """Have the worker take a step that makes no key; return the disk once that is durable."""
    services.gate()
    after = await _advanced(services, found, step)
    leaf = _leaf(call, after, Phase.EVENT, details)
    await store_rows(services, [after.sealed], (), leaf)
    return after


async def make_keys(
    services: Services,
    call: Call,
    found: Found,
    step: DiskStep,
    details: dict[str, Any],
    *changes: Change,
) -> Found:
    """Have the worker take a step that makes keys, which the log says beforehand; return the disk
    once that is durable.
    """
    async with announced(services, call, found, details) as intent:
        after = await _advanced(services, found, step)
        told = {**details, "kek": after.disk.keks, **_escrow(step, after.disk)}
        leaf = _leaf(call, after, Phase.RESULT, told, intent)
        await store_rows(services, [after.sealed], changes, leaf)
    return after


@asynccontextmanager
async def announced(
    services: Services, call: Call, found: Found, details: dict[str, Any]
) -> AsyncIterator[int]:
    """Write an intent, durable before what follows, and yield its number; a refusal within is its
    result. If the disk fails, the intent stays open: it may yet turn out to hold the result.
    """
    services.gate()
    space = found.disk.space
    intent = call.leaf(space, found.path, Phase.INTENT, Outcome.PENDING, details=details)
    (seq,) = await services.store.commit(Unit(leaves=(intent,)))
    try:
        yield seq
    except StoreUnavailable:
        raise
    except ConclaveError as error:
        await _failed(services, call, found, seq, details, error)
        raise


async def _failed(
    services: Services,
    call: Call,
    found: Found,
    intent: int,
    details: dict[str, Any],
    error: ConclaveError,
) -> None:
    failed = call.leaf(
        found.disk.space,
        found.path,
        Phase.RESULT,
        Outcome.FAILED,
        intent=intent,
        details={**details, "code": error.code},
    )
    await services.store.commit(Unit(leaves=(failed,)))


async def _advanced(services: Services, found: Found, step: DiskStep) -> Found:
    worker = services.workers.space(found.disk.space)
    sealed = await worker.advance_disk(found.sealed, step, services.seconds())
    record = read_row(sealed.row)
    if not isinstance(record, Disk) or sealed.row.key != found.sealed.row.key:
        raise TypeError("a worker answers with the disk's own row")
    return Found(record, sealed)


def _escrow(step: DiskStep, disk: Disk) -> dict[str, int]:
    """Return what the log says of the recovery key that a work brings: who can open it."""
    if not isinstance(step, BeginWork):
        return {}
    return {"escrow": disk.next_recovery.generation if disk.next_recovery else 0}


def _leaf(
    call: Call, after: Found, phase: Phase, details: dict[str, Any], intent: int | None = None
) -> LeafDraft:
    row = after.sealed.row
    return call.leaf(
        after.disk.space,
        after.path,
        phase,
        Outcome.SUCCEEDED,
        intent=intent,
        rows={row.key: row.version},
        details=details,
    )
