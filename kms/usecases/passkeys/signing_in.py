"""Signing in to the board, proving again who one is, and out.

A challenge is used once: whoever keeps sessions (kms/web) sees to that. Everything that is refused
gets one answer; the reason stands in the log.
"""

import secrets
from dataclasses import replace
from typing import Any

from kms.audit.leaf import LeafDraft
from kms.domain.models import Principal, PrincipalKind, Strength
from kms.domain.passkeys import Passkey, Purpose
from kms.errors import Unauthenticated, VerificationFailed
from kms.statements.canonical import b64u
from kms.statements.webauthn import assertion_of, check_assertion
from kms.usecases.passkeys.people import (
    Challenge,
    board_of,
    party_of,
    principal_of,
    request_options,
    sign_in_passkey,
)
from kms.usecases.passkeys.refusing import Attempt, attempts
from kms.usecases.passkeys.register import board_leaf
from kms.usecases.passkeys.writing import write
from kms.usecases.services import Services

__all__ = [
    "Challenge",
    "confirm",
    "present",
    "sign_in",
    "sign_in_options",
    "sign_in_with_certificate",
    "sign_out",
]

REFUSED = "sign-in was refused"
CHALLENGE_BYTES = 32


def sign_in_options(services: Services) -> Challenge:
    """Return a fresh challenge for any passkey of this site."""
    challenge = secrets.token_bytes(CHALLENGE_BYTES)
    return Challenge(challenge, request_options(services, b64u(challenge)))


async def sign_in(
    services: Services, address: str, challenge: Challenge, response: dict[str, Any]
) -> tuple[Principal, Passkey]:
    """Return who signed in, and with which passkey; raise Unauthenticated, TooManyAttempts."""
    attempt = Attempt(address)
    async with attempts(services, attempt, REFUSED):
        passkey, counter = _answered(services, attempt, challenge, response)
        principal = principal_of(
            services,
            passkey.person,
            PrincipalKind.PASSKEY,
            passkey.credential,
            Strength.TWO_FACTORS,
        )
        await write(services, _start(principal, address, passkey.credential, counter))
    return principal, passkey


async def confirm(
    services: Services,
    address: str,
    principal: Principal,
    challenge: Challenge,
    response: dict[str, Any],
) -> None:
    """Let somebody who is signed in prove it again, with a sign-in passkey of their own; raise
    Unauthenticated, TooManyAttempts.
    """
    attempt = Attempt(address, principal.name, session=principal.name)
    async with attempts(services, attempt, REFUSED):
        passkey, counter = _answered(services, attempt, challenge, response)
        if passkey.person != principal.name:
            raise Unauthenticated("somebody else's passkey")
        details = {"credential": passkey.credential, "counter": counter}
        auth = f"{principal.kind}:{principal.proof}"
        await write(services, board_leaf("session.confirm", principal.name, auth, details))


async def sign_in_with_certificate(services: Services, address: str, peer_spki: str) -> Principal:
    """Return whom the configuration names for a client certificate, by the SHA-256 of its SPKI
    (base64url); raise Unauthenticated, TooManyAttempts.
    """
    attempt = Attempt(address)
    async with attempts(services, attempt, REFUSED):
        attempt.person = _named(services, peer_spki)
        principal = _by_certificate(services, attempt.person, peer_spki)
        await write(services, _start(principal, address, "", 0))
    return principal


async def present(services: Services, principal: Principal) -> Principal:
    """Return who it is now, with roles and spaces from the register in force; raise
    Unauthenticated if that is nobody any more.
    """
    if principal.kind is PrincipalKind.PASSKEY:
        sign_in_passkey(services, principal)
    elif _named(services, principal.proof) != principal.name:
        raise Unauthenticated("the certificate signs in nobody")
    now = principal_of(
        services, principal.name, principal.kind, principal.proof, principal.strength
    )
    return replace(now, age=principal.age)


async def sign_out(services: Services, principal: Principal, why: str) -> None:
    """Write that a session ended, and why in a few words."""
    auth = f"{principal.kind}:{principal.proof}"
    await write(services, board_leaf("session.end", principal.name, auth, {"why": why}))


def check_answer(
    services: Services, passkey: Passkey, challenge: bytes, response: dict[str, Any]
) -> int:
    """Return the signature counter of a passkey's answer; raise VerificationFailed, also for a
    counter that does not go up: then a copy of the passkey is about (section 7.2, step 21).
    """
    counter = check_assertion(
        assertion_of(response),
        key_spki=passkey.spki,
        party=party_of(services),
        challenge=challenge,
    )
    take_counter(services, passkey.credential, counter)
    return counter


def take_counter(services: Services, credential: str, counter: int) -> None:
    """Remember a passkey's signature counter; raise VerificationFailed if it does not go up."""
    last = services.passkeys.counters.get(credential, 0)
    if (counter or last) and counter <= last:
        raise VerificationFailed("the passkey's counter went back: there may be a copy of it")
    services.passkeys.counters[credential] = counter


def _answered(
    services: Services, attempt: Attempt, challenge: Challenge, response: dict[str, Any]
) -> tuple[Passkey, int]:
    known = services.passkeys.read(services.store)
    passkey = known.find(assertion_of(response).credential)
    attempt.person, attempt.credential = passkey.person, passkey.credential
    if passkey.purpose is not Purpose.SIGN_IN:
        raise VerificationFailed("a passkey for approvals does not sign in")
    if passkey.revoked:
        raise VerificationFailed("the passkey was revoked")
    return passkey, check_answer(services, passkey, challenge.challenge, response)


def _named(services: Services, spki: str) -> str:
    for one in board_of(services).person:
        if spki and one.certificate == spki:
            return one.person
    raise Unauthenticated("the certificate signs in nobody")


def _by_certificate(services: Services, person: str, spki: str) -> Principal:
    return principal_of(services, person, PrincipalKind.TLS, spki, Strength.CERTIFICATE)


def _start(principal: Principal, address: str, credential: str, counter: int) -> LeafDraft:
    details = {"credential": credential, "counter": counter, "address": address}
    auth = f"{principal.kind}:{principal.proof}"
    return board_leaf("session.start", principal.name, auth, details)
