"""Certificates of erasure: which disk was erased, how, when, by whose word, and what could still
open it. Signed by the manifest key of the disk's space.
"""

from dataclasses import dataclass
from enum import StrEnum

from kms.errors import InvalidInput, VerificationFailed
from kms.statements import jws
from kms.statements.canonical import decode_record, encode_record
from kms.statements.keylist import KeyList, KeyUse
from kms.statements.request import OperationRequest

TYP = "conclave-erasure+jws"
METHOD = "crypto-erase"
"""Every version of the disk's KEK was destroyed in the HSM and the slot key encrypted by it was
erased from the store: no header, old or new, is opened by what is left outside escrow."""


class Slots(StrEnum):
    """What the appliance says became of the key slots on the device.

    ``erased``: they are overwritten, and nothing opens the device or a backup of its header.
    ``absent``: the device was not there.
    """

    ERASED = "erased"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class ErasureCertificate:
    """``digest`` is that of the request ``request``; ``label`` what people called the disk;
    ``keks`` the highest KEK version that it ever had. ``escrow`` is the generation of the disk
    escrow key that a recovery key was encrypted to: a header that was copied before, with an old
    backup of the store, opens by that generation alone, until it is destroyed or the device
    overwritten (0: there never was one). Whole seconds.
    """

    iss: str
    space: str
    disk: str
    serial: str
    label: str
    operation: str
    request: str
    digest: str
    keks: int
    escrow: int
    method: str
    slots: Slots
    erased: int
    issued: int
    executor: str
    requester: str
    supervisors: tuple[str, ...]


def sign_erasure(found: ErasureCertificate, kid: str, signer: jws.RawSigner) -> str:
    """Return a certificate as a JWS."""
    return jws.sign(encode_record(found), typ=TYP, kid=kid, signer=signer)


def is_erasure(text: str) -> bool:
    """Whether a text is a certificate of erasure, rather than one of destruction; nothing of it is
    checked.
    """
    try:
        jws.unverified_payload(text.strip(), typ=TYP)
    except VerificationFailed:
        return False
    return True


def peek_erasure(text: str) -> ErasureCertificate:
    """Return a certificate WITHOUT checking its signature; raise VerificationFailed."""
    try:
        return decode_record(jws.unverified_payload(text.strip(), typ=TYP), ErasureCertificate)
    except InvalidInput as error:
        raise VerificationFailed("not a certificate of erasure") from error


def verify_erasure(text: str, keys: KeyList) -> ErasureCertificate:
    """Return the certificate; raise VerificationFailed unless its space's key has signed it."""
    claimed = peek_erasure(text)
    key = keys.key(jws.key_id(text.strip(), typ=TYP), KeyUse.MANIFEST, claimed.space)
    jws.verify(text.strip(), typ=TYP, key=key)
    if claimed.iss != keys.iss or claimed.method != METHOD:
        raise VerificationFailed("the certificate is another site's, or tells of another method")
    return claimed


def check_erases(found: ErasureCertificate, wanted: OperationRequest) -> None:
    """Raise VerificationFailed unless the certificate is that of a request."""
    told = (found.iss, found.space, found.operation, found.request, found.digest)
    if told != (wanted.site, wanted.space, wanted.operation, wanted.id, wanted.digest()):
        raise VerificationFailed("the certificate is another request's")
