"""The site's own time: what people read and type; UTC where nobody chose one."""

from contextvars import copy_context
from datetime import UTC, datetime

import pytest

from kms.site_time import keep_time, zone_name
from kms.usecases.journal import leaf_moment
from kms.web.words import minutes_of_day, moment

MIDNIGHT = int(datetime(2026, 11, 22, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("offset", "name", "shown", "of_day", "typed"),
    [
        (0, "UTC+00:00", "2026-11-22 00:00:00", "01:30", "2026-11-22T00:00:00.000000Z"),
        (480, "UTC+08:00", "2026-11-22 08:00:00", "09:30", "2026-11-21T16:00:00.000000Z"),
        (-210, "UTC-03:30", "2026-11-21 20:30:00", "22:00", "2026-11-22T03:30:00.000000Z"),
    ],
)
def test_people_read_and_type_the_sites_time(
    offset: int, name: str, shown: str, of_day: str, typed: str
) -> None:
    def work() -> None:
        keep_time(offset)
        assert zone_name() == name
        assert moment(MIDNIGHT) == moment("2026-11-22T00:00:00Z") == shown
        assert minutes_of_day(90) == of_day
        assert leaf_moment("2026-11-22") == typed
        assert leaf_moment("0999-06-01") == "1970-01-01T00:00:00.000000Z"
        assert leaf_moment("2026-11-22T00:00Z") == "2026-11-22T00:00:00.000000Z"

    copy_context().run(work)
    assert zone_name() == "UTC+00:00"
