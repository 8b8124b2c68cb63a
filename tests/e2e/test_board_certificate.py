"""Signing in with a client certificate, in a real browser over the board's real TLS.

The site is over a FAKE HSM: what matters here happens between browser, TLS and sessions.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from playwright.sync_api import Browser, Error, expect

from kms.practice.certificates import KeyAndCertificate, issue_client, issue_server, make_authority
from kms.settings import Board, BoardPerson
from kms.statements.jws import spki_id
from tests.fixtures.board import board_settings
from tests.fixtures.board_server import ServedBoard, serving_board
from tests.fixtures.browser import Visitor, browser, visiting
from tests.practice.devices import write_key

__all__ = ["browser"]

AUDITOR = "zhao-auditor"
BUTTON = "form[action='/sign-in/certificate'] button"
PEOPLE = make_authority("people of the bank")
KNOWN, NOBODY = issue_client(PEOPLE, AUDITOR), issue_client(PEOPLE, "somebody")
STRANGER = issue_client(make_authority("people of elsewhere"), AUDITOR)


def pem(made: KeyAndCertificate) -> bytes:
    return made.certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedBoard]:
    folder = tmp_path_factory.mktemp("tls")
    server = issue_server(make_authority("servers of the bank"), "board", ("localhost",))
    certificate, key, people = (folder / name for name in ("board.pem", "board.key", "people.pem"))
    certificate.write_bytes(pem(server))
    write_key(key, server.key)
    people.write_bytes(pem(PEOPLE))

    def settings_at(port: int) -> Board:
        return msgspec.structs.replace(
            board_settings(f"https://localhost:{port}"),
            certificate=certificate,
            key=key,
            client_ca=people,
            person=(BoardPerson(AUDITOR, spki_id(KNOWN.key.public_key())),),
        )

    with serving_board(settings_at=settings_at) as served:
        yield served


def shown_at(board: ServedBoard, made: KeyAndCertificate, folder: Path) -> dict[str, Any]:
    """Return a certificate as a browser is given it."""
    write_key(folder / "own.key", made.key)
    return {"origin": board.origin, "cert": pem(made), "keyPath": folder / "own.key"}


def test_the_certificate_signs_in_and_its_session_is_no_use_without_it(
    browser: Browser, board: ServedBoard, tmp_path: Path
) -> None:
    shown = shown_at(board, KNOWN, tmp_path)
    with visiting(browser, board.origin, certificate=shown) as visitor:
        visitor.page.goto("/audit")
        visitor.page.locator(BUTTON).click()
        visitor.page.wait_for_url(f"{board.origin}/audit")
        expect(visitor.page.locator("header")).to_contain_text(AUDITOR)
        stolen = visitor.context.cookies()
        with visiting(browser, board.origin) as thief:
            thief.context.add_cookies(stolen)
            thief.page.goto("/audit")
            expect(thief.page.locator(BUTTON)).to_be_visible()
        visitor.page.goto("/reports")
        expect(visitor.page.locator("header")).to_contain_text(AUDITOR)


def not_let_in(visitor: Visitor) -> None:
    visitor.watch.expect("status of 401")
    visitor.page.goto("/sign-in")
    visitor.page.locator(BUTTON).click()
    expect(visitor.page.locator("main")).to_contain_text("登录被拒绝")


def test_nobodys_certificate_and_none_at_all_sign_in_nobody(
    browser: Browser, board: ServedBoard, tmp_path: Path
) -> None:
    with visiting(browser, board.origin, certificate=shown_at(board, NOBODY, tmp_path)) as visitor:
        not_let_in(visitor)
    with visiting(browser, board.origin) as visitor:
        not_let_in(visitor)


def test_a_certificate_of_another_authority_does_not_reach_the_board(
    browser: Browser, board: ServedBoard, tmp_path: Path
) -> None:
    shown = shown_at(board, STRANGER, tmp_path)
    refused = pytest.raises(Error, match="net::ERR_")
    with visiting(browser, board.origin, certificate=shown) as visitor, refused:
        visitor.page.goto("/sign-in")
