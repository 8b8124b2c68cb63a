"""Many disks at once: enrolled by people, prepared by the real daemon, their KEKs replaced."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from kms.domain.disks import OrderState
from kms.wire.disks import OrderPage
from tests.scenarios import stolen
from tests.scenarios.bays import HostBay, blank, passphrase

_MEGABYTES = 20
_AT_ONCE = 4
_SECONDS = 1800.0


@dataclass
class Report:
    """How long what took, in seconds."""

    disks: int
    seconds: dict[str, float] = field(default_factory=dict)
    keks: set[int] = field(default_factory=set)
    opened: int = 0

    def figures(self) -> Iterator[str]:
        for what, seconds in self.seconds.items():
            rate = self.disks / seconds
            yield f"{what}: {self.disks} in {seconds:.1f} s, {rate:.1f} a second"


def run(bay: HostBay, count: int) -> Report:
    """Enrol so many disks and make the next version of every KEK; the daemon is not started yet."""
    report = Report(count)
    serials = [f"MANY-{number:03}" for number in range(count)]
    for serial in serials:
        blank(bay.images, serial, _MEGABYTES)
    bay.start()
    _timed(report, "devices reported", lambda: _await_seen(bay, count))
    _timed(report, "enrolments asked for, approved and executed", lambda: _enrol(bay, serials))
    _timed(report, "disks prepared since the first approval", lambda: _await_prepared(bay, count))
    _timed(report, "KEKs replaced, one after the other", lambda: _rotate(bay, serials, 1))
    _timed(report, f"KEKs replaced, {_AT_ONCE} at once", lambda: _rotate(bay, serials, _AT_ONCE))
    _look(bay, serials, report)
    return report


def _timed(report: Report, what: str, act: Callable[[], None]) -> None:
    begun = time.monotonic()
    act()
    report.seconds[what] = time.monotonic() - begun


def _await_seen(bay: HostBay, count: int) -> None:
    end = time.monotonic() + _SECONDS
    with bay.service.console() as client:
        while len(client.disks().devices) < count:
            assert time.monotonic() < end
            time.sleep(0.2)


def _enrol(bay: HostBay, serials: list[str]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as people:
        list(people.map(bay.enrol, serials))


def _await_prepared(bay: HostBay, count: int) -> None:
    end = time.monotonic() + _SECONDS
    while True:
        orders = [one for page in _pages(bay) for one in page.items]
        failed = [one for one in orders if one.state is OrderState.FAILED]
        assert not failed, failed[0]
        if sum(one.state is OrderState.DONE for one in orders) == count:
            return
        assert time.monotonic() < end
        time.sleep(1)


def _pages(bay: HostBay) -> list[OrderPage]:
    with bay.service.console() as client:
        return list(client.order_pages())


def _rotate(bay: HostBay, serials: list[str], at_once: int) -> None:
    def rotate(serial: str) -> None:
        with bay.service.console() as client:
            client.rotate_kek(bay.serials[serial])

    with ThreadPoolExecutor(at_once) as people:
        list(people.map(rotate, serials))


def _look(bay: HostBay, serials: list[str], report: Report) -> None:
    """The same slot keys open the disks, encrypted by other KEKs."""
    with bay.service.console() as client:
        report.keks = {one.kek for one in client.disks().disks}
    for serial in serials[:: max(1, len(serials) // 10)]:
        key = passphrase(bay.held(serial).keys.key)
        report.opened += stolen.opens(bay.images / f"{serial}.img", key)


def check(report: Report) -> None:
    """Raise AssertionError unless every KEK was replaced twice and the disks still open."""
    assert report.keks == {3}
    assert report.opened
