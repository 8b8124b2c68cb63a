"""DSSE envelopes: one payload that several people sign, each with ES256 (r || s, 64 bytes).

Read strictly: an envelope is exactly its canonical JSON, signatures in the order of their key ids.
"""

import hashlib
import json
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from securesystemslib.dsse import Envelope
from securesystemslib.signer import Signature  # type: ignore[attr-defined] # not exported, but documented

from kms.errors import InvalidInput, VerificationFailed
from kms.statements.canonical import canonical

_HALF = 32


def signing_digest(payload: bytes, payload_type: str) -> bytes:
    """Return the SHA-256 that signers of the payload sign: that of DSSE's own encoding (PAE)."""
    return hashlib.sha256(_pae(payload, payload_type)).digest()


def check_signature(
    payload: bytes, payload_type: str, signature: bytes, key: ec.EllipticCurvePublicKey
) -> None:
    """Raise VerificationFailed unless ``key`` signed the payload as one of that type."""
    if len(signature) != 2 * _HALF:
        raise VerificationFailed("a signature has 64 bytes")
    halves = (int.from_bytes(part, "big") for part in (signature[:_HALF], signature[_HALF:]))
    try:
        raw = encode_dss_signature(*halves)
        key.verify(raw, _pae(payload, payload_type), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise VerificationFailed("the signature does not hold") from error


def encode_envelope(payload: bytes, payload_type: str, signatures: Mapping[str, bytes]) -> bytes:
    """Return the envelope; ``signatures`` maps key ids to r || s. They are not checked."""
    signed = {kid: Signature(kid, value.hex()) for kid, value in sorted(signatures.items())}
    return canonical(Envelope(payload, payload_type, signed).to_dict())


def decode_envelope(data: bytes, payload_type: str) -> tuple[bytes, dict[str, bytes]]:
    """Return payload and signatures by key id, NOT yet checked; raise VerificationFailed unless
    ``data`` is exactly the canonical form of an envelope of that type.
    """
    try:
        envelope = Envelope.from_dict(json.loads(data))
        signatures = {kid: bytes.fromhex(one.signature) for kid, one in envelope.signatures.items()}
        again = encode_envelope(envelope.payload, payload_type, signatures)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, InvalidInput) as error:
        raise VerificationFailed("not a DSSE envelope") from error
    if again != data:
        raise VerificationFailed(f"not the canonical form of an envelope of {payload_type}")
    return envelope.payload, signatures


def _pae(payload: bytes, payload_type: str) -> bytes:
    return Envelope(payload, payload_type, {}).pae()
