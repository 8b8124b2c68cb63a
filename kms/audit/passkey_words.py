"""Details of the leaves about passkeys and sessions of the board."""

import msgspec

from kms.domain.passkeys import Purpose


class _Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Details of one action; anything unknown in them is refused."""


class Invited(_Told, frozen=True):
    """Details of passkey.invite; ``statement`` is the invitation (JWS)."""

    person: str
    purpose: Purpose
    statement: str


class Enrolled(_Told, frozen=True):
    """Details of passkey.enroll: the public key (SPKI, base64url), where it answers, and the
    SHA-256 of the invitation (empty: by somebody who was signed in).
    """

    person: str
    purpose: Purpose
    credential: str
    spki: str
    name: str
    invitation: str
    rp_id: str
    origin: str
    counter: int


class Admitted(_Told, frozen=True):
    """Details of passkey.admit; ``statement`` is the admission (JWS)."""

    credential: str
    person: str
    statement: str


class Revoked(_Told, frozen=True):
    """Details of passkey.revoke."""

    credential: str
    person: str
    reason: str


class Started(_Told, frozen=True):
    """Details of session.start; ``credential`` is empty where a certificate signed in."""

    credential: str
    counter: int
    address: str


class Confirmed(_Told, frozen=True):
    """Details of session.confirm."""

    credential: str
    counter: int


class Ended(_Told, frozen=True):
    """Details of session.end."""

    why: str


class Refused(_Told, frozen=True):
    """Details of session.refused; ``closed``: for a while what else is refused stands in no log."""

    code: str
    reason: str
    address: str
    closed: bool


DETAILS: dict[str, type[_Told]] = {
    "passkey.invite": Invited,
    "passkey.enroll": Enrolled,
    "passkey.admit": Admitted,
    "passkey.revoke": Revoked,
    "session.start": Started,
    "session.confirm": Confirmed,
    "session.end": Ended,
    "session.refused": Refused,
}
"""The shape of the details of every action about passkeys and sessions."""
