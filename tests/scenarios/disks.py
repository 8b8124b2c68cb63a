"""The story of a disk: blank, enrolled, filled, pulled out, stolen, plugged in again, sealed.

In a virtual machine, where the real daemon follows real events of udev.
"""

import base64
import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kms.domain.disks import DiskState, OrderKind
from kms.errors import ConclaveError
from tests.scenarios import stolen
from tests.scenarios.bays import MOUNTS, SPACE, MachineBay, blank, passphrase
from tests.scenarios.stolen import Canaries

SERIAL = "WD-CANARY-1"
CONTROL = "WD-PLAIN-2"
_MEGABYTES = 48
_SEAL_SECONDS, _ALERT_SECONDS = 30.0, 60.0
_QUIET_SECONDS = 3.0
GONE_OPEN = "disk-gone-open"
REPLUGGED = "mounted after udev's event"


@dataclass
class Story:
    """What was seen on the way."""

    seconds: dict[str, float] = field(default_factory=dict)
    canaries: int = 0
    on_disk: int = 0
    on_control: int = 0
    tried: int = 0
    opened_by: list[str] = field(default_factory=list)
    opens_with_its_key: bool = False
    alerts: set[str] = field(default_factory=set)
    refused: str = ""

    def check(self) -> None:
        """Raise AssertionError unless nothing was given away and everything came back."""
        assert (self.on_disk, self.on_control) == (0, self.canaries)
        assert self.opened_by == []
        assert GONE_OPEN in self.alerts
        assert self.refused == "sealed"


def run(bay: MachineBay, seed: int, *, steal: bool = True) -> Story:
    """Tell the story; raise AssertionError where it takes another turn."""
    story = Story()
    canaries = Canaries.make(seed)
    image, control = (blank(bay.folder, one, _MEGABYTES) for one in (SERIAL, CONTROL))
    enrolled(bay, image, story)
    fill(bay, SERIAL, canaries)
    fill_control(bay, control, canaries)
    pulled(bay, story)
    story.canaries = len(canaries.pieces())
    story.on_disk, story.on_control = (canaries.found_in(one) for one in (image, control))
    alarmed(bay, story)
    if steal:
        steal_and_try(bay, image, story)
    replugged(bay, image, story)
    check_files(bay, SERIAL, canaries)
    locked(bay, story)
    check_files(bay, SERIAL, canaries)
    sealed(bay, story)
    return story


def enrolled(bay: MachineBay, image: Path, story: Story) -> None:
    """Plug a blank disk in, which is left alone; enrol it, and it is formatted and mounted."""
    bay.plug(SERIAL, image)
    bay.await_state(SERIAL, DiskState.UNKNOWN)
    untouched = hashlib.sha256(bytes(_MEGABYTES << 20)).digest()
    assert hashlib.sha256(image.read_bytes()).digest() == untouched
    begun = time.monotonic()
    bay.enrol(SERIAL)
    bay.mounted(SERIAL)
    story.seconds["enrolled, formatted, mounted"] = time.monotonic() - begun


def fill(bay: MachineBay, serial: str, canaries: Canaries) -> None:
    """Write the files, and have them reach the medium."""
    _write(bay, str(bay.mounted(serial)), canaries)


def fill_control(bay: MachineBay, image: Path, canaries: Canaries) -> None:
    """Write the same files to a disk that nobody encrypts: the search has to find them there."""
    bay.plug(CONTROL, image)
    bay.await_state(CONTROL, DiskState.UNKNOWN)
    node = bay.device(CONTROL).node
    bay.machine.run(f"mkdir -p /run/plain; mke2fs -q -t ext4 {node}; mount {node} /run/plain")
    _write(bay, "/run/plain", canaries)
    bay.machine.run("umount /run/plain")
    bay.machine.pull(CONTROL)


def _write(bay: MachineBay, place: str, canaries: Canaries) -> None:
    lines = [
        f"echo {base64.b64encode(content).decode()} | base64 -d >'{place}/{name}'"
        for name, content in canaries.files.items()
    ]
    bay.machine.run("\n".join([*lines, f"sync -f {place}"]))


def check_files(bay: MachineBay, serial: str, canaries: Canaries) -> None:
    """Raise AssertionError unless a mounted disk holds the files."""
    place = bay.mounted(serial)
    listed = bay.machine.run(f"cd {place} && sha256sum *-*").splitlines()
    found = dict(reversed(line.split("  ", 1)) for line in listed)
    wanted = {name: hashlib.sha256(one).hexdigest() for name, one in canaries.files.items()}
    assert found == wanted


def pulled(bay: MachineBay, story: Story) -> None:
    """Pull the disk out while it is mounted, as a thief would."""
    begun = time.monotonic()
    bay.machine.pull(SERIAL)
    bay.await_state(SERIAL, DiskState.GONE)
    story.seconds["pulled out while mounted, reported as gone"] = time.monotonic() - begun
    assert MOUNTS not in bay.machine.run("cat /proc/mounts")
    assert bay.machine.run("dmsetup ls") == "No devices found"


def alarmed(bay: MachineBay, story: Story) -> None:
    """People are told that an open disk was torn out."""
    end = time.monotonic() + _ALERT_SECONDS
    while GONE_OPEN not in story.alerts and time.monotonic() < end:
        with bay.service.console() as client:
            story.alerts = {one.alert for one in client.alerts().items}
        time.sleep(1)


def steal_and_try(bay: MachineBay, image: Path, story: Story) -> None:
    """Try everything on the disk and in the store; then its own key."""
    database = bay.service.settings.paths.database
    loot = stolen.Loot.of(image, database, bay.serials[SERIAL])
    story.tried = len(loot.values)
    story.opened_by = stolen.tried(image, loot)
    story.opens_with_its_key = stolen.opens(image, passphrase(bay.held(SERIAL).keys.key))


def replugged(bay: MachineBay, image: Path, story: Story) -> None:
    """Plug it in again: the daemon opens and mounts it by itself."""
    place = f"{MOUNTS}/{SERIAL.lower()}"
    bay.machine.run(
        f"(until grep -q ' {place} ' /proc/mounts; do sleep 0.02; done;"
        " cut -d' ' -f1 /proc/uptime >/run/mounted) >/dev/null 2>&1 &"
    )
    bay.plug(SERIAL, image)
    assert str(bay.mounted(SERIAL)) == place
    node = bay.device(SERIAL).node
    told = bay.machine.run(f"udevadm info -q property -n {node} | grep USEC_INITIALIZED")
    event = int(told.partition("=")[2]) / 1e6
    story.seconds[REPLUGGED] = float(bay.machine.run("cat /run/mounted")) - event


def locked(bay: MachineBay, story: Story) -> None:
    """Close it by an order, and open it by another."""
    for kind, state in ((OrderKind.LOCK, DiskState.LOCKED), (OrderKind.UNLOCK, DiskState.MOUNTED)):
        begun = time.monotonic()
        bay.obey(kind, SERIAL)
        bay.await_state(SERIAL, state)
        story.seconds[f"{kind} by order"] = time.monotonic() - begun


def sealed(bay: MachineBay, story: Story) -> None:
    """Seal the space: its disks are closed at once, and no order opens them."""
    begun = time.monotonic()
    with bay.service.console() as client:
        client.seal_space(SPACE, "somebody walked off with a disk")
    while MOUNTS in bay.machine.run("cat /proc/mounts"):
        assert time.monotonic() - begun < _SEAL_SECONDS
    story.seconds["unmounted after the seal"] = time.monotonic() - begun
    bay.await_state(SERIAL, DiskState.LOCKED)
    assert bay.machine.run("dmsetup ls") == "No devices found"
    with pytest.raises(ConclaveError) as refusal:
        bay.obey(OrderKind.UNLOCK, SERIAL)
    story.refused = refusal.value.code
    time.sleep(_QUIET_SECONDS)
    assert bay.device(SERIAL).state is DiskState.LOCKED
