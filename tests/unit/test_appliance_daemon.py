"""The daemon's loop: what it starts, cuts short, closes and reports. Kms and hands are fakes."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from appliance.daemon.decide import Step
from appliance.daemon.doing import Done, Task
from appliance.daemon.loop import Daemon, Stop
from appliance.daemon.reports import Reports, Word
from appliance.hotplug import Appeared, Vanished
from appliance.orders import BoxSealed
from appliance.systemd import Notifier
from kms.domain.disks import DiskState, OrderKind, Work
from kms.domain.ids import DiskId
from kms.errors import Unavailable
from kms.wire.disks import DiskList, Orders, OrderToDo
from tests.fixtures.appliance import DISK, ORDER, OTHER, device_ref, disk_out, order_to_do

PLACE = "/sys/devices/usb1/block/sdb"
WORK = OTHER
"""The order of a work."""


class Kms:
    """Hears reports and has disks, as the link does."""

    def __init__(self) -> None:
        self.list = DiskList(disks=(disk_out(),), devices=())
        self.away = False
        self.ends: list[tuple[str, str]] = []

    def disks(self) -> DiskList:
        if self.away:
            raise Unavailable("away")
        return self.list

    def report_device(self, *_report: object) -> None:
        if self.away:
            raise Unavailable("away")

    def report_order(self, order: str, state: str, *rest: object) -> None:
        self.ends.append((order, state))


class Hands:
    """Stands in for the Doer: notes what it is to do; works are held until ``release``."""

    def __init__(self, reports: Reports) -> None:
        self.reports = reports
        self.steps: list[Step] = []
        self.open: set[str] = set()
        self.held: dict[Step, threading.Event] = defaultdict(threading.Event)
        self.later: set[Step] = set()
        self.deaf: set[str] = set()
        """Devices that do not answer: what is done with them ends with the test."""
        self.answer = threading.Event()

    def do(self, task: Task) -> Done:
        step = task.action.step
        self.steps.append(step)
        if task.serial in self.deaf and step not in {Step.CLOSE, Step.REFUSE, Step.REST}:
            self.answer.wait(20)
            return Done(task, later=True)
        if step in {Step.RESUME, Step.OBEY}:
            self._wait(task)
        if step is Step.UNLOCK and step not in self.later:
            self.open.add(DISK)
            self._say(task, DiskState.MOUNTED)
        elif step is Step.CLOSE:
            self.open.discard(DISK)
            self._say(task, DiskState.LOCKED if task.ref else DiskState.GONE)
            if task.action.order is not None:
                self.reports.ended(task.action.order.order, "done")
        elif step is Step.REST and task.action.state is not None:
            self._say(task, task.action.state)
        elif task.action.order is not None and not task.cancel.is_set():
            self.reports.ended(task.action.order.order, "done")
        return Done(task, later=step in self.later or task.cancel.is_set())

    def _wait(self, task: Task) -> None:
        while not task.cancel.wait(0.01) and not self.held[task.action.step].is_set():
            pass

    def _say(self, task: Task, state: DiskState) -> None:
        if task.ref is None:
            self.reports.gone(task.serial)
        else:
            self.reports.device(task.ref, Word(state))

    def opened(self) -> tuple[DiskId, ...]:
        return tuple(DiskId(one) for one in self.open)

    def close(self, disk: DiskId) -> None:
        if disk in self.deaf:
            self.answer.wait(20)
        self.open.discard(disk)


class Systemd(Notifier):
    def __init__(self) -> None:
        super().__init__({})
        self.told: list[str] = []

    def alive(self) -> None:
        self.told.append("alive")

    def ready(self, status: str) -> None:
        self.told.append(status)

    def stopping(self) -> None:
        self.told.append("stopping")


class Box:
    """A running daemon."""

    def __init__(self) -> None:
        self.kms, self.systemd = Kms(), Systemd()
        self.reports = Reports(self.kms)
        self.hands = Hands(self.reports)
        self.daemon = Daemon(self.kms.disks, self.hands, self.reports, self.systemd)
        self.version = 0

    def plug(self, serial: str = "WD-1", place: str = PLACE) -> None:
        self.daemon.tell(Appeared(place, device_ref(serial)))

    def pull(self, place: str = PLACE) -> None:
        self.daemon.tell(Vanished(place))

    def orders(self, *orders: OrderToDo, sealed: tuple[str, ...] = ()) -> None:
        self.version += 1
        self.daemon.tell(Orders(version=self.version, orders=orders, sealed=sealed))

    def until(self, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + 5
        while not holds():
            assert time.monotonic() < end, (self.hands.steps, self.systemd.told)
            time.sleep(0.005)

    def state(self, serial: str = "WD-1") -> DiskState | None:
        return self.reports.state(serial)


@contextmanager
def running(box: Box) -> Iterator[None]:
    thread = threading.Thread(target=box.daemon.run)
    thread.start()
    try:
        yield
    finally:
        box.hands.answer.set()
        box.daemon.tell(Stop())
        thread.join(15)
        assert not thread.is_alive()


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    monkeypatch.setattr("appliance.daemon.loop._TICK_SECONDS", 0.01)
    monkeypatch.setattr("appliance.daemon.loop._AGAIN_SECONDS", 0.05)
    monkeypatch.setattr("appliance.daemon.table._PAUSES", (0.05,))
    made = Box()
    with running(made):
        yield made


def test_a_disk_is_opened_when_it_is_plugged_in_and_systemd_is_told_once(box: Box) -> None:
    box.plug()
    box.orders()
    box.until(lambda: box.systemd.told == ["1 devices"])
    assert box.hands.steps == [Step.UNLOCK]
    assert box.state() is DiskState.MOUNTED


def test_nothing_is_decided_before_kms_has_answered(box: Box) -> None:
    box.kms.away = True
    box.plug()
    box.orders()
    time.sleep(0.2)
    assert box.hands.steps == []
    assert box.systemd.told == []
    box.kms.away = False
    box.until(lambda: box.hands.steps == [Step.UNLOCK])


def test_a_disk_that_is_pulled_out_is_closed_and_opened_when_it_comes_back(box: Box) -> None:
    box.plug()
    box.orders()
    box.until(lambda: box.state() is DiskState.MOUNTED)
    box.pull()
    box.until(lambda: box.state() is DiskState.GONE)
    box.plug()
    box.until(lambda: box.state() is DiskState.MOUNTED)
    assert box.hands.steps == [Step.UNLOCK, Step.CLOSE, Step.UNLOCK]


def test_a_seal_closes_and_what_it_closed_stays_closed(box: Box) -> None:
    box.plug()
    box.orders()
    box.until(lambda: box.state() is DiskState.MOUNTED)
    box.orders(sealed=("treasury",))
    box.until(lambda: box.state() is DiskState.LOCKED)
    assert not box.hands.open
    box.orders()
    time.sleep(0.2)
    assert box.state() is DiskState.LOCKED
    assert Step.UNLOCK not in box.hands.steps[1:]


def test_another_spaces_seal_closes_nothing(box: Box) -> None:
    box.plug()
    box.orders()
    box.until(lambda: box.state() is DiskState.MOUNTED)
    box.orders(sealed=("legal",))
    time.sleep(0.1)
    assert box.state() is DiskState.MOUNTED


def test_a_sealed_box_closes_what_was_left_open_before_kms_said_anything_else(box: Box) -> None:
    box.hands.open.add(DISK)
    box.daemon.tell(BoxSealed())
    box.until(lambda: not box.hands.open)


def test_open_disks_stay_open_while_kms_is_away(box: Box) -> None:
    box.plug()
    box.orders()
    box.until(lambda: box.state() is DiskState.MOUNTED)
    box.kms.away = True
    box.plug("WD-2", PLACE + "2")
    time.sleep(0.2)
    assert box.hands.open == {DISK}


def test_a_work_is_cut_short_by_a_seal(box: Box) -> None:
    box.plug()
    box.orders(order_to_do(OrderKind.ROTATE_VOLUME))
    box.until(lambda: box.hands.steps == [Step.OBEY])
    box.orders(order_to_do(OrderKind.ROTATE_VOLUME), sealed=("treasury",))
    box.until(lambda: Step.REFUSE in box.hands.steps)
    assert box.hands.steps[1] is Step.REFUSE, "the order fails; the disk is not open"


def test_a_work_is_cut_short_when_its_device_is_pulled_out(box: Box) -> None:
    box.plug()
    box.orders(order_to_do(OrderKind.ROTATE_SLOT))
    box.until(lambda: box.hands.steps == [Step.OBEY])
    box.pull()
    box.until(lambda: Step.REFUSE in box.hands.steps)


def test_an_order_is_carried_out_once_though_kms_still_names_it(box: Box) -> None:
    box.plug()
    box.hands.held[Step.OBEY].set()
    order = order_to_do(OrderKind.UNLOCK)
    box.orders(order)
    box.until(lambda: box.hands.steps.count(Step.OBEY) == 1)
    box.orders(order)
    time.sleep(0.1)
    assert box.hands.steps.count(Step.OBEY) == 1
    assert box.kms.ends == [(order.order, "done")]


def test_an_order_about_a_device_that_is_away_is_refused(box: Box) -> None:
    box.orders(order_to_do(OrderKind.UNLOCK))
    box.until(lambda: box.hands.steps == [Step.REFUSE])


def test_what_cannot_be_done_now_is_tried_again(box: Box) -> None:
    box.hands.later.add(Step.UNLOCK)
    box.plug()
    box.orders()
    box.until(lambda: box.hands.steps.count(Step.UNLOCK) > 2)
    box.hands.later.clear()
    box.until(lambda: box.state() is DiskState.MOUNTED)


def test_a_stranger_that_is_gone_is_forgotten_unless_it_was_put_aside(box: Box) -> None:
    box.orders()
    for number in range(5):
        box.plug(f"X-{number}", f"{PLACE}{number}")
    box.plug()
    box.until(lambda: box.hands.steps.count(Step.LOOK) == 5)
    box.reports.device(device_ref("X-0"), Word(DiskState.QUARANTINED, "by_order"))
    for number in range(1, 5):
        box.reports.device(device_ref(f"X-{number}"), Word(DiskState.UNKNOWN))
    for number in range(5):
        box.pull(f"{PLACE}{number}")
    box.pull()
    box.until(lambda: {one.serial for one in box.daemon._table.all()} == {"WD-1", "X-0"})
    assert set(box.reports._devices) == {"WD-1", "X-0"}


def test_a_device_that_vanished_while_the_daemon_was_away_is_reported(box: Box) -> None:
    from tests.fixtures.appliance import device_out

    box.kms.list = DiskList(disks=(disk_out(),), devices=(device_out(DiskState.MOUNTED),))
    box.orders()
    box.until(lambda: box.state() is DiskState.GONE)


def test_a_disk_that_kms_cannot_check_stays_as_it_is_and_is_opened_when_it_can(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.daemon.loop._DOUBT_SECONDS", 0.01)
    known = box.kms.list
    box.plug()
    box.orders()
    box.until(lambda: box.state() is DiskState.MOUNTED)
    box.kms.list = DiskList(disks=(), devices=(), unknown=("treasury",))
    box.orders()
    time.sleep(0.1)
    assert box.hands.steps == [Step.UNLOCK]
    box.hands.open.clear()
    box.pull()
    box.until(lambda: box.state() is DiskState.GONE)
    box.plug()
    time.sleep(0.1)
    assert Step.UNLOCK not in box.hands.steps[1:]
    box.kms.list = known
    box.until(lambda: box.state() is DiskState.MOUNTED)


def test_stopping_ends_works_and_leaves_disks_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.daemon.loop._TICK_SECONDS", 0.01)
    box = Box()
    with running(box):
        box.plug()
        box.orders()
        box.until(lambda: box.state() is DiskState.MOUNTED)
        box.orders(order_to_do(OrderKind.ROTATE_SLOT))
        box.until(lambda: Step.OBEY in box.hands.steps)
    assert box.hands.open == {DISK}
    assert box.systemd.told[-1] == "stopping"
    assert box.kms.ends == []


# --- what does not answer -------------------------------------------------------------------------


def busy(box: Box) -> None:
    """Have the disk open and a task at it that does not end, whatever it is told."""
    box.plug()
    box.orders()
    box.until(lambda: box.state() is DiskState.MOUNTED)
    box.hands.deaf.add("WD-1")
    box.orders(order_to_do(OrderKind.ROTATE_VOLUME, order=WORK))
    box.until(lambda: Step.OBEY in box.hands.steps)


def test_a_seal_closes_a_disk_within_two_seconds_though_a_task_does_not_end(box: Box) -> None:
    busy(box)
    began = time.monotonic()
    box.orders(order_to_do(OrderKind.ROTATE_VOLUME, order=WORK), sealed=("treasury",))
    box.until(lambda: not box.hands.open)
    assert 1.0 < time.monotonic() - began < 2.0, "who ends when told to has the time for it"
    box.until(lambda: box.state() is DiskState.LOCKED)
    assert box.hands.steps.count(Step.CLOSE) == 1
    box.hands.open.add(DISK)  # what was under way has opened it after all
    box.until(lambda: not box.hands.open)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.daemon.loop._PATIENCE_SECONDS", 0.05)


@pytest.mark.usefixtures("impatient")
def test_a_disk_that_is_pulled_out_is_closed_though_a_task_does_not_end(box: Box) -> None:
    busy(box)
    box.pull()
    box.until(lambda: not box.hands.open)
    box.until(lambda: box.state() is DiskState.GONE)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", [OrderKind.LOCK, OrderKind.QUARANTINE])
def test_people_close_a_disk_though_a_task_does_not_end(box: Box, kind: OrderKind) -> None:
    busy(box)
    box.orders(order_to_do(OrderKind.ROTATE_VOLUME, order=WORK), order_to_do(kind))
    box.until(lambda: not box.hands.open)
    box.until(lambda: box.kms.ends == [(ORDER, "done")])
    time.sleep(0.2)
    assert box.hands.steps.count(Step.CLOSE) == 1


@pytest.mark.usefixtures("impatient")
def test_a_seal_closes_beside_what_it_does_not_cut_short(box: Box) -> None:
    box.plug()
    box.orders()
    box.until(lambda: box.state() is DiskState.MOUNTED)
    box.hands.deaf.add("WD-1")
    erase = order_to_do(OrderKind.ERASE)
    box.orders(erase)
    box.until(lambda: Step.OBEY in box.hands.steps)
    box.orders(erase, sealed=("treasury",))
    box.until(lambda: not box.hands.open)


def failing(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have an open disk whose work has failed and is repeated in a minute."""
    monkeypatch.setattr("appliance.daemon.table._PAUSES", (60.0,))
    box.hands.open.add(DISK)
    box.hands.later.add(Step.RESUME)
    box.hands.held[Step.RESUME].set()
    box.kms.list = DiskList(disks=(disk_out(work=Work.VOLUME),), devices=())
    box.plug()
    box.orders()
    box.until(lambda: Step.RESUME in box.hands.steps)
    time.sleep(0.1)


def test_a_seal_does_not_wait_for_the_repetition_of_something_else(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(box, monkeypatch)
    box.orders(sealed=("treasury",))
    box.until(lambda: not box.hands.open)


@pytest.mark.parametrize("kind", [OrderKind.LOCK, OrderKind.QUARANTINE])
def test_an_order_that_stops_does_not_wait_for_a_repetition(
    box: Box, monkeypatch: pytest.MonkeyPatch, kind: OrderKind
) -> None:
    failing(box, monkeypatch)
    box.hands.held[Step.OBEY].set()
    box.orders(order_to_do(OrderKind.ROTATE_SLOT, order=WORK), order_to_do(kind))
    box.until(lambda: (ORDER, "done") in box.kms.ends)
    assert box.hands.steps == [Step.RESUME, Step.OBEY]


def test_an_order_that_stops_and_could_not_yet_is_repeated_slowly(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.daemon.table._PAUSES", (60.0,))
    box.plug()
    box.orders()
    box.until(lambda: box.state() is DiskState.MOUNTED)
    box.hands.deaf.add("WD-1")
    box.hands.answer.set()
    box.orders(order_to_do(OrderKind.LOCK))
    time.sleep(0.2)
    assert box.hands.steps == [Step.UNLOCK, Step.OBEY]


def test_an_order_that_stops_does_not_wait_for_the_list_of_disks(box: Box) -> None:
    box.plug()
    box.orders()
    box.until(lambda: box.state() is DiskState.MOUNTED)
    box.kms.away = True
    box.hands.held[Step.OBEY].set()
    box.orders(order_to_do(OrderKind.LOCK))
    box.until(lambda: box.hands.steps[-1] is Step.OBEY)


def test_strangers_that_do_not_answer_hold_up_no_disk_of_ours(box: Box) -> None:
    for number in range(9):
        box.hands.deaf.add(f"bad-{number}")
        box.plug(f"bad-{number}", f"{PLACE}{number}")
    box.plug()
    box.orders()
    box.until(lambda: box.state() is DiskState.MOUNTED)
    box.until(lambda: box.systemd.told == ["10 devices"])
    assert box.hands.steps.count(Step.LOOK) == 2


def test_disks_that_do_not_answer_hold_up_the_others_only_for_a_while(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.daemon.table._SLOW_SECONDS", 0.3)
    bad = {f"bad-{number}": f"{OTHER[:-1]}{number}" for number in range(8)}
    ours = (disk_out(serial=serial, disk=disk) for serial, disk in bad.items())
    box.kms.list = DiskList(disks=(disk_out(), *ours), devices=())
    box.hands.deaf |= set(bad)
    for number, serial in enumerate(bad):
        box.plug(serial, f"{PLACE}{number}")
    box.plug()
    box.orders()
    box.until(lambda: box.hands.steps.count(Step.UNLOCK) == 8)
    assert (box.state(), box.systemd.told) == (None, [])
    box.until(lambda: box.state() is DiskState.MOUNTED)
    box.until(lambda: box.systemd.told == ["9 devices"])


def test_of_a_sealed_box_one_disk_that_cannot_be_closed_does_not_keep_another_open(
    box: Box,
) -> None:
    box.hands.deaf.add(DISK)
    box.hands.open |= {DISK, OTHER}
    box.daemon.tell(BoxSealed())
    box.until(lambda: box.hands.open == {DISK})


def test_systemd_starts_the_daemon_anew_once_devices_are_followed_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("appliance.daemon.loop._TICK_SECONDS", 0.01)
    box, followed = Box(), threading.Event()
    box.systemd.watchdog = 0.01
    thread = threading.Thread(target=lambda: box.daemon.run(followed.is_set))
    thread.start()
    time.sleep(0.1)
    assert box.systemd.told == []
    followed.set()
    box.until(lambda: "alive" in box.systemd.told)
    box.daemon.tell(Stop())
    thread.join(5)
