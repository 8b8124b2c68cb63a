"""Every page of the board by everybody, and every act from everywhere: generated from the table of
pages, over a FAKE HSM. A page that is added stands in these tests at once.
"""

import html
import re

import pytest

from kms.domain.models import Role
from kms.web.cookies import SESSION
from kms.web.pages import PAGES
from kms.web.visit import Kind, Page
from tests.fixtures.board import (
    VISITORS,
    Answer,
    BoardSite,
    Browser,
    path_of,
    run_with_board,
)

ROLES = {
    "": None,
    "witness": None,
    "operator": Role.OPERATOR,
    "officer": Role.OFFICER,
    "officer elsewhere": Role.OFFICER,
    "auditor": Role.AUDITOR,
}
"""What each visitor is; nobody who is signed in is empty."""
PROVING = {page.id for page in PAGES if page.kind is Kind.ACT and not page.roles}
PROVING.add("confirm-passkey")
"""Acts by which people prove who they are."""
ACTS = [page.id for page in PAGES if page.kind is Kind.ACT]
PAGES_BY_ID = {page.id: page for page in PAGES}
FOREIGN = {
    "another site's page": {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
    "another port of this host": {
        "origin": "http://localhost:20002",
        "sec-fetch-site": "same-site",
    },
    "a page without an origin": {"origin": "null", "sec-fetch-site": "cross-site"},
    "a request that names no origin": {"origin": ""},
    "an origin that only looks alike": {"origin": "http://localhost:20001.evil.example"},
    "a browser that says cross-site": {"sec-fetch-site": "cross-site"},
    "a browser that says same-site": {"sec-fetch-site": "same-site"},
}
"""Headers of requests that other sites cause."""


async def ask(browser: Browser, page: Page, path: str, csrf: str | None = None) -> Answer:
    """Ask for a page, or do an act with an empty form."""
    if page.kind is not Kind.ACT:
        return await browser.get(path)
    return await browser.post(path, {"csrf": await browser.token() if csrf is None else csrf})


def outcome(answer: Answer) -> str:
    """Return what an answer comes to: turned away to sign-in, refused, or let in."""
    if answer.status == 303 and answer.header("location").startswith("/sign-in?"):
        return "sent to sign in"
    if answer.status in {401, 403}:
        return "refused"
    return "failed" if answer.status >= 500 else "let in"


def wanted(page: Page, visitor: str) -> str:
    """Return what has to come of a visitor's asking for a page."""
    if not page.roles or ROLES[visitor] in page.roles:
        return "let in"
    return "sent to sign in" if not visitor and page.kind is Kind.PAGE else "refused"


async def browser_of(site: BoardSite, visitor: str) -> Browser:
    return await site.signed_in(visitor) if visitor else site.browser()


@pytest.mark.parametrize("visitor", list(ROLES))
def test_nobody_comes_further_than_the_table_says(visitor: str) -> None:
    async def work(site: BoardSite) -> None:
        wrong = []
        for page in PAGES:
            browser = await browser_of(site, visitor)
            answer = await ask(browser, page, path_of(page, site.known))
            if page.id in PROVING and wanted(page, visitor) == "let in":
                continue  # such an act judges by what it is given: tests of its own
            if (got := outcome(answer)) != wanted(page, visitor):
                wrong.append(f"{page.id}: {got} ({answer.status}), not {wanted(page, visitor)}")
        assert not wrong, wrong

    run_with_board(work)


@pytest.mark.parametrize("visitor", ["operator", "officer", "auditor"])
def test_no_link_leads_to_what_its_reader_may_not_see(visitor: str) -> None:
    async def work(site: BoardSite) -> None:
        browser, found = await site.signed_in(visitor), {}
        for page in PAGES:
            if page.kind is Kind.PAGE and ROLES[visitor] in page.roles:
                text = (await browser.get(path_of(page, site.known))).text
                found |= {
                    html.unescape(one): page.id for one in re.findall(r'href="(/[^"]*)"', text)
                }
        refused = {
            path: page for path, page in found.items() if (await browser.get(path)).status == 403
        }
        assert not refused

    run_with_board(work)


def test_the_matrix_has_every_kind_of_person() -> None:
    assert {role for role in ROLES.values() if role} == {
        role for page in PAGES for role in page.roles
    }
    assert set(ROLES) == {"", *VISITORS}


def test_an_officer_of_another_space_learns_nothing_of_this_one() -> None:
    async def work(site: BoardSite) -> None:
        told = []
        browser = await site.signed_in("officer elsewhere")
        for page in PAGES:
            if page.kind is Kind.ACT or ROLES["officer"] not in page.roles:
                continue
            path = path_of(page, site.known)
            answer = await browser.get(path)
            if site.known["meeting"] in answer.text.replace(path, ""):
                told.append(f"{page.id} ({answer.status})")
        assert not told, told

    run_with_board(work)


@pytest.mark.parametrize("name", ACTS)
def test_an_act_that_another_site_causes_is_refused(name: str) -> None:
    page = PAGES_BY_ID[name]

    async def work(site: BoardSite) -> None:
        browser = await browser_of(site, _allowed(page))
        path, csrf = path_of(page, site.known), await browser.token()
        before = site.services.store.tree_size()
        for attack, headers in FOREIGN.items():
            answer = await browser.post(path, {"csrf": csrf}, headers)
            assert answer.status == 403, (attack, answer.status)
            assert not answer.all("set-cookie"), attack
        assert site.services.store.tree_size() == before
        assert await _is_still_in(browser, page)

    run_with_board(work)


@pytest.mark.parametrize("name", ACTS)
def test_an_act_without_the_sessions_own_token_is_refused(name: str) -> None:
    page = PAGES_BY_ID[name]

    async def work(site: BoardSite) -> None:
        browser = await browser_of(site, _allowed(page))
        path, csrf = path_of(page, site.known), await browser.token()
        others = await (await site.signed_in("auditor")).token()
        before = site.services.store.tree_size()
        forms: list[dict[str, str]] = [{}, {"csrf": ""}, {"csrf": others}, {"csrf": csrf[:-1]}]
        for form in forms:
            assert (await browser.post(path, form)).status == 403, form
        assert (await browser.post(f"{path}?csrf={csrf}", {})).status == 403, "not in the query"
        assert site.services.store.tree_size() == before
        assert await _is_still_in(browser, page)

    run_with_board(work)


@pytest.mark.parametrize("name", ACTS)
def test_the_same_act_with_the_token_goes_on(name: str) -> None:
    """Else the two tests above would hold of a board that refuses everything."""
    page = PAGES_BY_ID[name]

    async def work(site: BoardSite) -> None:
        browser = await browser_of(site, _allowed(page))
        answer = await browser.post(path_of(page, site.known), {"csrf": await browser.token()})
        refusal = answer.status == 403 and "another site" in answer.text
        assert not refusal
        assert "the form is not from this session" not in answer.text

    run_with_board(work)


def _allowed(page: Page) -> str:
    """Return a visitor who may do an act."""
    return next(one for one in ("officer", "auditor", "operator", "") if _may(one, page))


def _may(visitor: str, page: Page) -> bool:
    return not page.roles if not visitor else ROLES[visitor] in page.roles


async def _is_still_in(browser: Browser, page: Page) -> bool:
    return not page.roles or (await browser.get("/confirm")).status == 200


def test_no_answer_can_be_framed_or_run_what_is_not_the_boards() -> None:
    async def work(site: BoardSite) -> None:
        answers = {"elsewhere": await site.browser().get("/", {"host": "evil.example"})}
        for visitor in ("", "officer"):
            browser = await browser_of(site, visitor)
            for page in PAGES:
                if page.kind is not Kind.ACT:
                    answers[f"{page.id} {visitor}"] = await browser.get(path_of(page, site.known))
            answers[f"lost {visitor}"] = await browser.get("/nowhere")
            answers[f"static {visitor}"] = await browser.get("/static/conclave.css")
            answers[f"no file {visitor}"] = await browser.get("/static/none.css")
            answers[f"method {visitor}"] = await browser.ask("PUT", "/", b"", {})
        for name, answer in answers.items():
            _check_headers(name, answer)

    run_with_board(work)


def _check_headers(name: str, answer: Answer) -> None:
    policy = dict(
        part.strip().split(" ", 1) for part in answer.header("content-security-policy").split(";")
    )
    assert policy["default-src"] == "'none'", name
    assert policy["frame-ancestors"] == "'none'", name
    assert policy["base-uri"] == "'none'", name
    assert policy["form-action"] == "'self'", name
    assert policy["script-src"] == "'self'", name
    assert policy["style-src"] == "'self'", name
    assert answer.header("x-frame-options") == "DENY", name
    assert answer.header("x-content-type-options") == "nosniff", name
    assert "access-control-allow-origin" not in dict(answer.headers), name


def test_pages_are_kept_by_no_cache() -> None:
    async def work(site: BoardSite) -> None:
        browser = await site.signed_in("auditor")
        for page in PAGES:
            if page.kind is not Kind.ACT:
                answer = await browser.get(path_of(page, site.known))
                assert answer.header("cache-control") == "no-store", page.id

    run_with_board(work)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"])
def test_no_page_answers_another_method(method: str) -> None:
    async def work(site: BoardSite) -> None:
        browser = await site.signed_in("officer")
        own = {"origin": browser.origin, "sec-fetch-site": "same-origin"}
        before = site.services.store.tree_size()
        for page in PAGES:
            answer = await browser.ask(method, path_of(page, site.known), b"", own)
            assert answer.status in {404, 405}, (page.id, answer.status)
        assert site.services.store.tree_size() == before

    run_with_board(work)


def test_the_cookie_is_this_hosts_alone() -> None:
    async def work(site: BoardSite) -> None:
        for answer in (
            await site.browser().get("/sign-in"),
            await site.browser("officer").sign_in(),
        ):
            (line,) = answer.all("set-cookie")
            words = [one.strip().lower() for one in line.split(";")[1:]]
            assert line.startswith("__Host-")
            assert {"secure", "httponly", "samesite=strict", "path=/"} <= set(words)
            assert not [one for one in words if one.startswith(("domain", "expires", "max-age"))]

    run_with_board(work)


def test_signing_in_makes_another_session() -> None:
    """A cookie that somebody knew, or brought, is worth nothing afterwards."""

    async def work(site: BoardSite) -> None:
        browser = site.browser("officer")
        browser.cookie = "brought-by-the-attacker"
        planted = await browser.get("/sign-in")
        assert planted.cookie not in {"", "brought-by-the-attacker"}
        before, csrf = browser.cookie, await browser.token()
        await browser.sign_in()
        assert browser.cookie != before
        assert csrf not in (await browser.get("/nowhere")).text
        thief = site.browser("officer")
        thief.cookie = before
        assert outcome(await thief.get("/confirm")) == "sent to sign in"

    run_with_board(work)


def test_confirming_makes_another_session() -> None:
    async def work(site: BoardSite) -> None:
        browser = await site.with_passkey("officer")
        before, csrf = browser.cookie, await browser.token()
        await browser.answer_passkey("/confirm")
        assert browser.cookie != before
        assert await browser.token() != csrf
        thief = site.browser("officer")
        thief.cookie = before
        assert outcome(await thief.get("/confirm")) == "sent to sign in"

    run_with_board(work)


def test_a_passkeys_answer_counts_once() -> None:
    async def work(site: BoardSite) -> None:
        browser = await site.with_passkey("officer")
        form = await browser.passkey_form("/confirm")
        assert (await browser.post("/confirm", form)).status == 303
        form["csrf"] = await browser.token()
        assert (await browser.post("/confirm", form)).status == 401

    run_with_board(work)


@pytest.mark.parametrize("name", [page.id for page in PAGES if page.risky])
def test_a_risky_act_wants_a_fresh_proof(name: str) -> None:
    page = PAGES_BY_ID[name]

    async def work(site: BoardSite) -> None:
        browser = await site.signed_in(_allowed(page))
        csrf, before = await browser.token(), site.services.store.tree_size()
        site.grow_old()
        answer = await browser.post(path_of(page, site.known), {"csrf": csrf})
        assert answer.status == 303
        assert answer.header("location").startswith("/confirm")
        assert site.services.store.tree_size() == before

    run_with_board(work)


@pytest.mark.parametrize("visitor", ["", "officer"])
def test_an_anonymous_stream_is_not_opened(visitor: str) -> None:
    async def work(site: BoardSite) -> None:
        browser = await browser_of(site, visitor)
        answer = await browser.get("/live")
        assert (answer.status == 200) == bool(visitor)

    run_with_board(work)


def test_signing_out_ends_the_session() -> None:
    async def work(site: BoardSite) -> None:
        browser = await site.signed_in("officer")
        old = browser.cookie
        await browser.post("/sign-out", {"csrf": await browser.token()})
        thief = site.browser("officer")
        thief.cookie = old
        assert outcome(await thief.get("/confirm")) == "sent to sign in"

    run_with_board(work)


def test_a_stolen_cookie_is_worth_nothing_elsewhere() -> None:
    async def work(site: BoardSite) -> None:
        browser = await site.signed_in("officer")
        cookie = {"cookie": f"{SESSION}={browser.cookie}"}
        twice = {"cookie": f"{SESSION}={browser.cookie}; {SESSION}=another"}
        assert (await browser.get("/confirm", cookie)).status == 200
        assert outcome(await browser.get("/confirm", twice)) == "sent to sign in"
        without = site.browser()
        assert outcome(await without.get("/confirm", cookie)) == "sent to sign in"
        others = site.browser("auditor")
        assert outcome(await others.get("/confirm", cookie)) == "sent to sign in"
        agent = {**cookie, "user-agent": "another browser"}
        assert outcome(await browser.get("/confirm", agent)) == "sent to sign in"

    run_with_board(work)


@pytest.mark.parametrize(
    "path",
    ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "\t//x"],
)
def test_nobody_is_sent_to_another_site_after_signing_in(path: str) -> None:
    async def work(site: BoardSite) -> None:
        browser = site.browser("officer")
        form = {"csrf": await browser.token(), "next": path}
        answer = await browser.post("/sign-in/certificate", form)
        assert answer.header("location") == "/"

    run_with_board(work)
