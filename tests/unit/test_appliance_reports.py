"""What kms is told of devices and orders, also when it does not listen. The ear is a fake."""

from appliance.daemon.reports import Reports, Word
from kms.domain.disks import DiskState, OrderState, check_disk_transition
from kms.errors import StateNotAllowed, Unavailable
from kms.wire.disks import DeviceIn
from tests.fixtures.appliance import DISK, ORDER, device_out, device_ref

S = DiskState


class Ear:
    """Hears as kms does: only transitions that are allowed, or nothing while it is ``deaf``."""

    def __init__(self) -> None:
        self.deaf = False
        self.devices: list[DeviceIn] = []
        self.orders: list[tuple[str, OrderState, str]] = []
        self.refuses = False

    @property
    def states(self) -> list[tuple[DiskState, str]]:
        return [(one.state, one.code) for one in self.devices]

    def report_device(self, _serial: str, device: DeviceIn) -> None:
        if self.deaf:
            raise Unavailable("deaf")
        if self.devices:
            check_disk_transition(self.devices[-1].state, device.state)
        self.devices.append(device)

    def report_order(
        self, order: str, state: OrderState, progress: int = 0, code: str = "", message: str = ""
    ) -> None:
        if self.deaf:
            raise Unavailable("deaf")
        if self.refuses:
            raise StateNotAllowed("it has ended")
        self.orders.append((order, state, code))


def test_the_same_word_is_said_once() -> None:
    reports = Reports(ear := Ear())
    for _ in range(3):
        reports.device(device_ref(), Word(S.ENROLLED, disk=DISK))
    assert ear.states == [(S.ENROLLED, "")]
    assert ear.devices[0].disk == DISK


def test_what_kms_knew_before_is_not_said_again() -> None:
    reports = Reports(ear := Ear())
    reports.learn((device_out(S.UNKNOWN),))
    reports.device(device_ref(), Word(S.UNKNOWN))
    assert ear.devices == []


def test_a_lock_is_kept_while_the_device_is_away_and_looked_at() -> None:
    reports = Reports(ear := Ear())
    reports.device(device_ref(), Word(S.LOCKED, disk=DISK))
    reports.gone("WD-1")
    reports.device(device_ref(), Word(S.SEEN, disk=DISK))
    assert ear.states == [(S.LOCKED, ""), (S.GONE, "locked"), (S.SEEN, "locked")]
    assert reports.held("WD-1") is S.LOCKED
    reports.device(device_ref(), Word(S.OPEN, disk=DISK))
    assert reports.held("WD-1") is None


def test_a_quarantine_is_kept_over_a_restart_of_the_daemon() -> None:
    reports = Reports(Ear())
    reports.learn((device_out(S.GONE, code="quarantined"),))
    assert reports.held("WD-1") is S.QUARANTINED


def test_what_was_not_heard_is_said_again_with_the_state_in_between() -> None:
    reports = Reports(ear := Ear())
    reports.device(device_ref(), Word(S.OPEN))
    ear.deaf = True
    reports.gone("WD-1")
    reports.device(device_ref(), Word(S.SEEN))
    reports.device(device_ref(), Word(S.ENROLLED))
    assert not reports.repeat()
    ear.deaf = False
    assert reports.repeat()
    assert [state for state, _ in ear.states] == [S.OPEN, S.SEEN, S.ENROLLED]


def test_a_device_that_kms_never_heard_of_is_not_reported_gone() -> None:
    reports = Reports(ear := Ear())
    reports.gone("WD-1")
    assert ear.devices == []


def test_an_orders_end_is_told_until_it_was_heard_and_the_order_not_done_again() -> None:
    reports = Reports(ear := Ear())
    ear.deaf = True
    reports.ended(ORDER, OrderState.DONE)
    reports.forget_orders(set())
    assert reports.is_over(ORDER)
    assert not reports.repeat()
    ear.deaf = False
    assert reports.repeat()
    assert reports.repeat()
    assert ear.orders == [(ORDER, OrderState.DONE, "")]
    reports.forget_orders({ORDER})
    assert reports.is_over(ORDER)
    reports.forget_orders(set())
    assert not reports.is_over(ORDER)


def test_an_end_that_kms_refuses_is_not_told_for_ever() -> None:
    reports = Reports(ear := Ear())
    ear.refuses = True
    reports.ended(ORDER, OrderState.FAILED, "sealed")
    assert reports.repeat()


def test_progress_is_a_percentage_and_may_go_unheard() -> None:
    reports = Reports(ear := Ear())
    reports.running(ORDER, 130, "almost")
    ear.deaf = True
    reports.running(ORDER, 50, "half")
    assert ear.orders == [(ORDER, OrderState.RUNNING, "")]
