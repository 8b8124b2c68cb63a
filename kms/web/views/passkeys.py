"""Passkeys of people: one's own and everybody's, enrolling one for approvals, revoking.

An approval passkey counts only once its person admits it with a credential of the register; the
page shows its key's digest to compare, and the command.
"""

import json
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.responses import Response

from kms.domain.models import Role
from kms.domain.passkeys import Passkey, Purpose, parse_credential, parse_passkey_name
from kms.domain.people import Register
from kms.errors import Forbidden, InvalidInput, StateNotAllowed, VerificationFailed
from kms.i18n import _
from kms.statements.canonical import digest, unb64u
from kms.statements.passkeys import Admission, verify_admission
from kms.usecases.passkeys.enrolling import Ceremony, approval_enrolment_options, enroll
from kms.usecases.passkeys.listing import newest_passkeys, read_passkey
from kms.usecases.passkeys.people import register_of
from kms.usecases.passkeys.revoking import revoke
from kms.web.requested import digest_shown
from kms.web.roles import OFFICERS, OVERSEERS, PEOPLE
from kms.web.views.account import answer
from kms.web.visit import PAGE_ROWS, Kind, Page, Visit

_ABOUT = "approval-passkey"


@dataclass(frozen=True, slots=True)
class Shown:
    """A passkey, how it stands (``state``: its chip), and until when it is admitted (0: not)."""

    passkey: Passkey
    state: str
    text: str
    until: int


def shown(visit: Visit, passkey: Passkey, register: Register) -> Shown:
    """Return a passkey as it stands now."""
    if passkey.revoked:
        return Shown(passkey, "revoked", _("Revoked"), 0)
    if passkey.purpose is Purpose.SIGN_IN:
        return Shown(passkey, "ready", _("signs in"), 0)
    if not passkey.admission:
        return Shown(passkey, "pending", _("waits for admission"), 0)
    admission = _admission(visit, passkey, register)
    if admission is None:
        return Shown(passkey, "expired", _("admission counts no more"), 0)
    return Shown(passkey, "ready", _("admitted for approvals"), admission.expires)


def _admission(visit: Visit, passkey: Passkey, register: Register) -> Admission | None:
    try:
        return verify_admission(passkey.admission, register, visit.services.seconds())
    except VerificationFailed:
        return None


async def own_passkeys(visit: Visit) -> tuple[Shown, ...]:
    """Return the person's own passkeys, the newest first, at most a page of them."""
    call, name = visit.call("passkey.list"), visit.principal.name
    found = await newest_passkeys(visit.services, call, 0, PAGE_ROWS, name)
    register = register_of(visit.services)
    return tuple(shown(visit, one, register) for one in found)


async def _everybody(visit: Visit) -> Response:
    before = visit.number("before", 0)
    found = await newest_passkeys(visit.services, visit.call("passkey.list"), before, PAGE_ROWS)
    register = register_of(visit.services)
    last = found[-1].leaf if len(found) == PAGE_ROWS else None
    next_href = "" if last is None else f"/settings/passkeys?{urlencode({'before': last})}"
    return visit.show(
        "passkeys.html",
        passkeys=[shown(visit, one, register) for one in found],
        next_href=next_href,
        first_href="/settings/passkeys" if before else "",
    )


async def _one(visit: Visit) -> Response:
    credential = parse_credential(visit.path("credential"))
    found = await read_passkey(visit.services, visit.call("passkey.read"), credential)
    own = found.person == visit.principal.name
    approval = found.purpose is Purpose.APPROVAL
    return visit.show(
        "passkey.html",
        one=shown(visit, found, register_of(visit.services)),
        digest=digest_shown(digest(unb64u(found.spki))),
        own=own,
        approval=approval,
        may_revoke=not found.revoked and (own or Role.OFFICER in visit.principal.roles),
        in_use=own and visit.principal.proof == credential,
        origin=visit.board.origin,
    )


async def _revoke_own(visit: Visit) -> Response:
    credential = parse_credential(visit.path("credential"))
    found = await read_passkey(visit.services, visit.call("passkey.read"), credential)
    if found.person != visit.principal.name:
        raise Forbidden("this is somebody else's passkey", hint="revoke it as an officer")
    return await _revoke(visit)


async def _revoke(visit: Visit) -> Response:
    credential = parse_credential(visit.path("credential"))
    reason = visit.form("reason").strip()
    await revoke(visit.services, visit.call("passkey.revoke"), credential, reason)
    visit.tell(_("The passkey is revoked."))
    return visit.go(f"/settings/passkeys/{credential}")


async def _approval_page(visit: Visit) -> Response:
    ceremony = approval_enrolment_options(visit.services, visit.principal)
    visit.session.keep_draft(_ABOUT, ceremony)
    return visit.show(
        "enroll-passkey.html",
        options=json.dumps(ceremony.options),
        whose=ceremony.person,
        approval=True,
        action="/settings/approval-passkey",
    )


async def _approval(visit: Visit) -> Response:
    name = parse_passkey_name(visit.form("name"))
    ceremony = visit.session.take_draft(_ABOUT)
    if not isinstance(ceremony, Ceremony) or ceremony.principal is None:
        raise StateNotAllowed("no passkey is being enrolled here", hint="load the page again")
    if ceremony.person != visit.principal.name:
        raise InvalidInput("the passkey is somebody else's")
    made = await enroll(visit.services, visit.address, ceremony, answer(visit), name)
    visit.tell(_("The passkey is enrolled. It approves nothing until you admit it."))
    return visit.go(f"/settings/passkeys/{made.credential}")


_ALL = "/settings/passkeys"
_KEY = _ALL + "/{credential}"
_APPROVAL = "/settings/approval-passkey"

PAGES = (
    Page("passkeys", _ALL, OVERSEERS, _everybody),
    Page("passkey", _KEY, PEOPLE, _one),
    Page("passkey-revoke-own", f"{_KEY}/revoke-own", PEOPLE, _revoke_own, Kind.ACT),
    Page("passkey-revoke", f"{_KEY}/revoke", OFFICERS, _revoke, Kind.ACT, risky=True),
    Page("approval-passkey", _APPROVAL, OFFICERS, _approval_page, risky=True),
    Page("approval-passkey-made", _APPROVAL, OFFICERS, _approval, Kind.ACT, risky=True),
)
