"""From disks, devices and orders as the use cases return them to what the wire carries."""

from kms.domain.disks import Device, DiskOrder, MountPolicy
from kms.usecases.disks.orders import OrderBatch
from kms.usecases.disks.views import DiskView
from kms.wire import disks as wire
from kms.wire.base import rfc3339


def disk(view: DiskView) -> wire.DiskOut:
    """Show a disk, with what the appliance last said of its device."""
    found, device = view.disk, view.device
    key, recovery = found.key, found.recovery
    return wire.DiskOut(
        disk=found.disk,
        space=found.space,
        serial=found.serial,
        size=found.size,
        label=found.label,
        mount=_mount(found.mount),
        work=found.work,
        committed=found.committed,
        state=device.state if device else None,
        code=device.code if device else "",
        reason=device.reason if device else "",
        mounted=device.mounted if device else "",
        seen=rfc3339(device.changed) if device else None,
        header=found.header or None,
        kek=key.kek if key else 0,
        volume=found.volume,
        generation=recovery.generation if recovery else 0,
        enrolled=rfc3339(found.enrolled),
        key_made=rfc3339(key.made) if key else None,
        tested=_time(recovery.tested) if recovery else None,
        recovery_due=_time(view.recovery_due),
        replaces=found.replaces or None,
        erased=_time(found.erased),
    )


def device(found: Device) -> wire.DeviceOut:
    """Show a device."""
    return wire.DeviceOut(
        serial=found.serial,
        node=found.node,
        size=found.size,
        model=found.model,
        content=found.content,
        state=found.state,
        disk=found.disk or None,
        code=found.code,
        reason=found.reason,
        mounted=found.mounted,
        changed=rfc3339(found.changed),
    )


def order(found: DiskOrder) -> wire.OrderOut:
    """Show an order; the key that it may carry is the appliance's alone."""
    return wire.OrderOut(
        order=found.order,
        kind=found.kind,
        serial=found.serial,
        disk=found.disk or None,
        space=found.space or None,
        principal=found.principal,
        created=rfc3339(found.created),
        state=found.state,
        dry_run=found.dry_run,
        progress=found.progress,
        code=found.code,
        message=found.message,
        ended=_time(found.ended),
    )


def batch(found: OrderBatch) -> wire.Orders:
    """Show the appliance what waits for it."""
    return wire.Orders(
        version=found.version,
        orders=tuple(map(_to_do, found.orders)),
        sealed=found.sealed,
    )


def _to_do(found: DiskOrder) -> wire.OrderToDo:
    return wire.OrderToDo(
        order=found.order,
        kind=found.kind,
        serial=found.serial,
        disk=found.disk or None,
        dry_run=found.dry_run,
        sealed_key=found.sealed_key or None,
    )


def mount_policy(given: wire.MountOut) -> MountPolicy:
    """Return a mount policy as the use cases take it."""
    return MountPolicy(given.name or "", given.automatic, given.read_only)


def _mount(policy: MountPolicy) -> wire.MountOut:
    return wire.MountOut(
        name=policy.name or None, automatic=policy.automatic, read_only=policy.read_only
    )


def _time(seconds: int) -> str | None:
    return rfc3339(seconds) if seconds else None
