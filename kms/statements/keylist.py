"""The site's key list: which keys sign manifests and checkpoints, signed by the site root."""

from dataclasses import dataclass
from enum import StrEnum

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from kms.errors import InvalidInput, VerificationFailed
from kms.statements import jws
from kms.statements.canonical import decode_record, encode_record, unb64u

TYP = "conclave-keylist+jws"


class KeyUse(StrEnum):
    """What a listed key signs."""

    MANIFEST = "manifest"
    CHECKPOINT = "checkpoint"


@dataclass(frozen=True, slots=True)
class ListedKey:
    """One key: ``kid`` is the SHA-256 of ``spki`` (DER), both base64url; ``space`` is empty for
    keys of the site.
    """

    kid: str
    use: KeyUse
    space: str
    spki: str
    not_before: int


@dataclass(frozen=True, slots=True)
class KeyList:
    """The list; ``version`` counts up, a client never goes back."""

    iss: str
    version: int
    issued: int
    keys: tuple[ListedKey, ...]

    def key(self, kid: str, use: KeyUse, space: str = "") -> ec.EllipticCurvePublicKey:
        """Return one listed public key; raise VerificationFailed."""
        for entry in self.keys:
            if (entry.kid, entry.use, entry.space) == (kid, use, space):
                return load_ec(unb64u(entry.spki), kid)
        raise VerificationFailed(f"no {use} key of that id is on the site's key list")


def load_ec(spki: bytes, kid: str) -> ec.EllipticCurvePublicKey:
    """Return a P-256 public key whose id is ``kid``; raise VerificationFailed."""
    try:
        key = load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise VerificationFailed("a listed key is not a public key") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise VerificationFailed("a listed key is not on P-256")
    if jws.spki_id(key) != kid:
        raise VerificationFailed("a listed key does not match its id")
    return key


def encode_keylist(keys: KeyList) -> bytes:
    """Return the canonical payload that the site root signs."""
    return encode_record(keys)


def verify_keylist(token: str, root: ec.EllipticCurvePublicKey) -> KeyList:
    """Return the key list that the pinned site root signed; raise VerificationFailed."""
    try:
        return decode_record(jws.verify(token, typ=TYP, key=root), KeyList)
    except InvalidInput as error:
        raise VerificationFailed("not a key list") from error
