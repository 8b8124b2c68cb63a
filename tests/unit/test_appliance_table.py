"""What the daemon remembers of devices, and when it looks at one again."""

from dataclasses import replace

from appliance.daemon.decide import Action, Step
from appliance.daemon.doing import Done, Task
from appliance.daemon.table import Table
from appliance.hotplug import Appeared, Vanished
from tests.fixtures.appliance import device_ref

PLACE = "/sys/devices/usb1/block/sdb"


def task() -> Task:
    return Task(Action(Step.UNLOCK), "WD-1", device_ref(), None, frozenset(), None)


def test_a_device_that_appears_is_due_at_once_and_once() -> None:
    table = Table()
    entry = table.take(Appeared(PLACE, device_ref()), 10.0)
    assert entry is not None
    assert entry.fresh(10.0)
    entry.due = None
    table.take(Appeared(PLACE, device_ref()), 11.0)
    assert not entry.fresh(12.0), "it only said something else of itself"


def test_another_device_under_the_same_name_is_due_again() -> None:
    table = Table()
    entry = table.take(Appeared(PLACE, device_ref()), 10.0)
    assert entry is not None
    entry.due = None
    table.take(Appeared(PLACE, device_ref(identity=(8, 2))), 11.0)
    assert entry.fresh(11.0)


def test_a_device_that_goes_is_found_by_its_place() -> None:
    table = Table()
    table.take(Appeared(PLACE, device_ref()), 10.0)
    entry = table.take(Vanished(PLACE), 11.0)
    assert entry is not None
    assert (entry.serial, entry.ref) == ("WD-1", None)
    assert entry.fresh(11.0)
    assert table.take(Vanished(PLACE), 12.0) is None


def test_a_second_device_with_the_same_serial_number_is_not_believed() -> None:
    table = Table()
    first = table.take(Appeared(PLACE, device_ref()), 10.0)
    second = table.take(Appeared(PLACE + "2", device_ref(identity=(8, 2))), 11.0)
    assert first is not None
    assert second is not None
    assert second.ref is not None
    assert first.serial == "WD-1"
    assert second.serial.startswith("unnamed-")
    assert not second.ref.named


def test_a_place_taken_over_by_another_device_frees_the_first() -> None:
    table = Table()
    first = table.take(Appeared(PLACE, device_ref()), 10.0)
    second = table.take(Appeared(PLACE, device_ref("WD-2", identity=(8, 2))), 11.0)
    assert first is not None
    assert second is not None
    assert first.ref is None
    assert second.ref is not None


def test_what_waits_for_kms_is_tried_again_ever_more_slowly() -> None:
    table = Table()
    entry = table.entry("WD-1")
    waits = []
    for _ in range(6):
        entry.done(Done(task(), later=True), 100.0)
        waits.append((entry.due or 0.0) - 100.0)
    assert waits == [1.0, 2.0, 5.0, 15.0, 60.0, 60.0]
    entry.done(Done(task()), 200.0)
    entry.done(Done(task(), later=True), 300.0)
    assert entry.due == 301.0


def test_closing_is_repeated_by_a_count_of_its_own() -> None:
    entry = Table().entry("WD-1")
    close = replace(task(), action=Action(Step.CLOSE))
    for _ in range(5):
        entry.done(Done(task(), later=True), 100.0)
    assert entry.close_at == 0.0, "another failure does not put it off"
    entry.done(Done(close, later=True), 100.0)
    assert entry.close_at == 101.0
    entry.done(Done(close, later=True), 101.0)
    assert entry.close_at == 103.0
    entry.done(Done(close, again=True), 104.0)
    assert (entry.close_at, entry.unclosed) == (104.0, 0)


def test_what_ends_beside_a_task_leaves_that_running() -> None:
    entry = Table().entry("WD-1")
    first, second = task(), replace(task(), action=Action(Step.CLOSE), beside=True)
    entry.start(first, 100.0)
    entry.start(second, 102.0)
    entry.done(Done(second, again=True), 103.0)
    assert (entry.running, entry.beside) == (first, None)
    assert not entry.slow(115.0)
    assert entry.slow(115.1)


def test_what_was_cut_short_is_looked_at_at_once() -> None:
    entry = Table().entry("WD-1")
    cut = task()
    cut.cancel.set()
    entry.done(Done(cut, later=True), 100.0)
    assert entry.fresh(100.0)
    assert entry.failures == 0
