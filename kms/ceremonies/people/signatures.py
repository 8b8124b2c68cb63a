"""Signatures of a transcript: one a person, each with a credential of their own."""

from collections.abc import Mapping

from kms.ceremonies.record.transcript import PAYLOAD_TYPE
from kms.domain.people import Credential, Register
from kms.errors import VerificationFailed
from kms.statements.card import credential_key
from kms.statements.dsse import check_signature, encode_envelope


def check_signatures(
    payload: bytes, register: Register, signatures: Mapping[str, tuple[str, bytes]]
) -> None:
    """Raise VerificationFailed naming the person whose signature does not hold; ``signatures``
    maps people to credential id and r || s.
    """
    for person, (kid, signature) in signatures.items():
        holder, credential = holder_of(register, kid)
        if holder != person:
            raise VerificationFailed(f"{holder} signed the transcript in the name of {person}")
        try:
            check_signature(payload, PAYLOAD_TYPE, signature, credential_key(credential))
        except VerificationFailed as error:
            raise VerificationFailed(
                f"the transcript's signature by {person} does not hold: {error.message}"
            ) from error


def holder_of(register: Register, kid: str) -> tuple[str, Credential]:
    """Return whose credential it is; raise VerificationFailed."""
    for person in register.people:
        for credential in person.credentials:
            if credential.kid == kid:
                return person.name, credential
    raise VerificationFailed(f"the transcript is signed with a key that is nobody's: {kid}")


def seal(payload: bytes, signatures: Mapping[str, tuple[str, bytes]]) -> bytes:
    """Return the signed transcript as a DSSE envelope."""
    return encode_envelope(payload, PAYLOAD_TYPE, dict(signatures.values()))
