"""Enrolling a passkey: by an invitation's one-time code, or by somebody who is signed in and wants
one for approvals, which counts only once it is admitted.

The leaf holds the public key: nothing else keeps it.
"""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

from kms.domain.models import Principal
from kms.domain.passkeys import Passkey, Purpose, parse_passkey_name, plain_code
from kms.errors import InvalidInput, StateNotAllowed, Unauthenticated, VerificationFailed
from kms.statements.canonical import b64u, digest
from kms.statements.passkeys import verify_invitation
from kms.statements.webauthn import Registration, registration_of
from kms.usecases.passkeys.people import (
    creation_options,
    in_office,
    party_of,
    register_of,
)
from kms.usecases.passkeys.refusing import Attempt, attempts
from kms.usecases.passkeys.register import Open, board_leaf
from kms.usecases.passkeys.signing_in import CHALLENGE_BYTES, present
from kms.usecases.passkeys.writing import write
from kms.usecases.services import Services, uninterrupted

REFUSED = "the invitation does not count"
CHANGES = "passkeys"
"""The lock under which passkeys change: an invitation is used once."""
_RESIDENT = {Purpose.SIGN_IN: "required", Purpose.APPROVAL: "discouraged"}
"""A passkey for approvals need not offer itself to anybody who wants to sign in."""


@dataclass(frozen=True, slots=True)
class Ceremony:
    """A passkey that is being made (a registration ceremony of WebAuthn): ``options`` is the JSON
    that the browser gets, ``invitation`` the SHA-256 of the invitation's JWS; it is empty where
    ``principal``, who is signed in, asks.
    """

    challenge: bytes
    options: dict[str, Any]
    person: str
    purpose: Purpose
    invitation: str
    principal: Principal | None = None


def enrolment_options(services: Services, code: str) -> Ceremony:
    """Return what makes the passkey that a code is for; raise Unauthenticated for every code that
    does not count: unknown, used, expired alike.
    """
    try:
        found = services.passkeys.read(services.store).invited[digest(plain_code(code).encode())]
        _check_invitation(services, found)
    except (KeyError, InvalidInput, VerificationFailed) as error:
        raise Unauthenticated(REFUSED, hint="ask for another one") from error
    invitation = found.invitation
    return _ceremony(services, invitation.person, invitation.purpose, digest(found.token.encode()))


def approval_enrolment_options(services: Services, principal: Principal) -> Ceremony:
    """Return what makes a passkey for approvals of somebody who is signed in; raise
    StateNotAllowed while another one waits for its admission.
    """
    _check_none_waits(services, principal.name, Purpose.APPROVAL)
    return _ceremony(services, principal.name, Purpose.APPROVAL, "", principal)


@uninterrupted
async def enroll(
    services: Services, address: str, ceremony: Ceremony, response: dict[str, Any], name: str
) -> Passkey:
    """Return the passkey once its leaf is durable; raise InvalidInput for its name,
    StateNotAllowed while another one waits for its admission, Unauthenticated, TooManyAttempts.
    """
    name = parse_passkey_name(name)
    session = ceremony.principal.name if ceremony.principal else ""
    attempt = Attempt(address, ceremony.person, session=session)
    async with attempts(services, attempt, REFUSED), services.locks.of(CHANGES):
        auth = await _entitled(services, ceremony)
        _check_none_waits(services, ceremony.person, ceremony.purpose)
        made = registration_of(response, party=party_of(services), challenge=ceremony.challenge)
        if made.credential in services.passkeys.known:
            raise VerificationFailed("this passkey is enrolled already")
        details = _details(services, ceremony, made, name)
        leaf = board_leaf("passkey.enroll", ceremony.person, auth, details)
        await write(services, leaf)
    return services.passkeys.read(services.store).find(made.credential)


async def _entitled(services: Services, ceremony: Ceremony) -> str:
    """Return by what the person is recognised; raise unless the invitation or session still
    counts.
    """
    known = services.passkeys.read(services.store)
    if ceremony.principal is not None:
        principal = await present(services, ceremony.principal)
        return f"{principal.kind}:{principal.proof}"
    for one in known.invited.values():
        if digest(one.token.encode()) == ceremony.invitation:
            _check_invitation(services, one)
            return f"invitation:{ceremony.invitation}"
    raise VerificationFailed("the invitation was used")


def _check_none_waits(services: Services, person: str, purpose: Purpose) -> None:
    """Raise StateNotAllowed if somebody enrolled an approval passkey in the person's name that the
    person has not admitted: it may be another's, whose words must not be taken for one's own.
    """
    own = services.passkeys.read(services.store).of(person, Purpose.APPROVAL)
    waiting = [one for one in own if not one.admission]
    if purpose is Purpose.APPROVAL and waiting:
        raise StateNotAllowed(
            "the approval passkey of number {number} waits for its admission",
            hint="admit it, or revoke it if it is not yours",
            about={"number": waiting[0].leaf},
        )


def _check_invitation(services: Services, found: Open) -> None:
    verify_invitation(found.token, register_of(services), services.seconds())


def _details(
    services: Services, ceremony: Ceremony, made: Registration, name: str
) -> dict[str, Any]:
    party = party_of(services)
    return {
        "person": ceremony.person,
        "purpose": ceremony.purpose.value,
        "credential": made.credential,
        "spki": made.spki,
        "name": name,
        "invitation": ceremony.invitation,
        "rp_id": party.id,
        "origin": party.origin,
        "counter": made.counter,
    }


def _ceremony(
    services: Services,
    name: str,
    purpose: Purpose,
    invitation: str,
    principal: Principal | None = None,
) -> Ceremony:
    person, challenge = in_office(services, name), secrets.token_bytes(CHALLENGE_BYTES)
    # Authenticators keep one passkey a site and user: one purpose must not replace the other.
    user = f"{services.settings.site.id}\n{name}\n{purpose}".encode()
    told = {
        "id": b64u(hashlib.sha256(user).digest()),
        "name": f"{name} ({purpose})",
        "displayName": person.display,
    }
    own = services.passkeys.read(services.store).of(name, purpose)
    options = creation_options(services, b64u(challenge), told, own, _RESIDENT[purpose])
    return Ceremony(challenge, options, name, purpose, invitation, principal)
