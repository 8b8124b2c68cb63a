"""How much of the store pages read, at a small and at a much larger site: over a FAKE HSM."""

from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest

from kms.client.rosters import new_meeting
from kms.store.sqlite import SqliteStore
from kms.usecases.watch.keys import look_at_keys
from kms.web.pages import PAGES
from kms.web.visit import PAGE_ROWS, Kind
from tests.fixtures.api import TREASURY
from tests.fixtures.board import BoardSite, open_one, path_of, run_with_board

FEW, MANY = 5, PAGE_ROWS + 40
LISTS = 6
"""Lists that a page may show side by side, each a page long."""
_NOT_READS = {"commit", "subscribe", "open", "close"}
PER_ROW = 12
"""Rows and questions that one line of a list may take."""


class Reads:
    """Counts the rows that a store gives out, and how often it is asked."""

    def __init__(self, store: SqliteStore) -> None:
        self.rows: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        for name in dir(store):
            method = getattr(store, name)
            if (
                not name.startswith("_")
                and callable(method)
                and name not in {"commit", "subscribe"}
            ):
                setattr(store, name, self._counted(name, method))

    def _counted(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def counted(*args: object, **kwargs: object) -> Any:
            got = method(*args, **kwargs)
            self.calls[name] += 1
            self.rows[name] += len(got) if isinstance(got, list) else 1
            return got

        return counted


async def _rows(site: BoardSite, reads: Reads) -> dict[str, int]:
    """Return how many rows each page of an auditor reads; each is asked for twice, the first time
    fills what is kept in memory.
    """
    browser = await site.signed_in("auditor")
    found = {}
    for page in PAGES:
        if page.kind in {Kind.PAGE, Kind.FRAGMENT}:
            path = path_of(page, site.known)
            await browser.get(path)
            reads.rows.clear()
            await browser.get(path)
            found[page.id] = reads.rows.total()
    return found


@pytest.fixture(scope="module")
def seen() -> dict[int, dict[str, int]]:
    """The rows that every page read, by the number of meetings."""
    found: dict[int, dict[str, int]] = {}

    def at(meetings: int) -> None:
        async def work(site: BoardSite) -> None:
            for _ in range(meetings):
                await open_one(site.services, TREASURY, new_meeting())
            await look_at_keys(site.services)
            found[meetings] = await _rows(site, Reads(site.site.store))

        run_with_board(work)

    at(FEW)
    at(MANY)
    return found


@pytest.mark.parametrize("page", ["overview", "overview-now"])
def test_the_overview_reads_the_same_however_many_meetings_there_are(
    seen: dict[int, dict[str, int]], page: str
) -> None:
    assert seen[MANY][page] == seen[FEW][page]


def test_no_page_reads_more_than_the_rows_that_it_shows(seen: dict[int, dict[str, int]]) -> None:
    most = LISTS * PAGE_ROWS * PER_ROW
    assert not {page: rows for page, rows in seen[MANY].items() if rows > most}
