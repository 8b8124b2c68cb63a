"""Disks as people and the appliance see them: the checked record, the device, what is due."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from kms.audit.leaf import seconds
from kms.domain.disks import Device, Disk, MountPolicy, Work, check_description
from kms.domain.ids import DiskId, SpaceName
from kms.domain.models import EVERY_SPACE, Principal, Role
from kms.domain.rows import RowKind
from kms.errors import (
    AlreadyExists,
    HsmUnavailable,
    IntegrityFailure,
    NotFound,
    Sealed,
    StateNotAllowed,
)
from kms.policy.authorizer import NOT_THERE, Target
from kms.ports import DescribeDisk
from kms.usecases.disks.common import (
    NAMES,
    Found,
    disk_path,
    disks_of,
    load,
    lock_of,
    permit,
    space_of,
    take_step,
    told_disks,
)
from kms.usecases.escrow_log import Generation
from kms.usecases.queries import check_present
from kms.usecases.services import (
    Call,
    Services,
    authorize,
    log_integrity_failure,
    uninterrupted,
)

_LOG = logging.getLogger(__name__)
_WATCH_ALL = frozenset({Role.OPERATOR, Role.AUDITOR, Role.APPLIANCE})
"""Who sees devices that are a disk of no space."""


@dataclass(frozen=True, slots=True)
class DiskView:
    """A disk, its row's version, the device as last reported (None: never), and when its recovery
    key is due to be made anew and tested (seconds since 1970; 0: never).
    """

    disk: Disk
    version: int
    device: Device | None
    recovery_due: int


class Overview(NamedTuple):
    """What a caller may know of. Of the spaces ``unknown`` no disk is told: they are sealed or out
    of the configuration, their token does not answer, or a row is missing or was altered.
    """

    disks: list[DiskView]
    devices: list[Device]
    unknown: list[SpaceName]


async def disks(services: Services, call: Call) -> Overview:
    """Return the disks of the spaces that the caller may know of, and the devices; trouble with one
    space takes the disks of no other away, and stands in the log.
    """
    await authorize(services, call, Target(), "disks")
    found: list[DiskView] = []
    unknown: list[SpaceName] = []
    for space in _spaces(services):
        if not call.principal.reaches(space):
            continue
        told = await _told(services, call, space)
        if told is not None:
            found += told
        elif not await _is_destroyed(services, space):
            unknown.append(space)
    devices = services.store.devices()
    seen = [one for one in devices if sees_device(services, call.principal, one)]
    return Overview(found, seen, unknown)


def _spaces(services: Services) -> list[SpaceName]:
    """Return the spaces that have disks, also one whose only row is missing."""
    stored = {space_of(one) for one in services.store.disks()}
    return sorted(stored | services.store.row_spaces(RowKind.DISK))


async def _told(services: Services, call: Call, space: SpaceName) -> list[DiskView] | None:
    """Return a space's disks; None if nothing can be said of them."""
    try:
        check_present(services, space)
        return [view_of(services, one) for one in await disks_of(services, space)]
    except IntegrityFailure as error:
        await log_integrity_failure(services, call, space, f"spaces/{space}/disks", error)
    except (NotFound, Sealed):
        pass
    except HsmUnavailable as error:
        _LOG.warning("the disks of %s cannot be checked: %s", space, error.code)
    return None


async def _is_destroyed(services: Services, space: SpaceName) -> bool:
    try:
        return bool((await services.cache.space(space)).destroyed)
    except (IntegrityFailure, NotFound, HsmUnavailable):
        return False


async def disk(services: Services, call: Call, disk: DiskId) -> DiskView:
    """Return one disk; raise NotFound, Sealed, IntegrityFailure."""
    sealed = services.store.disk(disk)
    if sealed is None:
        raise NotFound(NOT_THERE)
    space = space_of(sealed)
    await authorize(services, call, Target(space=space), disk_path(space, disk))
    return view_of(services, await load(services, disk))


@uninterrupted
async def change(
    services: Services, call: Call, disk: DiskId, label: str | None, mount: MountPolicy | None
) -> DiskView:
    """Give a disk another label or mount policy; what is None stays. Raise NotFound,
    StateNotAllowed while a work goes on, AlreadyExists for a name that another disk has.
    """
    await permit(services, call, disk)
    async with services.locks.of(lock_of(disk)), services.locks.of(NAMES):
        found = await load(services, disk)
        old = found.disk
        new = DescribeDisk(old.label if label is None else label, mount or old.mount)
        if (new.label, new.mount) == (old.label, old.mount):
            return view_of(services, found)
        if old.work is not Work.NONE:
            raise StateNotAllowed(
                f"the work {old.work} is not over", hint="change the disk when it is"
            )
        check_names(services, old.space, disk, new.label, new.mount)
        details = {
            "label": new.label,
            "mount": new.mount.name,
            "automatic": new.mount.automatic,
            "read_only": new.mount.read_only,
        }
        return view_of(services, await take_step(services, call, found, new, details))


def check_names(
    services: Services, space: SpaceName, disk: DiskId, label: str, mount: MountPolicy
) -> None:
    """Raise InvalidInput for what is no name, AlreadyExists if another disk of the space has the
    label, or one of the appliance the mount point.
    """
    check_description(label, mount)
    others = [one for one in told_disks(services) if one.disk != disk and not one.erased]
    if any(one.label == label for one in others if one.space == space):
        raise AlreadyExists("another disk of the space has that label", hint="choose another")
    if mount.name and any(one.mount.name == mount.name for one in others):
        raise AlreadyExists("another disk is mounted under that name", hint="choose another")


# --- views ---------------------------------------------------------------------------------------


def view_of(services: Services, found: Found) -> DiskView:
    """Return a disk as it stands now."""
    device = services.store.device(found.disk.serial)
    if device is not None and device.disk not in {"", found.disk.disk}:
        device = None  # the device has become another disk since
    return DiskView(found.disk, found.version, device, recovery_due(services, found.disk))


def recovery_due(services: Services, disk: Disk) -> int:
    """Return when a disk's recovery key is due to be made anew and tested (0: never): by the
    period of the settings, or since there is a newer escrow generation.
    """
    recovery, period = disk.recovery, services.settings.disks.recovery_test_seconds
    if recovery is None or disk.erased:
        return 0
    times = [max(recovery.made, recovery.tested) + period] if period else []
    newest = _newest_generation(services)
    if newest is not None and newest.generation > recovery.generation:
        times.append(seconds(newest.made))
    return min(times, default=0)


def _newest_generation(services: Services) -> Generation | None:
    services.escrow_log.read(services.store)
    known = services.escrow_log.generations.values()
    live = (one for one in known if not one.destroyed)
    return max(live, key=lambda one: one.generation, default=None)


def sees_device(services: Services, principal: Principal, device: Device) -> bool:
    """Whether a caller may know of a device: of a space's, who reaches the space; of any other,
    whoever watches the whole appliance.
    """
    sealed = services.store.disk(device.disk) if device.disk else None
    return sees(principal, space_of(sealed) if sealed else "")


def sees(principal: Principal, space: str) -> bool:
    """Whether a caller may know of what is a space's, or (empty) of none."""
    if space:
        return principal.reaches(space)
    return bool(principal.roles & _WATCH_ALL) or EVERY_SPACE in principal.spaces


def live_disk(services: Services, serial: str) -> Disk | None:
    """Return the disk, unchecked, that a device is: the one that is not erased, else the last."""
    return _last(one for one in told_disks(services) if one.serial == serial)


def _last(known: Iterable[Disk]) -> Disk | None:
    return max(known, key=lambda one: (not one.erased, one.enrolled, one.disk), default=None)
