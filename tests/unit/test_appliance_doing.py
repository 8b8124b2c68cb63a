"""What becomes of an action on a device: how it is reported, and when it is tried again.

The works themselves are replaced here; they are tested with real headers elsewhere.
"""

from collections.abc import Callable
from typing import Any

import pytest

from appliance.daemon import doing
from appliance.daemon.decide import Action, Step
from appliance.daemon.doing import Doer, Done, Task
from appliance.daemon.reports import Reports, Word
from appliance.run import ProgramCancelled, ProgramFailed
from appliance.storage.device import DeviceChanged
from appliance.storage.luks import NoDeviceMapper
from appliance.storage.metadata import HeaderRefused
from appliance.work import Outcome
from kms.domain.disks import DiskState, OrderKind, OrderState
from kms.domain.ids import DiskId
from kms.errors import EnvelopeRefused, Sealed, StateNotAllowed, Unavailable
from kms.wire.disks import DeviceIn
from tests.fixtures.appliance import DISK, ORDER, device_ref, order_to_do

S = DiskState


class Ear:
    def __init__(self) -> None:
        self.devices: list[DeviceIn] = []
        self.ends: list[tuple[OrderState, str, str]] = []
        self.running: list[tuple[int, str]] = []

    def report_device(self, _serial: str, device: DeviceIn) -> None:
        self.devices.append(device)

    def report_order(
        self, _order: str, state: OrderState, progress: int = 0, code: str = "", message: str = ""
    ) -> None:
        if state is OrderState.RUNNING:
            self.running.append((progress, message))
        else:
            self.ends.append((state, code, message))

    @property
    def states(self) -> list[tuple[DiskState, str]]:
        return [(one.state, one.code) for one in self.devices]


class Rig:
    """A doer whose works do what a test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ear = Ear()
        self.reports = Reports(self.ear)
        self.doer = Doer(lambda cancel, told: told, self.reports)  # type: ignore[arg-type, return-value]
        self._patch = monkeypatch
        self.works(look=lambda *_: Outcome(S.ENROLLED))

    def works(self, **functions: Callable[..., Any]) -> None:
        for name, function in functions.items():
            self._patch.setattr(doing, name, function)

    def fails(self, error: Exception) -> None:
        """Have every work but ``look`` fail."""

        def fail(*_: object) -> Outcome:
            raise error

        self.works(unlock=fail, go_on=fail, carry_out=fail)

    def do(self, step: Step, *, held: DiskState | None = None, **more: Any) -> Done:
        action = Action(step, **more)
        task = Task(action, "WD-1", device_ref(), DiskId(DISK), frozenset({DISK}), held)
        return self.doer.do(task)

    def obey(self, kind: OrderKind, *, held: DiskState | None = None, **changes: Any) -> Done:
        return self.do(Step.OBEY, held=held, order=order_to_do(kind, **changes))


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch)


def test_a_disk_is_seen_then_mounted(rig: Rig) -> None:
    rig.works(unlock=lambda *_: Outcome(S.MOUNTED, "/srv/conclave/records"))
    done = rig.do(Step.UNLOCK)
    assert rig.ear.states == [(S.SEEN, ""), (S.MOUNTED, "")]
    assert rig.ear.devices[-1].mounted == "/srv/conclave/records"
    assert (done.again, done.later) == (False, False)


@pytest.mark.parametrize(
    ("error", "state", "code", "later"),
    [
        (HeaderRefused("kdf", "argon2"), S.QUARANTINED, "header_refused", False),
        (NoDeviceMapper("none"), S.ENROLLED, "no_device_mapper", False),
        (ProgramFailed("mount"), S.ENROLLED, "program_failed", False),
        (EnvelopeRefused("another appliance's"), S.SEEN, "envelope_refused", True),
        (Unavailable("kms"), S.SEEN, "", True),
        (Sealed("sealed"), S.SEEN, "", True),
        (ProgramCancelled("urgent"), S.SEEN, "", True),
        (DeviceChanged("gone"), S.SEEN, "", True),
        (RuntimeError("a fault"), S.ENROLLED, "internal_error", False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_an_unlock_that_fails_is_reported_as_the_device_stands(
    rig: Rig, error: Exception, state: DiskState, code: str, later: bool
) -> None:
    rig.fails(error)
    done = rig.do(Step.UNLOCK)
    assert rig.ear.states[-1] == (state, code)
    assert done.later is later


def test_a_work_that_fails_is_gone_on_with_later(rig: Rig) -> None:
    rig.fails(ProgramFailed("reencrypt"))
    assert rig.do(Step.RESUME).later
    assert (S.ROTATING, "") in rig.ear.states


def test_a_header_that_is_refused_after_a_failure_is_quarantined(rig: Rig) -> None:
    rig.fails(ProgramFailed("reencrypt"))

    def refuse(*_: object) -> Outcome:
        raise HeaderRefused("digest", "another one")

    rig.works(look=refuse)
    rig.obey(OrderKind.ROTATE_SLOT)
    assert rig.ear.states[-1] == (S.QUARANTINED, "header_refused")
    assert rig.ear.ends == [(OrderState.FAILED, "program_failed", "reencrypt")]


@pytest.mark.parametrize("error", [Unavailable("kms"), ProgramCancelled("urgent")])
def test_an_order_goes_on_when_what_it_needs_is_back(rig: Rig, error: Exception) -> None:
    rig.fails(error)
    assert rig.obey(OrderKind.ROTATE_SLOT).later
    assert rig.ear.ends == []


def test_an_order_that_fails_says_why_and_what_to_do(rig: Rig) -> None:
    rig.fails(StateNotAllowed("it is busy", hint="end the programs"))
    rig.obey(OrderKind.LOCK)
    assert rig.ear.ends == [
        (OrderState.FAILED, "state_not_allowed", "it is busy\nend the programs")
    ]


def test_a_disk_that_people_locked_is_locked_again_after_a_rotation(rig: Rig) -> None:
    rig.reports.device(device_ref(), Word(S.LOCKED, disk=DISK))
    rig.works(carry_out=lambda *_: Outcome(S.ENROLLED))
    rig.obey(OrderKind.ROTATE_SLOT, held=S.LOCKED)
    assert rig.ear.states == [(S.LOCKED, ""), (S.ROTATING, "locked"), (S.LOCKED, "")]


@pytest.mark.parametrize(("left", "again"), [(S.ENROLLED, True), (S.MOUNTED, False)])
def test_a_disk_that_a_work_left_closed_is_looked_at_again(
    rig: Rig, left: DiskState, again: bool
) -> None:
    rig.works(carry_out=lambda *_: Outcome(left))
    assert rig.obey(OrderKind.ROTATE_SLOT).again is again


def test_a_released_disk_is_looked_at_again(rig: Rig) -> None:
    rig.reports.device(device_ref(), Word(S.QUARANTINED, "header_refused", disk=DISK))
    rig.works(carry_out=lambda *_: Outcome(S.ENROLLED))
    assert rig.obey(OrderKind.RELEASE, held=S.QUARANTINED).again
    assert rig.ear.states[1:] == [(S.SEEN, "released"), (S.ENROLLED, "")]
    assert rig.reports.held("WD-1") is None


@pytest.mark.parametrize("held", [S.LOCKED, S.QUARANTINED])
def test_a_restored_header_ends_neither_a_lock_nor_a_quarantine(rig: Rig, held: DiskState) -> None:
    rig.reports.device(device_ref(), Word(held, disk=DISK))
    rig.works(carry_out=lambda *_: Outcome(S.ENROLLED))
    assert not rig.obey(OrderKind.RESTORE_HEADER, held=held).again
    assert {state for state, _ in rig.ear.states} == {held}
    assert rig.reports.held("WD-1") is held


def test_an_erasure_is_told_and_leaves_a_stranger(rig: Rig) -> None:
    rig.works(carry_out=lambda *_: Outcome(S.UNKNOWN, message="wiped"))
    rig.obey(OrderKind.ERASE, held=S.QUARANTINED)
    assert rig.ear.states == [(S.ERASING, ""), (S.UNKNOWN, "")]
    assert rig.ear.ends == [(OrderState.DONE, "", "wiped")]


def test_a_dry_run_reports_nothing_of_the_device(rig: Rig) -> None:
    rig.works(carry_out=lambda *_: Outcome(S.ENROLLED, message="it would"))
    done = rig.obey(OrderKind.PREPARE, dry_run=True)
    assert rig.ear.devices == []
    assert rig.ear.ends == [(OrderState.DONE, "", "it would")]
    assert not done.again


def test_progress_reaches_the_order_about_once_a_second(rig: Rig) -> None:
    def work(told: Callable[[int, str], None], *_: object) -> Outcome:
        for percent in range(100):
            told(percent, "encrypting")
        return Outcome(S.ENROLLED)

    rig.works(carry_out=work)
    rig.obey(OrderKind.ROTATE_VOLUME)
    assert rig.ear.running == [(0, ""), (0, "encrypting")]


def test_a_refused_order_ends_and_the_device_is_left_alone(rig: Rig) -> None:
    rig.do(
        Step.REFUSE,
        code="sealed",
        reason="its space is sealed",
        order=order_to_do(OrderKind.UNLOCK),
    )
    assert rig.ear.ends == [(OrderState.FAILED, "sealed", "its space is sealed")]
    assert rig.ear.devices == []
    assert rig.reports.is_over(ORDER)


# --- whether something else uses the device -------------------------------------------------------


@pytest.mark.parametrize("used", [True, False])
def test_who_acts_sees_first_whether_something_else_uses_the_device(rig: Rig, used: bool) -> None:
    rig.works(in_use=lambda _ref: used, unlock=lambda *_: Outcome(S.MOUNTED, "/srv/x"))
    instead = Action(Step.REST, S.QUARANTINED, "device_in_use", "a mount")
    disk = DiskId(DISK)
    task = Task(Action(Step.UNLOCK), "WD-1", device_ref(), disk, frozenset(), None, instead)
    done = rig.doer.do(task)
    assert rig.ear.states[-1] == ((S.QUARANTINED, "device_in_use") if used else (S.MOUNTED, ""))
    assert done.task.cancel is task.cancel


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (None, (OrderState.DONE, "", "")),
        (ProgramFailed("luksSuspend"), (OrderState.FAILED, "program_failed", "luksSuspend")),
    ],
)
def test_an_order_that_was_carried_out_by_force_ends(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, error: Exception | None, end: tuple[str, str, str]
) -> None:
    def close(*_: object) -> None:
        if error is not None:
            raise error

    rig.works(close_at_once=close)
    monkeypatch.setattr(rig.doer, "is_open", lambda _disk: error is not None)
    done = rig.do(Step.CLOSE, state=S.LOCKED, order=order_to_do(OrderKind.LOCK))
    assert rig.ear.states == [(S.LOCKED, "")]
    assert rig.ear.ends == [end]
    assert done.later is (error is not None)
