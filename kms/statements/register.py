"""The register of people as a statement of the site root."""

from cryptography.hazmat.primitives.asymmetric import ec

from kms.domain.people import Person, Register, check_register
from kms.errors import InvalidInput, VerificationFailed
from kms.statements import jws
from kms.statements.canonical import decode_record, encode_record
from kms.statements.card import credential_key

TYP = "conclave-register+jws"


def encode_register(register: Register) -> bytes:
    """Return the canonical payload that the site root signs; raise InvalidInput."""
    check_register(register)
    return encode_record(register)


def verify_register(token: str, root: ec.EllipticCurvePublicKey) -> Register:
    """Return the register that the pinned site root signed; raise VerificationFailed."""
    try:
        register = decode_record(jws.verify(token, typ=TYP, key=root), Register)
        check_register(register)
    except InvalidInput as error:
        raise VerificationFailed(f"not a register: {error.message}") from error
    return register


def holder_of(register: Register, kid: str) -> tuple[Person, ec.EllipticCurvePublicKey]:
    """Return whose credential it is, and its key; raise VerificationFailed."""
    for person in register.people:
        for credential in person.credentials:
            if credential.kid == kid:
                return person, credential_key(credential)
    raise VerificationFailed("signed with a key that is nobody's in the register")
