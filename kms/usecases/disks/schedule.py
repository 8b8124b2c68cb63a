"""What is due on disks by time: another recovery key, tested; another slot key and KEK.

What is left to do is always read from the store, so a process that dies loses nothing. Works are
done by the appliance: one order per disk at a time, and a failed one again after a day.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from kms.domain.disks import Disk, DiskState, OrderKind, OrderState, Work
from kms.domain.models import Space
from kms.domain.rows import SealedRow
from kms.errors import ConclaveError
from kms.usecases.activations import SERVICE
from kms.usecases.disks.common import Found, disks_of, lock_of, lock_of_device
from kms.usecases.disks.keys import drop_old, next_kek
from kms.usecases.disks.orders import new_order, put
from kms.usecases.disks.placing import open_orders
from kms.usecases.disks.views import recovery_due
from kms.usecases.queries import is_present
from kms.usecases.services import Call, Services

LOOK_SECONDS = 60.0
AGAIN_SECONDS = 24 * 3600
"""How long a failed order is left alone."""
_LAST = 50
"""So many of a disk's last orders are looked through for a failed one."""
_READY = frozenset(
    {DiskState.ENROLLED, DiskState.LOCKED, DiskState.OPEN, DiskState.MOUNTED, DiskState.ROTATING}
)
_LOG = logging.getLogger(__name__)


class DiskSchedule:
    """The background work of one process."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def run(self) -> None:
        """Look at every disk, for ever; what fails for a while is tried again."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Order what is due now in every space; trouble with one holds up no other."""
        for sealed in self._services.store.spaces():
            await self._guarded(sealed.row.key, self._look_at(sealed))

    async def _guarded(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except ConclaveError as error:
            _LOG.warning("what is due on disks waits, of %s: %s", key, error.code)

    async def _look_at(self, sealed: SealedRow) -> None:
        space = (await self._services.cache.admit(sealed)).record
        if not isinstance(space, Space) or space.destroyed:
            return
        if is_present(self._services, space.space):
            for found in await disks_of(self._services, space.space):
                await self._guarded(found.sealed.row.key, self._do(found))

    async def _do(self, found: Found) -> None:
        disk = found.disk
        if disk.erased or disk.work is not Work.NONE:
            return
        async with self._services.locks.of(lock_of(disk.disk)):
            await drop_old(self._services, found)
        kind = self._due(disk)
        if kind is None or not self._is_ready(disk, kind):
            return
        if kind is OrderKind.ROTATE_SLOT:
            await next_kek(self._services, Call(SERVICE, "disk.rotate-kek", ""), disk.disk)
        async with self._services.locks.of(lock_of_device(disk.serial)):
            if self._is_ready(disk, kind):
                order = new_order(SERVICE, kind, disk.serial, disk, self._services.seconds())
                await put(self._services, Call(SERVICE, "disk.order", ""), order)

    def _due(self, disk: Disk) -> OrderKind | None:
        """Return what is due: the recovery key first, on which the disk's rescue depends."""
        now, period = self._services.seconds(), self._services.settings.disks.slot_key_seconds
        due = recovery_due(self._services, disk)
        if due and now >= due:
            return OrderKind.VERIFY_RECOVERY
        if period and disk.key is not None and now >= disk.key.made + period:
            return OrderKind.ROTATE_SLOT
        return None

    def _is_ready(self, disk: Disk, kind: OrderKind) -> bool:
        """Whether the device is there, nothing waits for it and the last such order did not fail
        just now.
        """
        store, now = self._services.store, self._services.seconds()
        device = store.device(disk.serial)
        if device is None or device.state not in _READY or device.disk != disk.disk:
            return False
        if open_orders(self._services, disk.serial):
            return False
        last = [one for one in store.disk_orders(disk.disk, "", _LAST) if one.kind is kind]
        failed = bool(last) and last[0].state is OrderState.FAILED
        return not failed or now - last[0].ended >= AGAIN_SECONDS
