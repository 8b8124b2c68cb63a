"""Signed rosters: in a ``roster`` space the HSM worker wraps only for devices named here.

The roster of a confidential meeting names the host too, and carries its invitation of each device.
"""

import base64
from dataclasses import dataclass
from functools import lru_cache

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec

from kms.domain.ids import RecipientId
from kms.errors import InvalidInput, VerificationFailed
from kms.statements import jws
from kms.statements.canonical import canonical

TYP = "conclave-roster+jws"
_CONFIDENTIAL = ("host", "invitations")
"""Fields that stand in the rosters of confidential meetings alone."""
_REMEMBERED = 32
"""Rosters whose invitations are kept apart: reading one of many devices takes milliseconds."""


@dataclass(frozen=True, slots=True)
class RosterStatement:
    """One version of a meeting's roster, signed by the space's registered roster authority.

    ``version`` counts up from 1. ``devices`` are X.509 certificates (base64 DER) of RSA keys of
    3072 bits or more, each issued by a device trust anchor that officers put on the token.
    ``host`` is the P-256 key (SPKI, base64url) whose ``invitations`` (JWS, one a device) put the
    devices here; empty in an ordinary meeting.
    """

    space: str
    meeting: str
    version: int
    issued: int
    devices: tuple[str, ...]
    host: str = ""
    invitations: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Return the canonical payload; raise InvalidInput for invitations without a host."""
        fields = msgspec.to_builtins(self)
        if not self.host:
            if self.invitations:
                raise InvalidInput("without a host nobody invites")
            fields = {name: fields[name] for name in fields if name not in _CONFIDENTIAL}
        return canonical(fields)


def sign_roster(statement: RosterStatement, key: ec.EllipticCurvePrivateKey) -> str:
    """Return the statement as a compact JWS."""
    signer = jws.private_signer(key)
    kid = jws.spki_id(key.public_key())
    return jws.sign(statement.encode(), typ=TYP, kid=kid, signer=signer)


def verify_roster(token: str, key: ec.EllipticCurvePublicKey) -> RosterStatement:
    """Return the roster that ``key`` signed; raise VerificationFailed."""
    return _decode(jws.verify(token, typ=TYP, key=key))


def peek_roster(token: str) -> RosterStatement:
    """Return a roster WITHOUT checking its signature: for indexing, never for deciding."""
    return _decode(jws.unverified_payload(token, typ=TYP))


def _decode(payload: bytes) -> RosterStatement:
    """Return the statement of a payload in its one form; raise VerificationFailed."""
    try:
        statement = msgspec.json.decode(payload, type=RosterStatement)
        sound = statement.encode() == payload
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidInput) as error:
        raise VerificationFailed("not a roster statement") from error
    if not sound:
        raise VerificationFailed("not a roster statement in its one form")
    return statement


def check_carries(token: str, invitation: str) -> None:
    """Raise VerificationFailed unless a roster, which is NOT verified here, carries that invitation
    (JWS).
    """
    if invitation not in _invitations(token):
        raise VerificationFailed("the invitation is not on the roster")


@lru_cache(maxsize=_REMEMBERED)
def _invitations(token: str) -> frozenset[str]:
    return frozenset(peek_roster(token).invitations)


def device_id(certificate: str) -> RecipientId:
    """Return the recipient id of a device's certificate (base64 DER); raise VerificationFailed."""
    try:
        der = base64.b64decode(certificate, validate=True)
        return RecipientId(jws.spki_id(x509.load_der_x509_certificate(der).public_key()))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise VerificationFailed("a device's certificate cannot be read") from error
