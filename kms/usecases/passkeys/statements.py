"""Signing at the board: a request or an approval by an approval passkey, and which of those still
count.
"""

from contextlib import suppress
from typing import Any

from kms.domain.approvals import Request
from kms.domain.models import Principal
from kms.domain.passkeys import Passkey, Purpose
from kms.errors import StateNotAllowed, VerificationFailed
from kms.statements.approval import TYP as APPROVAL
from kms.statements.canonical import b64u
from kms.statements.passkeys import verify_admission
from kms.statements.personal import challenge_of, join, peek_proof, verify_personal
from kms.statements.request import TYP as REQUEST
from kms.statements.webauthn import assertion_of
from kms.usecases.passkeys.people import Challenge, party_of, register_of, request_options
from kms.usecases.passkeys.signing_in import take_counter
from kms.usecases.services import Services

_HINT = "conclave passkey admit, with your credential of the register"


def signing_options(services: Services, principal: Principal, payload: bytes) -> Challenge:
    """Return what asks a person's approval passkeys to sign a payload; raise StateNotAllowed if
    none of them is admitted now.
    """
    allowed = _admitted(services, principal.name)
    if not allowed:
        raise StateNotAllowed("no approval passkey of yours is admitted", hint=_HINT)
    challenge = challenge_of(payload)
    return Challenge(challenge, request_options(services, b64u(challenge), allowed))


def assemble(
    services: Services, principal: Principal, typ: str, payload: bytes, response: dict[str, Any]
) -> str:
    """Return the statement that the person's approval passkey signed, verified; ``typ`` is that of
    a request or an approval. Raise VerificationFailed.
    """
    assertion = assertion_of(response)
    allowed = {one.credential: one for one in _admitted(services, principal.name)}
    passkey = allowed.get(assertion.credential)
    if passkey is None:
        raise VerificationFailed("this passkey is not admitted for approvals", hint=_HINT)
    token = join(payload, typ, passkey.admission, assertion)
    signed = verify_personal(token, typ, register_of(services), services.seconds())
    if signed.person.name != principal.name:
        raise VerificationFailed("somebody else's passkey")
    take_counter(services, passkey.credential, signed.counter)
    return token


def check_unrevoked(services: Services, record: Request) -> None:
    """Raise VerificationFailed if a passkey that signed a request, or an approval of it, is not
    enrolled and admitted by the very statement it carries, or was revoked since: the worker cannot
    know, it has no log.
    """
    proofs = [peek_proof(record.request, REQUEST)]
    proofs += [peek_proof(token, APPROVAL) for token in record.approvals]
    known = services.passkeys.read(services.store)
    for proof in filter(None, proofs):
        credential = proof.assertion.credential
        known.check_admitted(credential, proof.admission)
        if known.find(credential).revoked:
            raise VerificationFailed("the passkey that signed was revoked", hint="sign anew")


def _admitted(services: Services, person: str) -> list[Passkey]:
    """Return a person's approval passkeys whose admission counts here and now."""
    register, party, found = register_of(services), party_of(services), []
    for one in services.passkeys.read(services.store).of(person, Purpose.APPROVAL):
        with suppress(VerificationFailed):
            if verify_admission(one.admission, register, services.seconds()).party == party:
                found.append(one)
    return found
