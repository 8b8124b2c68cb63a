"""Hostile text in every field that a page may show, in a real browser: it is read, does nothing.

The site is over a FAKE HSM: what matters here happens in the browser.
"""

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser

from kms.web.pages import PAGES
from kms.web.visit import Kind
from tests.fixtures.board import path_of
from tests.fixtures.board_server import ServedBoard, serving_board
from tests.fixtures.browser import Visitor, browser, visiting
from tests.scenarios.hostile_board import PLACES, hostile, marker, plant

__all__ = ["browser"]

FIELDS = ("space", "state", "actor", "action", "meeting", "since", "until", "outcome", "after")


@pytest.fixture(scope="module")
def board() -> Iterator[ServedBoard]:
    with serving_board(plant) as served:
        yield served


def texts(visitor: Visitor, board: ServedBoard, *, query: str = "") -> dict[str, str]:
    """Look at every page; return what can be read on each."""
    visitor.watch.expect("Failed to load resource: the server responded with a status of 4")
    found = {}
    for page in PAGES:
        if page.kind is Kind.PAGE:
            visitor.page.goto(path_of(page, board.site.known) + query)
            assert not visitor.page.locator("img[src^='/x'], svg[onload], [onclick]").count(), (
                page.id
            )
            found[page.id] = visitor.page.locator("body").inner_text()
    return found


@pytest.mark.parametrize("who", ["officer", "auditor"])
def test_hostile_text_is_read_and_does_nothing(
    browser: Browser, board: ServedBoard, who: str
) -> None:
    with visiting(browser, board.origin) as visitor:
        board.sign_in(visitor, who)
        seen = "\n".join(texts(visitor, board).values())
    assert "{{7*7}}" in seen
    if who == "auditor":
        hidden = [one for one in PLACES if one != "query" and marker(one) not in seen]
        assert not hidden, f"no page shows it, so nothing is shown of it: {hidden}"


def test_hostile_queries_do_nothing(browser: Browser, board: ServedBoard) -> None:
    value = quote(hostile("query"))
    query = "?" + "&".join(f"{name}={value}" for name in FIELDS)
    with visiting(browser, board.origin) as visitor:
        board.sign_in(visitor, "auditor")
        texts(visitor, board, query=query)
        visitor.page.goto(f"/{value}")


def test_a_link_of_another_site_keeps_its_reader_signed_in(
    browser: Browser, board: ServedBoard
) -> None:
    other = "http://127.0.0.1:9/"
    link = f"<a href='{board.origin}/settings?from=elsewhere'>the board</a>"
    with visiting(browser, board.origin) as visitor:
        board.sign_in(visitor, "auditor")
        page = visitor.page
        page.route(other, lambda route: route.fulfill(body=link, content_type="text/html"))
        page.goto(other)
        page.locator("a").click()
        page.locator("nav").wait_for()
        assert page.url == f"{board.origin}/settings?from=elsewhere"
        page.goto("/people")
        assert page.locator("nav").is_visible()
        assert visitor.watch.foreign == [other], "the test's own"
        visitor.watch.foreign.clear()
