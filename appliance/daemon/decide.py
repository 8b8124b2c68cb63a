"""Decides what is to be done next with one device. Pure: it looks at nothing and does nothing.

What people or a seal have closed, or a check has put aside, is never opened from here without an
order; an unknown device is never written to.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from kms.domain.disks import DiskState, OrderKind, Work
from kms.wire.disks import DiskOut, OrderToDo

HELD = frozenset({DiskState.LOCKED, DiskState.QUARANTINED})
"""States that stay until people end them, also while the device is away."""
STOPPING = frozenset({OrderKind.LOCK, OrderKind.QUARANTINE})
"""Orders that wait for nothing, unless they are dry runs."""
_WITHOUT_KEYS = frozenset(
    {
        OrderKind.LOCK,
        OrderKind.QUARANTINE,
        OrderKind.RELEASE,
        OrderKind.BACK_UP_HEADER,
        OrderKind.ERASE,
    }
)
"""Orders that a seal does not stop: they open nothing."""
_IN_QUARANTINE = frozenset(
    {OrderKind.QUARANTINE, OrderKind.RELEASE, OrderKind.RESTORE_HEADER, OrderKind.ERASE}
)
_OF_STRANGERS = frozenset({OrderKind.QUARANTINE, OrderKind.RELEASE})
_FIRST = frozenset({Work.FORMAT, Work.ENCRYPT})


_STOPPED = {
    OrderKind.LOCK: (DiskState.LOCKED, "", ""),
    OrderKind.QUARANTINE: (DiskState.QUARANTINED, "by_order", "people put it aside"),
}


class Step(StrEnum):
    """What to do.

    ``rest``: nothing but to report the action's state, if it names one. ``look``: a device of
    nobody: see whether it claims to be ours. ``check``: see whether its header is the registered
    one, and report the action's state. ``adopt``: it is open already: say so. ``resume``: go on
    with the work under way. ``refuse``: end the order as failed. ``close``: close it at once,
    whatever goes on.
    """

    REST = "rest"
    LOOK = "look"
    CHECK = "check"
    UNLOCK = "unlock"
    ADOPT = "adopt"
    RESUME = "resume"
    OBEY = "obey"
    REFUSE = "refuse"
    CLOSE = "close"


_TOUCHES = frozenset({Step.LOOK, Step.CHECK, Step.UNLOCK, Step.RESUME, Step.OBEY})


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known of one device.

    ``fresh``: it is to be looked at: it has just appeared, the daemon has just begun, or the last
    attempt is to be repeated. ``waits``: closing it failed and is to be repeated, but not yet.
    ``in_use``: something else of this machine uses it. ``opened``: it is open under its disk's
    name; ``stale``: and has been since before it was pulled out. ``state``: as last reported;
    ``held``: the state of HELD that it is in, or was in before it went away. ``sealed``: its disk's
    space or the box is sealed, or kms does not tell of the disk now (it leaves those of sealed
    spaces out). ``withheld``: kms cannot check the disks of its space now: what is open stays so,
    nothing is opened or begun.
    """

    present: bool
    fresh: bool
    waits: bool
    in_use: bool
    opened: bool
    stale: bool
    state: DiskState | None
    held: DiskState | None
    disk: DiskOut | None
    sealed: bool
    order: OrderToDo | None
    withheld: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """A step; ``state``, ``code`` and ``reason`` are what to report with it, or of the order."""

    step: Step
    state: DiskState | None = None
    code: str = ""
    reason: str = ""
    order: OrderToDo | None = None


NOTHING = Action(Step.REST)


def held_by(state: DiskState | None, code: str) -> DiskState | None:
    """Return the state of HELD that a report tells of: its state, or what its code keeps of it
    while the device is away, looked at or worked on.
    """
    if state in HELD:
        return state
    return next((one for one in HELD if one == code), None)


def stops(order: OrderToDo | None) -> bool:
    """Whether an order waits for nothing: it closes a disk."""
    return order is not None and order.kind in STOPPING and not order.dry_run


def decide(sight: Sight) -> Action:
    """Return what to do next with a device."""
    if sight.opened and _must_close(sight):
        if not sight.waits:
            return _close(sight)
        if not stops(sight.order):
            return NOTHING
    if not sight.present:
        return _absent(sight)
    return _present(sight)


def _present(sight: Sight) -> Action:
    if sight.withheld:
        return Action(Step.OBEY, order=sight.order) if stops(sight.order) else NOTHING
    if sight.in_use and not sight.opened:
        return _busy_elsewhere(sight)
    if sight.order is not None:
        return _order(sight, sight.order)
    return _fresh(sight) if sight.fresh else NOTHING


def interrupts(sight: Sight, running: Action) -> bool:
    """Whether what runs on a device is cut short: it is gone, sealed or to be stopped."""
    if running.step in {Step.CLOSE, Step.REST, Step.REFUSE}:
        return False
    if not sight.present:
        return True
    if sight.sealed and (running.order is None or running.order.kind not in _WITHOUT_KEYS):
        return True
    return stops(sight.order) and sight.order != running.order


def beside(sight: Sight, running: Action) -> Action:
    """Return what must not wait for what runs on a device, should that not end: to close the disk,
    by force since what runs may hold it, or to refuse the order to.
    """
    action = decide(sight)
    if running.step is Step.CLOSE:
        return NOTHING
    if action.step is Step.CLOSE:
        return action
    order = action.order
    if order is None or not stops(order) or order == running.order:
        return NOTHING
    if action.step is Step.REFUSE:
        return action
    return Action(Step.CLOSE, *_STOPPED[order.kind], order)


def if_used(sight: Sight, action: Action) -> Action | None:
    """Return what to do instead of an action should something else of this machine use the device;
    None if that makes no difference. Whoever acts asks, since the answer may take long.
    """
    if action.step not in _TOUCHES or sight.opened or stops(action.order):
        return None
    return decide(replace(sight, in_use=True))


def _must_close(sight: Sight) -> bool:
    """Whether an open disk may not be open."""
    locked = sight.held is DiskState.LOCKED
    return sight.sealed or sight.stale or locked or not sight.present


def _close(sight: Sight) -> Action:
    if sight.sealed:
        return Action(Step.CLOSE, DiskState.LOCKED, "sealed", "its space is sealed")
    if sight.held is DiskState.LOCKED:
        return Action(Step.CLOSE, DiskState.LOCKED, "locked", "until people unlock it")
    return Action(Step.CLOSE, DiskState.SEEN)


def _absent(sight: Sight) -> Action:
    if sight.order is not None and sight.order.kind is not OrderKind.ERASE:
        return _refuse(sight.order, "device_absent", "the device is not plugged in")
    if sight.state in {None, DiskState.GONE}:
        return NOTHING
    return Action(Step.REST, DiskState.GONE)


def _busy_elsewhere(sight: Sight) -> Action:
    code, reason = "device_in_use", "this machine uses the device for something else"
    if sight.order is not None:
        return _refuse(sight.order, code, reason)
    if not sight.fresh:
        return NOTHING
    ours = sight.disk is not None and sight.disk.erased is None
    state = DiskState.QUARANTINED if ours else DiskState.UNKNOWN
    return Action(Step.REST, state, code, reason)


def _order(sight: Sight, order: OrderToDo) -> Action:
    if sight.sealed and order.kind not in _WITHOUT_KEYS:
        return _refuse(order, "sealed", "its space is sealed")
    if sight.held is DiskState.QUARANTINED and order.kind not in _IN_QUARANTINE:
        return _refuse(order, "quarantined", "the disk is in quarantine: release it first")
    if sight.disk is None and not sight.sealed and order.kind not in _OF_STRANGERS:
        return _refuse(order, "not_enrolled", "the device is no disk of a space")
    return Action(Step.OBEY, order=order)


def _fresh(sight: Sight) -> Action:
    if sight.held is DiskState.QUARANTINED:
        if sight.state is DiskState.QUARANTINED:
            return NOTHING
        return Action(Step.REST, DiskState.QUARANTINED, "quarantined", "until people release it")
    if sight.sealed:
        if sight.state is DiskState.UNKNOWN:
            return NOTHING
        return Action(Step.REST, DiskState.LOCKED, "sealed", "its space is sealed")
    if sight.disk is None or sight.disk.erased is not None:
        return Action(Step.LOOK)
    return _own(sight, sight.disk) or _closed(sight, sight.disk)


def _own(sight: Sight, disk: DiskOut) -> Action | None:
    """Return what an enrolled disk needs before anything else, if it does."""
    if disk.work in _FIRST and not disk.kek:
        return Action(Step.REST, DiskState.UNKNOWN, "not_prepared", "it waits for an order")
    if disk.work not in {Work.NONE, Work.ERASE}:
        return Action(Step.RESUME)
    return Action(Step.ADOPT) if sight.opened else None


def _closed(sight: Sight, disk: DiskOut) -> Action:
    if sight.held is DiskState.LOCKED:
        return Action(Step.CHECK, DiskState.LOCKED, "locked", "until people unlock it")
    if not disk.mount.automatic:
        return Action(Step.CHECK, DiskState.ENROLLED)
    return Action(Step.UNLOCK)


def _refuse(order: OrderToDo, code: str, reason: str) -> Action:
    return Action(Step.REFUSE, code=code, reason=reason, order=order)
