"""Names of people on the board, over a FAKE HSM: as the register calls them, to its readers."""

from dataclasses import replace

from kms.domain.models import Role
from kms.web.names import called, display, keep_names
from tests.fixtures.approving_board import english
from tests.fixtures.board import BoardSite, run_with_board
from tests.fixtures.passkeys import caller

SHOWN = 'Chen-Admin <small class="next">chen-admin</small>'


def test_people_are_shown_by_name_with_their_slug() -> None:
    async def work(site: BoardSite) -> None:
        for visitor in ("auditor", "officer"):
            browser = await site.signed_in(visitor)
            assert SHOWN in (await browser.get("/approvals", english(browser))).text

    run_with_board(work)


def test_names_are_for_whoever_may_read_the_register() -> None:
    async def work(site: BoardSite) -> None:
        auditor = caller(Role.AUDITOR)
        for principal in (None, replace(auditor, roles=frozenset())):
            keep_names(site.services, principal)
            assert display("chen-admin") == ""
        keep_names(site.services, auditor)
        assert called("chen-admin") == "Chen-Admin (chen-admin)"
        assert called("practice-console") == "practice-console"

    run_with_board(work)
