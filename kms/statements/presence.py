"""Presence: by a passkey that verifies its user, somebody shows to be at a device of a meeting now.

Three base64url parts: header {"alg":"WebAuthn","typ":"conclave-presence"}, payload, and a proof of
three parts: the host's key, the host's invitation of the device, which names the passkey, and a
WebAuthn assertion whose challenge is the SHA-256 of the payload. So the chain is: site root, the
manifest's key, the manifest's host, invitation, passkey, this statement. The device's own key is
not in it: whoever stole that admits no passkey. Fresh and used once is judged where it is used.
"""

import hashlib
from dataclasses import dataclass

from kms.errors import InvalidInput, VerificationFailed
from kms.statements.canonical import b64u, canonical, decode_record, digest, encode_record, unb64u
from kms.statements.invitation import Invitation, InvitedPasskey, host_key, verify_invitation
from kms.statements.jws import spki_id
from kms.statements.webauthn import Assertion, check_assertion

TYP = "conclave-presence"
MAX_BYTES = 8192
NONCE_BYTES = 16
_HEADER = b64u(canonical({"alg": "WebAuthn", "typ": TYP}))


@dataclass(frozen=True, slots=True)
class Presence:
    """The invited person is at this device for this meeting. ``device`` is its recipient id,
    ``issued`` in whole seconds, ``nonce`` NONCE_BYTES random bytes in base64url.
    """

    site: str
    space: str
    meeting: str
    device: str
    issued: int
    nonce: str


@dataclass(frozen=True, slots=True)
class Proof:
    """The third part: ``host`` is the host's key (SPKI, base64url), ``invitation`` a JWS by it."""

    host: str
    invitation: str
    assertion: Assertion


@dataclass(frozen=True, slots=True)
class Shown:
    """A statement that holds: what it says, who was invited by which token and passkey.
    ``digest`` (base64url SHA-256 of the payload) names it.
    """

    presence: Presence
    invitation: Invitation
    token: str
    passkey: InvitedPasskey
    digest: str


def challenge_of(payload: bytes) -> bytes:
    """Return what the authenticator is asked to sign."""
    return hashlib.sha256(payload).digest()


def encode_presence(presence: Presence) -> bytes:
    """Return the payload; raise InvalidInput."""
    if len(unb64u(presence.nonce)) != NONCE_BYTES:
        raise InvalidInput(f"a nonce has {NONCE_BYTES} bytes")
    return encode_record(presence)


def join(payload: bytes, proof: Proof) -> str:
    """Return the statement."""
    return f"{_HEADER}.{b64u(payload)}.{b64u(encode_record(proof))}"


def is_presence(token: str) -> bool:
    """Whether this is to be read as such a statement, not as a JWT."""
    return token.partition(".")[0] == _HEADER


def verify_presence(token: str, host: str) -> Shown:
    """Return a statement by a passkey that the host of that id named, for a device that it invited
    at the time that the statement tells; raise VerificationFailed.
    """
    payload, presence, proof = _parts(token)
    key = host_key(proof.host)
    if spki_id(key) != host:
        raise VerificationFailed("the invitation is by another than the meeting's host")
    invitation = verify_invitation(proof.invitation, key)
    _check_invited(presence, invitation)
    passkey = invitation.passkey
    if passkey is None or passkey.credential != proof.assertion.credential:
        raise VerificationFailed("the host invited another passkey, or none")
    check_assertion(
        proof.assertion,
        key_spki=passkey.spki,
        party=passkey.party,
        challenge=challenge_of(payload),
    )
    return Shown(presence, invitation, proof.invitation, passkey, digest(payload))


def _check_invited(presence: Presence, invitation: Invitation) -> None:
    invited = (invitation.site, invitation.space, invitation.meeting, invitation.device)
    if (presence.site, presence.space, presence.meeting, presence.device) != invited:
        raise VerificationFailed("the host invited to something else")
    if not invitation.in_force(presence.issued):
        raise VerificationFailed("the invitation is not in force")


def _parts(token: str) -> tuple[bytes, Presence, Proof]:
    """Return payload and proof; raise VerificationFailed unless they have their one spelling."""
    if len(token) > MAX_BYTES or not is_presence(token):
        raise VerificationFailed("not a statement of presence")
    try:
        _, payload, proof = token.split(".")
        presence = decode_record(unb64u(payload), Presence)
        return encode_presence(presence), presence, decode_record(unb64u(proof), Proof)
    except (InvalidInput, ValueError) as error:
        raise VerificationFailed("not a statement of presence") from error
