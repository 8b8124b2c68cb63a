"""The power fails while a disk's keys are made, replaced or destroyed.

The machine is killed at a moment that a seed chooses, and its disks lose what they had not flushed.
Afterwards the daemon goes on by itself; then exactly one set of keys opens the disk and its files
are there, or nothing opens it any more.
"""

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

from appliance.link import Held
from appliance.storage.header import REGION_BYTES
from kms.domain.disks import DiskState, OrderKind, OrderState, Work
from kms.statements.diskkeys import DiskKeys
from kms.statements.erasure import Slots, peek_erasure
from tests.scenarios import disks, stolen
from tests.scenarios.bays import MachineBay, blank, passphrase
from tests.scenarios.stolen import Canaries
from tests.vm.write_cache import WriteCache

_MEGABYTES = 32
_SECONDS = 240.0
_SLOTS = 2
WORKS = (Work.FORMAT, Work.SLOT, Work.VOLUME, Work.ERASE)
_ORDERS = {
    Work.FORMAT: OrderKind.PREPARE,
    Work.SLOT: OrderKind.ROTATE_SLOT,
    Work.VOLUME: OrderKind.ROTATE_VOLUME,
    Work.ERASE: OrderKind.ERASE,
}


class Point(NamedTuple):
    """One cut: in which work, and after which part of the time that it usually takes."""

    work: Work
    part: float
    seed: int


@dataclass
class Report:
    """What was seen."""

    cuts: Counter[Work] = field(default_factory=Counter)
    moments: Counter[str] = field(default_factory=Counter)
    lost_bytes: int = 0
    usual: dict[Work, float] = field(default_factory=dict)
    longest: float = 0.0

    def figures(self) -> Iterator[str]:
        yield f"{self.cuts.total()} cuts: {_told(self.cuts)}"
        yield f"the record said at that moment: {_told(self.moments)}"
        yield f"{self.lost_bytes >> 10} KiB were written and not flushed, and are lost"
        usual = ", ".join(f"{work} {seconds:.1f} s" for work, seconds in self.usual.items())
        yield f"undisturbed: {usual}"
        yield f"longest time from power to a finished work, boot included: {self.longest:.0f} s"


def _told(counts: Counter) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def points(works: Sequence[Work], count: int, seed: int) -> list[Point]:
    """Return so many points, the works in turn, the moments drawn from their whole length."""
    chance = random.Random(seed)
    turns = islice(cycle(works), count)
    return [Point(work, chance.uniform(0, 1), chance.getrandbits(32)) for work in turns]


def run(bay: MachineBay, count: int, seed: int, works: Sequence[Work] = WORKS) -> Report:
    """Cut the power so often; raise AssertionError if a disk is not as it has to be."""
    cutter = Cutter(bay, Report())
    cutter.measure(works)
    for point in points(works, count, seed):
        cutter.cut(point)
    return cutter.report


@dataclass
class Cutter:
    """A bay in which disk after disk loses its power. One disk at a time is plugged in; a disk that
    was erased is thrown away.
    """

    bay: MachineBay
    report: Report
    serial: str = ""
    disk: WriteCache | None = None
    canaries: Canaries | None = None
    known: dict[str, bytes] = field(default_factory=dict)
    """Passphrases that were seen, by what the disk's record has of them."""
    request: str = ""
    """The approved request of the last erasure."""
    number: int = 0

    def measure(self, works: Sequence[Work]) -> None:
        """Do every work once without a cut, and remember how long it takes."""
        for work in works:
            self._prepare_for(work)
            begun = time.monotonic()
            self._await_end(work, self._begin(work))
            self.report.usual[work] = time.monotonic() - begun
            self._check(work)

    def cut(self, point: Point) -> None:
        """Begin a work, cut the power on the way, switch on again, and look."""
        self._prepare_for(point.work)
        order = self._begin(point.work)
        time.sleep(self.report.usual[point.work] * point.part)
        self.report.lost_bytes += self.bay.machine.cut_power(point.seed)
        self._note(point.work, order)
        begun = time.monotonic()
        self.bay.boot()
        self.bay.plug(self.serial, self.disk)
        self._await_end(point.work, order)
        self.report.longest = max(self.report.longest, time.monotonic() - begun)
        self.report.cuts[point.work] += 1
        self._check(point.work)

    # --- before ----------------------------------------------------------------------------------

    def _prepare_for(self, work: Work) -> None:
        """Have the right disk plugged in: a blank one to format, else one with files."""
        if work is Work.FORMAT:
            self._throw_away()
            self._next_disk()
        elif self.disk is None:
            self._next_disk()
            self._await_end(Work.FORMAT, self._begin(Work.FORMAT))
            self._fill()

    def _next_disk(self) -> None:
        self.number += 1
        self.serial = f"WD-CUT-{self.number}"
        image = blank(self.bay.folder, self.serial, _MEGABYTES)
        self.disk = WriteCache(image, torn=REGION_BYTES)
        self.known, self.canaries = {}, None
        self.bay.plug(self.serial, self.disk)
        self.bay.await_state(self.serial, DiskState.UNKNOWN)

    def _throw_away(self) -> None:
        if self.disk is not None:
            self.bay.machine.pull(self.serial)
            self.bay.await_state(self.serial, DiskState.GONE)
            self.disk.image.unlink()
            self.disk = None

    def _fill(self) -> None:
        self.canaries = Canaries.make(self.number, count=8)
        disks.fill(self.bay, self.serial, self.canaries)

    # --- the work --------------------------------------------------------------------------------

    def _begin(self, work: Work) -> str:
        """Have a work begun as people do; return its order."""
        bay = self.bay
        if work is Work.FORMAT:
            bay.enrol(self.serial)
        elif work is Work.ERASE:
            self._remember(bay.held(self.serial))
            self.request = bay.erase(self.serial).id
        else:
            self._remember(bay.held(self.serial))
            return bay.order(_ORDERS[work], self.serial).order
        kind = _ORDERS[work]
        return next(one.order for one in bay.orders(self.serial) if one.kind is kind)

    def _remember(self, held: Held) -> None:
        disk, keys = held.disk, held.keys
        for slot, key in ((disk.key, keys.key), (disk.next_key, keys.next_key)):
            if slot is not None and key is not None:
                self.known[slot.sealed] = passphrase(key)
        recoveries = ((disk.recovery, keys.recovery), (disk.next_recovery, keys.next_recovery))
        for recovery, key in recoveries:
            if recovery is not None and key is not None:
                self.known[recovery.escrowed] = passphrase(key)

    def _note(self, work: Work, order: str) -> None:
        """Count what the record says at the moment of the cut, and remember its keys."""
        held = self.bay.held(self.serial)
        self._remember(held)
        with self.bay.service.console() as client:
            state = client.order(order).state
        word = "committed" if held.disk.work is not Work.NONE and held.disk.committed else "begun"
        if state is OrderState.DONE:
            word = "done"
        elif held.disk.work is Work.NONE:
            word = "waiting"
        self.report.moments[f"{work} {word}"] += 1

    def _await_end(self, work: Work, order: str) -> None:
        self.bay.await_order(order, _SECONDS)
        if work is not Work.ERASE:
            self.bay.await_state(self.serial, DiskState.MOUNTED)

    # --- afterwards ------------------------------------------------------------------------------

    def _check(self, work: Work) -> None:
        """Raise AssertionError unless the disk is as it has to be after a work."""
        if work is Work.ERASE:
            self._check_erased()
        else:
            self._check_keys()
            if self.canaries is not None:
                disks.check_files(self.bay, self.serial, self.canaries)
            else:
                self._fill()

    def _check_keys(self) -> None:
        """The disk's two keys open it, and none of those that were seen beside them."""
        self._remember(held := self.bay.held(self.serial))
        disk, image = held.disk, self._settled()
        assert disk.work is Work.NONE
        assert disk.key.sealed in self.known
        assert stolen.slots(image) == _SLOTS
        for name, known in self.known.items():
            assert stolen.opens(image, known) == (name in {disk.key.sealed, disk.recovery.escrowed})

    def _check_erased(self) -> None:
        """Nothing opens the disk; kms has no key of it, and a certificate says so."""
        held = self.bay.held(self.serial)
        assert held.disk.erased
        assert held.keys == DiskKeys()
        image = self._settled()
        assert not any(stolen.opens(image, known) for known in self.known.values())
        with self.bay.service.console() as client:
            text = client.certificate(self.request).certificate
        assert peek_erasure(text).slots is Slots.ERASED
        self._throw_away()

    def _settled(self) -> Path:
        """Return the disk's image once everything written has reached it."""
        self.bay.machine.run("sync")
        assert self.disk is not None
        return self.disk.image
