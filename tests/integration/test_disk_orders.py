"""Orders to the appliance, what it reports of devices, what people are told; over real tokens."""

import asyncio
import time
from dataclasses import replace

import pytest

from kms.domain.disks import TRANSITIONS, DiskOrder, DiskState, OrderKind, OrderState
from kms.domain.models import Role
from kms.errors import Forbidden, InvalidInput, NotFound, Sealed, StateNotAllowed
from kms.ports import PutDevice, PutReply, Unit
from kms.statements.canonical import b64u
from kms.usecases.disks import devices, orders, views
from kms.usecases.disks.orders import OrderBatch
from kms.usecases.services import Call
from kms.usecases.watch.detectors import (
    View,
    disk_gone_open,
    disk_order_failed,
    disk_quarantined,
    disk_unknown,
)
from kms.usecases.watch.devices import look_at_devices
from tests.fixtures.disk_site import (
    DAEMON,
    OFFICER,
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

KEY = b64u(bytes(112))
OF_A_DISK = sorted(set(OrderKind) - {OrderKind.PREPARE, OrderKind.ERASE, OrderKind.RECOVER})


def waiting(one: DiskStory, serial: str) -> list[DiskOrder]:
    return [order for order in one.services.store.open_orders() if order.serial == serial]


async def take(one: DiskStory, version: int = 0, wait: float = 0) -> OrderBatch:
    return await orders.take(one.services, daemon("disk-order.take"), version, wait)


# --- placing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OF_A_DISK)
def test_people_order_what_fits_a_disk(site: ManySpaces, kind: OrderKind) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(serial := new_serial())
        order = await one.order(kind, serial, dry_run=True)
        assert waiting(one, serial) == [order]
        assert (order.disk, order.space, order.state) == (disk, SPACE, OrderState.WAITING)
        assert (order.principal, order.dry_run) == ("someone", True)
        leaf = one.leaves("disk.order", disk)[-1]
        assert leaf.details == {
            "order": order.order, "kind": kind.value, "serial": serial, "dry_run": True,
        }  # fmt: skip
        with pytest.raises(StateNotAllowed, match="not over yet"):
            await one.order(kind, serial)

    tell(site, story)


def test_stopping_waits_for_nothing(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        await one.prepared(serial := new_serial())
        await one.order(OrderKind.ROTATE_VOLUME, serial)
        with pytest.raises(StateNotAllowed, match="rotate-volume is not over"):
            await one.order(OrderKind.UNLOCK, serial)
        for kind in (OrderKind.LOCK, OrderKind.QUARANTINE):
            await one.order(kind, serial)
        assert len(waiting(one, serial)) == 3

    tell(site, story)


def test_an_order_fits_the_state_of_its_disk(site: ManySpaces) -> None:
    async def refused(one: DiskStory, *kinds: OrderKind, serial: str, words: str) -> None:
        for kind in kinds:
            with pytest.raises(StateNotAllowed, match=words):
                await one.order(kind, serial)

    async def story(one: DiskStory) -> None:
        unprepared, prepared = new_serial(), new_serial()
        await one.enrol(unprepared)
        (prepare,) = waiting(one, unprepared)
        await one.end(prepare, OrderState.FAILED, "program_failed")
        works = (OrderKind.UNLOCK, OrderKind.ROTATE_SLOT, OrderKind.VERIFY_RECOVERY)
        await refused(one, *works, serial=unprepared, words="not prepared yet")
        await one.order(OrderKind.PREPARE, unprepared)
        disk = await one.prepared(prepared)
        await refused(one, OrderKind.PREPARE, serial=prepared, words="prepared already")
        await refused(one, OrderKind.ERASE, serial=prepared, words="approved request")
        await one.erase(disk)
        await one.end(waiting(one, prepared)[0])
        await refused(one, OrderKind.UNLOCK, OrderKind.LOCK, serial=prepared, words="is erased")

    tell(site, story)


def test_a_device_of_nobody_is_put_aside_and_released_and_no_more(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        await one.plug_in(serial := new_serial())
        for kind in (OrderKind.UNLOCK, OrderKind.PREPARE, OrderKind.ERASE):
            with pytest.raises(StateNotAllowed, match="not enrolled"):
                await one.order(kind, serial)
        order = await one.order(OrderKind.QUARANTINE, serial)
        assert (order.disk, order.space) == ("", "")
        assert one.leaves("disk.order", serial)[0].resource == f"devices/{serial}"
        await one.end(order)
        await one.order(OrderKind.RELEASE, serial)
        with pytest.raises(NotFound):
            await one.order(OrderKind.QUARANTINE, "NEVER-SEEN")
        with pytest.raises(NotFound):
            await one.order(OrderKind.QUARANTINE, "../x\n")

    tell(site, story)


def test_a_device_that_is_unplugged_gets_no_order(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(serial := new_serial())
        await one.report(serial, DiskState.GONE, disk)
        with pytest.raises(StateNotAllowed, match="unplugged"):
            await one.order(OrderKind.UNLOCK, serial)
        await one.erase(disk)
        assert [order.kind for order in waiting(one, serial)] == [OrderKind.ERASE]

    tell(site, story)


def test_only_a_recovery_carries_a_key_and_only_while_it_lasts(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        await one.prepared(serial := new_serial())
        for kind, key in (
            (OrderKind.RECOVER, ""),
            (OrderKind.UNLOCK, KEY),
            (OrderKind.RECOVER, "?"),
        ):
            with pytest.raises(InvalidInput):
                await one.order(kind, serial, key)
        order = await one.order(OrderKind.RECOVER, serial, KEY)
        assert waiting(one, serial)[0].sealed_key == KEY
        assert (await one.end(order, OrderState.RUNNING)).sealed_key == KEY
        assert (await one.end(order)).sealed_key == ""
        stored = one.services.store.disk_order(order.order)
        assert stored is not None
        assert stored.sealed_key == ""

    tell(site, story)


def test_an_order_is_remembered_under_its_idempotency_key(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        await one.prepared(serial := new_serial())

        def remember(order: DiskOrder) -> PutReply:
            return PutReply("someone", serial, "r", 201, order.order.encode(), 1)

        call = Call(OFFICER, "disk.order", "request", remember)
        order = await orders.place(one.services, call, OrderKind.LOCK, serial, False, "")
        reply = one.services.store.reply("someone", serial)
        assert reply is not None
        assert reply.body.decode() == order.order

    tell(site, story)


# --- who sees and does what ----------------------------------------------------------------------


def test_orders_are_for_those_who_reach_the_space(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(serial := new_serial())
        order = await one.order(OrderKind.UNLOCK, serial)
        own = caller(Role.OFFICER, spaces=(SPACE,))
        elsewhere = caller(Role.OFFICER, spaces=(OTHER,))
        for asking in (
            orders.place(
                one.services, by("disk.order", elsewhere), OrderKind.LOCK, serial, False, ""
            ),
            orders.one(one.services, by("disk.follow", elsewhere), order.order),
            orders.one(one.services, by("disk.follow"), new_disk()),
        ):
            with pytest.raises(NotFound):
                await asking
        assert await orders.one(one.services, by("disk.follow", own), order.order) == order
        page = by("disk.orders", elsewhere)
        assert await orders.page(one.services, page, "", 100, disk) == []
        for role in (Role.AUDITOR, Role.APPLIANCE, Role.MEETING_SERVER):
            call = by("disk.order", caller(role))
            with pytest.raises(Forbidden):
                await orders.place(one.services, call, OrderKind.LOCK, serial, False, "")

    tell(site, story)


def test_orders_are_paged_newest_first(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(serial := new_serial())
        for _ in range(5):
            await one.end(await one.order(OrderKind.LOCK, serial))
        call, before, found = by("disk.orders"), "", []
        while page := await orders.page(one.services, call, before, 2, disk):
            found += page
            before = page[-1].order
        assert [order.kind for order in found] == [OrderKind.LOCK] * 5 + [OrderKind.PREPARE]
        assert found == sorted(found, key=lambda order: order.order, reverse=True)
        every = await orders.page(one.services, call, "", 500, "")
        assert set(found) <= set(every)

    tell(site, story)


def test_devices_of_nobody_are_seen_by_those_who_watch_the_whole_appliance(
    site: ManySpaces,
) -> None:
    async def story(one: DiskStory) -> None:
        await one.prepared(mine := new_serial())
        await one.plug_in(stray := new_serial())

        async def seen(*roles: Role, spaces: tuple[str, ...]) -> set[str]:
            call = by("disk.list", caller(*roles, spaces=spaces))
            return {device.serial for device in (await views.disks(one.services, call))[1]}

        assert {mine, stray} <= await seen(Role.OPERATOR, spaces=(SPACE,))
        assert {mine, stray} <= await seen(Role.APPLIANCE, spaces=(SPACE,))
        assert {mine, stray} <= await seen(Role.OFFICER, spaces=("*",))
        assert {mine, stray} & await seen(Role.OFFICER, spaces=(SPACE,)) == {mine}
        assert {mine, stray} & await seen(Role.AUDITOR, spaces=(OTHER,)) == {stray}

    tell(site, story)


# --- taking --------------------------------------------------------------------------------------


def test_the_appliance_waits_for_what_changes(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        await one.prepared(serial := new_serial())
        first = await take(one)
        began = time.monotonic()
        assert await take(one, first.version, 0.3) == first
        assert 0.25 < time.monotonic() - began < 2
        coming = asyncio.create_task(take(one, first.version, 30))
        await asyncio.sleep(0.05)
        order = await one.order(OrderKind.UNLOCK, serial)
        async with asyncio.timeout(2):
            second = await coming
        assert order in second.orders
        assert second.version != first.version
        assert (await take(one, first.version, 30)).version == second.version
        await one.end(order, OrderState.RUNNING)
        running = await take(one)
        assert running.version == second.version
        assert [one.state for one in running.orders if one.serial == serial] == ["running"]
        await one.end(order)
        assert (await take(one)).version == first.version

    tell(site, story)


def test_the_appliance_hears_of_a_seal_at_once(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        before = await take(one)
        assert before.sealed == ()
        coming = asyncio.create_task(take(one, before.version, 30))
        await asyncio.sleep(0.05)
        one.services.seals.add(SPACE)
        async with asyncio.timeout(1):
            assert (await coming).sealed == (SPACE,)
        elsewhere = by("disk-order.take", caller(Role.APPLIANCE, spaces=(OTHER,)))
        assert (await orders.take(one.services, elsewhere, 0, 0)).sealed == ()

    tell(site, story)


@pytest.mark.parametrize("role", [one for one in Role if one is not Role.APPLIANCE])
def test_nobody_else_takes_or_reports(site: ManySpaces, role: Role) -> None:
    async def story(one: DiskStory) -> None:
        somebody = caller(role)
        device = await one.report(new_serial(), DiskState.SEEN)
        done = (OrderState.DONE, 100, "", "")
        for asking in (
            orders.take(one.services, by("disk-order.take", somebody), 0, 0),
            orders.report(one.services, by("disk-order.report", somebody), new_disk(), *done),
            devices.report(one.services, by("device.report", somebody), device),
        ):
            with pytest.raises(Forbidden):
                await asking

    tell(site, story)


# --- reporting -----------------------------------------------------------------------------------


def test_an_order_ends_once(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(serial := new_serial())
        order = await one.order(OrderKind.UNLOCK, serial)
        before = len(one.leaves("disk-order.report", disk))
        with pytest.raises(InvalidInput):
            await one.end(order, OrderState.WAITING)
        for _ in range(3):
            await one.end(order, OrderState.RUNNING)
        assert len(one.leaves("disk-order.report", disk)) == before
        failed = await one.end(order, OrderState.FAILED, "no_device_mapper")
        assert failed.ended == one.services.seconds()
        assert await one.end(order, OrderState.FAILED, "no_device_mapper") == failed
        for state in (OrderState.DONE, OrderState.RUNNING):
            with pytest.raises(StateNotAllowed):
                await one.end(order, state)
        leaf = one.leaves("disk-order.report", disk)[-1]
        assert leaf.details == {
            "order": order.order, "kind": "unlock", "serial": serial, "state": "failed",
            "code": "no_device_mapper",
        }  # fmt: skip
        with pytest.raises(NotFound):
            await one.end(replace(order, order=new_disk()))

    tell(site, story)


def test_a_change_of_a_device_is_told_once(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(serial := new_serial())
        opened = await one.report(serial, DiskState.OPEN, disk)
        one.clock.advance(5)
        assert await one.report(serial, DiskState.OPEN, disk) == opened
        moved = await one.report(serial, DiskState.OPEN, disk, node="/dev/vdc")
        assert (moved.node, moved.changed) == ("/dev/vdc", opened.changed)
        assert one.services.store.device(serial) == moved
        leaf = one.leaves("device.report", disk)[-1]
        assert leaf.details == {
            "serial": serial, "state": "open", "before": "enrolled", "code": "",
        }  # fmt: skip
        mounted = await one.report(serial, DiskState.MOUNTED, disk)
        assert mounted.changed == opened.changed + 5

    tell(site, story)


@pytest.mark.parametrize("old", DiskState)
def test_a_device_takes_the_steps_that_devices_take(site: ManySpaces, old: DiskState) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(serial := new_serial())
        known = one.services.store.device(serial)
        assert known is not None
        for new in DiskState:
            await one.services.store.commit(Unit((PutDevice(replace(known, state=old)),)))
            if new in TRANSITIONS[old] or new in {old, DiskState.SEEN}:
                assert (await one.report(serial, new, disk)).state is new
            else:
                with pytest.raises(StateNotAllowed):
                    await one.report(serial, new, disk)

    tell(site, story)


def test_only_the_disk_itself_is_open(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(serial := new_serial())
        clone = new_serial()
        await one.report(clone, DiskState.SEEN)
        for named in (disk, new_disk(), ""):
            with pytest.raises(InvalidInput):
                await one.report(clone, DiskState.MOUNTED, named)
        with pytest.raises(InvalidInput):
            await one.report(serial, DiskState.OPEN, "")
        put_aside = await one.report(clone, DiskState.QUARANTINED, disk, code="disk_elsewhere")
        view = await views.disk(one.services, by("disk.read", DAEMON), disk)
        assert view.device is not None
        assert view.device.serial == serial
        assert put_aside.disk == disk

    tell(site, story)


def test_the_disks_of_a_sealed_space_are_reported_as_they_close(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(serial := new_serial())
        order = await one.order(OrderKind.UNLOCK, serial)
        await one.report(serial, DiskState.OPEN, disk)
        one.services.seals.add(SPACE)
        await one.report(serial, DiskState.LOCKED, disk, code="sealed")
        await one.end(order, OrderState.FAILED, "sealed")
        with pytest.raises(Sealed):
            await one.order(OrderKind.UNLOCK, serial)

    tell(site, story)


# --- what people are told ------------------------------------------------------------------------


def test_people_are_told_of_strange_and_suspect_devices(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(mine := new_serial())
        await one.plug_in(stray := new_serial())
        await one.report(used := new_serial(), DiskState.UNKNOWN, code=devices.IN_USE)

        async def told() -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
            await look_at_devices(one.services)
            view = View(one.services.watched, one.services.seconds(), 0.0)
            return (
                {(found.space, found.subject) for found in disk_unknown(view)},
                {(found.space, found.subject) for found in disk_quarantined(view)},
            )

        unknown, aside = await told()
        assert ("", stray) in unknown
        assert ("", used) not in unknown
        assert (SPACE, mine) not in aside
        await one.report(mine, DiskState.QUARANTINED, disk, code="digest")
        await one.report(stray, DiskState.GONE)
        unknown, aside = await told()
        assert ("", stray) not in unknown
        assert (SPACE, mine) in aside

    tell(site, story)


def test_people_are_told_of_disks_pulled_out_and_of_orders_that_failed(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        begin = one.services.store.tree_size()
        disk = await one.prepared(torn := new_serial())
        await one.report(torn, DiskState.OPEN, disk)
        await one.report(torn, DiskState.MOUNTED, disk)
        order = await one.order(OrderKind.ROTATE_SLOT, torn)
        await one.end(order, OrderState.FAILED, "device_absent")
        await one.report(torn, DiskState.GONE, disk)
        closed = await one.prepared(calm := new_serial())
        await one.report(calm, DiskState.GONE, closed)
        history = one.services.watched.history
        for data in one.services.store.leaves(begin, 1000):
            history.take(data)
        view = View(one.services.watched, one.services.seconds(), 0.0)
        assert [(found.space, found.subject) for found in disk_gone_open(view)] == [(SPACE, torn)]
        failed = [(found.space, found.subject, found.number) for found in disk_order_failed(view)]
        assert failed == [(SPACE, torn, 1)]

    tell(site, story)
