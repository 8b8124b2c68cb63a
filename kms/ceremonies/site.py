"""The site's own token: root, checkpoint key, row-MAC key; and the key list that the root signs."""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from kms.ceremonies.ports import CeremonyToken, SigningUse
from kms.errors import IntegrityFailure
from kms.statements import jws
from kms.statements.canonical import b64u, digest
from kms.statements.keylist import (
    TYP,
    KeyList,
    KeyUse,
    ListedKey,
    encode_keylist,
    verify_keylist,
)

FIRST = 1


@dataclass(frozen=True, slots=True)
class SiteKeys:
    """The site's public keys (SPKI, DER)."""

    root: bytes
    checkpoint: bytes


def create_site(token: CeremonyToken) -> SiteKeys:
    """Make the site's keys on its initialised token."""
    token.self_test()
    token.generate_row_mac(FIRST)
    return SiteKeys(
        root=create_signing_key(token, SigningUse.SITE_ROOT),
        checkpoint=create_signing_key(token, SigningUse.CHECKPOINT),
    )


def create_signing_key(token: CeremonyToken, use: SigningUse, version: int = FIRST) -> bytes:
    """Make a signing pair, keep its public half out of the user's reach; return its SPKI."""
    spki = token.generate_signing(use, version)
    token.trust_signing(use, version, spki)
    return spki


def listed(use: KeyUse, spki: bytes, *, space: str = "", not_before: int) -> ListedKey:
    """Return a key's entry in the key list; ``not_before`` in whole seconds."""
    return ListedKey(digest(spki), use, space, b64u(spki), not_before)


def issue_key_list(
    token: CeremonyToken,
    root: bytes,
    site: str,
    version: int,
    issued: int,
    keys: Sequence[ListedKey],
) -> str:
    """Return the key list as a JWS signed by the site root, verified against ``root`` (SPKI)."""
    key_list = KeyList(iss=site, version=version, issued=issued, keys=tuple(keys))
    signed = jws.sign(
        encode_keylist(key_list),
        typ=TYP,
        kid=digest(root),
        signer=lambda value: token.sign(SigningUse.SITE_ROOT, FIRST, value),
    )
    public = load_der_public_key(root)
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise IntegrityFailure("the site root is not an EC key")
    verify_keylist(signed, public)
    return signed
