"""WebAuthn (Level 2): what an authenticator says, verified without any state.

User presence and user verification are required, ES256 is the one algorithm, no attestation is
asked for. Whether a challenge was fresh is judged where it was given out.
"""

import hashlib
import struct
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2.cose import ES256
from fido2.webauthn import AttestationObject, AuthenticatorData, CollectedClientData

from kms.domain.passkeys import parse_credential
from kms.errors import InvalidInput, VerificationFailed
from kms.statements import jws
from kms.statements.canonical import b64u, unb64u
from kms.statements.card import load_key

_MAX_BYTES = 4096
_KEY_FIELDS = {1, 3, -1, -2, -3}
_UNREADABLE = (
    *(ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError),
    struct.error,
)
"""What the parsers of foreign bytes raise."""


@dataclass(frozen=True, slots=True)
class Assertion:
    """An authenticator's answer to a challenge; every field is base64url."""

    credential: str
    authenticator_data: str
    client_data: str
    signature: str


@dataclass(frozen=True, slots=True)
class Registration:
    """A passkey that was just made: its id, its public key (SPKI, DER; both base64url) and the
    authenticator's signature counter.
    """

    credential: str
    spki: str
    counter: int


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """Where passkeys are accepted: the origin as browsers write it, and its name."""

    id: str
    origin: str


def check_assertion(
    assertion: Assertion, *, key_spki: str, party: RelyingParty, challenge: bytes
) -> int:
    """Return the signature counter of an assertion that the key made (section 7.2); raise
    VerificationFailed.
    """
    client, said = _bytes(assertion.client_data), _bytes(assertion.authenticator_data)
    _check_client(client, "webauthn.get", party, challenge)
    data = _authenticator(said)
    _check_flags(data, party)
    if data.credential_data is not None:
        raise VerificationFailed("an assertion brings no new key")
    signed = said + hashlib.sha256(client).digest()
    try:
        load_key(key_spki).verify(_bytes(assertion.signature), signed, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise VerificationFailed("the passkey's signature does not hold") from error
    return int(data.counter)


def check_registration(
    *, client_data: str, attestation: str, party: RelyingParty, challenge: bytes
) -> Registration:
    """Return the passkey of a registration (section 7.1); raise VerificationFailed.

    ``client_data`` and ``attestation`` (the attestation object) are base64url. Whatever statement
    an authenticator makes of itself is left aside: none was asked for.
    """
    _check_client(_bytes(client_data), "webauthn.create", party, challenge)
    try:
        data = AttestationObject(_bytes(attestation)).auth_data
    except _UNREADABLE as error:
        raise VerificationFailed("not the answer of an authenticator") from error
    _check_flags(data, party)
    if data.credential_data is None:
        raise VerificationFailed("the authenticator made no key")
    credential = b64u(data.credential_data.credential_id)
    try:
        parse_credential(credential)
    except InvalidInput as error:
        raise VerificationFailed(error.message) from error
    return Registration(credential, _spki(data.credential_data.public_key), int(data.counter))


def assertion_of(response: dict[str, Any]) -> Assertion:
    """Return the assertion in the JSON of a browser's PublicKeyCredential; raise
    VerificationFailed.
    """
    told = _told(response)
    names = ("authenticatorData", "clientDataJSON", "signature")
    fields = [_text(told.get(name)) for name in names]
    return Assertion(_text(response.get("id")), *fields)


def registration_of(
    response: dict[str, Any], *, party: RelyingParty, challenge: bytes
) -> Registration:
    """Return the passkey in the JSON of a browser's PublicKeyCredential; raise
    VerificationFailed.
    """
    told = _told(response)
    found = check_registration(
        client_data=_text(told.get("clientDataJSON")),
        attestation=_text(told.get("attestationObject")),
        party=party,
        challenge=challenge,
    )
    if response.get("id") != found.credential:
        raise VerificationFailed("the browser names another passkey than its authenticator")
    return found


def _told(response: dict[str, Any]) -> dict[str, Any]:
    told = response.get("response")
    if response.get("type") != "public-key" or not isinstance(told, dict):
        raise VerificationFailed("not a passkey's answer")
    return told


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise VerificationFailed("not a passkey's answer")
    return value


def _bytes(text: str) -> bytes:
    if not text.isascii() or len(text) > _MAX_BYTES:
        raise VerificationFailed("not an authenticator's bytes of allowed size")
    try:
        return unb64u(text)
    except InvalidInput as error:
        raise VerificationFailed("an authenticator's bytes are not base64url") from error


def _check_client(data: bytes, kind: str, party: RelyingParty, challenge: bytes) -> None:
    """Raise VerificationFailed unless a browser at the origin itself asked just this."""
    try:
        client = CollectedClientData(data)
    except _UNREADABLE as error:
        raise VerificationFailed("not what a browser asks an authenticator") from error
    if client.type != kind:
        raise VerificationFailed(f"the authenticator was not asked for {kind}")
    if client.challenge != challenge:
        raise VerificationFailed("the passkey answers another challenge")
    if client.origin != party.origin:
        raise VerificationFailed("the passkey was used at another origin")
    if client.cross_origin is not False:
        raise VerificationFailed("the passkey was used inside another site's page")


def _authenticator(data: bytes) -> AuthenticatorData:
    try:
        return AuthenticatorData(data)
    except _UNREADABLE as error:
        raise VerificationFailed("not an authenticator's data") from error


def _check_flags(data: AuthenticatorData, party: RelyingParty) -> None:
    if data.rp_id_hash != hashlib.sha256(party.id.encode()).digest():
        raise VerificationFailed("the passkey is another site's")
    if not data.is_user_present():
        raise VerificationFailed("nobody touched the authenticator")
    if not data.is_user_verified():
        raise VerificationFailed("the authenticator did not verify its user")


def _spki(cose: Any) -> str:
    """Return a COSE key's SPKI (base64url); raise VerificationFailed unless it is an ES256 key."""
    x, y = cose.get(-2), cose.get(-3)
    if not isinstance(cose, ES256) or cose.get(1) != 2 or cose.get(-1) != 1:  # noqa: PLR2004 -- RFC 9053
        raise VerificationFailed("the passkey is not an ES256 key")
    if set(cose) != _KEY_FIELDS or not isinstance(x, bytes) or not isinstance(y, bytes):
        raise VerificationFailed("the passkey is not an ES256 key")
    numbers = ec.EllipticCurvePublicNumbers(
        int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1()
    )
    try:
        return b64u(jws.spki_der(numbers.public_key()))
    except ValueError as error:
        raise VerificationFailed("the passkey's key is no point of P-256") from error
