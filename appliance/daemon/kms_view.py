"""What kms said last: disks, orders and seals, and what follows for one device."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from appliance.daemon.decide import stops
from kms.domain.ids import DiskId
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

    def disk_id(self, serial: str) -> DiskId | None:
        """Return the id of the disk that a device is, also of one that kms withholds now."""
        if (disk := self.disk(serial)) is not None:
            return DiskId(disk.disk)
        devices = self.disks.devices if self.disks else ()
        named = (one.disk for one in devices if one.serial == serial and one.disk)
        return next((DiskId(one) for one in named), None)

    def ids(self) -> frozenset[str]:
        """Return the ids of all disks, erased and withheld ones too."""
        if self.disks is None:
            return frozenset()
        named = {one.disk for one in self.disks.devices if one.disk}
        return frozenset(named | {one.disk for one in self.disks.disks})

    def serials(self) -> frozenset[str]:
        """Return the serial numbers that kms speaks of."""
        devices = (one.serial for one in self.disks.devices) if self.disks else ()
        orders = (one.serial for one in self.orders.orders) if self.orders else ()
        return frozenset((*devices, *orders))

    def sealed(self, serial: str) -> bool:
        """Whether no key of the disk that a device is may be used now."""
        disk = self.disk(serial)
        hidden = disk is None and self.disk_id(serial) is not None and not self.withheld(serial)
        return self.box or hidden or (disk is not None and disk.space in self._sealed)

    @property
    def doubtful(self) -> frozenset[str]:
        """The spaces that are not sealed and whose disks kms cannot check now."""
        return frozenset(self.disks.unknown if self.disks else ()) - set(self._sealed)

    def withheld(self, serial: str) -> bool:
        """Whether kms cannot check the disk that a device is; one that was never listed counts as
        sealed if any space is.
        """
        if (disk := self.disk(serial)) is not None:
            return disk.space in self.doubtful
        hidden = self.disk_id(serial) is not None
        return hidden and bool(self.doubtful) and not self._sealed

    def with_disks(self, disks: DiskList) -> "KmsView":
        """Return the view with another list; kms leaves disks out of it whose space is sealed, or
        cannot be checked.
        """
        listed = {one.disk for one in disks.disks}
        before, left_out = self.disks.disks if self.disks else (), {*self._sealed, *disks.unknown}
        kept = [one for one in before if one.disk not in listed and one.space in left_out]
        return replace(self, disks=disks.model_copy(update={"disks": (*disks.disks, *kept)}))

    @property
    def _sealed(self) -> tuple[str, ...]:
        return self.orders.sealed if self.orders else ()

    def order(self, serial: str, is_over: Callable[[str], bool]) -> OrderToDo | None:
        """Return the order about a device that is next: one that stops before all others, else
        the oldest that has not ended.
        """
        orders = self.orders.orders if self.orders else ()
        waiting = [one for one in orders if one.serial == serial and not is_over(one.order)]
        urgent = (one for one in waiting if stops(one))
        return next(urgent, waiting[0] if waiting else None)
