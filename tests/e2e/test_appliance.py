"""The real daemon on the host, with a real service and token: images come, go, are ordered about.

Disks are opened and mounted in tests/e2e/test_disks_vm.py; here a host without device-mapper is
enough, where they stay enrolled.
"""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kms.domain.disks import ENDED, DiskState, OrderKind, OrderState, Work
from kms.wire.disks import DiskOut
from tests.practice.service import Service
from tests.scenarios.bays import HostBay, blank, host_bay

CLOSED_OR_OPEN = (DiskState.ENROLLED, DiskState.OPEN, DiskState.MOUNTED)
_MEGABYTES = 32


@pytest.fixture(scope="module")
def bay(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostBay]:
    with host_bay(service, tmp_path_factory.mktemp("bay")) as made:
        made.start()
        yield made


@pytest.fixture
def serial(bay: HostBay, request: pytest.FixtureRequest) -> str:
    """An enrolled disk of the test's own."""
    name = f"DISK-{abs(hash(request.node.name)) % 10**8}"
    blank(bay.images, name, _MEGABYTES)
    bay.await_state(name, DiskState.UNKNOWN)
    bay.enrol(name)
    bay.await_state(name, *CLOSED_OR_OPEN)
    return name


def image(bay: HostBay, serial: str) -> Path:
    return bay.images / f"{serial}.img"


def disk(bay: HostBay, serial: str) -> DiskOut:
    with bay.service.console() as client:
        return client.disk(bay.serials[serial])


def again(bay: HostBay) -> None:
    """Kill the daemon as a crash would, and start it."""
    assert bay.process is not None
    bay.process.send_signal(signal.SIGKILL)
    bay.process.wait()
    bay.start()


def test_a_blank_device_is_reported_and_left_alone(bay: HostBay) -> None:
    path = blank(bay.images, "BLANK-1", _MEGABYTES)
    bay.await_state("BLANK-1", DiskState.UNKNOWN)
    assert path.read_bytes() == bytes(_MEGABYTES << 20)


def test_a_name_that_is_no_serial_number_is_reported_under_another(bay: HostBay) -> None:
    path = blank(bay.images, "-x;$(reboot)", _MEGABYTES)
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with bay.service.console() as client:
            found = [one for one in client.disks().devices if one.node == str(path)]
        if found:
            break
        time.sleep(0.1)
    assert [one.serial.startswith("unnamed-") for one in found] == [True]
    path.unlink()


def test_an_altered_header_is_quarantined_until_people_release_the_disk(
    bay: HostBay, serial: str
) -> None:
    path = image(bay, serial)
    sound = path.read_bytes()
    path.unlink()
    bay.await_state(serial, DiskState.GONE)
    _put(path, sound[:5000] + bytes([sound[5000] ^ 1]) + sound[5001:])
    assert bay.await_state(serial, DiskState.QUARANTINED).code == "header_refused"
    path.unlink()
    bay.await_state(serial, DiskState.GONE)
    _put(path, sound)
    bay.await_state(serial, DiskState.QUARANTINED)
    again(bay)
    time.sleep(2)
    assert bay.device(serial).state is DiskState.QUARANTINED, "a restart releases nothing"
    bay.obey(OrderKind.RELEASE, serial)
    bay.await_state(serial, *CLOSED_OR_OPEN)


def test_a_disk_that_turns_up_as_another_device_is_quarantined(bay: HostBay, serial: str) -> None:
    _put(bay.images / "COPY-1.img", image(bay, serial).read_bytes())
    assert bay.await_state("COPY-1", DiskState.QUARANTINED).code == "disk_elsewhere"
    (bay.images / "COPY-1.img").unlink()


def test_what_people_lock_stays_locked_over_a_restart_and_a_replug(
    bay: HostBay, serial: str
) -> None:
    bay.obey(OrderKind.LOCK, serial)
    bay.await_state(serial, DiskState.LOCKED)
    again(bay)
    time.sleep(2)
    bay.await_state(serial, DiskState.LOCKED)
    away = image(bay, serial).rename(bay.folder / "away")
    assert bay.await_state(serial, DiskState.GONE).code == "locked"
    away.rename(image(bay, serial))
    bay.await_state(serial, DiskState.LOCKED)


@pytest.mark.parametrize("kind", [OrderKind.ROTATE_SLOT, OrderKind.ROTATE_VOLUME])
def test_a_daemon_that_is_killed_in_the_middle_goes_on(
    bay: HostBay, serial: str, kind: OrderKind
) -> None:
    before = disk(bay, serial)
    order = bay.order(kind, serial).order
    until = time.monotonic() + 20
    while disk(bay, serial).work is Work.NONE and time.monotonic() < until:
        time.sleep(0.02)
    again(bay)
    assert bay.await_order(order).state is OrderState.DONE
    after = disk(bay, serial)
    assert after.work is Work.NONE
    assert after.header != before.header
    assert after.volume - before.volume == (kind is OrderKind.ROTATE_VOLUME)


def test_orders_wait_while_the_daemon_is_away(bay: HostBay, serial: str) -> None:
    bay.stop()
    order = bay.order(OrderKind.VERIFY_RECOVERY, serial)
    time.sleep(0.5)
    with bay.service.console() as client:
        assert client.order(order.order).state not in ENDED
    bay.start()
    bay.await_order(order.order)


def test_a_dry_run_changes_nothing(bay: HostBay, serial: str) -> None:
    before = image(bay, serial).read_bytes()
    order = bay.obey(OrderKind.ROTATE_VOLUME, serial, dry_run=True)
    assert "encrypt the whole disk by another volume key" in order.message
    assert image(bay, serial).read_bytes() == before


def test_an_erased_disk_is_a_stranger(bay: HostBay, serial: str) -> None:
    header = image(bay, serial).read_bytes()[: 4 << 20]
    bay.erase(serial)
    bay.await_state(serial, DiskState.UNKNOWN)
    assert image(bay, serial).read_bytes()[: 4 << 20] == bytes(4 << 20)
    away = image(bay, serial).rename(bay.folder / "erased")
    bay.await_state(serial, DiskState.GONE)
    with away.open("r+b") as file:
        os.pwrite(file.fileno(), header, 0)
    away.rename(image(bay, serial))
    assert bay.await_state(serial, DiskState.QUARANTINED).code == "disk_elsewhere"


def test_the_daemon_goes_on_with_a_service_that_comes_back(bay: HostBay, serial: str) -> None:
    daemon = bay.process.pid
    bay.service.stop()
    time.sleep(1)
    bay.service.start()
    bay.obey(OrderKind.BACK_UP_HEADER, serial)
    assert bay.await_state(serial, *CLOSED_OR_OPEN).disk == bay.serials[serial]
    assert (bay.process.pid, bay.process.poll()) == (daemon, None)


def test_a_sealed_spaces_disks_are_locked_and_no_order_opens_them(
    bay: HostBay, serial: str
) -> None:
    order = bay.order(OrderKind.ROTATE_VOLUME, serial).order
    with bay.service.console() as client:
        client.seal_space("treasury", "a doubt")
        until = time.monotonic() + 30
        while (found := client.order(order)).state not in ENDED and time.monotonic() < until:
            time.sleep(0.1)
    assert found.state in ENDED
    again(bay)
    bay.await_state(serial, DiskState.LOCKED)


def _put(path: Path, content: bytes) -> None:
    """Plug a device in at once as a whole."""
    part = path.with_suffix(".part")
    part.write_bytes(content)
    part.rename(path)
