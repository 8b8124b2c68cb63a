"""Periods of reports: calendar periods of the site's own time."""

from datetime import UTC, datetime

import pytest

from kms.domain.reports import Period, file_name, parse_report, period_of
from kms.errors import InvalidInput

NOW = int(datetime(2026, 11, 22, 16, 30, tzinfo=UTC).timestamp())


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


@pytest.mark.parametrize(
    ("name", "since", "until"),
    [
        ("last-quarter", "2026-07-01T00:00+08:00", "2026-10-01T00:00+08:00"),
        ("last-month", "2026-10-01T00:00+08:00", "2026-11-01T00:00+08:00"),
        ("last-year", "2025-01-01T00:00+08:00", "2026-01-01T00:00+08:00"),
        ("2026-Q1", "2026-01-01T00:00+08:00", "2026-04-01T00:00+08:00"),
        ("2025-Q4", "2025-10-01T00:00+08:00", "2026-01-01T00:00+08:00"),
        ("2025-12", "2025-12-01T00:00+08:00", "2026-01-01T00:00+08:00"),
        ("2025", "2025-01-01T00:00+08:00", "2026-01-01T00:00+08:00"),
        ("2026-02-27..2026-02-28", "2026-02-27T00:00+08:00", "2026-03-01T00:00+08:00"),
        ("this-month", "2026-11-01T00:00+08:00", "2026-11-22T16:30+00:00"),
        ("2026-Q4", "2026-10-01T00:00+08:00", "2026-11-22T16:30+00:00"),
    ],
)
def test_a_period_by_its_name(name: str, since: str, until: str) -> None:
    assert period_of(name, NOW, 480) == Period(at(since), at(until))


def test_the_sites_own_midnight_counts() -> None:
    late = at("2026-12-31T17:00+00:00")  # 2027 already, eight hours east
    assert period_of("last-year", late, 480).until == at("2027-01-01T00:00+08:00")
    assert period_of("last-year", late, 0).until == at("2026-01-01T00:00+00:00")
    assert period_of("last-quarter", at("2027-02-01T00:00+00:00"), 0).since == at(
        "2026-10-01T00:00Z"
    )


@pytest.mark.parametrize(
    "name",
    [
        "", "last-week", "2026-Q5", "2026-13", "next-month", "2027", "2026-02-30..2026-03-01",
        "2026-03-02..2026-03-01", "2026-12", "0000", "9999-12-31..9999-12-31",
        "1969-07-01..2026-01-01", "0001-01-01..2026-12-31",
    ],
)  # fmt: skip
def test_what_is_no_period_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        period_of(name, NOW, 480)


def test_bounds_are_spelled_as_leaves_spell_times() -> None:
    assert Period(0, 1).bounds == ("1970-01-01T00:00:00.000000Z", "1970-01-01T00:00:01.000000Z")


def test_files_are_named_by_the_sites_own_days() -> None:
    report = "0192f0c8-7e3a-7bbb-8c3d-2f1a5b6c7d8e"
    quarter = period_of("2026-Q3", NOW, 480)
    assert file_name(report, quarter, 480) == "conclave-report-2026-07-01-2026-09-30-5b6c7d8e"
    so_far = period_of("this-month", NOW, 480)
    assert file_name(report, so_far, 480) == "conclave-report-2026-11-01-2026-11-23-5b6c7d8e"
    assert file_name(report, so_far, 0) == "conclave-report-2026-10-31-2026-11-22-5b6c7d8e"


def test_a_report_is_named_by_a_uuid() -> None:
    with pytest.raises(InvalidInput, match="a report is named"):
        parse_report("../conclave")
