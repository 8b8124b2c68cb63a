"""What kms said last: disks, orders and seals, and what follows for one device."""

from collections.abc import Callable
from dataclasses import dataclass

from appliance.daemon.decide import STOPPING
from kms.wire.disks import DiskList, DiskOut, Orders, OrderToDo


@dataclass(frozen=True, slots=True)
class KmsView:
    """``box``: the whole box is sealed. Without ``disks`` nothing can be decided yet."""

    disks: DiskList | None = None
    orders: Orders | None = None
    box: bool = False

    def disk(self, serial: str) -> DiskOut | None:
        """Return the disk that a device is enrolled as; an erased one if there is no other."""
        found = [one for one in self.disks.disks if one.serial == serial] if self.disks else []
        return max(found, key=lambda one: (one.erased is None, one.enrolled), default=None)

    def ids(self) -> frozenset[str]:
        """Return the ids of all disks, erased ones too."""
        return frozenset(one.disk for one in self.disks.disks) if self.disks else frozenset()

    def serials(self) -> frozenset[str]:
        """Return the serial numbers that kms speaks of."""
        devices = (one.serial for one in self.disks.devices) if self.disks else ()
        orders = (one.serial for one in self.orders.orders) if self.orders else ()
        return frozenset((*devices, *orders))

    def sealed(self, disk: DiskOut | None) -> bool:
        """Whether no key of a disk may be used now."""
        spaces = self.orders.sealed if self.orders else ()
        return self.box or (disk is not None and disk.space in spaces)

    def order(self, serial: str, is_over: Callable[[str], bool]) -> OrderToDo | None:
        """Return the order about a device that is next: one that stops before all others, else
        the oldest that has not ended.
        """
        orders = self.orders.orders if self.orders else ()
        waiting = [one for one in orders if one.serial == serial and not is_over(one.order)]
        urgent = (one for one in waiting if one.kind in STOPPING)
        return next(urgent, waiting[0] if waiting else None)
