"""The daemon's one thread that decides: hears of devices, orders and seals, looks, decides, and
gives each device's action to a thread of its own.

What is to be done follows from what is there and what kms says, looked at again whenever either
changes: after a restart nothing has to be remembered.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from appliance.daemon.decide import (
    NOTHING,
    Action,
    Sight,
    Step,
    beside,
    decide,
    if_used,
    interrupts,
    stops,
)
from appliance.daemon.doing import Doer, Done, Task
from appliance.daemon.kms_view import KmsView
from appliance.daemon.reports import Reports
from appliance.daemon.table import Entry, Table
from appliance.hotplug import Appeared, Vanished
from appliance.orders import BoxSealed, News, Unheard
from appliance.systemd import Notifier
from kms.domain.ids import DiskId
from kms.errors import ConclaveError, Sealed
from kms.wire.disks import DiskList, Orders, OrderToDo

_LOG = logging.getLogger(__name__)
_TICK_SECONDS = 0.5
_AGAIN_SECONDS = 2.0
"""How often kms is asked again while it does not answer, and told again what it did not hear."""
_DOUBT_SECONDS = 60.0
"""How often kms is asked again while it cannot check the disks of a space."""
_END_SECONDS = 10.0
_PATIENCE_SECONDS = 1.5
"""How long a disk that has to be closed is left to what was cut short there; with a tick: 2 s."""
_AT_ONCE = (
    (frozenset({Step.CHECK, Step.ADOPT, Step.UNLOCK}), 8),
    (frozenset({Step.LOOK}), 2),
)
"""So many of our disks are opened and strangers looked at at the same time, each without waiting
for the others; what takes long is not counted."""


class Stop:
    """The daemon is to end."""


Event = Appeared | Vanished | News | Done | Stop


class Daemon:
    """Run by ``run`` until it is told to ``Stop``; any thread may ``tell`` it something."""

    def __init__(
        self,
        disks: Callable[[], DiskList],
        doer: Doer,
        reports: Reports,
        notifier: Notifier,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``disks`` asks kms for all disks and devices."""
        self._disks, self._doer, self._reports = disks, doer, reports
        self._notifier, self._clock = notifier, clock
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._table, self._kms = Table(), KmsView()
        self._closers: dict[DiskId, threading.Thread] = {}
        self._changed, self._ready = True, False
        self._opened: frozenset[DiskId] = frozenset()
        self._ask_at = self._alive_at = self._doubt_at = 0.0

    def tell(self, event: Event) -> None:
        """Hear of something, in the order in which it is told."""
        self._events.put(event)

    def run(self, followed: Callable[[], bool] = lambda: True) -> None:
        """Decide until told to stop; then running programs end, and open disks stay open. Systemd
        starts the daemon anew once devices and orders are not ``followed`` any more.
        """
        while self._hear():
            if followed():
                self._keep_alive()
            self._opened = frozenset(self._doer.opened())
            self._see_to_urgent()
            self._ask()
            if self._kms.disks is None or self._changed or self._kms.box:
                continue
            for serial in self._kms.serials():
                self._table.entry(serial)
            for entry in self._table.all():
                self._see_to(entry)
            self._announce()
        self._end()

    # --- hearing ---------------------------------------------------------------------------------

    def _hear(self) -> bool:
        """Take what happened, waiting a moment for it; return False to stop."""
        try:
            event = self._events.get(timeout=_TICK_SECONDS)
            while not isinstance(event, Stop):
                self._take(event)
                event = self._events.get_nowait()
        except queue.Empty:
            return True
        return False

    def _take(self, event: Appeared | Vanished | News | Done) -> None:
        self._changed |= not isinstance(event, Unheard)
        match event:
            case Appeared() | Vanished():
                self._device(event)
            case Done():
                entry = self._table.entry(event.task.serial)
                entry.done(event, self._clock())
                self._forget(entry)
            case Orders():
                self._kms = replace(self._kms, orders=event, box=False)
                self._reports.forget_orders({one.order for one in event.orders})
            case BoxSealed():
                self._kms = replace(self._kms, box=True)
            case Unheard():
                self._notifier.status(f"kms does not answer ({event.why}); open disks stay open")

    def _forget(self, entry: Entry) -> None:
        """Forget a device that is gone and no disk's, as kms does."""
        gone = entry.ref is None and entry.running is None and entry.beside is None
        if gone and self._kms.disk_id(entry.serial) is None and self._reports.forget(entry.serial):
            self._table.forget(entry.serial)

    def _device(self, event: Appeared | Vanished) -> None:
        entry = self._table.take(event, self._clock())
        if entry is not None and entry.ref is None:
            entry.stale = True
            if entry.running is not None and entry.running.action.step is not Step.CLOSE:
                entry.running.cancel.set()

    def _ask(self) -> None:
        """Ask kms for its disks if anything has changed; tell it again what it did not hear."""
        if self._kms.orders is None or self._kms.box or self._clock() < self._ask_at:
            return
        try:
            if self._changed or (self._kms.doubtful and self._clock() >= self._doubt_at):
                self._doubt_at = self._clock() + _DOUBT_SECONDS
                disks = self._disks()
                self._kms, self._changed = self._kms.with_disks(disks), False
                self._reports.learn(disks.devices)
            if self._reports.repeat():
                return
        except Sealed:
            self._kms = replace(self._kms, box=True)
        except ConclaveError as error:
            _LOG.warning("kms does not tell of disks: %s", error.message)
        self._ask_at = self._clock() + _AGAIN_SECONDS

    # --- deciding --------------------------------------------------------------------------------

    def _see_to_urgent(self) -> None:
        """Close what was pulled out, disks of sealed spaces, and what people want closed, before
        kms is asked anything.
        """
        if self._kms.box and self._kms.disks is None:
            for disk in self._opened:
                self._close_unknown(disk)
        for entry in self._table.all():
            if self._kms.disk_id(entry.serial) is not None and (
                entry.ref is None
                or entry.stale
                or self._kms.sealed(entry.serial)
                or stops(self._kms.order(entry.serial, self._reports.is_over))
            ):
                self._see_to(entry)

    def _close_unknown(self, disk: DiskId) -> None:
        """Close a disk of which only its mapping is known, each in a thread of its own."""
        if disk in self._closers and self._closers[disk].is_alive():
            return
        closer = threading.Thread(target=lambda: self._doer.close(disk), name="close", daemon=True)
        self._closers[disk] = closer
        closer.start()

    def _see_to(self, entry: Entry) -> None:
        sight = self._sight(entry)
        if entry.running is not None:
            if interrupts(sight, entry.running.action):
                entry.running.cancel.set()
            self._see_to_beside(entry, beside(sight, entry.running.action))
            return
        entry.wanted = None
        action = decide(sight)
        if entry.beside is not None or self._too_many(action.step):
            return
        if sight.fresh and not sight.withheld:
            entry.due = None
        if action == NOTHING:
            entry.tried |= sight.fresh
        else:
            self._start(entry, replace(self._task(entry, action), if_used=if_used(sight, action)))

    def _see_to_beside(self, entry: Entry, action: Action) -> None:
        """Close a disk all the same, if what was cut short on it does not end."""
        now = self._clock()
        if action == NOTHING:
            entry.wanted = None
        elif entry.wanted is None:
            entry.wanted = now
        elif entry.beside is None and now - entry.wanted >= _PATIENCE_SECONDS:
            self._start(entry, replace(self._task(entry, action), beside=True))

    def _sight(self, entry: Entry) -> Sight:
        now, name = self._clock(), self._kms.disk_id(entry.serial)
        order = self._order(entry, now)
        opened = name in self._opened
        entry.stale &= opened
        return Sight(
            present=entry.ref is not None,
            fresh=entry.fresh(now),
            waits=entry.close_at > now,
            in_use=False,  # whoever acts asks: see if_used
            opened=opened,
            stale=entry.stale,
            state=self._reports.state(entry.serial),
            held=self._reports.held(entry.serial),
            disk=self._kms.disk(entry.serial),
            sealed=self._kms.sealed(entry.serial),
            order=order,
            withheld=self._kms.withheld(entry.serial),
        )

    def _order(self, entry: Entry, now: float) -> OrderToDo | None:
        """Return the order about a device that is to be seen to now: one that stops waits for no
        repetition but its own.
        """
        order = self._kms.order(entry.serial, self._reports.is_over)
        if order is None or entry.due is None or entry.due <= now:
            return order
        return order if stops(order) and order.order != entry.put_off else None

    def _too_many(self, step: Step) -> bool:
        """Whether an action of this kind waits until others of its kind are done."""
        now = self._clock()
        quick = [entry for entry in self._table.all() if not entry.slow(now)]
        running = [entry.running.action.step for entry in quick if entry.running is not None]
        return any(
            step in steps and sum(one in steps for one in running) >= most
            for steps, most in _AT_ONCE
        )

    # --- doing -----------------------------------------------------------------------------------

    def _task(self, entry: Entry, action: Action) -> Task:
        return Task(
            action=action,
            serial=entry.serial,
            ref=entry.ref,
            disk=self._kms.disk_id(entry.serial),
            known=self._kms.ids(),
            held=self._reports.held(entry.serial),
        )

    def _start(self, entry: Entry, task: Task) -> None:
        entry.start(task, self._clock())
        name = f"{task.action.step} {entry.serial}"
        threading.Thread(
            target=lambda: self.tell(self._doer.do(task)), name=name, daemon=True
        ).start()

    def _announce(self) -> None:
        """Tell systemd, once every disk of ours that is there was seen to; works may go on, and no
        device that does not answer is waited for.
        """
        if self._ready:
            return
        now = self._clock()
        there = [entry for entry in self._table.all() if entry.ref is not None]
        ours = [entry for entry in there if self._kms.disk_id(entry.serial) is not None]
        if all(entry.tried or _works(entry) or entry.slow(now) for entry in ours):
            self._ready = True
            self._notifier.ready(f"{len(there)} devices")

    def _keep_alive(self) -> None:
        if self._notifier.watchdog and self._clock() >= self._alive_at:
            self._notifier.alive()
            self._alive_at = self._clock() + self._notifier.watchdog

    def _end(self) -> None:
        """End the programs that run, so that nothing is cut off in the middle of a write."""
        self._notifier.stopping()
        running = [entry for entry in self._table.all() if entry.running is not None]
        for entry in running:
            if entry.running is not None:
                entry.running.cancel.set()
        until = self._clock() + _END_SECONDS
        while any(entry.running or entry.beside for entry in running) and self._clock() < until:
            self._hear()


def _works(entry: Entry) -> bool:
    return entry.running is not None and entry.running.action.step is Step.RESUME
