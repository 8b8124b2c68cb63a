"""Headers forged while the disk was away, and names of devices that attack: at the real daemon.

It runs on the host with image files. Every forged disk is quarantined, at once and in little
memory, and stays so until its own header is back and people release it.
"""

import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kms.domain.disks import DiskState, OrderKind
from kms.domain.ids import DiskId
from tests.fixtures.luks import ImageDisk
from tests.scenarios.bays import HostBay, blank, passphrase
from tests.scenarios.forged_headers import FORGERIES

SERIAL = "WD-FORGED-1"
_MEGABYTES = 24
_NAMES_SECONDS = 60.0
QUARANTINE_SECONDS = 10.0
MEMORY_KILOBYTES = 256 << 10
_UNNAMED = re.compile(r"unnamed-[0-9a-f]{16}")
_PWNED = "pwned"
OLD = "old_header"
"""The one that the disk bore itself before its slot key was replaced: the last of them."""
NAMES = (
    f"$(touch {_PWNED})",
    f"`touch {_PWNED}`",
    f"a;touch {_PWNED}",
    f"a|touch {_PWNED}",
    f"a\ntouch {_PWNED}",
    "-x",
    "--help",
    "..",
    "%s%n",
    "合并方案",
    "\x1b[2J",
)
"""File names without their ending: serial numbers that somebody chose."""


@dataclass
class Report:
    """What the daemon did."""

    faults: dict[str, str] = field(default_factory=dict)
    """By forgery: what the device's report says."""
    slowest: float = 0.0
    kilobytes: int = 0
    names: int = 0

    def figures(self) -> Iterator[str]:
        kinds = sorted({text.rpartition(" ")[2] for text in self.faults.values()})
        yield f"{len(self.faults)} forged headers, all quarantined by {', '.join(kinds)}"
        yield f"slowest from plugging in to quarantine: {self.slowest:.1f} s"
        yield f"most memory of the daemon: {self.kilobytes / 1024:.0f} MB"
        yield f"{self.names} names that attack, all inert"


def run(bay: HostBay) -> Report:
    """Enrol a disk, forge its header in every way, then plug devices in whose names attack."""
    report = Report()
    image = blank(bay.images, SERIAL, _MEGABYTES)
    bay.start()
    bay.await_state(SERIAL, DiskState.UNKNOWN)
    bay.enrol(SERIAL)
    bay.await_order(bay.orders(SERIAL)[0].order)
    good = _copied(bay, image, "good")
    for forgery in FORGERIES:
        if forgery.name == OLD:
            bay.obey(OrderKind.ROTATE_SLOT, SERIAL)
            forged, good = good, _copied(bay, image, "rotated")
        else:
            forged = _copied(bay, good, "forged")
            forgery.make(_image_disk(bay, forged))
        _quarantined(bay, forged, forgery.name, report)
        _released(bay, good)
    attacked_by_names(bay, report)
    report.kilobytes = bay.peak_kilobytes()
    return report


def _copied(bay: HostBay, image: Path, name: str) -> Path:
    return Path(shutil.copy(image, bay.folder / f"{name}.img"))


def _image_disk(bay: HostBay, image: Path) -> ImageDisk:
    """Return the disk as somebody has it who knows its slot key."""
    key = passphrase(bay.held(SERIAL).keys.key)
    return ImageDisk(image, DiskId(bay.serials[SERIAL]), key)


def _swap(bay: HostBay, image: Path) -> float:
    """Pull the disk out and plug a copy of an image in its place; return when."""
    place = bay.images / f"{SERIAL}.img"
    place.unlink()
    bay.await_state(SERIAL, DiskState.GONE)
    Path(shutil.copy(image, bay.folder / "draft.img")).replace(place)
    return time.monotonic()


def _quarantined(bay: HostBay, forged: Path, name: str, report: Report) -> None:
    before = forged.read_bytes()
    begun = _swap(bay, forged)
    found = bay.await_state(SERIAL, DiskState.QUARANTINED)
    report.slowest = max(report.slowest, time.monotonic() - begun)
    report.faults[name] = f"{found.code} {found.reason.rpartition('(')[2].rstrip(')')}"
    assert (bay.images / f"{SERIAL}.img").read_bytes() == before, "somebody wrote to it"


def _released(bay: HostBay, good: Path) -> None:
    """Its own header is back: it stays where it is until people release it."""
    _swap(bay, good)
    bay.await_state(SERIAL, DiskState.QUARANTINED)
    bay.obey(OrderKind.RELEASE, SERIAL)
    bay.await_state(SERIAL, DiskState.ENROLLED)


def attacked_by_names(bay: HostBay, report: Report) -> None:
    """Plug in devices whose serial numbers are commands, options, paths and control characters."""
    for name in NAMES:
        blank(bay.images, name, 16)
    with bay.service.console() as client:
        end = time.monotonic() + _NAMES_SECONDS
        while len(client.disks().devices) < 1 + len(NAMES):
            assert time.monotonic() < end, [one.serial for one in client.disks().devices]
            time.sleep(0.2)
        serials = [one.serial for one in client.disks().devices]
    report.names = sum(bool(_UNNAMED.fullmatch(one)) for one in serials)
    assert not list(bay.folder.rglob(_PWNED))
    assert "\x1b" not in bay.log.read_text()


def check(report: Report) -> None:
    """Raise AssertionError unless every forgery was refused in time and memory."""
    assert set(report.faults) == {forgery.name for forgery in FORGERIES}
    assert {text.split()[0] for text in report.faults.values()} == {"header_refused"}
    assert report.slowest <= QUARANTINE_SECONDS
    assert report.kilobytes <= MEMORY_KILOBYTES
    assert report.names == len(NAMES)
