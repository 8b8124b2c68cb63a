"""The board's overview, where its alerts lead, and what it claims of keys that nobody counted."""

from dataclasses import replace

import pytest

from kms.domain.alerts import ALERTS, Condition
from kms.domain.coverage import Coverage
from kms.domain.disks import Device, Disk, DiskState, MountPolicy, Work
from kms.ports import PutDevice, Unit
from kms.usecases.watch.board import raising
from kms.usecases.watch.state import Escrow
from kms.web.alerted import PAGES as ALERT_PAGES
from kms.web.pages import NAVIGATION
from tests.fixtures.api import TREASURY, Clock
from tests.fixtures.board import BoardSite, run_with_board
from tests.fixtures.board_meetings import english
from tests.fixtures.store import disk_id, put


def test_alerts_lead_to_pages_of_the_navigation() -> None:
    lines = {line.page for group in NAVIGATION for line in group.entries}
    assert set(ALERT_PAGES) <= set(ALERTS)
    assert set(ALERT_PAGES.values()) <= lines


async def _alert(site: BoardSite, alert: str, subject: str) -> None:
    told = raising(Condition(alert, "", subject, 1))
    await site.services.store.commit(Unit((), (told,)))


def test_an_alert_leads_to_its_page_if_the_visitor_has_it() -> None:
    async def work(site: BoardSite) -> None:
        await _alert(site, "disk-quarantined", "S5X")
        await _alert(site, "approval-waiting", "a request")
        officer = await english(await site.signed_in("officer"), "/")
        assert officer.links["Page: Disks"] == "/disks"
        assert officer.links["Page: Approvals"] == "/approvals"
        operator = await english(await site.signed_in("operator"), "/")
        assert operator.links["Page: Disks"] == "/disks"
        assert "Page: Approvals" not in operator.links
        assert "You see metadata only" in operator.text
        assert "You see metadata only" not in officer.text

    run_with_board(work)


def test_an_alert_that_is_raised_again_says_how_many_and_when_last() -> None:
    async def work(site: BoardSite) -> None:
        await _alert(site, "passkey-new", "sun-security")
        once = await english(await site.signed_in("auditor"), "/")
        assert "number: " not in once.text
        clock = site.services.clock
        assert isinstance(clock, Clock)
        clock.seconds += 60
        told = raising(Condition("passkey-new", "", "sun-security", 2))
        await site.services.store.commit(Unit((), (told,)))
        again = await english(await site.signed_in("auditor"), "/")
        (row,) = again.rows("Alerts")
        assert "number: 2" in row[1]
        first, last = row[3].split(" last ")
        assert first == once.rows("Alerts")[0][3]
        assert first < last

    run_with_board(work)


def test_what_nobody_counted_yet_is_not_said_to_be_well() -> None:
    async def work(site: BoardSite) -> None:
        page = await english(await site.signed_in("auditor"), "/")
        assert page.text.count("Not counted yet") == 2  # overdue keys, and escrow
        assert "Every key is covered" not in page.text

    run_with_board(work)


@pytest.mark.parametrize(("keys", "told"), [(0, "There was no key yet"), (2, "Every key is")])
def test_of_no_key_at_all_escrow_claims_nothing(keys: int, told: str) -> None:
    async def work(site: BoardSite) -> None:
        found = Coverage()
        found.epochs[TREASURY] = found.covered[TREASURY] = keys
        site.services.watched.facts.escrow = Escrow(0, 0, 0, site.services.seconds(), found)
        auditor = await site.signed_in("auditor")
        assert told in (await english(auditor, "/")).text
        page = await english(auditor, "/escrow")
        assert ("every key is covered" in page.text) == bool(keys)
        assert [row[3] for row in page.rows("The spaces")] == ["✓ all covered" if keys else "—"]

    run_with_board(work)


def test_a_page_of_others_says_whose_it_is() -> None:
    async def work(site: BoardSite) -> None:
        page = await english(await site.signed_in("operator"), "/reports", 403)
        assert "only these roles may use this page: auditor, officer" in page.text

    run_with_board(work)


def test_an_erased_disk_is_no_stranger_until_it_is_back() -> None:
    async def work(site: BoardSite) -> None:
        disk = Disk(
            TREASURY, disk_id(), "S5X", 1 << 30, "ledger", MountPolicy("ledger"), Work.NONE, 1,
            "h" * 43, 1, None, None, None, erased=2,
        )  # fmt: skip
        device = Device("S5X", "/dev/sdx", 1 << 30, "a disk", "", DiskState.GONE, changed=1)
        store, auditor = site.services.store, await site.signed_in("auditor")
        await store.commit(put((disk, 1)))
        await store.commit(Unit((PutDevice(device),)))
        assert not (await english(auditor, "/disks")).rows("Other devices")
        await store.commit(Unit((PutDevice(replace(device, state=DiskState.UNKNOWN)),)))
        assert [row[0] for row in (await english(auditor, "/disks")).rows("Other devices")] == [
            "S5X"
        ]

    run_with_board(work)
