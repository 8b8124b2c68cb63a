"""Enrolling a passkey with an invitation's one-time code, by anybody who has it.

The code travels in the body of a form alone: no address and no log holds it.
"""

import json

from starlette.responses import Response

from kms.domain.passkeys import Purpose, parse_passkey_name
from kms.errors import StateNotAllowed, Unauthenticated
from kms.i18n import _
from kms.usecases.passkeys.enrolling import REFUSED, Ceremony, enroll, enrolment_options
from kms.usecases.passkeys.refusing import Attempt, attempts
from kms.web.roles import ANYBODY
from kms.web.views.account import answer
from kms.web.visit import Kind, Page, Visit
from kms.web.words import said

_ABOUT = "enrolment"
_UNAUTHENTICATED = 401


async def _code_page(visit: Visit) -> Response:
    return visit.show("enroll.html", refused="", hint="", lasts=visit.board.invitation_seconds)


async def _code(visit: Visit) -> Response:
    try:
        async with attempts(visit.services, Attempt(visit.address), REFUSED):
            ceremony = enrolment_options(visit.services, visit.form("code"))
    except Unauthenticated as error:
        hint = _("ask for another one")
        lasts = visit.board.invitation_seconds
        return visit.show(
            "enroll.html", _UNAUTHENTICATED, refused=said(error), hint=hint, lasts=lasts
        )
    visit.session.keep_draft(_ABOUT, ceremony)
    return visit.go("/enroll/passkey")


async def _passkey_page(visit: Visit) -> Response:
    ceremony = visit.session.draft(_ABOUT)
    if not isinstance(ceremony, Ceremony):
        return visit.go("/enroll")
    return visit.show(
        "enroll-passkey.html",
        options=json.dumps(ceremony.options),
        whose=ceremony.person,
        approval=ceremony.purpose is Purpose.APPROVAL,
        action="/enroll/passkey",
    )


async def _passkey(visit: Visit) -> Response:
    name = parse_passkey_name(visit.form("name"))
    ceremony = visit.session.take_draft(_ABOUT)
    if not isinstance(ceremony, Ceremony):
        raise StateNotAllowed("no passkey is being enrolled here", hint="type your code again")
    made = await enroll(visit.services, visit.address, ceremony, answer(visit), name)
    if visit.session.principal is not None:
        visit.tell(_("The passkey is enrolled."))
        return visit.go(f"/settings/passkeys/{made.credential}")
    if made.purpose is Purpose.APPROVAL:
        visit.tell(_("The passkey is enrolled. Sign in, and admit it as the settings say."))
    else:
        visit.tell(_("The passkey is enrolled. Sign in with it."))
    return visit.go("/sign-in")


PAGES = (
    Page("enroll", "/enroll", ANYBODY, _code_page, begins=True),
    Page("enroll-code", "/enroll", ANYBODY, _code, Kind.ACT),
    Page("enroll-passkey", "/enroll/passkey", ANYBODY, _passkey_page),
    Page("enroll-passkey-made", "/enroll/passkey", ANYBODY, _passkey, Kind.ACT),
)
