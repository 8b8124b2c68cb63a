"""Opening, mounting and closing disks, with a device-mapper and mounts that are none: they are real
in tests/e2e/test_disks_vm.py. Headers and keys are real here too.
"""

from pathlib import Path
from typing import Any

import pytest

from appliance.run import ProgramFailed
from appliance.storage.luks import Luks, mapping
from appliance.storage.mounts import DiskBusy, Mount, Mounts
from appliance.work import carry_out, close_at_once
from appliance.work.bench import Bench, Outcome
from appliance.work.opening import unlock
from kms.domain.disks import DiskState, MountPolicy, OrderKind
from kms.domain.ids import DiskId
from kms.errors import IntegrityFailure, StateNotAllowed
from tests.fixtures.disk_bench import DISK, Box, new_box, order

NAME, OLD = mapping(DISK), DiskId("0198c0de-0000-7000-8000-000000000002")
"""The disk, and one that it replaces."""


class FakeMapper(Luks):
    """Luks whose mappings are a list; ``busy``: those that something uses; ``plain``: what lies on
    every open disk.
    """

    def __init__(self, real: Luks, plain: Path) -> None:
        super().__init__(real._programs)
        self.plain = plain
        self.mappings: dict[str, str] = {}
        self.busy: set[str] = set()

    def open(self, copy: Path, node: Path, name: str, passphrase: bytes, **options: Any) -> None:
        assert copy != node
        if self.opens(copy, passphrase) is None:
            raise ProgramFailed("no key", status=2)
        self.mappings[name] = "read-only" if options.get("read_only") else "open"

    def node_of(self, name: str) -> Path:
        return self.plain

    def close(self, name: str) -> None:
        if name in self.busy:
            raise ProgramFailed("busy", status=5)
        del self.mappings[name]

    def suspend(self, name: str) -> None:
        if self.mappings[name] == "suspended":
            raise ProgramFailed("already suspended", status=1)
        self.mappings[name] = "suspended"

    def _mappings(self) -> dict[str, bool]:
        return {name: how == "suspended" for name, how in self.mappings.items()}


class FakeMounts(Mounts):
    """Mounts that are a list of folders; ``busy``: those that something uses."""

    def __init__(self, root: Path) -> None:
        self.root, self.places, self.busy = root, {}, set()

    def below(self, root: Path) -> "FakeMounts":
        other = FakeMounts(root)
        other.places, other.busy = self.places, self.busy
        return other

    def mount(self, mapping: str, name: str, *, read_only: bool = False) -> Path:
        self.places[mapping] = self.root / name
        self.places[mapping].mkdir(exist_ok=True)
        return self.places[mapping]

    def unmount(self, mapping: str) -> None:
        if mapping in self.busy:
            raise DiskBusy("in use: cat (1)")
        self.places.pop(mapping, None)

    def detach(self, mapping: str) -> None:
        self.places.pop(mapping, None)

    def of(self, mapping: str) -> tuple[Mount, ...]:
        place = self.places.get(mapping)
        return (Mount("", "", place, "ext4", frozenset()),) if place else ()


class Machine:
    """A machine with a device-mapper."""

    def __init__(self, box: Box) -> None:
        self.box, made = box, box.bench()
        plain = box.folder / "opened"
        plain.write_bytes(bytes(8 << 20))
        self.luks, self.mounts = FakeMapper(made.luks, plain), FakeMounts(box.folder / "mounts")
        fields = {name: getattr(made, name) for name in Bench.__slots__}
        self.bench = Bench(**{**fields, "luks": self.luks, "mounts": self.mounts})

    def unlock(self) -> Outcome:
        return unlock(self.bench, self.box.ref, DISK)

    def obey(self, kind: OrderKind) -> Outcome:
        return carry_out(self.bench, self.box.ref, order(kind))


@pytest.fixture(autouse=True)
def control(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.storage.luks.CONTROL", Path("/dev/null"))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(new_box(tmp_path / "box", mount=MountPolicy("data")))
    made.obey(OrderKind.PREPARE)
    return made


def test_a_disk_is_opened_by_a_copy_of_its_header_and_mounted(machine: Machine) -> None:
    assert machine.luks.mappings == {}
    outcome = machine.unlock()
    assert outcome == Outcome(DiskState.MOUNTED, str(machine.mounts.root / "data"))
    assert machine.unlock() == outcome
    assert not list((machine.box.folder / "run").iterdir())
    assert machine.obey(OrderKind.LOCK).state is DiskState.LOCKED
    assert (machine.luks.mappings, machine.mounts.places) == ({}, {})


def test_a_read_only_disk_is_open_for_reading(tmp_path: Path) -> None:
    machine = Machine(new_box(tmp_path / "box", mount=MountPolicy(read_only=True)))
    machine.obey(OrderKind.PREPARE)
    assert machine.unlock().state is DiskState.OPEN
    assert machine.luks.mappings == {NAME: "read-only"}


def test_a_disk_without_a_file_system_is_open_alone(machine: Machine) -> None:
    machine.luks.plain.write_bytes(bytes(8 << 20))
    outcome = machine.unlock()
    assert outcome.state is DiskState.OPEN
    assert "no file system" in outcome.message


def test_what_is_left_open_is_closed_before_it_is_opened_anew(machine: Machine) -> None:
    machine.luks.mappings[NAME] = "suspended"
    machine.unlock()
    assert machine.luks.mappings == {NAME: "open"}


def test_a_key_that_opens_nothing_is_told_as_such(machine: Machine) -> None:
    link = machine.box.link
    link._keys[link.disk.key.sealed] = bytes(64)
    with pytest.raises(IntegrityFailure):
        machine.unlock()
    assert machine.luks.mappings == {}


def test_an_unprepared_disk_is_not_unlocked(tmp_path: Path) -> None:
    with pytest.raises(StateNotAllowed):
        Machine(new_box(tmp_path / "box")).unlock()


def test_a_work_is_ended_before_the_disk_is_opened(machine: Machine) -> None:
    machine.box.link.begin(DISK, "slot")
    assert machine.unlock().state is DiskState.MOUNTED
    assert machine.box.link.disk.work == "none"


def test_a_disk_stays_open_while_its_slots_are_rotated(machine: Machine) -> None:
    machine.unlock()
    for kind in (OrderKind.ROTATE_SLOT, OrderKind.VERIFY_RECOVERY):
        assert machine.obey(kind).state is DiskState.MOUNTED


def test_a_disk_in_use_is_not_locked(machine: Machine) -> None:
    machine.unlock()
    machine.mounts.busy.add(NAME)
    with pytest.raises(DiskBusy):
        machine.obey(OrderKind.LOCK)
    machine.mounts.busy.clear()
    machine.luks.busy.add(NAME)
    with pytest.raises(DiskBusy):
        machine.obey(OrderKind.LOCK)


def test_a_disk_is_closed_at_once_or_its_key_is_wiped(machine: Machine) -> None:
    machine.unlock()
    machine.luks.busy.add(NAME)
    asked = len(machine.box.link.steps)
    assert "wiped" in close_at_once(machine.bench, DISK).message
    assert machine.luks.mappings == {NAME: "suspended"}
    assert close_at_once(machine.bench, DISK).state is DiskState.LOCKED, "still in use"
    machine.luks.busy.clear()
    assert close_at_once(machine.bench, DISK) == Outcome(DiskState.LOCKED)
    assert close_at_once(machine.bench, DISK) == Outcome(DiskState.LOCKED)
    assert machine.luks.mappings == {}
    assert len(machine.box.link.steps) == asked, "kms may be away"


def test_erasing_closes_the_disk_whatever_uses_it(machine: Machine) -> None:
    machine.unlock()
    machine.mounts.busy.add(NAME)
    machine.box.link.erase()
    assert machine.obey(OrderKind.ERASE).state is DiskState.UNKNOWN
    assert machine.luks.mappings == {}


def test_a_new_disk_takes_over_the_files_of_the_one_it_replaces(tmp_path: Path) -> None:
    machine = Machine(new_box(tmp_path / "box", replaces=OLD, mount=MountPolicy("data")))
    old = machine.mounts.mount(mapping(OLD), "old")
    (old / "file").write_bytes(b"kept")
    machine.obey(OrderKind.PREPARE)
    private = machine.box.folder / "run" / "new"
    assert private.stat().st_mode & 0o777 == 0o700
    assert (private / f"disk-{DISK[-12:]}" / "file").read_bytes() == b"kept"
    assert not list(machine.mounts.root.glob("*/file"))[1:], "nobody else sees them meanwhile"
    assert machine.luks.mappings == {}
    assert machine.box.link.disk.work == "none"
