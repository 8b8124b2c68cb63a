"""Enrolment and settings on the board, over a FAKE HSM: one's own passkeys and sessions."""

import json
import os
import re
from pathlib import Path

import msgspec
import pytest

from kms.domain.models import Role
from kms.domain.passkeys import CODE_BYTES, Purpose, code_of, plain_code
from kms.settings import Mail, Notify, Webhook
from kms.statements.canonical import b64u, digest, unb64u
from kms.usecases.passkeys.inviting import invite
from kms.web.cookies import SESSION
from kms.web.views import passkeys
from kms.web.views.settings import _channels
from tests.fixtures.approving_board import english, officer, options, plain
from tests.fixtures.authenticator import Authenticator
from tests.fixtures.board import ORIGIN, BoardSite, Browser, enrol, run_with_board
from tests.fixtures.passkeys import call, caller, leaves
from tests.fixtures.vouching import invitation

PERSON = "sun-security"


async def invited(site: BoardSite, purpose: Purpose = Purpose.SIGN_IN) -> str:
    """Return a code that counts."""
    code, now = code_of(os.urandom(CODE_BYTES)), site.services.seconds()
    token = invitation(PERSON, purpose, code=code, issued=now, expires=now + 3600)
    await invite(site.services, call("passkey.invite", caller(Role.OFFICER)), token)
    return code


async def typed(browser: Browser, code: str) -> tuple[int, str]:
    """Type a code; return status and where it leads."""
    answer = await browser.post("/enroll", {"csrf": await browser.token(), "code": code})
    return answer.status, answer.header("location")


async def made(browser: Browser, name: str = "blue key") -> tuple[int, str]:
    """Make the passkey that the page asks for; return status and where it leads."""
    page = (await browser.get("/enroll/passkey")).text
    answer = browser.authenticator.create(options(page))
    fields = {"csrf": await browser.token(), "name": name, "response": json.dumps(answer)}
    done = await browser.post("/enroll/passkey", fields)
    return done.status, done.header("location")


def test_an_invitation_enrols_a_passkey_that_signs_in() -> None:
    async def work(site: BoardSite) -> None:
        browser, code = site.browser(), await invited(site)
        await browser.get("/enroll")
        assert await typed(browser, code.lower().replace("-", " ")) == (303, "/enroll/passkey")
        assert PERSON in (await browser.get("/enroll/passkey")).text
        assert await made(browser) == (303, "/sign-in")
        await browser.answer_passkey("/sign-in")
        page = plain((await browser.get("/settings", english(browser))).text)
        assert "blue key to sign in" in page
        assert (await typed(browser, code))[0] == 401, "a code counts once"

    run_with_board(work)


def test_a_code_that_does_not_count_enrols_nothing() -> None:
    async def work(site: BoardSite) -> None:
        browser = site.browser()
        await browser.get("/enroll")
        for code in ("", "AAAA", code_of(bytes(CODE_BYTES)), "<script>"):
            answer = await browser.post("/enroll", {"csrf": await browser.token(), "code": code})
            assert answer.status == 401
            assert "<script>" not in answer.text.partition("<main")[2]
        assert (await browser.get("/enroll/passkey")).header("location") == "/enroll"
        fields = {"csrf": await browser.token(), "name": "x", "response": "{}"}
        assert (await browser.post("/enroll/passkey", fields)).status == 409

    run_with_board(work)


def test_the_code_stands_in_no_address_and_in_no_leaf() -> None:
    async def work(site: BoardSite) -> None:
        browser, code = site.browser(), await invited(site)
        await browser.get("/enroll")
        await typed(browser, code)
        await made(browser)
        log = b"".join(site.services.store.leaves(0, 1000)).decode()
        assert plain_code(code) not in log
        assert code not in log

    run_with_board(work)


def test_an_approval_passkey_shows_its_key_and_how_it_is_admitted() -> None:
    async def work(site: BoardSite) -> None:
        sun = await officer(site, PERSON)
        where = (await sun.enrol_for_approvals()).header("location")
        key, text = sun.own.made[-1], plain(await sun.read(where))
        sha256 = unb64u(digest(unb64u(key.spki))).hex()
        number = site.services.passkeys.find(key.credential).leaf
        assert " ".join(sha256[at : at + 4] for at in range(0, 64, 4)) in text
        assert f"conclave passkey admit {number} --person {PERSON}" in text
        assert "waits for admission" in text
        assert "signed out" not in text, "it signs nobody in"
        await sun.admit()
        assert "admitted for approvals" in await sun.read("/settings")

    run_with_board(work)


def test_whoever_revokes_the_own_passkey_is_signed_out() -> None:
    async def work(site: BoardSite) -> None:
        sun = await officer(site, PERSON)
        (key,) = sun.browser.authenticator.made
        path = f"/settings/passkeys/{key.credential}"
        assert (await sun.act(f"{path}/revoke-own", reason="")).status == 400
        assert (await sun.act(f"{path}/revoke-own", reason="it is lost")).status == 303
        assert (await sun.ask("/settings")).header("location").startswith("/sign-in")

    run_with_board(work)


def test_others_passkeys_are_revoked_by_officers_who_prove_who_they_are() -> None:
    async def work(site: BoardSite) -> None:
        theirs = await enrol(site.services, PERSON, Purpose.SIGN_IN, Authenticator(ORIGIN))
        path = f"/settings/passkeys/{theirs.credential}"
        wang, auditor = await officer(site, "wang-security"), await site.signed_in("auditor")
        fields = {"csrf": await auditor.token(), "reason": "no"}
        refused = [
            (await auditor.post(f"{path}/{act}", fields)).status for act in ("revoke", "revoke-own")
        ]
        around = await wang.act(f"{path}/revoke-own", reason="lost")
        site.grow_old()
        old = await wang.act(f"{path}/revoke", reason="lost")
        assert (refused, around.status) == ([403, 403], 403)
        assert old.header("location").startswith("/confirm")
        assert not site.services.passkeys.find(theirs.credential).revoked
        await wang.browser.answer_passkey("/confirm")
        assert (await wang.act(f"{path}/revoke", reason="lost")).status == 303
        assert site.services.passkeys.find(theirs.credential).revoked

    run_with_board(work)


def test_everybodys_passkeys_are_for_officers_and_auditors() -> None:
    async def work(site: BoardSite) -> None:
        await enrol(site.services, PERSON, Purpose.SIGN_IN, Authenticator(ORIGIN))
        for visitor, status in (("auditor", 200), ("officer", 200), ("operator", 403)):
            browser = await site.signed_in(visitor)
            answer = await browser.get("/settings/passkeys")
            assert (answer.status, PERSON in answer.text) == (status, status == 200)

    run_with_board(work)


def test_everybodys_passkeys_are_paged_the_newest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(site: BoardSite) -> None:
        browser = await site.signed_in("auditor")
        for _ in range(3):
            await enrol(site.services, PERSON, Purpose.SIGN_IN, Authenticator(ORIGIN))
        known = site.services.passkeys.read(site.services.store).known
        monkeypatch.setattr(passkeys, "PAGE_ROWS", 2)
        seen: list[str] = []
        path = "/settings/passkeys"
        while path:
            page = (await browser.get(path)).text
            seen += re.findall(r'href="/settings/passkeys/([^"?]+)"', page)
            after = re.search(r'href="(/settings/passkeys\?before=\d+)" rel="next"', page)
            path = after[1] if after else ""
        assert seen == list(known)[::-1]

    run_with_board(work)


def test_on_paper_a_page_names_what_was_asked_for_alone() -> None:
    async def work(site: BoardSite) -> None:
        page = await (await site.signed_in("auditor")).get("/rotation?space=&overdue=1")
        assert "/rotation?overdue=1 ·" in page.text

    run_with_board(work)


def test_sessions_are_ended_one_by_one_or_all() -> None:
    async def work(site: BoardSite) -> None:
        first, second = await site.signed_in("auditor"), await site.signed_in("auditor")
        page = (await first.get("/settings")).text
        assert second.cookie not in page
        assert first.cookie not in page
        other = b64u(b"x" * 32)
        for handle, status in ((other, 404), (digest(second.cookie.encode()), 303)):
            fields = {"csrf": await first.token(), "session": handle}
            assert (await first.post("/settings/sessions/end", fields)).status == status
        assert (await second.get("/settings")).header("location").startswith("/sign-in")
        assert (await first.get("/settings")).status == 200
        third = await site.signed_in("auditor")
        fields = {"csrf": await first.token()}
        done = await first.post("/settings/sessions/end-all", fields)
        assert done.header("location") == "/sign-in"
        assert (await third.get("/settings")).header("location").startswith("/sign-in")
        assert len(leaves(site.services, "session.end")) == 3

    run_with_board(work)


def test_nobody_ends_the_session_of_somebody_else() -> None:
    async def work(site: BoardSite) -> None:
        auditor, operator = await site.signed_in("auditor"), await site.signed_in("operator")
        fields = {"csrf": await auditor.token(), "session": digest(operator.cookie.encode())}
        assert (await auditor.post("/settings/sessions/end", fields)).status == 404
        assert (await operator.get("/settings")).status == 200
        assert SESSION not in (await auditor.get("/settings")).text

    run_with_board(work)


def test_channels_are_named_and_their_places_and_secrets_are_not() -> None:
    async def work(site: BoardSite) -> None:
        hook = Webhook(name="hook", url="https://u:p@10.0.0.1/x", secret=Path("/etc/secret"))
        mail = Mail(name="post", sender="a@b.example", recipients=("c@d.example",))
        notify = Notify(webhook=(hook,), mail=(mail,))
        told = _channels(msgspec.structs.replace(site.services.settings, notify=notify))
        assert told == [("hook", "webhook", "notice", True), ("post", "mail", "notice", True)]

    run_with_board(work)
