"""Compact JWS (RFC 7515) with ES256 and a fixed ``typ``: the one signature format of statements.

Signing is by a callable, since the keys of the service lie in the HSM.
"""

from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)

from kms.errors import InvalidInput, VerificationFailed
from kms.statements.canonical import b64u, canonical, digest, unb64u

_HALF = 32
_MAX_BYTES = 1 << 20

RawSigner = Callable[[bytes], bytes]
"""Takes a SHA-256 digest (32 bytes), returns r || s (64 bytes): CKM_ECDSA's own shape."""


def sign(payload: bytes, *, typ: str, kid: str, signer: RawSigner) -> str:
    """Return the compact JWS of ``payload``; ``kid`` is the signing key's id (``spki_id``)."""
    header = b64u(canonical({"alg": "ES256", "kid": kid, "typ": typ}))
    signing_input = f"{header}.{b64u(payload)}"
    hasher = hashes.Hash(hashes.SHA256())
    hasher.update(signing_input.encode("ascii"))
    return f"{signing_input}.{b64u(signer(hasher.finalize()))}"


def key_id(token: str, *, typ: str) -> str:
    """Return the ``kid`` that a JWS claims; the header must be exactly ours."""
    return _split(token, typ)[0]


def unverified_payload(token: str, *, typ: str) -> bytes:
    """Return a JWS's payload WITHOUT checking its signature: for indexing, never for deciding."""
    return _split(token, typ)[1]


def verify(token: str, *, typ: str, key: ec.EllipticCurvePublicKey) -> bytes:
    """Return the payload of a JWS that ``key`` signed; raise VerificationFailed."""
    kid, payload, signature = _split(token, typ)
    if kid != spki_id(key):
        raise VerificationFailed("the statement names another key")
    raw = encode_dss_signature(
        int.from_bytes(signature[:_HALF], "big"), int.from_bytes(signature[_HALF:], "big")
    )
    signed = token.rpartition(".")[0].encode("ascii")
    try:
        key.verify(raw, signed, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise VerificationFailed("the statement's signature does not hold") from error
    return payload


def _split(token: str, typ: str) -> tuple[str, bytes, bytes]:
    if len(token) > _MAX_BYTES or not token.isascii():
        raise VerificationFailed("not a compact JWS of allowed size")
    try:
        header, payload, signature = (unb64u(part) for part in token.split("."))
    except (InvalidInput, ValueError) as error:
        raise VerificationFailed("not a compact JWS") from error
    prefix, suffix = b'{"alg":"ES256","kid":"', f'","typ":"{typ}"}}'.encode()
    kid = header[len(prefix) : len(header) - len(suffix)]
    if header != prefix + kid + suffix or not kid.isascii() or len(signature) != 2 * _HALF:
        raise VerificationFailed(f"not a statement of type {typ} signed with ES256")
    return kid.decode("ascii"), payload, signature


def private_signer(key: ec.EllipticCurvePrivateKey) -> RawSigner:
    """Return a signer over a software key, as meeting servers use for rosters."""

    def sign_digest(value: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(value, ec.ECDSA(Prehashed(hashes.SHA256()))))
        return r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big")

    return sign_digest


def spki_der(key: PublicKeyTypes) -> bytes:
    """Return a public key's SubjectPublicKeyInfo in DER."""
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def spki_id(key: PublicKeyTypes) -> str:
    """Return the base64url SHA-256 of a public key's SPKI: its name everywhere."""
    return digest(spki_der(key))
