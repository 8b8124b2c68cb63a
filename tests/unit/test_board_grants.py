"""Grants on the board, over a FAKE HSM: by their end, those to look at marked, ended at once."""

from dataclasses import replace

from uuid_utils import uuid7

from kms.audit.leaf import LeafDraft, Outcome, Phase
from kms.domain.grants import Grant
from kms.domain.ids import SpaceName
from kms.domain.models import Role
from kms.domain.rows import SealedRow
from kms.ports import PutRow, Unit
from kms.statements.canonical import make_row
from kms.web.visit import PAGE_ROWS
from tests.fixtures.api import BANKING, MAC, TREASURY
from tests.fixtures.approving_board import english, plain
from tests.fixtures.board import NOW, BoardSite, Browser, run_with_board

DAY = 24 * 3600


def grant(name: str, days: int, space: SpaceName = TREASURY, since: int = 1) -> Grant:
    """Return a grant that ends in so many days and began as many days ago as ``since`` says."""
    return Grant(
        space, str(uuid7()), name, Role.AUDITOR, NOW - since * DAY, NOW + days * DAY, "for a check"
    )


async def stand(site: BoardSite, *grants: Grant) -> None:
    """Let grants stand as if requests had made them."""
    for one in grants:
        row = make_row(one, 1)
        leaf = LeafDraft(
            "grant.create", "tester", "test", one.space, f"grants/{one.grant}",
            Phase.EVENT, Outcome.SUCCEEDED, rows={row.key: 1},
        )  # fmt: skip
        await site.services.store.commit(Unit((PutRow(SealedRow(row, MAC)),), (leaf,)))


async def read(browser: Browser, path: str = "/grants") -> str:
    return plain((await browser.get(path, english(browser))).text)


def order(text: str, *names: str) -> list[str]:
    return sorted((one for one in names if one in text), key=text.index)


def test_what_ends_soonest_stands_first() -> None:
    async def work(site: BoardSite) -> None:
        ended = replace(grant("clerk-d", 3), revoked=NOW - 60)
        await stand(site, grant("clerk-c", 5), grant("clerk-a", 1), ended, grant("clerk-b", 2))
        browser = await site.signed_in("auditor")
        names = ("clerk-c", "clerk-a", "clerk-b", "clerk-d")
        assert order(await read(browser), *names) == ["clerk-a", "clerk-b", "clerk-c"]
        assert order(await read(browser, "/grants?show=ended"), *names) == ["clerk-d"]

    run_with_board(work)


def test_those_to_look_at_say_why() -> None:
    async def work(site: BoardSite) -> None:
        await stand(
            site,
            grant("tester", 5),
            replace(grant("tester", 5, since=40), grant=str(uuid7())),
            grant("stranger", 5, since=0),
        )
        browser = await site.signed_in("auditor")
        text = await read(browser, "/grants?show=flagged")
        assert "2 grants are unused or forgotten" in text
        assert "never used within 7 d" in text
        assert "in force for longer than 30 d" in text
        assert "nobody of this name is configured any more" in text

    run_with_board(work)


def test_an_officer_ends_a_grant_and_an_auditor_does_not() -> None:
    async def work(site: BoardSite) -> None:
        one = grant("tester", 5)
        await stand(site, one)
        auditor, officer = await site.signed_in("auditor"), await site.signed_in("officer")
        path = f"/grants/{one.grant}/revoke"
        assert path not in (await auditor.get("/grants")).text
        assert path in (await officer.get("/grants")).text
        statuses = [
            (await browser.post(path, {"csrf": await browser.token()})).status
            for browser in (auditor, officer, officer)
        ]
        assert statuses == [403, 303, 409]
        assert "revoked" in await read(officer, "/grants?show=ended")

    run_with_board(work)


def test_grants_of_other_spaces_are_not_there() -> None:
    async def work(site: BoardSite) -> None:
        mine, other = grant("banker", 5, BANKING), grant("treasurer", 5)
        await stand(site, mine, other)
        elsewhere = await site.signed_in("officer elsewhere")
        text = await read(elsewhere)
        assert order(text, "banker", "treasurer") == ["banker"]
        path = f"/grants/{other.grant}/revoke"
        assert (await elsewhere.post(path, {"csrf": await elsewhere.token()})).status == 404

    run_with_board(work)


def test_many_grants_come_in_pages_and_keep_their_filter() -> None:
    async def work(site: BoardSite) -> None:
        await stand(site, *(grant("tester", 1 + number) for number in range(PAGE_ROWS + 1)))
        browser = await site.signed_in("auditor")
        first = (await browser.get("/grants?space=treasury")).text
        assert 'href="/grants?show=standing&amp;space=treasury&amp;after=50" rel="next"' in first
        second = (await browser.get("/grants?show=standing&space=treasury&after=50")).text
        assert [page.count('<th scope="row">') for page in (first, second)] == [PAGE_ROWS, 1]
        assert (await browser.get("/grants?after=-1")).status == 400
        assert (await browser.get("/grants?show=all")).status == 400

    run_with_board(work)
