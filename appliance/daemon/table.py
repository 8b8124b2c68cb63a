"""What the daemon remembers of devices: where they are, what runs, when to look at them again."""

import hashlib
from dataclasses import dataclass, replace

from appliance.daemon.decide import Step
from appliance.daemon.doing import Done, Task
from appliance.hotplug import Appeared, Change
from appliance.storage.device import DeviceRef

_PAUSES = (1.0, 2.0, 5.0, 15.0, 60.0)
"""Seconds until something is tried again, after each failure."""
_SLOW_SECONDS = 15.0
"""After so long a device is taken for one that does not answer."""


@dataclass(slots=True)
class Entry:
    """One serial number. ``due``: when it is to be looked at (monotonic seconds; None: it is not);
    ``running``: the task that a thread is at, since ``began``; ``beside``: one that another thread
    is at, since the first does not end, ``wanted``: since when that is awaited; ``close_at``: not
    before is it tried again to close it; ``put_off``: the order that the last task could not carry
    out yet; ``tried``: something was done with it since the start;
    ``stale``: its mapping was open when the device was pulled out.
    """

    serial: str
    ref: DeviceRef | None = None
    due: float | None = None
    running: Task | None = None
    began: float = 0.0
    beside: Task | None = None
    wanted: float | None = None
    close_at: float = 0.0
    put_off: str = ""
    failures: int = 0
    unclosed: int = 0
    tried: bool = False
    stale: bool = False

    def start(self, task: Task, now: float) -> None:
        """Take note that a thread is at a task."""
        if task.beside:
            self.beside = task
        else:
            self.running, self.began = task, now

    def slow(self, now: float) -> bool:
        """Whether a task takes so long that nothing else may wait for it."""
        return self.running is not None and now - self.began > _SLOW_SECONDS

    def done(self, done: Done, now: float) -> None:
        """Take note that a thread is done."""
        closed = done.task.action.step is Step.CLOSE
        if closed:
            self.close_at = now + _pause(self.unclosed) if done.later else now
            self.unclosed = self.unclosed + 1 if done.later else 0
        if done.task.beside:
            self.beside = None
            return
        self.running, self.tried = None, True
        order = done.task.action.order
        self.put_off = order.order if done.later and order is not None else ""
        if done.task.cancel.is_set():
            self.due = now
        elif done.later and not closed:
            self.due = now + _pause(self.failures)
            self.failures += 1
        elif done.again:
            self.due = now if self.due is None else min(self.due, now)
        else:
            self.failures = 0

    def fresh(self, now: float) -> bool:
        """Whether it is to be looked at now."""
        return self.due is not None and self.due <= now


def _pause(failures: int) -> float:
    return _PAUSES[min(failures, len(_PAUSES) - 1)]


class Table:
    """Every device by its serial number. For one thread alone."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._places: dict[str, str] = {}

    def entry(self, serial: str) -> Entry:
        """Return the entry of a serial number."""
        return self._entries.setdefault(serial, Entry(serial))

    def all(self) -> tuple[Entry, ...]:
        """Return all entries."""
        return tuple(self._entries.values())

    def forget(self, serial: str) -> None:
        """Drop the entry of a device that is gone."""
        self._entries.pop(serial, None)

    def take(self, change: Change, now: float) -> Entry | None:
        """Take note of a device that came, changed or went; return its entry unless nothing is
        known at its place.
        """
        if isinstance(change, Appeared):
            return self._appeared(change, now)
        serial = self._places.pop(change.place, None)
        if serial is None:
            return None
        entry = self._entries[serial]
        entry.ref, entry.due = None, now
        return entry

    def _appeared(self, change: Appeared, now: float) -> Entry:
        ref = self._named_once(change)
        before = self._places.get(change.place)
        if before not in {None, ref.serial}:
            self._entries[before or ""].ref = None
            self._entries[before or ""].due = now
        self._places[change.place] = ref.serial
        entry = self.entry(ref.serial)
        known = entry.ref
        entry.ref = ref
        if known is None or (known.identity, known.size) != (ref.identity, ref.size):
            entry.due, entry.failures = now, 0
        return entry

    def _named_once(self, change: Appeared) -> DeviceRef:
        """Return the device under a name of its own: a second one with the same serial number is
        not believed to have it.
        """
        ref = change.ref
        taken = [place for place, serial in self._places.items() if serial == ref.serial]
        if any(place != change.place for place in taken):
            digest = hashlib.sha256(change.place.encode("utf-8", "surrogateescape")).hexdigest()
            return replace(ref, serial=f"unnamed-{digest[:16]}")
        return ref
