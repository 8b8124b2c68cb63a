"""Compliance reports: which period one is about, and what lets somebody see full names in it.

Periods are calendar periods of the site's own time, which is a fixed distance from UTC.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum

from kms.domain.ids import parse_request_id
from kms.errors import InvalidInput
from kms.site_time import zone_of

UNMASKED_SECONDS = 7 * 24 * 3600
"""For how long after an approved request was carried out its report is exported with full names."""
LANGUAGES = ("zh", "en")
"""In which a report is set."""

_QUARTER = re.compile(r"(\d{4})-Q([1-4])", re.ASCII)
_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])", re.ASCII)
_YEAR = re.compile(r"\d{4}", re.ASCII)
_SPAN = re.compile(r"(\d{4}-\d\d-\d\d)\.\.(\d{4}-\d\d-\d\d)", re.ASCII)
_MONTHS = {"month": 1, "quarter": 3, "year": 12}
_DECEMBER = 12
_DAY = timedelta(days=1)


class Every(StrEnum):
    """How often the service makes a report by itself."""

    MONTH = "month"
    QUARTER = "quarter"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class ReportTarget:
    """One report, by its id."""

    report: str


@dataclass(frozen=True, slots=True)
class Period:
    """From ``since`` until before ``until``, whole seconds."""

    since: int
    until: int

    @property
    def bounds(self) -> tuple[str, str]:
        """Both ends as leaves spell times."""
        return _leaf_time(self.since), _leaf_time(self.until)


def file_name(report: str, period: Period, offset: int) -> str:
    """Return how files of a report are named, language and ending aside: its first and last day in
    the site's time, ``offset`` minutes ahead of UTC, and the last 8 characters of its id.
    """
    ends = (period.since, period.until - 1)
    first, last = (f"{datetime.fromtimestamp(end, zone_of(offset)):%Y-%m-%d}" for end in ends)
    return f"conclave-report-{first}-{last}-{report[-8:]}"


def parse_report(text: str) -> str:
    """Return a report's UUIDv7 in canonical form; raise InvalidInput."""
    try:
        return parse_request_id(text)
    except InvalidInput:
        raise InvalidInput("a report is named by a UUIDv7 in lower case with dashes") from None


def period_of(name: str, now: int, offset: int) -> Period:
    """Return a period by its name: last-month, last-quarter, last-year, this-month, this-quarter,
    this-year, 2026, 2026-Q3, 2026-07 or 2026-07-01..2026-09-30 (the last day counts).

    ``offset``: minutes that the site's time is ahead of UTC. What has not ended yet ends now. Raise
    InvalidInput.
    """
    try:
        since, until = _ends(name, now, zone_of(offset))
    except (ValueError, OverflowError):
        raise _unknown() from None
    found = Period(int(since.timestamp()), min(int(until.timestamp()), now))
    if not 0 <= found.since < found.until:
        raise InvalidInput("the period has not begun, ends before it begins, or lies before 1970")
    return found


def _ends(name: str, now: int, zone: timezone) -> tuple[datetime, datetime]:
    which, _, unit = name.partition("-")
    if unit in _MONTHS and which in {"last", "this"}:
        begin = _begin(datetime.fromtimestamp(now, zone), _MONTHS[unit])
        if which == "last":
            begin = _later(begin, -_MONTHS[unit])
        return begin, _later(begin, _MONTHS[unit])
    if found := _QUARTER.fullmatch(name):
        return _months(int(found[1]), 3 * int(found[2]) - 2, 3, zone)
    if found := _MONTH.fullmatch(name):
        return _months(int(found[1]), int(found[2]), 1, zone)
    if _YEAR.fullmatch(name):
        return _months(int(name), 1, 12, zone)
    if found := _SPAN.fullmatch(name):
        first, last = (datetime.fromisoformat(day).replace(tzinfo=zone) for day in found.groups())
        return first, last + _DAY
    raise _unknown()


def _months(year: int, month: int, count: int, zone: timezone) -> tuple[datetime, datetime]:
    begin = datetime(year, month, 1, tzinfo=zone)
    return begin, _later(begin, count)


def _begin(moment: datetime, months: int) -> datetime:
    """Return when the running period of so many months began."""
    month = (moment.month - 1) // months * months + 1
    return datetime(moment.year, month, 1, tzinfo=moment.tzinfo)


def _later(begin: datetime, months: int) -> datetime:
    years, month = divmod(begin.month - 1 + months, _DECEMBER)
    return begin.replace(year=begin.year + years, month=month + 1)


def _leaf_time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")


def _unknown() -> InvalidInput:
    return InvalidInput(
        "there is no period of that name",
        hint="such as last-quarter, this-month, 2026-Q3, 2026-07 or 2026-07-01..2026-09-30",
    )
