"""What follows from what kms said last, also of disks that it does not tell of any more."""

import pytest

from appliance.daemon.kms_view import KmsView
from kms.domain.disks import DiskState, OrderKind
from kms.wire.disks import DeviceOut, DiskList, DiskOut, Orders, OrderToDo
from tests.fixtures.appliance import DISK, OTHER, TIME, device_out, disk_out, order_to_do


def view(
    *disks: DiskOut,
    devices: tuple[DeviceOut, ...] = (),
    orders: tuple[OrderToDo, ...] = (),
    sealed: tuple[str, ...] = (),
) -> KmsView:
    return KmsView(
        DiskList(disks=disks, devices=devices),
        Orders(version=1, orders=orders, sealed=sealed),
    )


def test_a_device_is_the_disk_that_is_not_erased() -> None:
    old = disk_out(disk=OTHER, erased=TIME, enrolled="2026-11-23T12:00:00Z")
    assert view(old, disk_out()).disk_id("WD-1") == DISK
    assert view(old).disk_id("WD-1") == OTHER
    assert view().disk_id("WD-1") is None


def test_a_disk_of_a_sealed_space_is_still_known_when_kms_leaves_it_out() -> None:
    before = view(disk_out(), sealed=("treasury",))
    after = before.with_disks(DiskList(disks=(), devices=()))
    assert after.disk("WD-1") == disk_out()
    assert after.sealed("WD-1")


def test_a_disk_that_is_gone_from_an_open_space_is_not_kept() -> None:
    after = view(disk_out()).with_disks(DiskList(disks=(), devices=()))
    assert after.disk("WD-1") is None


def test_after_a_restart_a_withheld_disk_is_known_by_its_devices_last_report() -> None:
    seen = view(devices=(device_out(DiskState.LOCKED, disk=DISK),))
    assert seen.disk("WD-1") is None
    assert seen.disk_id("WD-1") == DISK
    assert seen.sealed("WD-1"), "what kms does not tell of is not opened, nor taken for a stranger"
    assert DISK in seen.ids()


def test_disks_of_a_space_that_cannot_be_checked_are_withheld_and_not_sealed() -> None:
    after = view(disk_out()).with_disks(DiskList(disks=(), devices=(), unknown=("treasury",)))
    assert after.disk("WD-1") == disk_out()
    assert after.withheld("WD-1")
    assert not after.sealed("WD-1")
    again = after.with_disks(DiskList(disks=(disk_out(),), devices=()))
    assert not again.withheld("WD-1")


def test_a_seal_counts_for_more_than_doubt() -> None:
    listed = DiskList(disks=(), devices=(), unknown=("treasury",))
    sealed = view(disk_out(), sealed=("treasury",)).with_disks(listed)
    assert sealed.sealed("WD-1")
    assert not sealed.withheld("WD-1")


@pytest.mark.parametrize("sealed", [(), ("legal",)])
def test_after_a_restart_a_disk_of_any_space_may_be_the_sealed_one(sealed: tuple[str, ...]) -> None:
    """Its device says which disk it is, and not whose."""
    devices = (device_out(DiskState.MOUNTED, disk=DISK),)
    seen = KmsView(orders=Orders(version=1, orders=(), sealed=sealed)).with_disks(
        DiskList(disks=(), devices=devices, unknown=("treasury", *sealed))
    )
    assert seen.withheld("WD-1") is not bool(sealed)
    assert seen.sealed("WD-1") is bool(sealed)


def test_a_stranger_is_not_sealed() -> None:
    assert not view(devices=(device_out(DiskState.UNKNOWN),), sealed=("treasury",)).sealed("WD-1")


def test_a_seal_is_of_one_space_or_of_the_box() -> None:
    assert not view(disk_out(), sealed=("legal",)).sealed("WD-1")
    assert view(disk_out(), sealed=("treasury",)).sealed("WD-1")
    assert KmsView(box=True).sealed("WD-1")


def test_what_stops_comes_before_what_waits_longer() -> None:
    rotate = order_to_do(OrderKind.ROTATE_VOLUME)
    lock = order_to_do(OrderKind.LOCK, order=OTHER)
    seen = view(disk_out(), orders=(rotate, lock))
    assert seen.order("WD-1", lambda _order: False) == lock
    assert seen.order("WD-1", lambda order: order == OTHER) == rotate
    assert seen.order("WD-2", lambda _order: False) is None
