"""Disks are enrolled and erased by approved requests alone, over real tokens: what is refused, what
is destroyed, and the certificate that says so.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kms.audit.checks import Check, Verdict
from kms.domain.disks import (
    MIN_BYTES,
    DiskOrder,
    DiskState,
    DiskTarget,
    DiskWish,
    MountPolicy,
    OrderKind,
    OrderState,
    Preparation,
    Work,
)
from kms.domain.models import Role
from kms.errors import (
    AlreadyExists,
    ConclaveError,
    HsmUnavailable,
    InvalidInput,
    NotFound,
    QuorumNotMet,
    StateNotAllowed,
)
from kms.statements.canonical import digest
from kms.statements.erasure import METHOD, ErasureCertificate, Slots, check_erases, verify_erasure
from kms.statements.keylist import verify_keylist
from kms.statements.request import peek_request
from kms.usecases.approvals.execution import execute_request, finish_executed
from kms.usecases.approvals.requests import submit_request
from kms.usecases.disks import keys, orders, views
from kms.usecases.disks.devices import IN_USE
from kms.usecases.lifecycle.certificates import read_certificate
from tests.fixtures.approved import asked, root_key, wanted
from tests.fixtures.disk_site import (
    OTHER,
    SIZE,
    SPACE,
    DiskStory,
    by,
    caller,
    new_disk,
    new_serial,
    site,
    tell,
    verified,
    wish,
)
from tests.fixtures.many_spaces import ManySpaces

__all__ = ["site"]


# --- enrolling -----------------------------------------------------------------------------------


def test_an_approved_device_is_a_disk_and_is_to_be_prepared(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        serial, disk = new_serial(), new_disk()
        await one.plug_in(serial)
        request = await one.approve("disk.enroll", wish(disk, serial))
        record = await one.disk(disk)
        assert (record.serial, record.size, record.work) == (serial, SIZE, Work.FORMAT)
        assert (record.key, record.recovery, record.keks) == (None, None, 0)
        (order,) = [one for one in one.services.store.open_orders() if one.serial == serial]
        assert (order.kind, order.disk, order.space) == (OrderKind.PREPARE, disk, SPACE)
        (leaf,) = one.leaves("disk.enroll", disk)
        assert leaf.rows[f"disk/{SPACE}/{disk}"] == 1
        assert leaf.details["request"] == request
        assert leaf.details["serial"] == serial

    tell(site, story)


async def refuse(one: DiskStory, asked_for: DiskWish, error: type[ConclaveError]) -> None:
    """Assert that it cannot even be asked for."""
    with pytest.raises(error):
        await one.submit("disk.enroll", asked_for)
    assert one.services.store.disk(asked_for.disk) is None


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"size": SIZE - 512}, StateNotAllowed),
        ({"size": MIN_BYTES - 1}, InvalidInput),
        ({"serial": "NEVER-SEEN"}, NotFound),
        ({"serial": "../../sda"}, InvalidInput),
        ({"preparation": Preparation.ENCRYPT}, StateNotAllowed),
        ({"label": "-x"}, InvalidInput),
        ({"mount": MountPolicy("../etc")}, InvalidInput),
        ({"disk": "nonsense"}, InvalidInput),
        ({"replaces": "01930000-0000-7000-8000-000000000000"}, NotFound),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wish_that_does_not_fit_the_device_is_refused(
    site: ManySpaces, changes: dict[str, Any], error: type[ConclaveError]
) -> None:
    async def story(one: DiskStory) -> None:
        serial = new_serial()
        await one.plug_in(serial)
        await refuse(one, replace(wish(new_disk(), serial), **changes), error)

    tell(site, story)


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (DiskState.SEEN, StateNotAllowed),
        (DiskState.QUARANTINED, StateNotAllowed),
        (DiskState.GONE, NotFound),
    ],
)
def test_only_a_device_on_which_nothing_of_ours_lies_is_enrolled(
    site: ManySpaces, state: DiskState, error: type[ConclaveError]
) -> None:
    async def story(one: DiskStory) -> None:
        serial = new_serial()
        await one.plug_in(serial)
        await one.report(serial, state)
        await refuse(one, wish(new_disk(), serial), error)

    tell(site, story)


def test_a_device_that_the_machine_uses_is_never_enrolled(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        serial = new_serial()
        await one.report(serial, DiskState.UNKNOWN, code=IN_USE)
        await refuse(one, wish(new_disk(), serial), StateNotAllowed)

    tell(site, story)


def test_a_file_system_is_encrypted_in_place(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        serial, disk = new_serial(), new_disk()
        await one.report(serial, DiskState.UNKNOWN, content="ext4")
        encrypt = replace(wish(disk, serial), preparation=Preparation.ENCRYPT)
        await one.approve("disk.enroll", encrypt)
        assert (await one.work(disk, Work.ENCRYPT)).volume == 1

    tell(site, story)


@pytest.mark.parametrize("content", ["ext4", "gpt"])
def test_what_lies_on_a_device_is_lost_only_where_people_said_so(
    site: ManySpaces, content: str
) -> None:
    async def story(one: DiskStory) -> None:
        serial, disk = new_serial(), new_disk()
        await one.report(serial, DiskState.UNKNOWN, content=content)
        await refuse(one, wish(disk, serial), StateNotAllowed)
        await one.approve("disk.enroll", wish(disk, serial, overwrite=True))
        assert (await one.disk(disk)).overwrite

    tell(site, story)


def test_no_device_is_two_disks_and_no_name_is_used_twice(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(serial := new_serial())
        other = new_serial()
        await one.plug_in(other)
        fresh, known = wish(new_disk(), other), await one.disk(disk)
        await refuse(one, wish(new_disk(), serial), StateNotAllowed)
        await refuse(one, replace(fresh, label=known.label), AlreadyExists)
        await refuse(one, replace(fresh, mount=known.mount), AlreadyExists)
        with pytest.raises(AlreadyExists):
            await one.submit("disk.enroll", replace(fresh, disk=disk))
        await one.approve("disk.enroll", replace(fresh, mount=MountPolicy()))

    tell(site, story)


def test_of_two_requests_for_one_device_the_first_counts(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        serial = new_serial()
        await one.plug_in(serial)
        first = await one.submit("disk.enroll", wish(new_disk(), serial))
        second = await one.submit("disk.enroll", wish(late := new_disk(), serial))
        await execute_request(one.services, by("approval.execute"), first)
        with pytest.raises((AlreadyExists, StateNotAllowed)):
            await execute_request(one.services, by("approval.execute"), second)
        assert one.services.store.disk(late) is None

    tell(site, story)


def test_a_disk_takes_the_place_of_one_of_its_space(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        old, elsewhere = await one.prepared(new_serial()), await one.prepared(new_serial(), OTHER)
        serial = new_serial()
        await one.plug_in(serial)
        fresh = wish(new_disk(), serial)
        await refuse(one, replace(fresh, replaces=elsewhere), NotFound)
        await one.approve("disk.enroll", replace(fresh, replaces=old))
        assert (await one.disk(fresh.disk)).replaces == old

    tell(site, story)


def test_nothing_is_enrolled_that_too_few_approved(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        serial = new_serial()
        await one.plug_in(serial)
        parameters = msgspec.to_builtins(wish(new_disk(), serial))
        now = one.services.seconds()
        request = wanted(one.site.people, "disk.enroll", SPACE, parameters, now, id=new_disk())
        await submit_request(one.services, by("approval.submit"), asked(request))
        with pytest.raises(QuorumNotMet):
            await execute_request(one.services, by("approval.execute"), request.id)

    tell(site, story)


# --- erasing -------------------------------------------------------------------------------------


async def erasing(one: DiskStory, *, absent: bool = False) -> tuple[str, str, str]:
    """Return a disk that is being erased, its serial number and the request."""
    serial = new_serial()
    disk = await one.prepared(serial)
    return disk, serial, await one.erase(disk, absent=absent)


def open_order(one: DiskStory, serial: str) -> DiskOrder:
    (order,) = [found for found in one.services.store.open_orders() if found.serial == serial]
    return order


def test_an_erasure_takes_every_key_at_once(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk, serial, request = await erasing(one)
        record = await one.disk(disk)
        assert (record.key, record.next_key, record.next_recovery) == (None, None, None)
        assert record.recovery is not None
        assert record.recovery.escrowed == record.recovery.sealed == ""
        assert await one.keks(disk) == []
        release, left = await one.keys(disk)
        assert release.disk.erased
        assert (left.key, left.next_key, left.recovery, left.next_recovery) == (None,) * 4
        before = len(one.leaves("disk.keys", disk))
        await one.keys(disk)
        assert len(one.leaves("disk.keys", disk)) == before
        assert open_order(one, serial).kind is OrderKind.ERASE
        assert one.services.store.certificate(request) is None

    tell(site, story)


def checked(one: DiskStory, request: str) -> ErasureCertificate:
    """Return the certificate of a request, whose signature holds."""
    text = one.services.store.certificate(request)
    assert text is not None
    keys = verify_keylist(one.services.key_list, root_key().public_key())
    return verify_erasure(text, keys)


def test_the_end_of_an_erasure_is_certified(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk, serial, request = await erasing(one)
        order = open_order(one, serial)
        running = await one.end(order, OrderState.RUNNING)
        assert running.state is OrderState.RUNNING
        ended = await one.end(order)
        assert (ended.state, ended.ended) == (OrderState.DONE, one.services.seconds())
        found = checked(one, request)
        assert (found.disk, found.serial, found.slots) == (disk, serial, Slots.ERASED)
        assert (found.method, found.keks, found.escrow) == (METHOD, 1, 1)
        assert found.executor == "someone"
        stored, _ = await one.services.cache.request(request)
        check_erases(found, peek_request(stored.request))
        (leaf,) = one.leaves("erasure.certify", request)
        text = one.services.store.certificate(request)
        assert text is not None
        assert leaf.details == {
            "request": request, "disk": disk, "certificate": digest(text.encode()),
        }  # fmt: skip
        assert await one.end(order) == ended
        assert len(one.leaves("erasure.certify", request)) == 1

    tell(site, story)


@pytest.mark.parametrize("role", [Role.OFFICER, Role.AUDITOR, Role.OPERATOR])
def test_people_read_the_certificate(site: ManySpaces, role: Role) -> None:
    async def story(one: DiskStory) -> None:
        _, serial, request = await erasing(one)
        await one.end(open_order(one, serial))
        call = by("certificate.read", caller(role))
        text = await read_certificate(one.services, call, request)
        assert text == one.services.store.certificate(request)
        elsewhere = by("certificate.read", caller(role, spaces=(OTHER,)))
        with pytest.raises(NotFound):
            await read_certificate(one.services, elsewhere, request)

    tell(site, story)


def test_a_lost_device_is_certified_at_once_and_as_lost(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk, serial, request = await erasing(one, absent=True)
        assert checked(one, request).slots is Slots.ABSENT
        assert not [order for order in one.services.store.open_orders() if order.serial == serial]
        assert await one.keks(disk) == []
        # It turns up after all: people have it wiped too.
        order = await one.order(OrderKind.ERASE, serial)
        await one.end(order)
        assert checked(one, request).slots is Slots.ABSENT
        with pytest.raises(StateNotAllowed, match="wiped already"):
            await one.order(OrderKind.ERASE, serial)

    tell(site, story)


def test_a_failed_or_rehearsed_erasure_is_not_certified(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        _, serial, request = await erasing(one)
        await one.end(open_order(one, serial), OrderState.FAILED, "program_failed")
        again = await one.order(OrderKind.ERASE, serial, dry_run=True)
        await one.end(again)
        assert one.services.store.certificate(request) is None
        await one.end(await one.order(OrderKind.ERASE, serial))
        assert checked(one, request).slots is Slots.ERASED
        # What comes onto the device from now on is not the disk's, and nobody wipes it alone.
        for dry_run in (True, False):
            with pytest.raises(StateNotAllowed, match="wiped already"):
                await one.order(OrderKind.ERASE, serial, dry_run=dry_run)

    tell(site, story)


def test_an_end_that_cannot_be_certified_is_reported_again(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        _, serial, request = await erasing(one)
        order, worker = open_order(one, serial), one.workers.space(SPACE)
        certify = worker.certify_erasure

        async def fail(_order: object) -> str:
            raise HsmUnavailable("not now")

        worker.certify_erasure = fail
        with pytest.raises(HsmUnavailable):
            await one.end(order)
        assert one.services.store.disk_order(order.order) == order
        assert one.leaves("disk-order.report", serial) == []
        worker.certify_erasure = certify
        await one.end(order)
        assert checked(one, request)

    tell(site, story)


@pytest.mark.parametrize("absent", [True, False])
def test_keks_that_a_crash_left_are_destroyed_at_the_next_start(
    site: ManySpaces, *, absent: bool
) -> None:
    async def story(one: DiskStory) -> None:
        worker, disk = one.workers.space(SPACE), await one.prepared(new_serial())
        erase = worker.erase_disk

        async def fail(_order: object) -> None:
            raise HsmUnavailable("not now")

        worker.erase_disk = fail
        request = await one.erase(disk, absent=absent)
        assert (await one.disk(disk)).erased
        assert len(await one.keks(disk)) == 1
        worker.erase_disk = erase
        for _ in range(2):
            await finish_executed(one.services)
        assert await one.keks(disk) == []
        assert bool(one.services.store.certificate(request)) is absent

    tell(site, story)


def test_an_erasure_overtakes_what_was_ordered_before(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(serial := new_serial())
        await one.begin(disk, Work.VOLUME)
        order = await one.order(OrderKind.ROTATE_VOLUME, serial)
        await one.erase(disk)
        ended = await orders.one(one.services, by("disk.follow"), order.order)
        assert (ended.state, ended.code) == (OrderState.FAILED, "state_not_allowed")
        for work in (Work.VOLUME, Work.RECOVER):
            with pytest.raises(StateNotAllowed):
                await one.begin(disk, work)
        for step in (one.commit(disk), one.finish(disk)):
            with pytest.raises(StateNotAllowed):
                await step

    tell(site, story)


def test_a_disk_is_erased_once_and_only_by_its_space(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(new_serial())
        with pytest.raises(NotFound):
            await one.submit("disk.erase", DiskTarget(disk), OTHER)
        with pytest.raises(NotFound):
            await one.submit("disk.erase", DiskTarget(new_disk()))
        twice = await one.submit("disk.erase", DiskTarget(disk))
        await one.erase(disk)
        with pytest.raises(StateNotAllowed):
            await execute_request(one.services, by("approval.execute"), twice)

    tell(site, story)


def test_an_erased_device_becomes_another_disk(site: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        old, serial, _ = await erasing(one)
        for state in (DiskState.ERASING, DiskState.UNKNOWN):
            await one.report(serial, state, old if state is DiskState.ERASING else "")
        with pytest.raises(StateNotAllowed):
            await one.submit("disk.enroll", wish(new_disk(), serial))
        await one.end(open_order(one, serial))
        new = await one.prepared(serial)
        assert new != old
        assert (await one.disk(old)).erased
        order = await one.order(OrderKind.LOCK, serial)
        assert order.disk == new

    tell(site, story)


# --- the log -------------------------------------------------------------------------------------


async def lived(one: DiskStory) -> None:
    """Let a disk go through everything that the log tells of."""
    disk = await one.prepared(serial := new_serial())
    for work in (Work.SLOT, Work.RECOVERY, Work.VOLUME, Work.RECOVER):
        await one.keys(disk)
        await one.work(disk, work)
    one.workers.links[SPACE].lose_answers = 1
    with pytest.raises(HsmUnavailable):
        await one.keys(disk)
    await keys.rotate_kek(one.services, by("disk.rotate-kek"), disk)
    await views.change(one.services, by("disk.change"), disk, f"{serial.lower()}-b", None)
    await one.end(await one.order(OrderKind.UNLOCK, serial), OrderState.FAILED, "sealed")
    for state in (DiskState.OPEN, DiskState.MOUNTED, DiskState.GONE, DiskState.SEEN):
        await one.report(serial, state, disk)
    clone = new_serial()
    await one.report(clone, DiskState.QUARANTINED, disk, code="disk_elsewhere")
    await one.order(OrderKind.RELEASE, clone)
    await one.erase(disk)
    await one.keys(disk)
    await one.end(open_order(one, serial))


def test_the_verifier_finds_nothing_wrong_with_what_was_told(
    site: ManySpaces, tmp_path: Path
) -> None:
    async def story(one: DiskStory) -> None:
        await lived(one)
        await one.parts.checkpointer.keep()
        report = verified(one, tmp_path / "evidence.sqlite")
        assert [result for result in report.results if result.verdict is Verdict.FAIL] == []
        (disks,) = [result for result in report.results if result.check is Check.DISKS]
        assert disks.checked > 40

    tell(site, story)
