"""Disks as people and the appliance see them: the checked record, the device, what is due."""

from dataclasses import dataclass

from kms.domain.disks import Device, Disk, MountPolicy
from kms.domain.ids import DiskId
from kms.usecases.services import Call, Services


@dataclass(frozen=True, slots=True)
class DiskView:
    """A disk, its row's version, the device as last reported (None: never), and when its recovery
    key is due to be tested again (seconds since 1970; 0: never, the disk is erased).
    """

    disk: Disk
    version: int
    device: Device | None
    recovery_due: int


async def disks(services: Services, call: Call) -> tuple[list[DiskView], list[Device]]:
    """Return the disks of the spaces that the caller may know of, and the devices."""
    raise NotImplementedError


async def disk(services: Services, call: Call, disk: DiskId) -> DiskView:
    """Return one disk; raise NotFound, IntegrityFailure."""
    raise NotImplementedError


async def change(
    services: Services, call: Call, disk: DiskId, label: str | None, mount: MountPolicy | None
) -> DiskView:
    """Give a disk another label or mount policy; raise NotFound, StateNotAllowed, AlreadyExists."""
    raise NotImplementedError
