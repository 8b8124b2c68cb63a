"""The board's trends: from the journal's samples and counts to figures and their tables."""

import pytest

from kms.ports import Sample
from kms.usecases import recorder
from kms.usecases.series import Series
from kms.usecases.watch.keys import look_at_keys
from kms.web.plotted import Axis, bars, busiest, lines
from tests.fixtures.api import TREASURY, Clock
from tests.fixtures.board import NOW, BoardSite, run_with_board
from tests.fixtures.board_meetings import english, indexed, opened

KEYS, AGES = "New keys of meetings", "How long present keys have been in use"
TIME = Axis("time", 0, 600)
SCORES, TOOK = "Score of open meetings", "How long fetching a key takes"


def test_lines_share_one_time_and_say_where_one_has_nothing() -> None:
    first, second = Series("a", "count", ((60, 1.0), (180, 2.5))), Series("b", "count", ((60, 7),))
    plot = lines("T", "u", TIME, [("A", first), ("B", second)])
    assert plot.names == ("A", "B")
    assert plot.rows == (
        (60, "1970-01-01 00:01:00", (1, 7)),
        (180, "1970-01-01 00:03:00", (2.5, None)),
    )


@pytest.mark.parametrize(
    ("value", "factor", "shown"),
    [(0.012345, 1000, 12.3), (0.5, 100, 50), (0, 1, 0), (1234.6, 1, 1230), (0.000123, 1, 0.000123)],
)
def test_values_have_three_digits_that_count(value: float, factor: float, shown: float) -> None:
    plot = lines("T", "u", TIME, [("A", Series("a", "", ((1, value),)))], factor)
    assert plot.rows[0][2] == (shown,)


def test_counts_are_whole_and_none_that_is_more_than_nothing_is_0() -> None:
    series = Series("a", "count", ((1, 1.5), (2, 0.2), (3, 0)))
    plot = lines("T", "keys", TIME, [("A", series)], whole=True)
    assert [values for _, _, values in plot.rows] == [(2,), (1,), (0,)]


def test_bars_stand_side_by_side_and_nothing_at_all_is_no_figure() -> None:
    found = bars("T", "u", "age", "Keys", Series("a", "", ((900, 0), (0, 3))), str)
    assert found.rows == ((0, "900", (0,)), (1, "0", (3,)))
    assert bars("T", "u", "age", "Keys", Series("a", "", ((900, 0), (0, 0))), str).rows == ()


def test_the_busiest_are_kept_in_their_order() -> None:
    known = [Series(name, "", ((1, value),)) for name, value in (("a", 1), ("b", 3), ("c", 2))]
    assert [one.name for one in busiest(known, 2)] == ["b", "c"]


def _sampled(site: BoardSite) -> None:
    site.services.journal.put_samples(
        [
            Sample(NOW - 600, recorder.FETCHES, 12.0),
            Sample(NOW - 600, recorder.FETCH_P50, 0.0021),
            Sample(NOW - 600, recorder.FETCH_P95, 0.0095),
            Sample(NOW - 600, recorder.HSM_REQUESTS, 30.0, "t"),
            Sample(NOW - 600, recorder.HSM_BUSY, 0.25, "t"),
            Sample(NOW - 600, recorder.SCORE_MEAN, 0.5, TREASURY),
            Sample(NOW - 600, recorder.SCORE_LOWEST, 0.25, TREASURY),
        ]
    )


def test_the_page_shows_what_was_kept_in_the_period() -> None:
    async def work(site: BoardSite) -> None:
        await opened(site, 2)
        indexed(site)
        clock = site.services.clock
        assert isinstance(clock, Clock)
        clock.seconds += 60
        _sampled(site)
        await look_at_keys(site.services)
        auditor = await site.signed_in("auditor")
        page = await english(auditor, f"/plots?space={TREASURY}")
        assert sum(int(row[1]) for row in page.rows(KEYS)) == 3
        assert page.rows(AGES)[0] == ["under 15 min", "3"]
        ((_, half, most),) = page.rows(TOOK)
        assert (half, most) == ("2.1", "9.5")
        ((_, *busy),) = page.rows("How busy the HSM is")
        assert "25" in busy
        ((_, *scores),) = page.rows(SCORES)
        assert scores == ["0.5", "0.25"]
        year = await english(auditor, f"/plots?period=year&space={TREASURY}")
        assert len(year.rows(KEYS)) > 360
        assert (await auditor.get("/plots?period=age")).status == 400

    run_with_board(work)


def test_operators_see_no_scores_and_others_none_of_another_space() -> None:
    async def work(site: BoardSite) -> None:
        indexed(site)
        _sampled(site)
        operator = await english(await site.signed_in("operator"), "/plots")
        assert SCORES not in operator.text
        assert "How busy the HSM is" in operator.text
        elsewhere = await site.signed_in("officer elsewhere")
        assert TREASURY not in (await elsewhere.get("/plots")).text
        assert (await elsewhere.get(f"/plots?space={TREASURY}")).status == 404

    run_with_board(work)


def test_while_the_journal_is_made_anew_the_rest_is_shown() -> None:
    async def work(site: BoardSite) -> None:
        await look_at_keys(site.services)
        page = await english(await site.signed_in("auditor"), "/plots")
        assert "is being made anew" in page.text
        assert page.rows(AGES)[0] == ["under 15 min", "1"]

    run_with_board(work)
