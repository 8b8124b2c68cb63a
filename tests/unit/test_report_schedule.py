"""Reports by the calendar: nobody asks for them, so no policy is asked whether the service may."""

import sqlite3

import pytest

from kms.audit.leaf import decode_leaf
from kms.usecases.reports import schedule
from kms.usecases.reports.schedule import ReportSchedule
from tests.fixtures.api import FakeSite, run_with_site


def test_the_service_does_not_refuse_itself():
    async def look(site: FakeSite) -> None:
        before = site.store.tree_size()
        await ReportSchedule(site.services).look()
        leaves = site.store.leaves(before, 100)
        assert [decode_leaf(one).action for one in leaves] == []

    run_with_site(look)


def test_a_report_that_fails_in_whatever_way_does_not_end_the_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(schedule, "keep_report", full)

    async def look(site: FakeSite) -> None:
        await ReportSchedule(site.services).look()

    run_with_site(look)
