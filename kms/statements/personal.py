"""Statements signed by a person, in one of two forms with three base64url parts each.

- A JWS (jws.py) by a credential of the register of people.
- By a passkey: header {"alg":"WebAuthn","typ":...}, payload, and the canonical JSON of an admission
  (passkeys.py) with a WebAuthn assertion whose challenge is the SHA-256 of the payload. So the
  authenticator signs every byte of it, an approval's time too.

Whoever has the register can check either, alone. Types of statements differ in their fields, so a
signed payload of one never reads as another.
"""

import hashlib
from dataclasses import dataclass

from kms.domain.people import Person, Register
from kms.errors import InvalidInput, VerificationFailed
from kms.statements import jws
from kms.statements.canonical import b64u, canonical, decode_record, encode_record, unb64u
from kms.statements.passkeys import verify_admission
from kms.statements.register import holder_of
from kms.statements.webauthn import Assertion, check_assertion

_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Signed:
    """A statement that holds: who signed it, its payload, and by which credential: a ``kid`` of the
    register or, with ``passkey``, a passkey's id. ``counter`` is the passkey's signature counter.
    """

    person: Person
    payload: bytes
    credential: str
    passkey: bool = False
    counter: int = 0


@dataclass(frozen=True, slots=True)
class Proof:
    """The third part of a passkey's statement; ``admission`` is a JWS."""

    admission: str
    assertion: Assertion


def challenge_of(payload: bytes) -> bytes:
    """Return what an authenticator is asked to sign: of a request, its digest."""
    return hashlib.sha256(payload).digest()


def join(payload: bytes, typ: str, admission: str, assertion: Assertion) -> str:
    """Return a passkey's statement."""
    proof = encode_record(Proof(admission, assertion))
    return f"{_header(typ)}.{b64u(payload)}.{b64u(proof)}"


def peek_payload(token: str, typ: str) -> bytes:
    """Return a statement's payload WITHOUT checking who signed it; raise VerificationFailed."""
    if _by_passkey(token, typ):
        return _parts(token)[0]
    return jws.unverified_payload(token, typ=typ)


def peek_proof(token: str, typ: str) -> Proof | None:
    """Return the proof that a passkey's statement carries, WITHOUT checking it; None for a JWS.
    Raise VerificationFailed.
    """
    return _parts(token)[1] if _by_passkey(token, typ) else None


def peek_passkey(token: str, typ: str) -> str:
    """Return the id of the passkey that a statement claims, WITHOUT checking it; empty for a JWS.
    Raise VerificationFailed.
    """
    proof = peek_proof(token, typ)
    return proof.assertion.credential if proof else ""


def verify_personal(token: str, typ: str, register: Register, at: int) -> Signed:
    """Return a statement of that type that somebody in the register made; raise
    VerificationFailed.

    ``at`` is the time that the statement itself names, in seconds: when a passkey's admission must
    have counted. Whether the person was in office then is for the caller too.
    """
    if _by_passkey(token, typ):
        return _verify_passkey(token, register, at)
    kid = jws.key_id(token, typ=typ)
    person, key = holder_of(register, kid)
    return Signed(person, jws.verify(token, typ=typ, key=key), kid)


def _verify_passkey(token: str, register: Register, at: int) -> Signed:
    payload, proof = _parts(token)
    admission = verify_admission(proof.admission, register, at)
    if proof.assertion.credential != admission.credential:
        raise VerificationFailed("the admission is of another passkey")
    counter = check_assertion(
        proof.assertion,
        key_spki=admission.spki,
        party=admission.party,
        challenge=challenge_of(payload),
    )
    person = register.person(admission.person)
    return Signed(person, payload, admission.credential, passkey=True, counter=counter)


def _header(typ: str) -> str:
    return b64u(canonical({"alg": "WebAuthn", "typ": typ}))


def _by_passkey(token: str, typ: str) -> bool:
    return token.partition(".")[0] == _header(typ)


def _parts(token: str) -> tuple[bytes, Proof]:
    """Return payload and proof; raise VerificationFailed unless they have their one spelling."""
    if len(token) > _MAX_BYTES or not token.isascii():
        raise VerificationFailed("not a statement of allowed size")
    try:
        _, payload, proof = token.split(".")
        return unb64u(payload), decode_record(unb64u(proof), Proof)
    except (InvalidInput, ValueError) as error:
        raise VerificationFailed("not a statement signed by a passkey") from error
