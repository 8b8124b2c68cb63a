"""What is due on disks by time: recovery keys, slot keys, KEKs; over real tokens."""

from kms.audit.leaf import LeafDraft, Outcome, Phase
from kms.domain.disks import DiskOrder, DiskState, OrderKind, OrderState, Work
from kms.domain.ids import DiskId
from kms.errors import HsmUnavailable
from kms.ports import Unit
from kms.usecases.disks import views
from kms.usecases.disks.schedule import AGAIN_SECONDS, DiskSchedule
from kms.usecases.watch.detectors import View, disk_recovery_overdue
from kms.usecases.watch.devices import look_at_disks
from tests.fixtures.disk_site import (
    OTHER,
    SPACE,
    DiskStory,
    by,
    fresh,
    new_serial,
    site,
    tell,
)
from tests.fixtures.many_spaces import ManySpaces

__all__ = ["fresh", "site"]

DAY = 24 * 3600


def waiting(one: DiskStory, serial: str) -> list[DiskOrder]:
    return [order for order in one.services.store.open_orders() if order.serial == serial]


async def looked(one: DiskStory, serial: str) -> list[OrderKind]:
    """Return what waits for a disk after a look at what is due."""
    await DiskSchedule(one.services).look()
    return [order.kind for order in waiting(one, serial)]


async def due_disk(one: DiskStory, work: Work) -> tuple[DiskId, str]:
    """Return a disk on which this alone is due."""
    disk = await one.prepared(serial := new_serial())
    period = one.services.settings.disks
    other = period.slot_key_seconds if work is Work.SLOT else period.recovery_test_seconds
    await one.pass_time(other)
    if work is Work.SLOT:
        await one.work(disk, Work.RECOVERY)
    return disk, serial


def test_a_recovery_key_is_tested_when_it_is_due(fresh: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(serial := new_serial())
        view = await views.disk(one.services, by("disk.read"), disk)
        assert view.recovery_due == one.services.seconds() + 90 * DAY
        await one.pass_time(90 * DAY - 1)
        assert await looked(one, serial) == []
        await one.pass_time(1)
        for _ in range(3):
            assert await looked(one, serial) == [OrderKind.VERIFY_RECOVERY]
        order = waiting(one, serial)[0]
        assert order.principal == "service"
        await one.work(disk, Work.RECOVERY)
        await one.end(order)
        assert await looked(one, serial) == []

    tell(fresh, story)


def test_a_slot_key_and_its_kek_are_replaced_when_they_are_due(fresh: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk, serial = await due_disk(one, Work.SLOT)
        assert await looked(one, serial) == [OrderKind.ROTATE_SLOT]
        assert await one.keks(disk) == [f"disk-kek/{disk}/2"]
        await one.work(disk, Work.SLOT)
        await one.end(waiting(one, serial)[0])
        assert await looked(one, serial) == []

    tell(fresh, story)


def test_a_failed_order_is_left_alone_for_a_day(fresh: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        _, serial = await due_disk(one, Work.RECOVERY)
        await looked(one, serial)
        await one.end(waiting(one, serial)[0], OrderState.FAILED, "program_failed")
        await one.pass_time(AGAIN_SECONDS - 1)
        assert await looked(one, serial) == []
        await one.pass_time(1)
        assert await looked(one, serial) == [OrderKind.VERIFY_RECOVERY]

    tell(fresh, story)


def test_a_disk_that_is_away_or_busy_or_sealed_is_left_alone(fresh: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        away, serial = await due_disk(one, Work.RECOVERY)
        await one.report(serial, DiskState.GONE, away)
        assert await looked(one, serial) == []
        await one.report(serial, DiskState.SEEN, away)
        await one.report(serial, DiskState.ENROLLED, away)
        order = await one.order(OrderKind.LOCK, serial)
        assert await looked(one, serial) == [OrderKind.LOCK]
        await one.end(order)
        one.services.seals.add(SPACE)
        assert await looked(one, serial) == []
        one.services.seals.spaces.clear()
        await one.begin(away, Work.SLOT)
        assert await looked(one, serial) == []

    tell(fresh, story)


def test_recovery_keys_follow_a_new_escrow_generation(fresh: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(serial := new_serial())
        told = {"generation": 2, "spki": "s", "disk_spki": "d"}
        leaf = LeafDraft(
            "escrow.generate", "ceremony", "t", "", "escrow", Phase.EVENT, Outcome.SUCCEEDED,
            details=told,
        )  # fmt: skip
        await one.pass_time(60)
        await one.services.store.commit(Unit(leaves=(leaf,)))
        view = await views.disk(one.services, by("disk.read"), disk)
        assert view.recovery_due <= one.services.seconds()
        assert await looked(one, serial) == [OrderKind.VERIFY_RECOVERY]

    tell(fresh, story)


def test_trouble_with_one_space_holds_up_no_other(fresh: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        await one.prepared(here := new_serial())
        await one.prepared(there := new_serial(), OTHER)
        one.services.cache._entries.clear()
        worker = one.workers.space(SPACE)

        async def fail(_rows: object) -> None:
            raise HsmUnavailable("not now")

        worker.check_rows = fail
        await one.pass_time(90 * DAY)
        assert await looked(one, there) == [OrderKind.VERIFY_RECOVERY]
        assert waiting(one, here) == []

    tell(fresh, story)


def test_people_are_told_of_recovery_keys_that_nobody_tested(fresh: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(new_serial())

        async def told() -> int:
            await look_at_disks(one.services)
            view = View(one.services.watched, one.services.seconds(), 0.0)
            return {found.space: found.number for found in disk_recovery_overdue(view)}[SPACE]

        await one.pass_time(97 * DAY - 1)
        assert await told() == 0
        await one.pass_time(1)
        assert await told() == 1
        await one.work(disk, Work.RECOVERY)
        assert await told() == 0
        one.services.seals.add(SPACE)
        await look_at_disks(one.services)
        assert SPACE not in one.services.watched.facts.untested

    tell(fresh, story)
