"""A filter by days of the site's time: the first and the last that count, as people say them."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from kms.errors import InvalidInput
from kms.web.visit import Visit


@dataclass(frozen=True, slots=True)
class Days:
    """Days as the form has them, empty for no bound; ``begin`` (included) and ``end`` (not) are the
    times that they stand for, of the site's time in the form of ``2026-11-22T00:00``.
    """

    first: str
    last: str
    begin: str
    end: str


def chosen_days(visit: Visit) -> Days:
    """Return the days of the fields ``from`` and ``until``; raise InvalidInput."""
    first, last = visit.query("from"), visit.query("until")
    return Days(first, last, _start(first, 0), _start(last, 1))


def _start(text: str, later: int) -> str:
    """Return when a day begins, so many days later."""
    if not text:
        return ""
    try:
        day = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
        return (day + timedelta(days=later)).strftime("%Y-%m-%dT%H:%M")
    except (ValueError, OverflowError) as error:
        raise InvalidInput(
            "a day is given as year, month and day", hint="such as 2026-11-22"
        ) from error
