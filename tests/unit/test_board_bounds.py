"""What anybody may take of the board, and what ends or renews a session: over a FAKE HSM."""

import asyncio
import time
from dataclasses import dataclass, field, replace

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kms.api import app as api
from kms.errors import Unavailable
from kms.web import ceremonies, live, visit
from kms.web.sessions import MOST_OF_PERSON
from tests.fixtures.board import VISITORS, Answer, BoardSite, Browser, run_with_board
from tests.fixtures.passkeys import leaves

LINKED = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
"""Headers of a link that another site shows."""


def ended(site: BoardSite) -> list[str]:
    """Return why sessions ended, as the log has it."""
    return [str(one.details["why"]) for one in leaves(site.services, "session.end")]


def test_a_body_that_is_no_form_of_the_board_is_not_read() -> None:
    async def work(site: BoardSite) -> None:
        served = api.build(site.services).board
        assert served is not None
        browser = Browser(served)
        form = {"csrf": await browser.token()}
        assert (await browser.post("/sign-in", form)).status == 400
        assert (await browser.post("/sign-in", {**form, "x": "%" * 22_000})).status == 413

    run_with_board(work)


def test_a_form_is_read_once_and_only_with_the_sessions_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[bytes] = []
    parse = visit._fields

    def counted(raw: bytes) -> visit.Fields:
        if raw:
            read.append(raw)
        return parse(raw)

    async def work(site: BoardSite) -> None:
        browser = await site.signed_in("officer")
        csrf = await browser.token()
        monkeypatch.setattr(visit, "_fields", counted)
        form = {"language": "en", "next": "/settings"}
        for wrong in ({}, {"csrf": "x" * 43}):
            assert (await browser.post("/language", {**wrong, **form})).status == 403
        twice = f"csrf={csrf}&csrf={csrf}&language=en".encode()
        own = {"origin": browser.origin, "sec-fetch-site": "same-origin"}
        assert (await browser.ask("POST", "/language", twice, own)).status == 403
        assert (await Browser(site.app).post("/language", {"csrf": csrf})).status == 403
        assert not read
        assert (await browser.post("/language", {"csrf": csrf, **form})).status == 303
        assert len(read) == 1

    run_with_board(work)


@pytest.mark.parametrize("name", ["x" * 65, "%41" * 65])
def test_a_field_with_a_long_name_is_refused(name: str) -> None:
    async def work(site: BoardSite) -> None:
        browser = await site.signed_in("officer")
        form = {"csrf": await browser.token(), "language": "en", name: ""}
        assert (await browser.post("/language", form)).status == 400

    run_with_board(work)


def test_whoever_only_looks_begins_no_session() -> None:
    async def work(site: BoardSite) -> None:
        for path in ("/", "/nowhere", "/live", "/enroll/passkey", "/parts/overview"):
            assert not (await site.browser().get(path)).all("set-cookie"), path
        for path in ("/sign-in", "/enroll"):
            assert (await site.browser().get(path)).cookie, path

    run_with_board(work)


@dataclass
class Held:
    """ASGI: lets no answer but an error begin before ``go``, as a client that reads nothing."""

    app: ASGIApp
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def held(message: Message) -> None:
            if message.get("status") == 200:
                await self.go.wait()
            await send(message)

        await self.app(scope, receive, held)


def test_live_pages_are_counted_before_they_begin_and_given_back() -> None:
    async def work(site: BoardSite) -> None:
        held = Held(site.app)
        officers = [await site.signed_in("officer") for _ in range(2)]
        slow = [replace(one, app=held) for one in officers]
        asked = [asyncio.ensure_future(slow[at % 2].get("/live")) for at in range(20)]
        done, waiting = await asyncio.wait(asked, timeout=0.2)
        assert {one.result().status for one in done} == {503}
        assert len(waiting) == live.MOST_OF_PERSON
        assert (await (await site.signed_in("auditor")).get("/live")).status == 200
        for one in list(waiting)[:3]:
            one.cancel()  # it never began
        held.go.set()
        opened = await asyncio.gather(*waiting, return_exceptions=True)
        assert [one.status for one in opened if isinstance(one, Answer)] == [200] * 5
        for _ in range(live.MOST_OF_PERSON + 1):
            assert (await officers[0].get("/live")).status == 200

    run_with_board(work)


def test_live_pages_have_so_many_places_in_all() -> None:
    places = live.Places(3)
    for person in ("a", "a", "b"):
        places.take(person)
    with pytest.raises(Unavailable):
        places.take("c")
    places.give("a")
    places.take("c")
    with pytest.raises(Unavailable):
        places.take("a")


def test_a_client_certificate_alone_is_no_fresh_proof() -> None:
    async def work(site: BoardSite) -> None:
        browser = site.browser("officer")
        for _ in range(2):  # however often it signs in
            await browser.sign_in()
            page = await browser.get("/settings/approval-passkey")
            assert page.header("location") == "/confirm?next=%2Fsettings%2Fapproval-passkey"

    run_with_board(work)


def test_enrolling_a_passkey_for_approvals_wants_a_fresh_proof() -> None:
    async def work(site: BoardSite) -> None:
        browser = await site.with_passkey("officer")
        path = "/settings/approval-passkey"
        assert (await browser.get(path)).status == 200
        site.grow_old()
        assert (await browser.get(path)).header("location").startswith("/confirm?")
        form = {"csrf": await browser.token(), "name": "thief", "response": "{}"}
        assert (await browser.post(path, form)).header("location").startswith("/confirm?")
        await browser.answer_passkey("/confirm")
        assert (await browser.get(path)).status == 200

    run_with_board(work)


@pytest.mark.parametrize("response", ["[" * 16_000, '{"a":' * 3_000])
def test_an_answer_that_is_nested_deeply_is_refused(response: str) -> None:
    async def work(site: BoardSite) -> None:
        browser = site.browser()
        await browser.get("/sign-in")
        form = {"csrf": await browser.token(), "response": response}
        assert (await browser.post("/sign-in", form)).status == 400

    run_with_board(work)


def test_where_somebody_came_from_need_not_be_an_address() -> None:
    async def work(site: BoardSite) -> None:
        browser = await site.signed_in("officer")
        site.grow_old()
        form = {"csrf": await browser.token()}
        path = "/settings/approval-passkey"
        for told, wanted in (("http://[x", ""), (f"{browser.origin}/settings?a=b", "%2Fsettings")):
            answer = await browser.post(path, form, {"referer": told})
            assert answer.header("location") == f"/confirm?next={wanted}&again=1"

    run_with_board(work)


def test_a_link_of_another_site_does_not_sign_its_reader_out() -> None:
    """Browsers keep a strict cookie back then; the board's own page has it sent."""

    async def work(site: BoardSite) -> None:
        browser = await site.signed_in("officer")
        for path in ("/sign-in", "/nowhere", "/settings", '//evil.example/?a="b"'):
            stranger = replace(browser, cookie="")
            answer = await stranger.get(path.replace("//", "////"), LINKED)  # read as no host
            assert answer.status == 200
            assert not answer.all("set-cookie")
            assert f'content="0;url={_escaped(browser.origin + path)}"' in answer.text
        assert (await browser.get("/settings", LINKED)).status == 200, "a cookie that came counts"
        framed = {**LINKED, "sec-fetch-dest": "iframe"}
        assert (await replace(browser, cookie="").get("/sign-in", framed)).status == 403

    run_with_board(work)


def test_the_log_has_every_session_that_somebody_ended() -> None:
    async def work(site: BoardSite) -> None:
        browsers = [await site.signed_in("officer") for _ in range(MOST_OF_PERSON + 1)]
        assert ended(site) == ["one session too many"]
        assert (await browsers[0].get("/settings")).header("location").startswith("/sign-in")
        again = browsers[-1]
        form = {"csrf": await again.token(), "next": "/"}
        assert (await again.post("/sign-in/certificate", form)).status == 303
        assert ended(site)[1:] == ["another sign-in took its place"]
        form = {"csrf": await again.token()}
        assert (await again.post("/settings/sessions/end-all", form)).status == 303
        assert ended(site)[2:] == ["ended by its person"] * MOST_OF_PERSON
        assert not site.sessions.of_person(VISITORS["officer"])

    run_with_board(work)


def test_guessing_codes_is_logged_and_slows_down() -> None:
    async def work(site: BoardSite) -> None:
        waited: list[float] = []

        async def pause(seconds: float) -> None:
            waited.append(seconds)

        site.services.attempts.pause = pause
        browser = site.browser()
        form = {"csrf": await browser.token(), "code": "A" * 24}
        answers: list[Answer] = [await browser.post("/enroll", form) for _ in range(7)]
        assert [one.status for one in answers] == [401] * 5 + [429] * 2
        assert len(waited) == 2
        assert len(leaves(site.services, "session.refused")) == 5

    run_with_board(work)


def test_one_transcript_is_set_on_paper_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting itself is the test's own: it only takes its time."""
    under_way, most = [0], [0]

    async def told(_visit: visit.Visit, _name: str) -> bytes:
        return b"%PDF"

    def set_slowly(data: bytes) -> bytes:
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        time.sleep(0.02)
        under_way[0] -= 1
        return data

    monkeypatch.setattr(ceremonies, "transcript_of", told)
    monkeypatch.setattr(ceremonies, "_set", set_slowly)

    async def work(site: BoardSite) -> None:
        browser = await site.signed_in("auditor")
        path = "/people/ceremonies/founding/transcript.pdf"
        answers = await asyncio.gather(*(browser.get(path) for _ in range(4)))
        assert [one.body for one in answers] == [b"%PDF"] * 4
        assert most == [1]

    run_with_board(work)


def _escaped(text: str) -> str:
    return text.replace('"', "&#34;")
