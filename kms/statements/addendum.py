"""Addenda: a keeper (vault or escrow) that received an epoch's key after its manifest was signed.

A manifest never changes. What opens old keys later (a new escrow generation, a restored vault) is
told by a statement beside it, under the same kind of key. Nobody but keepers comes in this way.
"""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec

from kms.domain.models import RecipientKind
from kms.errors import InvalidInput, VerificationFailed
from kms.statements import jws
from kms.statements.canonical import decode_record, digest, encode_record
from kms.statements.manifest import Manifest, ManifestRecipient

TYP = "conclave-addendum+jws"
KEEPERS = frozenset({RecipientKind.VAULT, RecipientKind.ESCROW})
"""Recipients of every epoch: they keep keys and send nothing."""
SILENT = KEEPERS | {RecipientKind.PARTNER}
"""Recipients that are on no roster: a shared meeting's partner keeps its keys too."""
_SILENT = -1


@dataclass(frozen=True, slots=True)
class Addendum:
    """One further reader of one epoch. ``iss`` and ``sub`` are the manifest's, ``manifest`` the
    SHA-256 of its JWS (base64url), ``iat`` whole seconds.
    """

    iss: str
    sub: str
    manifest: str
    iat: int
    recipient: ManifestRecipient


def keeper(recipient: str, kind: RecipientKind, version: int, blob: bytes) -> ManifestRecipient:
    """Return the entry of a vault's version or an escrow generation that reads ``blob``."""
    return ManifestRecipient(recipient, kind, version, _SILENT, digest(blob))


def addendum_to(token: str, manifest: Manifest, now: int, entry: ManifestRecipient) -> Addendum:
    """Return the addendum to a manifest, whose JWS is ``token``, that names a further reader."""
    return Addendum(manifest.iss, manifest.sub, digest(token.encode()), now, entry)


def sign_addendum(addendum: Addendum, kid: str, signer: jws.RawSigner) -> str:
    """Return the addendum as a JWS; raise InvalidInput unless it names a keeper."""
    _check_keeper(addendum.recipient)
    return jws.sign(encode_record(addendum), typ=TYP, kid=kid, signer=signer)


def verify_addendum(token: str, key: ec.EllipticCurvePublicKey) -> Addendum:
    """Return the addendum that ``key`` signed; raise VerificationFailed."""
    try:
        addendum = decode_record(jws.verify(token, typ=TYP, key=key), Addendum)
        _check_keeper(addendum.recipient)
    except InvalidInput as error:
        raise VerificationFailed(f"not an addendum: {error.message}") from error
    return addendum


def peek_addendum(token: str) -> Addendum:
    """Return an addendum WITHOUT checking its signature: where its row's MAC vouches for it."""
    try:
        return decode_record(jws.unverified_payload(token, typ=TYP), Addendum)
    except InvalidInput as error:
        raise VerificationFailed("not an addendum") from error


def check_belongs(addendum: Addendum, manifest: Manifest, token: str) -> None:
    """Raise VerificationFailed unless the addendum is to this manifest, whose JWS is ``token``."""
    told = (addendum.iss, addendum.sub, addendum.manifest)
    if told != (manifest.iss, manifest.sub, digest(token.encode())):
        raise VerificationFailed("the addendum is to another epoch's manifest")


def _check_keeper(entry: ManifestRecipient) -> None:
    if entry.kind not in KEEPERS or entry.sender != _SILENT or entry.version < 1:
        raise InvalidInput("an addendum names a vault or an escrow generation, nobody else")
