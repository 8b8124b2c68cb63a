"""Approvals: what officers sign before a ceremony acts, bound to exactly one plan and one use."""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec

from kms.errors import InvalidInput, VerificationFailed
from kms.statements import jws
from kms.statements.canonical import decode_record, digest, encode_record

TYP = "conclave-approval+jws"


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """What is asked to be approved, frozen when the ceremony begins.

    ``plan`` is the SHA-256 of the plan file's bytes and ``register`` that of the register's JWS
    (empty before the first), both base64url; ``nonce`` 16 random bytes. Times in whole seconds.
    """

    site: str
    ceremony: str
    kind: str
    plan: str
    register: str
    nonce: str
    roster: tuple[str, ...]
    issued: int
    expires: int

    def digest(self) -> str:
        """Return the SHA-256 of its canonical form, which approvals name."""
        return digest(encode_record(self))


@dataclass(frozen=True, slots=True)
class Approval:
    """One person's word for one request."""

    request: str
    person: str
    signed: int


def sign_approval(approval: Approval, kid: str, signer: jws.RawSigner) -> str:
    """Return an approval as a JWS."""
    return jws.sign(encode_record(approval), typ=TYP, kid=kid, signer=signer)


def verify_approval(token: str, key: ec.EllipticCurvePublicKey) -> Approval:
    """Return the approval that ``key`` signed; raise VerificationFailed."""
    try:
        return decode_record(jws.verify(token, typ=TYP, key=key), Approval)
    except InvalidInput as error:
        raise VerificationFailed("not an approval") from error
