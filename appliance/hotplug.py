"""Hears which devices come and go: from udev, and for practice from a folder of images.

It reads what kernel and udev say of a device and opens nothing for writing. Partitions, mapped,
compressed and memory devices, arrays and drives of discs are none of its business.
"""

import errno
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyudev  # type: ignore[import-untyped] # it has no types of its own

from appliance.settings import Settings
from appliance.storage.device import DeviceChanged, DeviceRef, image_device, udev_device
from appliance.storage.file_systems import HEAD_BYTES, content_of
from appliance.storage.mounts import check_own
from kms.errors import InvalidInput

_LOG = logging.getLogger(__name__)
_NOT_OURS = re.compile(r"(dm-|md|ram|zram|sr|fd|nbd|mtdblock|drbd|bcache)\d.*", re.ASCII)
_LOOK_SECONDS = 0.5
"""How often the folder of images is looked at, and a stop."""


@dataclass(frozen=True, slots=True)
class Appeared:
    """A device is at ``place`` (sysfs path or image), or says something else of itself now."""

    place: str
    ref: DeviceRef


@dataclass(frozen=True, slots=True)
class Vanished:
    """The device at ``place`` is gone."""

    place: str


Change = Appeared | Vanished
Tell = Callable[[Change], None]


class Hotplug:
    """Follows devices in threads of its own, from ``start`` until ``stop``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, tell: Tell) -> None:
        """Tell of every device that is there, then of every change."""
        if self._settings.udev:
            self._follow_udev(tell)
        if self._settings.image_directory is not None:
            check_own(self._settings.image_directory)
            images = _Images(self._settings.image_directory)
            images.look(tell)
            self._thread("images", lambda: self._again(lambda: images.look(tell)))

    def stop(self) -> None:
        """Follow no more."""
        self._stop.set()

    def alive(self) -> bool:
        """Whether devices are followed, by all threads that have to."""
        return all(thread.is_alive() for thread in self._threads)

    def _follow_udev(self, tell: Tell) -> None:
        context = pyudev.Context()
        monitor = pyudev.Monitor.from_netlink(context, source="udev")
        monitor.filter_by("block", "disk")
        monitor.start()  # before the list is made, so that no device falls between
        for device in context.list_devices(subsystem="block", DEVTYPE="disk"):
            if device.is_initialized:
                _tell_of(device, None, tell)

        def hear() -> None:
            device = monitor.poll(_LOOK_SECONDS)
            if device is not None:
                _tell_of(device, device.action, tell)

        self._thread("udev", lambda: self._again(hear, pause=0.0))

    def _again(self, look: Callable[[], None], pause: float = _LOOK_SECONDS) -> None:
        while not self._stop.wait(pause):
            try:
                look()
            except Exception:  # noqa: BLE001 -- nobody else would hear of any device again
                _LOG.exception("devices could not be followed")
                self._stop.wait(_LOOK_SECONDS)

    def _thread(self, name: str, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()


def _tell_of(device: pyudev.Device, action: str | None, tell: Tell) -> None:
    try:
        change = change_of(action, _properties(device))
    except (OSError, UnicodeDecodeError) as error:
        _LOG.warning("a device is passed over, as what udev says of it cannot be read: %r", error)
        return
    if change is not None:
        tell(change)


def change_of(
    action: str | None, properties: Mapping[str, str], sys: Path = Path("/sys")
) -> Change | None:
    """Return what a udev event tells of a disk, None if it is none of ours; ``action`` None: from
    the list of devices.
    """
    place = sys / properties.get("DEVPATH", "").lstrip("/")
    if properties.get("SUBSYSTEM") != "block" or properties.get("DEVTYPE") != "disk":
        return None
    if action == "remove":
        return Vanished(str(place))
    if _NOT_OURS.fullmatch(place.name) or not _has_medium(place):
        return Vanished(str(place)) if action == "change" else None
    try:
        return Appeared(str(place), udev_device(properties, place))
    except (DeviceChanged, InvalidInput) as error:
        _LOG.warning("a device is passed over: %s", error.message)
        return None


def in_use(ref: DeviceRef) -> bool:
    """Whether the machine uses a device or a part of it: mounts, swap, arrays, mappings all hold
    it exclusively (open(2), O_EXCL). Must not be asked while a program works on the device, and
    waits as long as a device does not answer.
    """
    if ref.sysfs is None:
        return False
    try:
        os.close(os.open(ref.node, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC | os.O_NONBLOCK))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def _has_medium(place: Path) -> bool:
    """Whether there is something to read: no card reader without a card, no loop without a file."""
    try:
        return (place / "size").read_text().strip() != "0"
    except OSError:
        return False


def _properties(device: pyudev.Device) -> dict[str, str]:
    return {name: device.properties[name] for name in device.properties}


class _Images:
    """A folder whose files NAME.img are devices."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, DeviceRef] = {}

    def look(self, tell: Tell) -> None:
        """Tell what has changed since the last look."""
        there = dict(self._there())
        for place in self._known.keys() - there.keys():
            tell(Vanished(place))
        for place, ref in there.items():
            known = self._known.get(place)
            if known is not None and known.identity != ref.identity:
                tell(Vanished(place))
            if known != ref:
                tell(Appeared(place, ref))
        self._known = there

    def _there(self) -> Iterator[tuple[str, DeviceRef]]:
        for path in sorted(self._folder.glob("*.img")):
            try:
                yield str(path), image_device(path, _content(path))
            except (DeviceChanged, OSError):
                continue  # it went away under our eyes


def _content(path: Path) -> str:
    """Return what lies in an image as udev would say it, as far as Conclave cares."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as image:
        return content_of(image.read(HEAD_BYTES))
