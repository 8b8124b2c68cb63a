"""Credential cards: what a person hands in to be registered. A card is signed by the very key that
it presents, which proves that whoever made it has the private half. P-256 alone.
"""

from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from kms.domain.people import Credential, CredentialKind
from kms.errors import InvalidInput, VerificationFailed
from kms.statements import jws
from kms.statements.canonical import b64u, decode_record, encode_record, unb64u

TYP = "conclave-credential+jws"


@dataclass(frozen=True, slots=True)
class HeldCredential:
    """A credential in its holder's hands: it can sign."""

    credential: Credential
    signer: jws.RawSigner


@dataclass(frozen=True, slots=True)
class Card:
    """A card that was read: whose it says it is, and the credential that signed it."""

    person: str
    credential: Credential


@dataclass(frozen=True, slots=True)
class _Claim:
    person: str
    kind: CredentialKind
    spki: str


def credential_of(kind: CredentialKind, key: ec.EllipticCurvePublicKey) -> Credential:
    """Return the credential that a public key is."""
    return Credential(jws.spki_id(key), kind, b64u(jws.spki_der(key)))


def credential_key(credential: Credential) -> ec.EllipticCurvePublicKey:
    """Return a credential's public key; raise VerificationFailed unless it is the one named.

    One key has one spelling (uncompressed), so that it cannot go by two names.
    """
    key = load_key(credential.spki)
    if credential_of(credential.kind, key) != credential:
        raise VerificationFailed("the credential's id is not that of its key")
    return key


def make_card(person: str, held: HeldCredential) -> str:
    """Return a person's card as a JWS."""
    credential = held.credential
    claim = _Claim(person, credential.kind, credential.spki)
    return jws.sign(encode_record(claim), typ=TYP, kid=credential.kid, signer=held.signer)


def read_card(token: str) -> Card:
    """Return the card; raise VerificationFailed unless the key on it signed it."""
    try:
        claim = decode_record(jws.unverified_payload(token, typ=TYP), _Claim)
    except InvalidInput as error:
        raise VerificationFailed("not a credential card") from error
    credential = Credential(jws.key_id(token, typ=TYP), claim.kind, claim.spki)
    jws.verify(token, typ=TYP, key=credential_key(credential))
    return Card(claim.person, credential)


def load_key(spki: str) -> ec.EllipticCurvePublicKey:
    """Return a P-256 key from its SPKI (base64url); raise VerificationFailed."""
    try:
        key = load_der_public_key(unb64u(spki))
    except (InvalidInput, UnsupportedAlgorithm, ValueError) as error:
        raise VerificationFailed("the credential is not a public key") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise VerificationFailed("the credential is not a P-256 key")
    return key
