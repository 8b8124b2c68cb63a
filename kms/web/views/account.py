"""Signing in and out, proving again who one is, the language."""

import json
from typing import Any

from starlette.responses import Response

from kms.errors import InvalidInput, Unauthenticated
from kms.i18n import Language, _
from kms.usecases.passkeys.signing_in import (
    Challenge,
    confirm,
    sign_in,
    sign_in_options,
    sign_in_with_certificate,
    sign_out,
)
from kms.web.cookies import LANGUAGE, YEAR_SECONDS, keep
from kms.web.roles import ANYBODY, PEOPLE
from kms.web.visit import Kind, Page, Visit

_MOST_BYTES = 16_384
_ABOUT = "sign-in"


def local(path: str) -> str:
    """Return a path of this board, the overview for anything else."""
    fine = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isascii()
    return path if fine and path.isprintable() else "/"


def answer(visit: Visit) -> dict[str, Any]:
    """Return what the passkey answered, as the browser gives it; raise InvalidInput."""
    text = visit.form("response")
    if len(text) > _MOST_BYTES:
        raise InvalidInput("the passkey's answer is too long")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("the passkey's answer cannot be read") from error
    if not isinstance(found, dict):
        raise InvalidInput("the passkey's answer cannot be read")
    return found


async def _sign_in_page(visit: Visit) -> Response:
    if visit.session.principal:
        return visit.go(local(visit.query("next", "/")))
    challenge = sign_in_options(visit.services)
    visit.session.keep_draft(_ABOUT, challenge)
    return visit.show(
        "sign-in.html",
        options=json.dumps(challenge.options),
        certificate=visit.board.client_ca is not None,
        next=local(visit.query("next", "/")),
    )


async def _sign_in(visit: Visit) -> Response:
    challenge = visit.session.take_draft(_ABOUT)
    if not isinstance(challenge, Challenge):
        raise Unauthenticated("sign-in was refused", hint="load the page again")
    principal, _passkey = await sign_in(visit.services, visit.address, challenge, answer(visit))
    await visit.begin(principal)
    return visit.go(local(visit.form("next", "/")))


async def _sign_in_with_certificate(visit: Visit) -> Response:
    principal = await sign_in_with_certificate(visit.services, visit.address, visit.spki)
    await visit.begin(principal, visit.spki)
    return visit.go(local(visit.form("next", "/")))


async def _sign_out(visit: Visit) -> Response:
    await sign_out(visit.services, visit.principal, "signed out")
    visit.sessions.end(visit.session)
    visit.leave()
    visit.tell(_("You are signed out."))
    return visit.go("/sign-in")


async def _confirm_page(visit: Visit) -> Response:
    challenge = sign_in_options(visit.services)
    visit.session.keep_draft(_ABOUT, challenge)
    return visit.show(
        "confirm.html",
        options=json.dumps(challenge.options),
        again=bool(visit.query("again")),
        next=local(visit.query("next", "/")),
    )


async def _confirm(visit: Visit) -> Response:
    challenge = visit.session.take_draft(_ABOUT)
    if not isinstance(challenge, Challenge):
        raise Unauthenticated("sign-in was refused", hint="load the page again")
    await confirm(visit.services, visit.address, visit.principal, challenge, answer(visit))
    visit.confirm()
    if visit.form("again"):
        visit.tell(_("Confirmed. Nothing has been done yet: press the button once more."), "warn")
    else:
        visit.tell(_("Confirmed: please go on."))
    return visit.go(local(visit.form("next", "/")))


async def _speak(visit: Visit) -> Response:
    try:
        chosen = Language(visit.form("language"))
    except ValueError as error:
        raise InvalidInput("the language is zh or en") from error
    response = visit.go(local(visit.form("next", "/")))
    keep(response, LANGUAGE, chosen.value, YEAR_SECONDS)
    return response


PAGES = (
    Page("sign-in", "/sign-in", ANYBODY, _sign_in_page, begins=True),
    Page("sign-in-passkey", "/sign-in", ANYBODY, _sign_in, Kind.ACT),
    Page(
        "sign-in-certificate", "/sign-in/certificate", ANYBODY, _sign_in_with_certificate, Kind.ACT
    ),
    Page("sign-out", "/sign-out", PEOPLE, _sign_out, Kind.ACT),
    Page("confirm", "/confirm", PEOPLE, _confirm_page),
    Page("confirm-passkey", "/confirm", PEOPLE, _confirm, Kind.ACT),
    Page("language", "/language", ANYBODY, _speak, Kind.ACT),
)
