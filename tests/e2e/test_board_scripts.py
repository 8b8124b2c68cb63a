"""What the board's own script does in a real browser: countdowns, figures, paper.

The site is over a FAKE HSM: what matters here happens in the browser.
"""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from kms.domain.policies import RotationRules
from kms.ports import Sample
from kms.usecases import recorder
from tests.fixtures.api import TREASURY
from tests.fixtures.board import NOW, BoardSite
from tests.fixtures.board_meetings import indexed, opened
from tests.fixtures.board_server import ServedBoard, serving_board
from tests.fixtures.browser import browser, visiting
from tests.fixtures.rotation import put_policy

__all__ = ["browser"]

CLOCK = re.compile(r"^\+?\d\d:\d\d:\d\d$")
RULES = RotationRules(interval_seconds=1800, maximum_age_seconds=7200)


async def prepare(site: BoardSite) -> None:
    """Open meetings whose keys are due, and keep few samples of two series, many of a third."""
    await put_policy(site.services, TREASURY, RULES)
    await opened(site, 2)
    indexed(site)
    few = [Sample(NOW - 60 * at, recorder.OPEN, 1, TREASURY) for at in range(1, 4)]
    few += [Sample(NOW - 60 * at, recorder.OVERDUE, 1, TREASURY) for at in range(1, 4)]
    many = [Sample(NOW - 600 * at, recorder.FETCHES, 1.5) for at in range(1, 60)]
    site.services.journal.put_samples([*few, *many])


@pytest.fixture(scope="module")
def board() -> Iterator[ServedBoard]:
    with serving_board(prepare) as served:
        yield served


def test_a_countdown_goes_on_in_the_form_that_it_was_served_in(
    browser: Browser, board: ServedBoard
) -> None:
    with visiting(browser, board.origin) as visitor:
        board.sign_in(visitor, "auditor")
        page = visitor.page
        page.clock.install(time=NOW)
        served = page.request.get(f"{board.origin}/rotation").text()
        found = re.findall(r'<span data-until="\d+"[^>]*>([^<]*)<', served)
        assert found
        assert all(map(CLOCK.match, found)), found
        page.goto("/rotation")
        counted = page.locator("[data-until]").first
        before = counted.inner_text()
        page.clock.run_for(3000)
        expect(counted).not_to_have_text(before)
        expect(counted).to_have_text(CLOCK)


def test_on_paper_stand_what_was_asked_short_tables_and_when(
    browser: Browser, board: ServedBoard
) -> None:
    with visiting(browser, board.origin) as visitor:
        board.sign_in(visitor, "auditor")
        page = visitor.page
        page.goto(f"/plots?space={TREASURY}")
        asked, printed = page.locator("p.on-paper").first, page.locator("[data-printed]")
        expect(asked).to_be_hidden()
        expect(page.locator("form.filters")).to_be_visible()
        page.emulate_media(media="print")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        expect(asked).to_be_visible()
        expect(asked).to_contain_text(TREASURY)
        expect(printed).to_be_visible()
        expect(page.locator("form.filters")).to_be_hidden()
        figures = page.locator("figure.plot")
        few = figures.filter(has_text="进行中的会议与逾期密钥")
        many = figures.filter(has_text="密钥领取频率")
        expect(few.locator(".scroll table")).to_be_visible()
        expect(many.locator(".scroll table")).to_be_hidden()
        expect(few.locator(".u-legend")).to_be_visible()
        assert not many.locator(".u-legend").count()
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert not page.locator(".plot details[open]").count()
