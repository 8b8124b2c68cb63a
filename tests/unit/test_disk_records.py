"""A disk's record: which works may begin when, and that no order of steps loses every key."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.domain.disks import (
    NEW_RECOVERY,
    NEW_SLOT,
    Disk,
    DiskState,
    DiskWish,
    MountPolicy,
    Preparation,
    RecoveryKey,
    SlotKey,
    Work,
    check_description,
    check_disk_transition,
    check_may_begin,
    disk_of,
)
from kms.domain.ids import DiskId, SpaceName
from kms.errors import InvalidInput, StateNotAllowed

WISH = DiskWish(
    DiskId("0193a5b0-7c3e-7000-8000-00000000d15c"),
    "WD-1",
    64 << 20,
    Preparation.FORMAT,
    "ledger",
    MountPolicy("ledger"),
)
NEW = disk_of(SpaceName("treasury"), WISH, 1)


def began(disk: Disk, work: Work, number: int = 1) -> Disk:
    """Begin a work as the worker does; each key is named by a number."""
    key = SlotKey(1, f"slot {number}", number) if work in NEW_SLOT else None
    sealed = f"recovery {number}"
    recovery = RecoveryKey(1, "escrowed", number, 1, sealed) if work in NEW_RECOVERY else None
    return disk.began(work, key, recovery)


REST = began(NEW, Work.FORMAT).commit().finish("header", 1)


def may_begin(disk: Disk) -> set[Work]:
    found = set()
    for work in Work:
        try:
            check_may_begin(disk, work)
        except StateNotAllowed:
            continue
        found.add(work)
    return found


AT_REST = {Work.SLOT, Work.RECOVERY, Work.VOLUME, Work.RECOVER}


@pytest.mark.parametrize(
    ("disk", "works"),
    [
        (NEW, {Work.FORMAT}),
        (replace(NEW, work=Work.ENCRYPT), {Work.ENCRYPT}),
        (began(NEW, Work.FORMAT), set()),
        (began(NEW, Work.FORMAT).commit(), set()),
        (REST, AT_REST),
        (began(REST, Work.SLOT), {Work.RECOVER}),
        (began(REST, Work.RECOVERY), {Work.RECOVER}),
        (began(REST, Work.RECOVER), {Work.RECOVER}),
        (began(REST, Work.VOLUME), set()),
        (REST.erase(5), set()),
        (NEW.erase(5), set()),
    ],
)
def test_which_works_may_begin(disk: Disk, works: set[Work]) -> None:
    assert may_begin(disk) == works


@pytest.mark.parametrize("disk", [NEW, REST, REST.erase(5)])
def test_what_was_not_begun_is_neither_committed_nor_finished(disk: Disk) -> None:
    with pytest.raises(StateNotAllowed):
        disk.commit()
    with pytest.raises(StateNotAllowed):
        disk.finish("header", 1)


def test_an_erased_disk_remembers_the_generation_and_no_key() -> None:
    gone = replace(began(REST, Work.VOLUME), keks=3).erase(9)
    assert (gone.key, gone.next_key, gone.next_recovery) == (None, None, None)
    assert gone.recovery == RecoveryKey(1, "", 1)
    assert (gone.work, gone.erased, gone.keks) == (Work.ERASE, 9, 3)
    with pytest.raises(StateNotAllowed):
        gone.erase(10)


@given(st.lists(st.sampled_from([*Work, "commit", "finish"]), max_size=30))
def test_no_order_of_steps_loses_every_key(steps: list[Work | str]) -> None:
    """Once a disk has its keys it has a slot key and a recovery key whatever is asked for next."""
    disk = REST
    for number, step in enumerate(steps, 2):
        try:
            if step == "commit":
                disk = disk.commit()
            elif step == "finish":
                disk = disk.finish(f"header {number}", number)
            else:
                disk = began(disk, Work(step), number)
        except StateNotAllowed:
            continue
        assert disk.key
        assert disk.recovery
        assert disk.recovery.escrowed
        assert disk.work is not Work.NONE or not disk.recovery.sealed


@pytest.mark.parametrize("label", ["", "../x", "-x", "a b", "a\n", "ä", "A", "x" * 33, "$(id)"])
def test_a_label_or_mount_name_is_no_path_and_no_option(label: str) -> None:
    with pytest.raises(InvalidInput):
        check_description(label, MountPolicy())
    if label:
        with pytest.raises(InvalidInput):
            check_description("ledger", MountPolicy(label))


def test_a_device_may_always_be_looked_at_anew_and_a_quarantined_one_is_opened_by_nobody() -> None:
    for state in DiskState:
        check_disk_transition(state, DiskState.SEEN)
        check_disk_transition(state, state)
    for state in (DiskState.OPEN, DiskState.MOUNTED, DiskState.ENROLLED, DiskState.ROTATING):
        with pytest.raises(StateNotAllowed):
            check_disk_transition(DiskState.QUARANTINED, state)
