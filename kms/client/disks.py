"""Encrypted disks: what people see and order, and what the appliance daemon fetches and reports."""

from collections.abc import Iterator

from kms.client.calls import Calls
from kms.domain.disks import OrderKind, OrderState, Work
from kms.statements.canonical import b64u
from kms.wire import disks as wire


class Disks(Calls):
    """The operations about disks; the last ones are the appliance daemon's alone."""

    def disks(self) -> wire.DiskList:
        """Return the enrolled disks that the caller may know of, and the devices seen."""
        return self._to.ask("disk.list").read(wire.DiskList)

    def disk(self, disk: str) -> wire.DiskOut:
        """Return one disk (UUID)."""
        return self._to.ask("disk.read", disk=disk).read(wire.DiskOut)

    def change_disk(
        self, disk: str, label: str | None = None, mount: wire.MountOut | None = None
    ) -> wire.DiskOut:
        """Change a disk's label or mount policy; what is None stays."""
        body = wire.ChangeDisk(label=label, mount=mount)
        return self._to.ask("disk.change", body, disk=disk).read(wire.DiskOut)

    def rotate_kek(self, disk: str) -> wire.DiskOut:
        """Encrypt a disk's slot key by a new version of its KEK; the device is not touched."""
        return self._to.ask("disk.rotate-kek", disk=disk).read(wire.DiskOut)

    def place_order(
        self,
        kind: OrderKind,
        serial: str,
        *,
        dry_run: bool = False,
        sealed_key: str | None = None,
        idempotency_key: str | None = None,
    ) -> wire.OrderOut:
        """Order something of the appliance; ``sealed_key``: what ``recover`` needs (base64url)."""
        body = wire.OrderIn(kind=kind, serial=serial, dry_run=dry_run, sealed_key=sealed_key)
        return self._to.ask("disk.order", body, key=idempotency_key).read(wire.OrderOut)

    def order(self, order: str) -> wire.OrderOut:
        """Return an order and how far it is."""
        return self._to.ask("disk.follow", order=order).read(wire.OrderOut)

    def order_pages(self, disk: str | None = None) -> Iterator[wire.OrderPage]:
        """Yield orders, newest first, page by page: all, or those about one disk."""
        before: str | None = None
        while True:
            query = {"disk": disk, "before": before}
            page = self._to.ask("disk.orders", query=query).read(wire.OrderPage)
            yield page
            if (before := page.next) is None:
                return

    # --- the appliance daemon ---------------------------------------------------------------------

    def take_orders(self, version: int, wait: int) -> wire.Orders:
        """Return what waits for the appliance: at once unless ``version`` (0 at first) is the
        present one, then as soon as it changes, or unchanged after ``wait`` seconds (at most 60).
        """
        query = {"version": version, "wait": wait}
        return self._to.ask("disk-order.take", query=query, patience=wait).read(wire.Orders)

    def report_order(
        self, order: str, state: OrderState, progress: int = 0, code: str = "", message: str = ""
    ) -> wire.OrderOut:
        """Report how far an order is (percent), or its end."""
        body = wire.OrderReport(state=state, progress=progress, code=code, message=message)
        return self._to.ask("disk-order.report", body, order=order).read(wire.OrderOut)

    def report_device(self, serial: str, device: wire.DeviceIn) -> wire.DeviceOut:
        """Report how a device stands."""
        return self._to.ask("device.report", device, serial=serial).read(wire.DeviceOut)

    def disk_keys(self, disk: str, nonce: bytes) -> wire.KeysOut:
        """Return a disk and the release of its keys for this ``nonce`` (16 bytes), unverified."""
        body = wire.AskKeys(nonce=b64u(nonce))
        return self._to.ask("disk.keys", body, disk=disk).read(wire.KeysOut)

    def begin_work(self, disk: str, work: Work) -> wire.DiskOut:
        """Begin a work on a disk's keys; again while it goes on: the same answer."""
        return self._to.ask("disk.begin", wire.Begin(work=work), disk=disk).read(wire.DiskOut)

    def commit_work(self, disk: str, proof: str) -> wire.DiskOut:
        """Say that the work's keys open the disk: from now on they are its keys. ``proof``: that
        whoever says so holds them (``work_proof`` of kms/statements/diskkeys.py).
        """
        body = wire.Commit(proof=proof)
        return self._to.ask("disk.commit", body, disk=disk).read(wire.DiskOut)

    def finish_work(self, disk: str, header: str, proof: str) -> wire.DiskOut:
        """End a work; ``header`` is the SHA-256 (base64url) of the header region by now, ``proof``
        as in ``commit_work``.
        """
        body = wire.Finish(header=header, proof=proof)
        return self._to.ask("disk.finish", body, disk=disk).read(wire.DiskOut)
