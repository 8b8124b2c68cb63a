"""``conclave passkey`` against the real API over a FAKE HSM. The person's credential is opened
without a file or token: that is tested elsewhere.
"""

import asyncio
import io
import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from kms.ceremonies.people.words import digest_words
from kms.cli.exits import Exit
from kms.cli.unlock import Place
from kms.domain.passkeys import Purpose
from kms.statements.canonical import digest, unb64u
from kms.usecases.passkeys.enrolling import enroll, enrolment_options
from kms.usecases.services import Services
from tests.fixtures.api import FakeSite, run_with_site
from tests.fixtures.approvals import SITE, Board
from tests.fixtures.authenticator import Authenticator
from tests.fixtures.cli import Cli, Ended
from tests.fixtures.passkeys import BROWSERS, HERE, OFFICER
from tests.fixtures.people import held

Conclave = Callable[..., "asyncio.Future[Ended]"]


def with_board(work: Callable[[Services, Any], Any], cli: Cli) -> None:
    """Run ``work(services, conclave)`` on a served site whose clock is right."""

    now = int(time.time())

    async def run(site: FakeSite) -> None:
        settings = msgspec.structs.replace(site.services.settings, board=BROWSERS)
        services = replace(site.services, settings=settings)
        await Board(SITE, now).found(services.store, settings.paths.state)

        async def conclave(*line: object) -> Ended:
            return await asyncio.to_thread(cli, "--socket", site.socket, *line)

        async with replace(site, services=services).serving():
            await work(services, conclave)

    run_with_site(run, start=now)


@pytest.fixture
def credential(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Place, "open", lambda _self, _session: held(OFFICER))


async def enrolled(services: Services, conclave: Any, purpose: Purpose) -> Any:
    """Return what ``passkey invite`` led to."""
    ended = await conclave(
        "--json", "passkey", "invite", "--person", OFFICER, "--purpose", purpose, "--key", "-"
    )
    assert ended.code == 0, ended.err
    code = json.loads(ended.out)["code"]
    assert re.fullmatch("([A-Z2-7]{4}-){5}[A-Z2-7]{4}", code)
    ceremony = enrolment_options(services, code.lower())
    answer = Authenticator().create(ceremony.options)
    return await enroll(services, HERE, ceremony, answer, "my key")


def test_one_invites_oneself_enrols_admits_and_revokes(
    cli: Cli, credential: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(services: Services, conclave: Any) -> None:
        passkey = await enrolled(services, conclave, Purpose.APPROVAL)
        words = digest_words(unb64u(digest(unb64u(passkey.spki))))
        shown = await conclave("passkey", "show", passkey.leaf)
        assert " ".join(words) in shown.out + shown.err
        line = ("passkey", "admit", passkey.leaf, "--person", OFFICER, "--key", "-")
        monkeypatch.setattr("sys.stdin", io.StringIO("wrong\n" * 3))
        assert (await conclave(*line)).code == Exit.LATER
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{words[-1]}\n"))
        admitted = await conclave(*line)
        assert admitted.code == 0
        assert "It answers at: localhost" in admitted.out + admitted.err
        [listed] = json.loads((await conclave("--json", "passkey", "list")).out)["items"]
        assert listed["admitted"]
        revoked = ("passkey", "revoke", passkey.leaf, "--reason", "lost")
        assert (await conclave(*revoked)).code == 0
        assert services.passkeys.read(services.store).find(passkey.credential).revoked

    with_board(work, cli)


def test_what_cannot_be_admitted_is_refused_before_anybody_types(
    cli: Cli, credential: None
) -> None:
    async def work(services: Services, conclave: Any) -> None:
        passkey = await enrolled(services, conclave, Purpose.SIGN_IN)
        own = ("--person", OFFICER, "--key", "-")
        ended = await conclave("passkey", "admit", passkey.leaf, *own)
        assert (ended.code, "enrol one for approvals" in ended.err) == (Exit.LATER, True)
        for unknown in ("99999", "x" * 43):
            assert (await conclave("passkey", "show", unknown)).code == Exit.NOT_FOUND

    with_board(work, cli)


def test_a_code_for_longer_than_the_site_allows_is_refused(cli: Cli, credential: None) -> None:
    async def work(_services: Services, conclave: Any) -> None:
        line = ("passkey", "invite", "--person", OFFICER, "--key", "-", "--expires-in", "2d")
        ended = await conclave(*line)
        assert (ended.code, "invitation_seconds" in ended.err) == (Exit.INVALID, True)

    with_board(work, cli)


@pytest.mark.parametrize("places", [(), ("--key", "-", "--token", "x")])
def test_one_place_of_a_credential_is_named(cli: Cli, places: tuple[str, ...]) -> None:
    ended = cli("passkey", "invite", "--person", OFFICER, *places)
    assert "give either --token or --key" in ended.err
