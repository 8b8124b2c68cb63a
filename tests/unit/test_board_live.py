"""Live pages: what they ask for by themselves is no use of the session, and its end shows."""

from tests.fixtures.board import BoardSite, run_with_board


def test_a_live_page_does_not_keep_its_session_alive() -> None:
    async def work(site: BoardSite) -> None:
        browser = await site.signed_in("auditor")
        session = site.sessions.of_person("zhao-auditor")[-1]
        await browser.get("/rotation")
        used = session.used
        answer = await browser.get("/parts/rotation", {"hx-request": "true"})
        assert (answer.status, session.used) == (200, used)
        await browser.get("/rotation")
        assert session.used > used

    run_with_board(work)


def test_a_live_page_leads_to_signing_in_once_its_session_has_ended() -> None:
    async def work(site: BoardSite) -> None:
        browser = await site.signed_in("auditor")
        site.sessions.end(site.sessions.of_person("zhao-auditor")[-1])
        own = {"hx-request": "true", "referer": f"{browser.origin}/rotation"}
        answer = await browser.get("/parts/rotation", own)
        assert (answer.status, answer.body) == (204, b"")
        assert answer.header("hx-redirect") == "/sign-in?next=%2Frotation"
        assert (await browser.get("/parts/rotation")).status == 401

    run_with_board(work)
