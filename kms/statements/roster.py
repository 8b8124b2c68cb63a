"""Signed rosters: in a ``roster`` space the HSM worker wraps only for devices named here."""

import base64
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec

from kms.domain.ids import RecipientId
from kms.errors import InvalidInput, VerificationFailed
from kms.statements import jws
from kms.statements.canonical import decode_record, encode_record

TYP = "conclave-roster+jws"


@dataclass(frozen=True, slots=True)
class RosterStatement:
    """One version of a meeting's roster, signed by the space's registered roster authority.

    ``version`` counts up from 1. ``devices`` are X.509 certificates (base64 DER) of RSA keys of
    3072 bits or more, each issued by a device trust anchor that officers put on the token.
    """

    space: str
    meeting: str
    version: int
    issued: int
    devices: tuple[str, ...]


def sign_roster(statement: RosterStatement, key: ec.EllipticCurvePrivateKey) -> str:
    """Return the statement as a compact JWS."""
    signer = jws.private_signer(key)
    kid = jws.spki_id(key.public_key())
    return jws.sign(encode_record(statement), typ=TYP, kid=kid, signer=signer)


def verify_roster(token: str, key: ec.EllipticCurvePublicKey) -> RosterStatement:
    """Return the roster that ``key`` signed; raise VerificationFailed."""
    try:
        return decode_record(jws.verify(token, typ=TYP, key=key), RosterStatement)
    except InvalidInput as error:
        raise VerificationFailed("not a roster statement") from error


def peek_roster(token: str) -> RosterStatement:
    """Return a roster WITHOUT checking its signature: for indexing, never for deciding."""
    try:
        payload = jws.unverified_payload(token, typ=TYP)
        return decode_record(payload, RosterStatement)
    except InvalidInput as error:
        raise VerificationFailed("not a roster statement") from error


def device_id(certificate: str) -> RecipientId:
    """Return the recipient id of a device's certificate (base64 DER); raise VerificationFailed."""
    try:
        der = base64.b64decode(certificate, validate=True)
        return RecipientId(jws.spki_id(x509.load_der_x509_certificate(der).public_key()))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise VerificationFailed("a device's certificate cannot be read") from error
