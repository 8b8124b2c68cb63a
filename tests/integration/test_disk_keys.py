"""Keys of disks in the service, over real tokens: announced before they leave, released to the
appliance alone, replaced by works that bear every interruption.
"""

import asyncio
import os
import sqlite3
from contextlib import closing

import pytest

from kms.audit.leaf import Outcome, Phase
from kms.domain.disks import MountPolicy, Work
from kms.domain.ids import DiskId
from kms.domain.models import Role
from kms.domain.rows import RowKind
from kms.errors import (
    AlreadyExists,
    Forbidden,
    HsmUnavailable,
    IntegrityFailure,
    InvalidInput,
    NotFound,
    Sealed,
    StateNotAllowed,
    StoreUnavailable,
)
from kms.ports import Unit
from kms.statements.canonical import digest
from kms.statements.diskkeys import KEY_BYTES
from kms.usecases.disks import keys, views, works
from kms.usecases.disks.schedule import DiskSchedule
from kms.usecases.recovery import close_open_intents
from tests.fixtures.disk_site import (
    DAEMON,
    HEADER,
    OTHER,
    SPACE,
    DiskStory,
    by,
    caller,
    daemon,
    new_disk,
    new_serial,
    site,
    tell,
)
from tests.fixtures.many_spaces import ManySpaces

__all__ = ["site"]

ANOTHER = digest(b"another header region")


# --- the life of keys ----------------------------------------------------------------------------


def test_a_disk_gets_its_first_keys_and_a_header(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.enrol(new_serial())
        begun = await one.begin(disk, Work.FORMAT)
        release, found = await one.keys(disk)
        assert release.disk == begun
        assert (found.key, found.recovery) == (None, None)
        assert {len(key or b"") for key in (found.next_key, found.next_recovery)} == {KEY_BYTES}
        committed = await one.commit(disk)
        assert committed.committed
        done = await one.finish(disk)
        assert (done.work, done.header, done.volume) == (Work.NONE, HEADER, 1)
        _, after = await one.keys(disk)
        assert after.key == found.next_key
        assert after.recovery is None  # it lies under escrow alone
        assert await one.keks(disk) == [f"disk-kek/{disk}/1"]

    tell(site, story)


@pytest.mark.parametrize("work", [Work.SLOT, Work.RECOVERY, Work.VOLUME, Work.RECOVER])
def test_a_work_replaces_what_it_is_for_and_nothing_else(site: ManySpaces, work: Work) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(new_serial())
        before = await one.disk(disk)
        _, old = await one.keys(disk)
        after = await one.work(disk, work, ANOTHER)
        _, new = await one.keys(disk)
        assert (after.work, after.header) == (Work.NONE, ANOTHER)
        assert (new.key == old.key) is (work is Work.RECOVERY)
        assert (after.recovery == before.recovery) is (work is Work.SLOT)
        assert after.volume == before.volume + (work is Work.VOLUME)
        version = 2 if work is Work.RECOVER else 1
        assert await one.keks(disk) == [f"disk-kek/{disk}/{version}"]

    tell(site, story)


@pytest.mark.parametrize("work", [Work.SLOT, Work.RECOVERY, Work.VOLUME])
def test_every_step_of_a_work_may_be_asked_for_again(site: ManySpaces, work: Work) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(new_serial())
        size = one.services.store.tree_size
        assert await one.begin(disk, work) == await one.begin(disk, work)
        assert await one.commit(disk) == await one.commit(disk)
        # A work is resumed by its beginning too, wherever it was cut off.
        before = size()
        await one.begin(disk, work)
        assert await one.finish(disk) == await one.finish(disk)
        assert len(one.leaves("disk.begin", disk)) == 4
        assert len(one.leaves("disk.commit", disk)) == len(one.leaves("disk.finish", disk)) == 2
        assert size() == before + 1

    tell(site, story)


def test_a_recovery_begins_anew_since_the_kek_of_the_last_one_may_be_lost(
    site: ManySpaces,
) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(new_serial())
        first = await one.begin(disk, Work.RECOVER)
        second = await one.begin(disk, Work.RECOVER)
        assert first.next_key != second.next_key
        assert len(await one.keks(disk)) == 3
        await one.commit(disk)
        await one.finish(disk)
        assert await one.keks(disk) == [f"disk-kek/{disk}/3"]

    tell(site, story)


def test_works_are_done_one_after_the_other_and_in_their_order(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.enrol(new_serial())
        for refused in (Work.SLOT, Work.ENCRYPT, Work.NONE, Work.ERASE):
            with pytest.raises(StateNotAllowed):
                await one.begin(disk, refused)
        with pytest.raises(StateNotAllowed):
            await one.commit(disk)
        await one.begin(disk, Work.FORMAT)
        with pytest.raises(StateNotAllowed):
            await one.finish(disk)
        await one.commit(disk)
        await one.finish(disk)
        with pytest.raises(StateNotAllowed, match="registered header is another"):
            await one.finish(disk, ANOTHER)
        with pytest.raises(StateNotAllowed):
            await one.commit(disk)
        with pytest.raises(StateNotAllowed):
            await one.begin(disk, Work.FORMAT)
        await one.begin(disk, Work.SLOT)
        with pytest.raises(StateNotAllowed):
            await one.begin(disk, Work.VOLUME)

    tell(site, story)


def test_of_two_that_begin_at_once_both_get_the_same_keys(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(new_serial())
        found = await asyncio.gather(*(one.begin(disk, Work.VOLUME) for _ in range(5)))
        assert len(set(found)) == 1

    tell(site, story)


# --- what the log says of it ---------------------------------------------------------------------


def test_a_release_is_announced_and_its_end_is_told(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(new_serial())
        await one.keys(disk)
        intent, result = one.leaves("disk.keys", disk)
        assert (intent.phase, result.phase) == (Phase.INTENT, Phase.RESULT)
        assert (result.intent, result.outcome) == (intent.seq, Outcome.SUCCEEDED)
        record = await one.disk(disk)
        version = one.services.store.row_version(f"disk/{SPACE}/{disk}")
        told = {"serial": record.serial, "version": version, "work": "none"}
        assert intent.details == result.details == told
        assert intent.resource == f"spaces/{SPACE}/disks/{disk}"

    tell(site, story)


def test_nothing_is_released_that_the_log_did_not_announce(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(new_serial())
        asked: list[str] = []
        worker = one.workers.space(SPACE)

        async def open_disk(_row: object, _nonce: bytes) -> str:
            asked.append("asked")
            return ""

        async def commit(_unit: Unit) -> tuple[int, ...]:
            raise StoreUnavailable("the disk is full")

        worker.open_disk, one.services.store.commit = open_disk, commit
        with pytest.raises(StoreUnavailable):
            await one.keys(disk)
        assert asked == []

    tell(site, story)


def test_a_worker_that_fails_ends_the_intent(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(new_serial())
        one.workers.links[SPACE].lose_answers = 1
        with pytest.raises(HsmUnavailable):
            await one.keys(disk)
        last = one.leaves("disk.keys", disk)[-1]
        assert (last.phase, last.outcome) == (Phase.RESULT, Outcome.FAILED)
        assert last.details["code"] == HsmUnavailable.code
        assert one.services.store.open_intents() == []
        await one.keys(disk)

    tell(site, story)


def test_a_work_whose_beginning_was_lost_begins_anew(site: ManySpaces) -> None:
    """The worker made keys that nobody has seen: the next ones take their place."""

    async def story(one: DiskStory) -> None:
        disk = await one.prepared(new_serial())
        one.workers.links[SPACE].lose_answers = 1
        with pytest.raises(HsmUnavailable):
            await one.begin(disk, Work.RECOVER)
        assert (await one.disk(disk)).work is Work.NONE
        await one.work(disk, Work.RECOVER)
        assert await one.keks(disk) == [f"disk-kek/{disk}/3"]

    tell(site, story)


def test_an_intent_that_a_crash_left_open_is_closed_at_the_next_start(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(new_serial())
        told = {"serial": "SN", "version": 3, "work": "none"}
        path = f"spaces/{SPACE}/disks/{disk}"
        leaf = daemon("disk.keys").leaf(SPACE, path, Phase.INTENT, Outcome.PENDING, details=told)
        await one.services.store.commit(Unit(leaves=(leaf,)))
        await close_open_intents(one.services)
        closed = one.leaves("disk.keys", disk)[-1]
        assert closed.outcome is Outcome.INTERRUPTED
        assert closed.details == {"serial": "SN", "work": "none"}

    tell(site, story)


# --- KEKs ----------------------------------------------------------------------------------------


def test_another_kek_takes_the_place_of_the_old_one(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(new_serial())
        _, before = await one.keys(disk)
        view = await keys.rotate_kek(one.services, by("disk.rotate-kek"), disk)
        _, after = await one.keys(disk)
        assert after == before
        assert view.disk.keks == 2
        assert await one.keks(disk) == [f"disk-kek/{disk}/2"]
        intent, result = one.leaves("disk.rotate-kek", disk)
        assert (intent.details, result.details) == ({}, {"kek": 2})
        assert list(result.rows) == [f"disk/{SPACE}/{disk}"]

    tell(site, story)


def test_an_old_kek_that_could_not_be_destroyed_goes_later(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(new_serial())
        worker = one.workers.space(SPACE)
        drop = worker.drop_keks

        async def fail(_row: object) -> None:
            raise HsmUnavailable("not now")

        worker.drop_keks = fail
        await keys.rotate_kek(one.services, by("disk.rotate-kek"), disk)
        assert len(await one.keks(disk)) == 2
        worker.drop_keks = drop
        await DiskSchedule(one.services).look()
        assert await one.keks(disk) == [f"disk-kek/{disk}/2"]
        assert not keys.has_old_keks(one.services, disk)

    tell(site, story)


def test_a_kek_stays_while_a_work_goes_on(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(new_serial())
        await one.begin(disk, Work.SLOT)
        with pytest.raises(StateNotAllowed):
            await keys.rotate_kek(one.services, by("disk.rotate-kek"), disk)
        assert await one.keks(disk) == [f"disk-kek/{disk}/1"]

    tell(site, story)


# --- who, and in which state ---------------------------------------------------------------------


@pytest.mark.parametrize("role", [one for one in Role if one is not Role.APPLIANCE])
def test_keys_are_for_the_appliance_alone(site: ManySpaces, role: Role) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(new_serial())
        somebody = caller(role)
        for asking in (
            keys.fetch(one.services, by("disk.keys", somebody), disk, os.urandom(16)),
            works.begin(one.services, by("disk.begin", somebody), disk, Work.SLOT),
            works.commit(one.services, by("disk.commit", somebody), disk, HEADER),
            works.finish(one.services, by("disk.finish", somebody), disk, HEADER, HEADER),
        ):
            with pytest.raises(Forbidden):
                await asking
        assert one.leaves("disk.keys", disk) == []
        refused = one.leaves("access.refused", disk)
        assert [leaf.details["operation"] for leaf in refused] == [
            "disk.keys", "disk.begin", "disk.commit", "disk.finish",
        ]  # fmt: skip

    tell(site, story)


def test_an_appliance_of_another_space_does_not_learn_of_the_disk(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(new_serial())
        elsewhere = caller(Role.APPLIANCE, spaces=(OTHER,))
        with pytest.raises(NotFound):
            await keys.fetch(one.services, by("disk.keys", elsewhere), disk, bytes(16))
        with pytest.raises(NotFound):
            await keys.fetch(one.services, daemon("disk.keys"), new_disk(), bytes(16))
        with pytest.raises(InvalidInput):
            await keys.fetch(one.services, daemon("disk.keys"), disk, bytes(15))

    tell(site, story)


def test_a_sealed_space_releases_nothing(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(new_serial())
        elsewhere = await one.prepared(new_serial(), OTHER)
        one.services.seals.add(SPACE)
        for asking in (
            one.keys(disk),
            one.begin(disk, Work.SLOT),
            views.disk(one.services, by("disk.read"), disk),
            keys.rotate_kek(one.services, by("disk.rotate-kek"), disk),
        ):
            with pytest.raises(Sealed):
                await asking
        shown = {view.disk.disk for view in (await one.listed()).disks}
        assert elsewhere in shown
        assert disk not in shown
        await one.keys(elsewhere)

    tell(site, story)


# --- what somebody does to the database ----------------------------------------------------------


def rewrite(one: DiskStory, sql: str, *values: object) -> None:
    """Change the database behind the service's back, and let it forget what it knows."""
    with closing(sqlite3.connect(one.services.settings.paths.database)) as db, db:
        assert db.execute(sql, values).rowcount == 1
    one.services.cache._entries.clear()


async def refused(one: DiskStory, disk: DiskId) -> None:
    for asking in (one.keys(disk), one.begin(disk, Work.SLOT), one.disk(disk)):
        with pytest.raises(IntegrityFailure):
            await asking


def test_an_altered_or_older_row_is_found(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(new_serial())
        store, key = one.services.store, f"disk/{SPACE}/{disk}"
        old = store.row(RowKind.DISK, key)
        await one.work(disk, Work.SLOT)
        new = store.row(RowKind.DISK, key)
        assert old is not None
        assert new is not None
        update = "UPDATE disk SET version = ?, body = ?, mac = ? WHERE disk = ?"
        rewrite(one, update, old.row.version, old.row.body, old.mac, disk)
        await refused(one, disk)
        rewrite(one, update, new.row.version, old.row.body, old.mac, disk)
        await refused(one, disk)
        rewrite(one, update, new.row.version, new.row.body, new.mac, disk)
        await one.keys(disk)

    tell(site, story)


def test_a_row_that_is_gone_is_missed(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(new_serial(), OTHER)
        sealed = one.services.store.disk(disk)
        assert sealed is not None
        rewrite(one, "DELETE FROM disk WHERE disk = ?", disk)
        assert (await one.listed()).unknown == [OTHER]
        insert = "INSERT INTO disk (space, disk, version, body, mac) VALUES (?, ?, ?, ?, ?)"
        rewrite(one, insert, OTHER, disk, sealed.row.version, sealed.row.body, sealed.mac)
        assert (await one.listed()).unknown == []

    tell(site, story)


# --- labels and mount points ---------------------------------------------------------------------


def test_people_change_a_disks_label_and_mount_policy(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(new_serial())
        call, mount = by("disk.change"), MountPolicy("elsewhere", automatic=False, read_only=True)
        view = await views.change(one.services, call, disk, "ledgers", mount)
        assert (view.disk.label, view.disk.mount) == ("ledgers", mount)
        size = one.services.store.tree_size()
        same = await views.change(one.services, call, disk, "ledgers", None)
        assert (same, one.services.store.tree_size()) == (view, size)
        (leaf,) = one.leaves("disk.change", disk)
        assert leaf.details == {
            "label": "ledgers", "mount": "elsewhere", "automatic": False, "read_only": True,
        }  # fmt: skip
        bare = await views.change(one.services, call, disk, None, MountPolicy())
        assert bare.disk.mount.name == ""
        with pytest.raises(InvalidInput):
            await views.change(one.services, call, disk, "../etc", None)
        with pytest.raises(InvalidInput):
            await views.change(one.services, call, disk, None, MountPolicy("-x /"))

    tell(site, story)


def test_no_two_disks_have_one_label_or_mount_point(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        first, second = await one.prepared(new_serial()), await one.prepared(new_serial())
        elsewhere = await one.prepared(new_serial(), OTHER)
        known, call = await one.disk(first), by("disk.change")
        with pytest.raises(AlreadyExists):
            await views.change(one.services, call, second, known.label, None)
        for other in (second, elsewhere):
            with pytest.raises(AlreadyExists):
                await views.change(one.services, call, other, None, known.mount)
        await views.change(one.services, call, elsewhere, known.label, None)
        await one.begin(second, Work.SLOT)
        with pytest.raises(StateNotAllowed):
            await views.change(one.services, call, second, "new", None)

    tell(site, story)


def test_the_appliance_reads_disks_and_changes_none(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(new_serial())
        view = await views.disk(one.services, by("disk.read", DAEMON), disk)
        assert view.disk.disk == disk
        with pytest.raises(Forbidden):
            await views.change(one.services, by("disk.change", DAEMON), disk, "mine", None)

    tell(site, story)
