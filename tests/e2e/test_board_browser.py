"""The board of a really served site in a real browser: people sign in with passkeys, approve, look
on while keys rotate, check a proof.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from playwright.sync_api import Browser, expect

from kms.audit.verify import verify_bundle
from kms.domain.models import Role
from kms.i18n import Language
from kms.practice import PracticeSite
from kms.web.pages import PAGES
from kms.web.visit import Kind, Page
from tests.fixtures.board import path_of
from tests.fixtures.browser import barriers, browser, picture, visiting
from tests.fixtures.softhsm import clone_site
from tests.practice.approving import approve_by, ask_for
from tests.practice.service import Service, serving
from tests.scenarios.board_people import Person
from tests.scenarios.rooms import Room, rooms

__all__ = ["browser"]

OFFICERS = ("wang-security", "sun-security", "zhou-security")
ROLES = {
    "zhao-auditor": Role.AUDITOR,
    "wang-security": Role.OFFICER,
    "chen-admin": Role.OPERATOR,
}
LANG = {Language.ZH: "zh-CN", Language.EN: "en"}
Arrive = Callable[[str], Person]


@pytest.fixture(scope="module")
def service(
    practice_master: PracticeSite, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A served practice site with a board, of the module's own."""
    site = clone_site(practice_master, tmp_path_factory.mktemp("board") / "site", board=True)
    with serving(site) as running:
        yield running


@pytest.fixture(scope="module")
def meeting(service: Service) -> Room:
    """An open meeting."""
    room = rooms(service)[1]
    wish = room.wishes()[0]
    room.adopt(wish, wish.send())
    return room


def origin_of(service: Service) -> str:
    chosen = service.settings.board
    assert chosen is not None
    return chosen.origin


@pytest.fixture
def arrive(service: Service, browser: Browser) -> Iterator[Arrive]:
    """Lets somebody come to the board: enrolled and signed in, in a browser of their own, which
    must not have done anything wrong when the test is over.
    """
    with ExitStack() as stack:

        def come(name: str) -> Person:
            visitor = stack.enter_context(visiting(browser, origin_of(service)))
            person = Person(service, visitor, name)
            person.enrol()
            person.sign_in()
            return person

        yield come


def test_two_officers_approve_and_a_third_carries_out(
    service: Service, meeting: Room, arrive: Arrive
) -> None:
    """With approval passkeys of their own, but for one: nothing undoes this, so somebody signs with
    a credential, away from the board. What is signed the worker checks again.
    """
    room = meeting.again()
    wish = room.wishes()[0]
    room.adopt(wish, wish.send())
    with service.console() as console:
        console.close_meeting(room.space, room.meeting)
    wanted = ask_for(service, "meeting.destroy", room.space, {"meeting": room.meeting})
    assert sum(need.count for need in wanted.quorum) == len(OFFICERS)
    for number, name in enumerate(OFFICERS):
        person = arrive(name)
        person.enrol_for_approvals()
        person.page.goto("/approvals")
        person.page.locator(f"a[href='/approvals/{wanted.id}']").first.click()
        expect(person.page.locator("main")).to_contain_text(room.meeting)
        picture(person.page, f"approval-{number}")
        if name == OFFICERS[-1]:
            expect(person.page.locator("main")).to_contain_text("conclave approval sign")
            approve_by(service, wanted, name)
            person.page.reload()
            break
        person.button("Sign my approval with my approval passkey").click()
        expect(person.page.get_by_role("status")).to_be_visible()
    person.page.get_by_role("checkbox").check()
    person.button("Carry out the request").click()
    expect(person.page.get_by_role("status")).to_contain_text(
        person.say("The request was carried out.")
    )
    with service.console() as console:
        assert console.meeting(room.space, room.meeting).state.value == "destroyed"


def test_a_rotation_is_seen_without_a_reload(meeting: Room, arrive: Arrive) -> None:
    page = arrive("zhao-auditor").page
    page.goto("/rotation")
    row = page.get_by_role("row").filter(
        has=page.locator(f"a[href='/rotation/{meeting.space}/{meeting.meeting}']")
    )
    epoch = row.get_by_role("cell").nth(1)
    expect(epoch).to_have_text(str(meeting.last_epoch))
    page.evaluate("window.here = true")
    wish = next(one for one in meeting.wishes() if one.kind == "suspicion")
    meeting.adopt(wish, wish.send())
    expect(epoch).to_have_text(str(meeting.last_epoch))
    assert page.evaluate("window.here"), "the page was loaded again"


def test_the_log_is_proved_on_the_page_and_elsewhere(
    service: Service, meeting: Room, arrive: Arrive, tmp_path: Path
) -> None:
    person = arrive("zhao-auditor")
    page = person.page
    page.goto(f"/audit?meeting={meeting.meeting}&action=meeting.open")
    expect(page.get_by_role("table")).to_contain_text(meeting.meeting)
    page.get_by_role("table").get_by_role("link").last.click()
    assert recomputed(person) == page.locator("dl.facts").last.locator("code").inner_text()
    person.page.goto("/audit/check")
    person.button("Check the whole log now").click()
    expect(page.get_by_text(person.say("No, the log was not altered."))).to_be_visible()
    root = load_pem_public_key(service.site.site_root.read_bytes())
    assert isinstance(root, EllipticCurvePublicKey)
    kept, bundle = taken_away(person, tmp_path)
    verify_bundle(bundle, root, [kept]).raise_if_failed()


def taken_away(person: Person, folder: Path) -> tuple[str, Path]:
    """Save the newest checkpoint, then the evidence; return them."""
    with person.page.expect_download() as got:
        person.link("Save the newest checkpoint").click()
    kept, bundle = got.value.path().read_text(), folder / "evidence.db"
    with person.page.expect_download() as got:
        person.button("Save the evidence bundle").click()
    got.value.save_as(bundle)
    return kept, bundle


def recomputed(person: Person) -> str:
    """Return the root hash that follows from the steps of a proof as the page shows them."""
    table = person.page.get_by_role("region", name=person.say("Proof")).get_by_role("row")
    first, *steps = [row.get_by_role("cell").all_inner_texts() for row in table.all()[1:]]
    node = bytes.fromhex(first[2])
    for other, side, result in steps:
        pair = [bytes.fromhex(other), node]
        pair = pair if side == person.say("left") else pair[::-1]
        node = hashlib.sha256(b"\x01" + b"".join(pair)).digest()
        assert node.hex() == result
    return node.hex()


@pytest.mark.parametrize("name", list(ROLES))
def test_every_page_can_be_used_by_everybody_in_both_languages(
    meeting: Room, arrive: Arrive, name: str
) -> None:
    """No request leaves the origin, no error, nothing that axe finds; pictures are kept."""
    person, found = arrive(name), []
    for language, lang in LANG.items():
        for page_id, path in paths(person, meeting).items():
            person.page.goto(path)
            expect(person.page.locator("html")).to_have_attribute("lang", lang)
            picture(person.page, page_id)
            found += [f"{page_id} {language}: {one}" for one in barriers(person.page)]
        person.page.locator("header button[name=language]").click()
    assert not found, "\n".join(found)


def test_whoever_is_not_signed_in_can_use_what_there_is(service: Service, browser: Browser) -> None:
    found = []
    with visiting(browser, origin_of(service)) as visitor:
        for language in LANG:
            for page_id, path in {"sign-in": "/", "enroll": "/enroll", "lost": "/nowhere"}.items():
                visitor.watch.expect("status of 404")
                visitor.page.goto(path)
                picture(visitor.page, f"{page_id}-nobody")
                found += [f"{page_id} {language}: {one}" for one in barriers(visitor.page)]
            visitor.page.locator("header button[name=language]").click()
    assert not found, "\n".join(found)


def _looker(page: Page) -> str:
    """Return who looks at a page: one of those who may is enough, and everybody has a share."""
    if page.id == "overview":
        return "chen-admin"
    return next(one for one, role in ROLES.items() if not page.roles or role in page.roles)


def paths(person: Person, meeting: Room) -> dict[str, str]:
    """Return the paths of the pages that this person looks at, filled in with what there is."""
    known = {"space": meeting.space, "meeting": meeting.meeting, "seq": "3"}
    found = {}
    for page in PAGES:
        parts = re.findall(r"\{(\w+)", page.path)
        if _looker(page) == person.name and page.kind is Kind.PAGE and set(parts) <= set(known):
            found[page.id] = path_of(page, known)
    return found
