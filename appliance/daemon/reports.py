"""What kms is told of devices and orders: the last word of each, sent again until it was heard.

A device's report also keeps, in its code, that people or a seal have closed it, while its state
tells something else: kms's record is the daemon's only memory of that.
"""

import logging
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol

from appliance.daemon.decide import HELD, held_by
from appliance.storage.device import DeviceRef
from kms.domain.disks import DiskState, OrderState
from kms.errors import ConclaveError, StateNotAllowed, Unavailable
from kms.wire.disks import DeviceIn, DeviceOut

_LOG = logging.getLogger(__name__)
_TEXT = 1024
"""The most characters of a text on the wire."""
_KEEPS_HOLD = frozenset({DiskState.SEEN, DiskState.ROTATING, DiskState.GONE})


class Ear(Protocol):
    """Who is told: the link to kms."""

    def report_device(self, serial: str, device: DeviceIn) -> object:
        """Take how a device stands; raise ConclaveError."""
        ...

    def report_order(
        self, order: str, state: OrderState, progress: int = 0, code: str = "", message: str = ""
    ) -> object:
        """Take how far an order is; raise ConclaveError."""
        ...


@dataclass(frozen=True, slots=True)
class Word:
    """How a device stands."""

    state: DiskState
    code: str = ""
    reason: str = ""
    mounted: str = ""
    disk: str | None = None


@dataclass(slots=True)
class _End:
    state: OrderState
    code: str
    message: str
    heard: bool = False


@dataclass(slots=True)
class _Told:
    wanted: DeviceIn
    heard: bool = False
    lock: Lock = field(default_factory=Lock)


class Reports:
    """Any thread may report; a report never raises."""

    def __init__(self, ear: Ear) -> None:
        self._ear = ear
        self._lock = Lock()
        self._devices: dict[str, _Told] = {}
        self._ends: dict[str, _End] = {}

    def learn(self, devices: tuple[DeviceOut, ...]) -> None:
        """Take over what kms knows of devices that were not reported since the start."""
        with self._lock:
            for one in devices:
                known = DeviceIn(**one.model_dump(exclude={"serial", "changed"}))
                self._devices.setdefault(one.serial, _Told(known, heard=True))

    def state(self, serial: str) -> DiskState | None:
        """Return a device's last state."""
        told = self._devices.get(serial)
        return told.wanted.state if told else None

    def held(self, serial: str) -> DiskState | None:
        """Return the state of HELD that a device is in, also while it is away or worked on."""
        told = self._devices.get(serial)
        return held_by(told.wanted.state, told.wanted.code) if told else None

    def device(self, ref: DeviceRef, word: Word) -> None:
        """Report a device that is there."""
        self._say(
            ref.serial,
            DeviceIn(
                node=str(ref.node),
                size=ref.size,
                model=ref.model,
                content=ref.content,
                state=word.state,
                disk=word.disk,
                code=self._code(ref.serial, word),
                reason=word.reason[:_TEXT],
                mounted=word.mounted,
            ),
        )

    def gone(self, serial: str) -> None:
        """Report that a device was unplugged; nothing of one that was never reported."""
        if (told := self._devices.get(serial)) is None:
            return
        code = self._code(serial, Word(DiskState.GONE))
        reason = told.wanted.reason if code else ""
        changes = {"state": DiskState.GONE, "code": code, "reason": reason, "mounted": ""}
        self._say(serial, told.wanted.model_copy(update=changes))

    def forget(self, serial: str) -> bool:
        """Drop what was told of a device that is gone and that nothing holds, once kms has heard of
        that; return whether it was dropped.
        """
        with self._lock:
            told = self._devices.get(serial)
            if told is None or not told.heard or told.wanted.code:
                return False
            if told.wanted.state is not DiskState.GONE:
                return False
            del self._devices[serial]
        return True

    def running(self, order: str, progress: int, message: str) -> None:
        """Report how far an order is, in percent; once only, the next one follows anyway."""
        try:
            self._ear.report_order(
                order, OrderState.RUNNING, min(max(progress, 0), 100), "", message[:_TEXT]
            )
        except ConclaveError as error:
            _LOG.warning("kms did not hear of order %s: %s", order, error.message)

    def ended(self, order: str, state: OrderState, code: str = "", message: str = "") -> None:
        """Report an order's end."""
        with self._lock:
            self._ends[order] = _End(state, code, message[:_TEXT])
        self._send_end(order)

    def is_over(self, order: str) -> bool:
        """Whether an order has ended, though kms may not have heard of it yet."""
        return order in self._ends

    def forget_orders(self, waiting: set[str]) -> None:
        """Keep no ends but those that kms has not heard of or still names as waiting."""
        with self._lock:
            self._ends = {
                order: end for order, end in self._ends.items() if order in waiting or not end.heard
            }

    def repeat(self) -> bool:
        """Send again what was not heard; return whether all has been heard now."""
        for serial, told in list(self._devices.items()):
            if not told.heard:
                self._send(serial, told)
        for order in list(self._ends):
            self._send_end(order)
        devices, ends = list(self._devices.values()), list(self._ends.values())
        return all(one.heard for one in devices) and all(one.heard for one in ends)

    def _code(self, serial: str, word: Word) -> str:
        held = self.held(serial)
        if word.state in _KEEPS_HOLD and not word.code and held in HELD:
            return str(held)
        return word.code

    def _say(self, serial: str, device: DeviceIn) -> None:
        with self._lock:
            told = self._devices.setdefault(serial, _Told(device))
            told.wanted, told.heard = device, told.heard and told.wanted == device
        why = device.reason.replace("\n", "; ")
        _LOG.info("device %s is %s %s %s", serial, device.state, device.code, why)
        if not told.heard:
            self._send(serial, told)

    def _send(self, serial: str, told: _Told) -> None:
        with told.lock:
            device = told.wanted
            try:
                self._put(serial, device)
            except Unavailable as error:
                _LOG.warning("kms did not hear of device %s: %s", serial, error.message)
                return
            except ConclaveError as error:
                # Saying it again would change nothing.
                _LOG.error("kms refuses to hear of device %s: %s", serial, error.message)
            told.heard = told.wanted == device

    def _put(self, serial: str, device: DeviceIn) -> None:
        try:
            self._ear.report_device(serial, device)
        except StateNotAllowed:
            # A word in between was not heard. Every state may follow "seen".
            seen = device.model_copy(update={"state": DiskState.SEEN, "mounted": ""})
            self._ear.report_device(serial, seen)
            self._ear.report_device(serial, device)

    def _send_end(self, order: str) -> None:
        if (end := self._ends.get(order)) is None or end.heard:
            return
        progress = 100 if end.state is OrderState.DONE else 0
        try:
            self._ear.report_order(order, end.state, progress, end.code, end.message)
        except Unavailable as error:
            _LOG.warning("kms did not hear the end of order %s: %s", order, error.message)
            return
        except ConclaveError as error:
            _LOG.error("kms refuses the end of order %s: %s", order, error.message)
        end.heard = True
