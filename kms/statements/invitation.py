"""Invitations: in a confidential meeting the host's own word that a device may be on the roster.

The host is a P-256 key that the meeting's first roster names; its id stands in the meeting from
then on. A roster authority alone brings nobody in. An invitation may name the passkey by which the
invited person shows to be at the device (presence.py).
"""

from dataclasses import dataclass
from typing import ClassVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kms.domain.passkeys import parse_credential
from kms.errors import InvalidInput, VerificationFailed
from kms.statements import jws
from kms.statements.canonical import b64u, decode_record, encode_record, unb64u
from kms.statements.card import load_key
from kms.statements.webauthn import RelyingParty

TYP = "conclave-invitation+jws"
_SKEW = 60
"""By how many seconds a host's clock may be ahead."""


@dataclass(frozen=True, slots=True)
class InvitedPasskey:
    """The passkey of who is invited: its id and public key (SPKI), both base64url, and where it
    answers.
    """

    credential: str
    spki: str
    rp_id: str
    origin: str

    @property
    def party(self) -> RelyingParty:
        """Where the passkey answers."""
        return RelyingParty(self.rp_id, self.origin)

    def check(self) -> None:
        """Raise InvalidInput or VerificationFailed unless assertions by it could be verified."""
        parse_credential(self.credential)
        load_key(self.spki)


@dataclass(frozen=True, slots=True)
class Invitation:
    """One device is invited to one meeting. ``device`` is its recipient id; ``issued`` and
    ``expires`` are whole seconds: beyond them the device receives no new key. ``passkey`` is left
    out where the bank's own service says who is there.
    """

    LEFT_OUT: ClassVar[tuple[str, ...]] = ("passkey",)

    site: str
    space: str
    meeting: str
    device: str
    issued: int
    expires: int
    passkey: InvitedPasskey | None = None

    def in_force(self, at: float) -> bool:
        """Whether it counts at that time (seconds since 1970)."""
        return self.issued - _SKEW <= at < self.expires


def sign_invitation(invitation: Invitation, key: ec.EllipticCurvePrivateKey) -> str:
    """Return the invitation as a compact JWS by the host's key."""
    kid = jws.spki_id(key.public_key())
    signer = jws.private_signer(key)
    return jws.sign(encode_record(invitation), typ=TYP, kid=kid, signer=signer)


def verify_invitation(token: str, host: ec.EllipticCurvePublicKey) -> Invitation:
    """Return the invitation that the host signed; raise VerificationFailed."""
    try:
        found = decode_record(jws.verify(token, typ=TYP, key=host), Invitation)
        if found.passkey is not None:
            found.passkey.check()
    except InvalidInput as error:
        raise VerificationFailed("not an invitation") from error
    return found


def host_spki(key: ec.EllipticCurvePublicKey) -> str:
    """Return a host's key as a roster names it: its SPKI in base64url."""
    return b64u(jws.spki_der(key))


def host_key(spki: str) -> ec.EllipticCurvePublicKey:
    """Return the host's key of a roster; raise VerificationFailed."""
    try:
        key = serialization.load_der_public_key(unb64u(spki))
    except (InvalidInput, ValueError, UnsupportedAlgorithm) as error:
        raise VerificationFailed("the host's key cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise VerificationFailed("the host's key is no P-256 key")
    if host_spki(key) != spki:
        raise VerificationFailed("the host's key is not in its one form")
    return key


def host_id(spki: str) -> str:
    """Return the id of a roster's host, empty without one; raise VerificationFailed."""
    return jws.spki_id(host_key(spki)) if spki else ""
