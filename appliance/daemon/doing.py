"""Does one action with one device, in the caller's thread, and says how the device stands then.

Every failure ends here in a word about the device and, of an order, in its end; nothing is raised.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from threading import Event

from appliance.daemon.decide import Action, Step
from appliance.daemon.reports import Reports, Word
from appliance.daemon.strangers import look_at_stranger, stranger_after
from appliance.hotplug import in_use
from appliance.run import ProgramCancelled
from appliance.storage.device import DeviceChanged, DeviceRef
from appliance.storage.luks import mapping
from appliance.storage.metadata import HeaderRefused
from appliance.work import Bench, Outcome, carry_out, close_at_once, go_on, look, unlock
from kms.domain.disks import DiskState, OrderKind, OrderState
from kms.domain.ids import DiskId
from kms.errors import ConclaveError, EnvelopeRefused, Unavailable, VerificationFailed
from kms.wire.disks import OrderToDo

_LOG = logging.getLogger(__name__)
_PROGRESS_SECONDS = 1.0
_ROTATES = frozenset(
    {
        OrderKind.PREPARE,
        OrderKind.ROTATE_SLOT,
        OrderKind.ROTATE_VOLUME,
        OrderKind.VERIFY_RECOVERY,
        OrderKind.RECOVER,
    }
)
_ENDS_HOLD = frozenset(
    {
        OrderKind.PREPARE,
        OrderKind.UNLOCK,
        OrderKind.LOCK,
        OrderKind.QUARANTINE,
        OrderKind.RELEASE,
        OrderKind.ERASE,
    }
)
"""Orders after which a device stands as they say, whatever held it before."""
_TRUST = (VerificationFailed, EnvelopeRefused)

MakeBench = Callable[[Event, Callable[[int, str], None]], Bench]
"""Makes the tools for one device: setting the event ends their programs; who hears of progress."""


@dataclass(frozen=True, slots=True)
class Task:
    """An action on a device; ``disk`` is the enrolled disk's id, ``known`` those of all disks.
    Setting ``cancel`` ends the program that runs. ``held``: the state that the device is to go
    back to afterwards, unless an order ends that. ``if_used``: what to do instead should something
    else of the machine use the device. ``beside``: another task is still at the device.
    """

    action: Action
    serial: str
    ref: DeviceRef | None
    disk: DiskId | None
    known: frozenset[str]
    held: DiskState | None
    if_used: Action | None = None
    beside: bool = False
    cancel: Event = field(default_factory=Event)


@dataclass(frozen=True, slots=True)
class Done:
    """What is left to do: ``again``: look at the device anew, at once; ``later``: after a while,
    since something that is needed was not there.
    """

    task: Task
    again: bool = False
    later: bool = False


class Doer:
    """Carries tasks out; any number of threads, one for each device."""

    def __init__(self, make: MakeBench, reports: Reports) -> None:
        self._make, self._reports = make, reports

    def do(self, task: Task) -> Done:
        """Carry a task out to its end and report what came of it."""
        try:
            return self._do(_unless_used(task))
        except (ProgramCancelled, Unavailable) as error:
            return self._postponed(task, error)
        except ConclaveError as error:
            return self._failed(task, error)
        except Exception as error:  # noqa: BLE001 -- one device's fault must not end the others
            _LOG.exception("an action failed by a fault of the appliance's own")
            return self._failed(task, ConclaveError(f"a fault of the appliance: {error}"))

    def is_open(self, disk: DiskId) -> bool:
        """Whether a disk's mapping exists."""
        return self._bench().luks.is_open(mapping(disk))

    def opened(self) -> tuple[DiskId, ...]:
        """Return the disks whose mappings exist."""
        names = self._bench().luks.active()
        return tuple(DiskId(name.removeprefix(mapping(DiskId("")))) for name in names)

    def close(self, disk: DiskId) -> ConclaveError | None:
        """Close a disk, whatever uses it; a failure is logged, and returned."""
        try:
            close_at_once(self._bench(), disk)
        except ConclaveError as error:
            _LOG.error("disk %s was not closed: %s", disk, error.message)
            return error
        return None

    def _do(self, task: Task) -> Done:
        match task.action.step:
            case Step.REST:
                self._rest(task)
            case Step.REFUSE:
                self._end(task, OrderState.FAILED, task.action.code, task.action.reason)
            case Step.CLOSE:
                return self._close(task)
            case Step.OBEY if task.action.order is not None:
                return self._obey(task, task.action.order)
            case _ if task.ref is not None:
                return self._look(task, task.ref)
        return Done(task)

    # --- without an order ------------------------------------------------------------------------

    def _rest(self, task: Task) -> None:
        action = task.action
        if action.state is DiskState.GONE:
            self._reports.gone(task.serial)
        elif action.state is not None:
            self._say(task, Word(action.state, action.code, action.reason))

    def _close(self, task: Task) -> Done:
        """Close it; what a program still holds is without its key then, and closed later."""
        failure = self.close(task.disk) if task.disk is not None else None
        if task.ref is None:
            self._reports.gone(task.serial)
        elif task.action.state is not None:
            self._say(task, Word(task.action.state, task.action.code, task.action.reason))
        if failure is None:
            self._end(task, OrderState.DONE)
        else:
            self._end(task, OrderState.FAILED, failure.code, failure.message)
        open_yet = task.disk is not None and self.is_open(task.disk)
        return Done(task, later=open_yet, again=not open_yet)

    def _look(self, task: Task, ref: DeviceRef) -> Done:
        self._say(task, Word(DiskState.SEEN))
        if task.disk is None or task.action.step is Step.LOOK:
            self._say(task, look_at_stranger(ref, task.known))
            return Done(task)
        bench = self._bench(task)
        if task.action.step is Step.RESUME:
            self._say(task, Word(DiskState.ROTATING))
            self._stands(task, go_on(bench, ref, task.disk))
            return Done(task, again=True)
        if task.action.step is Step.UNLOCK:
            self._stands(task, unlock(bench, ref, task.disk))
            return Done(task)
        found = look(bench, ref, task.disk)
        if task.action.step is Step.CHECK and task.action.state is not None:
            self._say(task, Word(task.action.state, task.action.code, task.action.reason))
        else:
            self._stands(task, found)
        return Done(task, again=found.state is DiskState.ROTATING)

    # --- orders ----------------------------------------------------------------------------------

    def _obey(self, task: Task, order: OrderToDo) -> Done:
        if task.ref is None:
            return Done(task)
        self._reports.running(order.order, 0, "")
        if task.disk is None:
            self._all(task, () if order.dry_run else stranger_after(order))
            self._end(task, OrderState.DONE)
            return Done(task)
        self._all(task, () if order.dry_run else _before(order.kind))
        outcome = carry_out(self._bench(task), task.ref, order)
        if not order.dry_run:
            self._stands(task, outcome, order.kind)
        self._end(task, OrderState.DONE, "", outcome.message)
        # A disk that a work has left closed is opened again if it opens by itself.
        closed = self._reports.state(task.serial) is DiskState.ENROLLED
        return Done(task, again=closed and not order.dry_run)

    # --- what came of it -------------------------------------------------------------------------

    def _postponed(self, task: Task, error: ConclaveError) -> Done:
        """Leave it for later: kms is away, or the device's turn was over. An order goes on."""
        _LOG.warning("%s of %s waits: %s", task.action.step, task.serial, error.message)
        return Done(task, later=True)

    def _failed(self, task: Task, error: ConclaveError) -> Done:
        _LOG.error("%s of %s failed: %s %s", task.action.step, task.serial, error.code, error)
        text = "\n".join(filter(None, (error.message, error.hint)))  # a sentence a line
        self._end(task, OrderState.FAILED, error.code, text)
        if task.ref is None or isinstance(error, DeviceChanged):
            return Done(task, later=True)
        if isinstance(error, HeaderRefused):
            self._say(task, _refused(error))
            return Done(task)
        if isinstance(error, _TRUST):
            self._say(task, Word(DiskState.SEEN, error.code, text))
            return Done(task, later=True)
        self._stands_after(task, task.ref, error.code, text)
        return Done(task, later=task.action.step in {Step.RESUME, Step.CLOSE})

    def _stands_after(self, task: Task, ref: DeviceRef, code: str, text: str) -> None:
        """Look how the device stands after something failed, and report it with the failure."""
        if task.disk is None:
            return
        try:
            found = look(self._bench(), ref, task.disk)
        except HeaderRefused as error:
            self._say(task, _refused(error))
        except (ConclaveError, OSError):
            return
        else:
            self._say(task, Word(_or_held(found.state, task), code, text, found.mounted))

    def _stands(self, task: Task, outcome: Outcome, kind: OrderKind | None = None) -> None:
        state = outcome.state if kind in _ENDS_HOLD else _or_held(outcome.state, task)
        if task.held is DiskState.QUARANTINED and kind is OrderKind.RELEASE:
            self._say(task, Word(DiskState.SEEN, "released"))
        self._say(task, Word(state, mounted=outcome.mounted))

    def _say(self, task: Task, word: Word) -> None:
        if task.ref is not None:
            disk = word.disk or task.disk
            self._reports.device(
                task.ref, Word(word.state, word.code, word.reason, word.mounted, disk)
            )

    def _all(self, task: Task, words: tuple[Word, ...]) -> None:
        for word in words:
            self._say(task, word)

    def _end(self, task: Task, state: OrderState, code: str = "", message: str = "") -> None:
        if task.action.order is not None:
            self._reports.ended(task.action.order.order, state, code, message)

    def _bench(self, task: Task | None = None) -> Bench:
        """Return the tools: those of a task are put down when it is cancelled."""
        if task is None:
            return self._make(Event(), lambda _percent, _sentence: None)
        return self._make(task.cancel, self._teller(task))

    def _teller(self, task: Task) -> Callable[[int, str], None]:
        """Return who hears of progress: about once a second kms does, if there is an order."""
        last = [0.0]

        def told(percent: int, sentence: str) -> None:
            order, now = task.action.order, time.monotonic()
            if order is not None and now - last[0] >= _PROGRESS_SECONDS:
                last[0] = now
                self._reports.running(order.order, percent, sentence)

        return told


def _unless_used(task: Task) -> Task:
    """Return the task as it is to be done: another one if something else uses the device."""
    if task.if_used is None or task.ref is None or not in_use(task.ref):
        return task
    return replace(task, action=task.if_used)


def _before(kind: OrderKind) -> tuple[Word, ...]:
    """Return what to report of a disk before an order is carried out."""
    if kind in _ROTATES:
        return (Word(DiskState.ROTATING),)
    if kind is OrderKind.ERASE:
        return (Word(DiskState.ERASING),)
    return ()


def _or_held(state: DiskState, task: Task) -> DiskState:
    """Return the state, or that which holds the device if it is merely closed."""
    return task.held if task.held and state is DiskState.ENROLLED else state


def _refused(error: HeaderRefused) -> Word:
    return Word(DiskState.QUARANTINED, error.code, f"{error.message}\n({error.fault})")
