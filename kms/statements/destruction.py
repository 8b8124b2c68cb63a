"""Destruction certificates: which keys were destroyed, how, when, by whose word, and what still
closes the copies in older backups. Signed by the manifest key of the space.

Large destructions are certified in parts, one JWS a line, which only together are the certificate.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

from kms.domain.models import RecipientKind
from kms.errors import InvalidInput, VerificationFailed
from kms.statements import jws
from kms.statements.canonical import decode_record, encode_record
from kms.statements.keylist import KeyList, KeyUse
from kms.statements.request import OperationRequest

TYP = "conclave-destruction+jws"
METHOD = "crypto-shredding"
"""The key existed in clear only inside the HSM and only while it was minted; since then only as
envelopes. Every envelope was erased, so nothing is left that could be opened."""

MAX_PARTS = 10_000


@dataclass(frozen=True, slots=True)
class DestroyedKey:
    """One epoch's key: the SHA-256 of its manifest (JWS) and the key's commitment, both as the
    manifest has them, and the time for which it was made (whole seconds).
    """

    epoch: int
    manifest: str
    commitment: str
    activates: int
    retires: int


@dataclass(frozen=True, slots=True, order=True)
class WrappedUnder:
    """A keeper that an erased envelope was made for: a vault's version or an escrow generation.
    Until its private key is destroyed too, it opens what an older backup holds.
    """

    kind: RecipientKind
    version: int
    id: str


@dataclass(frozen=True, slots=True)
class DestructionCertificate:
    """The certificate, or one of its ``parts`` (counted from 1). ``digest`` is that of the request
    ``request``, ``executor`` the caller that carried it out, ``requester`` and ``supervisors`` are
    people of the register.

    ``closed_by`` is when the space's policy has the vault key replaced at the latest; 0: the policy
    sets no date. No date is promised for escrow generations: a ceremony replaces them. Whole
    seconds.
    """

    iss: str
    space: str
    meeting: str
    operation: str
    request: str
    digest: str
    part: int
    parts: int
    keys: tuple[DestroyedKey, ...]
    keepers: tuple[WrappedUnder, ...]
    method: str
    destroyed: int
    issued: int
    executor: str
    requester: str
    supervisors: tuple[str, ...]
    closed_by: int


def sign_certificate(part: DestructionCertificate, kid: str, signer: jws.RawSigner) -> str:
    """Return one part as a JWS."""
    return jws.sign(encode_record(part), typ=TYP, kid=kid, signer=signer)


def split_certificate(text: str) -> tuple[str, ...]:
    """Return the parts of a certificate's text; raise VerificationFailed if there are too many."""
    parts = tuple(text.strip().split("\n"))
    if len(parts) > MAX_PARTS:
        raise VerificationFailed(f"a certificate has at most {MAX_PARTS} parts")
    return parts


def verify_certificate(text: str, keys: KeyList) -> DestructionCertificate:
    """Return the whole certificate as if it had one part; raise VerificationFailed unless every
    part is there, in order, signed for its space and says the same of everything but its keys.
    """
    found = [_verify_part(part, keys) for part in split_certificate(text)]
    if found[0].iss != keys.iss or found[0].method != METHOD:
        raise VerificationFailed("the certificate is another site's, or tells of another method")
    return _whole(found)


def peek_certificate(text: str) -> DestructionCertificate:
    """Return the whole certificate WITHOUT checking a signature; raise VerificationFailed unless
    its parts belong together.
    """
    return _whole([_peek_part(part) for part in split_certificate(text)])


def _whole(found: Sequence[DestructionCertificate]) -> DestructionCertificate:
    if found[0].parts != len(found):
        raise VerificationFailed(f"of {found[0].parts} parts there are {len(found)}")
    for number, part in enumerate(found, start=1):
        if part != replace(found[0], part=number, keys=part.keys, keepers=part.keepers):
            raise VerificationFailed("the parts are not those of one certificate")
    keepers = sorted(set(chain.from_iterable(part.keepers for part in found)))
    keys = tuple(chain.from_iterable(part.keys for part in found))
    epochs = [one.epoch for one in keys]
    if not epochs or epochs != sorted(set(epochs)):
        raise VerificationFailed("a certificate names each key once")
    return replace(found[0], part=1, parts=1, keys=keys, keepers=tuple(keepers))


def check_certifies(found: DestructionCertificate, wanted: OperationRequest) -> None:
    """Raise VerificationFailed unless the certificate is that of a request."""
    told = (found.iss, found.space, found.operation, found.request, found.digest)
    if told != (wanted.site, wanted.space, wanted.operation, wanted.id, wanted.digest()):
        raise VerificationFailed("the certificate is another request's")


def _peek_part(token: str) -> DestructionCertificate:
    try:
        return decode_record(jws.unverified_payload(token, typ=TYP), DestructionCertificate)
    except InvalidInput as error:
        raise VerificationFailed("not a destruction certificate") from error


def _verify_part(token: str, keys: KeyList) -> DestructionCertificate:
    claimed = _peek_part(token)
    key = keys.key(jws.key_id(token, typ=TYP), KeyUse.MANIFEST, claimed.space)
    jws.verify(token, typ=TYP, key=key)
    return claimed
