"""What the appliance does next with a device: every rule, and what must never come of any sight."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.daemon.decide import (
    HELD,
    NOTHING,
    Action,
    Sight,
    Step,
    beside,
    decide,
    held_by,
    if_used,
    interrupts,
)
from kms.domain.disks import DiskState, OrderKind, Work
from kms.wire.disks import MountOut
from tests.fixtures.appliance import OTHER, TIME, disk_out, order_to_do

DISK = disk_out()
PLUGGED = Sight(
    present=True,
    fresh=True,
    waits=False,
    in_use=False,
    opened=False,
    stale=False,
    state=None,
    held=None,
    disk=DISK,
    sealed=False,
    order=None,
)


def sight(**changes: Any) -> Sight:
    return replace(PLUGGED, **changes)


@pytest.mark.parametrize(
    ("changes", "step", "state", "code"),
    [
        pytest.param({}, Step.UNLOCK, None, "", id="plugged in"),
        pytest.param({"fresh": False}, Step.REST, None, "", id="seen to already"),
        pytest.param(
            {"disk": disk_out(mount=MountOut(automatic=False))},
            Step.CHECK, DiskState.ENROLLED, "", id="opened only when people ask",
        ),
        pytest.param({"opened": True}, Step.ADOPT, None, "", id="open since before a restart"),
        pytest.param(
            {"held": DiskState.LOCKED}, Step.CHECK, DiskState.LOCKED, "locked", id="locked",
        ),
        pytest.param(
            {"held": DiskState.LOCKED, "opened": True, "fresh": False},
            Step.CLOSE, DiskState.LOCKED, "locked", id="locked, but held open by a program",
        ),
        pytest.param(
            {"held": DiskState.QUARANTINED},
            Step.REST, DiskState.QUARANTINED, "quarantined", id="plugged in again from quarantine",
        ),
        pytest.param(
            {"held": DiskState.QUARANTINED, "state": DiskState.QUARANTINED},
            Step.REST, None, "", id="in quarantine",
        ),
        pytest.param({"sealed": True}, Step.REST, DiskState.LOCKED, "sealed", id="sealed space"),
        pytest.param(
            {"sealed": True, "opened": True, "fresh": False},
            Step.CLOSE, DiskState.LOCKED, "sealed", id="sealed while open",
        ),
        pytest.param(
            {"sealed": True, "opened": True, "waits": True}, Step.REST, None, "",
            id="held open by a program after a seal",
        ),
        pytest.param(
            {"sealed": True, "disk": None},
            Step.REST, DiskState.LOCKED, "sealed", id="plugged in while kms withholds its disk",
        ),
        pytest.param(
            {"withheld": True}, Step.REST, None, "", id="plugged in while kms cannot check it",
        ),
        pytest.param(
            {"withheld": True, "disk": None, "opened": True}, Step.REST, None, "",
            id="open since before a restart, and kms cannot check it",
        ),
        pytest.param(
            {"withheld": True, "order": order_to_do(OrderKind.UNLOCK)}, Step.REST, None, "",
            id="an order waits until kms can check the disk",
        ),
        pytest.param(
            {"withheld": True, "opened": True, "order": order_to_do(OrderKind.LOCK)},
            Step.OBEY, None, "", id="what is withheld is locked all the same",
        ),
        pytest.param({"disk": None}, Step.LOOK, None, "", id="stranger"),
        pytest.param({"disk": disk_out(erased=TIME)}, Step.LOOK, None, "", id="erased disk"),
        pytest.param(
            {"disk": None, "in_use": True},
            Step.REST, DiskState.UNKNOWN, "device_in_use", id="the machine's own disk",
        ),
        pytest.param(
            {"in_use": True}, Step.REST, DiskState.QUARANTINED, "device_in_use",
            id="a disk of ours that something else uses",
        ),
        pytest.param({"disk": disk_out(work=Work.VOLUME)}, Step.RESUME, None, "", id="rotating"),
        pytest.param(
            {"disk": disk_out(work=Work.FORMAT, kek=0)},
            Step.REST, DiskState.UNKNOWN, "not_prepared", id="approved, not ordered",
        ),
        pytest.param(
            {"disk": disk_out(work=Work.FORMAT, kek=1)}, Step.RESUME, None, "", id="half prepared",
        ),
        pytest.param({"present": False, "state": DiskState.MOUNTED}, Step.REST, DiskState.GONE, "",
                     id="unplugged"),
        pytest.param(
            {"present": False, "opened": True}, Step.CLOSE, DiskState.SEEN, "", id="pulled out",
        ),
        pytest.param(
            {"stale": True, "opened": True}, Step.CLOSE, DiskState.SEEN, "",
            id="plugged in again while its mapping is left",
        ),
        pytest.param({"present": False, "state": DiskState.GONE}, Step.REST, None, "", id="away"),
    ],
)  # fmt: skip
def test_without_an_order(
    changes: dict[str, Any], step: Step, state: DiskState | None, code: str
) -> None:
    action = decide(sight(**changes))
    assert (action.step, action.state, action.code) == (step, state, code)


@pytest.mark.parametrize(
    ("kind", "changes", "step", "code"),
    [
        (OrderKind.UNLOCK, {}, Step.OBEY, ""),
        (OrderKind.UNLOCK, {"held": DiskState.LOCKED}, Step.OBEY, ""),
        (OrderKind.UNLOCK, {"held": DiskState.QUARANTINED}, Step.REFUSE, "quarantined"),
        (OrderKind.RELEASE, {"held": DiskState.QUARANTINED}, Step.OBEY, ""),
        (OrderKind.UNLOCK, {"sealed": True}, Step.REFUSE, "sealed"),
        (OrderKind.ERASE, {"sealed": True}, Step.OBEY, ""),
        (OrderKind.ERASE, {"present": False, "state": DiskState.GONE}, Step.REST, ""),
        (OrderKind.UNLOCK, {"present": False}, Step.REFUSE, "device_absent"),
        (OrderKind.PREPARE, {"in_use": True}, Step.REFUSE, "device_in_use"),
        (OrderKind.PREPARE, {"disk": None}, Step.REFUSE, "not_enrolled"),
        (OrderKind.QUARANTINE, {"disk": None}, Step.OBEY, ""),
    ],
)
def test_an_order(kind: OrderKind, changes: dict[str, Any], step: Step, code: str) -> None:
    order = order_to_do(kind)
    action = decide(sight(order=order, fresh=False, **changes))
    assert (action.step, action.code) == (step, code)
    assert action.order == (order if step in {Step.OBEY, Step.REFUSE} else None)


@pytest.mark.parametrize(
    ("running", "changes", "cut"),
    [
        (Action(Step.RESUME), {}, False),
        (Action(Step.RESUME), {"sealed": True}, True),
        (Action(Step.RESUME), {"present": False}, True),
        (Action(Step.CLOSE), {"present": False, "sealed": True}, False),
        (Action(Step.OBEY, order=order_to_do(OrderKind.ROTATE_VOLUME)), {"sealed": True}, True),
        (Action(Step.OBEY, order=order_to_do(OrderKind.ERASE)), {"sealed": True}, False),
        (Action(Step.RESUME), {"order": order_to_do(OrderKind.QUARANTINE)}, True),
        (Action(Step.RESUME), {"order": order_to_do(OrderKind.UNLOCK)}, False),
        (
            Action(Step.OBEY, order=order_to_do(OrderKind.QUARANTINE)),
            {"order": order_to_do(OrderKind.QUARANTINE)},
            False,
        ),
    ],
)
def test_what_is_urgent_cuts_short_what_runs(
    running: Action, changes: dict[str, Any], cut: bool
) -> None:
    assert interrupts(sight(**changes), running) is cut


@pytest.mark.parametrize("kind", [OrderKind.LOCK, OrderKind.QUARANTINE])
def test_an_order_that_stops_is_taken_while_closing_waits_to_be_repeated(kind: OrderKind) -> None:
    seen = sight(sealed=True, opened=True, waits=True, fresh=False, order=order_to_do(kind))
    assert decide(seen).step is Step.OBEY


@pytest.mark.parametrize("kind", [OrderKind.LOCK, OrderKind.QUARANTINE])
def test_a_dry_run_stops_nothing(kind: OrderKind) -> None:
    seen = sight(order=order_to_do(kind, dry_run=True), opened=True)
    assert not interrupts(seen, Action(Step.RESUME))
    assert beside(seen, Action(Step.RESUME)) == NOTHING


PREPARES = Action(Step.OBEY, order=order_to_do(OrderKind.PREPARE, order=OTHER))
LOCKS = Action(Step.OBEY, order=order_to_do(OrderKind.LOCK))


@pytest.mark.parametrize(
    ("running", "changes", "step", "state", "code"),
    [
        (PREPARES, {"opened": True}, Step.REST, None, ""),
        (PREPARES, {"opened": True, "sealed": True}, Step.CLOSE, DiskState.LOCKED, "sealed"),
        (PREPARES, {"opened": True, "present": False}, Step.CLOSE, DiskState.SEEN, ""),
        (PREPARES, {"opened": True, "sealed": True, "waits": True}, Step.REST, None, ""),
        (Action(Step.CLOSE), {"opened": True, "sealed": True}, Step.REST, None, ""),
        (PREPARES, {"order": LOCKS.order, "opened": True}, Step.CLOSE, DiskState.LOCKED, ""),
        (PREPARES, {"order": LOCKS.order}, Step.CLOSE, DiskState.LOCKED, ""),
        (
            PREPARES, {"order": order_to_do(OrderKind.QUARANTINE), "disk": None},
            Step.CLOSE, DiskState.QUARANTINED, "by_order",
        ),
        (PREPARES, {"order": LOCKS.order, "present": False}, Step.REFUSE, None, "device_absent"),
        (LOCKS, {"order": LOCKS.order, "opened": True}, Step.REST, None, ""),
        (LOCKS, {"order": LOCKS.order, "opened": True, "sealed": True},
         Step.CLOSE, DiskState.LOCKED, "sealed"),
        (PREPARES, {"order": order_to_do(OrderKind.UNLOCK)}, Step.REST, None, ""),
    ],
)  # fmt: skip
def test_what_does_not_wait_for_a_task_that_does_not_end(
    running: Action, changes: dict[str, Any], step: Step, state: DiskState | None, code: str
) -> None:
    action = beside(sight(**changes), running)
    assert (action.step, action.state, action.code) == (step, state, code)


def test_what_becomes_of_an_action_on_a_device_that_something_else_uses() -> None:
    instead = if_used(PLUGGED, decide(PLUGGED))
    assert instead == Action(
        Step.REST, DiskState.QUARANTINED, "device_in_use",
        "this machine uses the device for something else",
    )  # fmt: skip
    prepare = sight(order=order_to_do(OrderKind.PREPARE))
    refused = if_used(prepare, decide(prepare))
    assert refused is not None
    assert (refused.step, refused.code) == (Step.REFUSE, "device_in_use")


@pytest.mark.parametrize(
    "changes",
    [
        {"opened": True},
        {"sealed": True},
        {"order": order_to_do(OrderKind.LOCK)},
        {"held": DiskState.QUARANTINED},
    ],
)
def test_a_device_is_not_asked_where_nothing_touches_it(changes: dict[str, Any]) -> None:
    seen = sight(**changes)
    assert if_used(seen, decide(seen)) is None


DISKS = st.sampled_from(
    [
        None,
        *(disk_out(work=work, kek=kek) for work in Work for kek in (0, 1)),
        disk_out(erased=TIME),
        disk_out(mount=MountOut(automatic=False)),
    ]
)
SIGHTS = st.builds(
    Sight,
    present=st.booleans(),
    fresh=st.booleans(),
    waits=st.booleans(),
    in_use=st.booleans(),
    opened=st.booleans(),
    stale=st.booleans(),
    state=st.none() | st.sampled_from(DiskState),
    held=st.none() | st.sampled_from(sorted(HELD)),
    disk=DISKS,
    sealed=st.booleans(),
    order=st.none() | st.sampled_from([order_to_do(kind) for kind in OrderKind]),
)
KEYS = frozenset({Step.UNLOCK, Step.RESUME, Step.ADOPT})


@given(SIGHTS)
def test_nothing_is_opened_that_people_a_seal_or_a_check_have_closed(seen: Sight) -> None:
    action = decide(seen)
    if seen.sealed:
        assert action.step not in KEYS
    if seen.held is DiskState.QUARANTINED:
        assert action.step not in KEYS
    if seen.held is DiskState.LOCKED:
        assert action.step not in {Step.UNLOCK, Step.ADOPT}


@given(SIGHTS)
def test_nothing_is_done_without_an_order_to_what_is_no_disk_of_ours(seen: Sight) -> None:
    mine = seen.disk is not None and seen.disk.erased is None
    touched = KEYS | {Step.CHECK}
    if not mine or not seen.present or (seen.in_use and not seen.opened):
        assert decide(seen).step not in touched


@given(SIGHTS)
def test_an_order_is_obeyed_or_refused_or_waits_for_an_urgent_end(seen: Sight) -> None:
    action = decide(seen)
    if action.step in {Step.OBEY, Step.REFUSE}:
        assert action.order == seen.order
        assert (action.code != "") is (action.step is Step.REFUSE)
    else:
        assert action.order is None


@given(SIGHTS, SIGHTS)
def test_beside_a_task_nothing_is_opened(seen: Sight, before: Sight) -> None:
    action = beside(seen, decide(before))
    assert action == NOTHING or action.step in {Step.CLOSE, Step.REFUSE}


@given(SIGHTS)
def test_nothing_is_said_again_and_again(seen: Sight) -> None:
    """Once seen to, a device that is there and closed is left alone until something happens."""
    settled = replace(seen, fresh=False, order=None, opened=False, stale=False, present=True)
    assert decide(settled) == NOTHING


def test_a_hold_is_told_by_the_state_or_kept_in_the_code() -> None:
    assert held_by(DiskState.LOCKED, "sealed") is DiskState.LOCKED
    assert held_by(DiskState.GONE, "quarantined") is DiskState.QUARANTINED
    assert held_by(DiskState.SEEN, "locked") is DiskState.LOCKED
    assert held_by(DiskState.ENROLLED, "no_device_mapper") is None
    assert held_by(None, "") is None
