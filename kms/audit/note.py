"""Checkpoints of the log: C2SP tlog-checkpoint in a C2SP signed-note, signed with ECDSA P-256.

The key's name is the origin; its id is the first 4 bytes of the SHA-256 of its SPKI (signature
type 0x02). Extension lines are refused; signatures of keys that were not asked for (witnesses) are
passed over, as the specification wants.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from kms.audit.merkle import HASH_BYTES
from kms.errors import InvalidInput, VerificationFailed
from kms.statements.jws import RawSigner, spki_der

_HALF = 32
_ID_BYTES = 4
_MAX_CHARS = 1 << 16
_MAX_SIZE = 2**53 - 1
_MAX_SIGNATURES = 64
_NAME = re.compile(r"[!-*,-~]+", re.ASCII)
_SIZE = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_DASH = "\N{EM DASH}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: ``origin`` is the site's id, ``size`` counts leaves, ``root`` has 32 bytes."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Return the note's text, which is what gets signed; raise InvalidInput."""
        if not _NAME.fullmatch(self.origin):
            raise InvalidInput("an origin is printable ASCII without space and plus")
        if not 0 <= self.size <= _MAX_SIZE or len(self.root) != HASH_BYTES:
            raise InvalidInput("a checkpoint holds a size from 0 and a 32-byte root")
        return f"{self.origin}\n{self.size}\n{_b64(self.root)}\n"


def key_hash(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return the 4-byte id that signature lines name a key by."""
    return hashlib.sha256(spki_der(key)).digest()[:_ID_BYTES]


def sign_checkpoint(
    checkpoint: Checkpoint, key: ec.EllipticCurvePublicKey, signer: RawSigner
) -> str:
    """Return the signed note; ``signer`` signs with the private half of ``key``."""
    text = checkpoint.text()
    raw = signer(hashlib.sha256(text.encode("ascii")).digest())
    signature = key_hash(key) + _to_der(raw)
    return f"{text}\n{_DASH} {checkpoint.origin} {_b64(signature)}\n"


def verify_checkpoint(
    note: str, *, origin: str, keys: Sequence[ec.EllipticCurvePublicKey]
) -> Checkpoint:
    """Return the checkpoint of ``origin`` that at least one of ``keys`` signed.

    Raise VerificationFailed for anything else, also if a signature in a known key's name fails.
    """
    text, signatures = _split(note)
    checkpoint = _parse_text(text)
    if checkpoint.origin != origin:
        raise VerificationFailed("the checkpoint is of another log")
    signed = 0
    for name, key_id, signature in signatures:
        known = [key for key in keys if name == origin and key_hash(key) == key_id]
        if known and not any(_holds(key, signature, text) for key in known):
            raise VerificationFailed("the checkpoint's signature does not hold")
        signed += bool(known)
    if not signed:
        raise VerificationFailed("no known key signed the checkpoint")
    return checkpoint


def unverified_checkpoint(note: str) -> Checkpoint:
    """Return a note's checkpoint WITHOUT checking signatures: for indexing, never for deciding."""
    return _parse_text(_split(note)[0])


def signers(note: str) -> tuple[str, ...]:
    """Return in whose names a note is signed WITHOUT checking any signature: the log's own, and
    those of witnesses. Raise VerificationFailed.
    """
    return tuple(name for name, _id, _signature in _split(note)[1])


def _split(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    if len(note) > _MAX_CHARS or any(char < " " and char != "\n" for char in note):
        raise VerificationFailed("not a signed note of allowed size")
    text, blank, tail = note.rpartition("\n\n")
    lines = tail.split("\n")
    if not blank or lines.pop() or not 1 <= len(lines) <= _MAX_SIGNATURES:
        raise VerificationFailed("not a signed note")
    return f"{text}\n", [_parse_signature(line) for line in lines]


def _parse_text(text: str) -> Checkpoint:
    match text.split("\n"):
        case [origin, size, root, ""] if _NAME.fullmatch(origin) and _SIZE.fullmatch(size):
            checkpoint = Checkpoint(origin, int(size), _unb64(root))
        case _:
            raise VerificationFailed("the note is not a checkpoint")
    try:
        checkpoint.text()
    except InvalidInput as error:
        raise VerificationFailed("the note is not a checkpoint") from error
    return checkpoint


def _parse_signature(line: str) -> tuple[str, bytes, bytes]:
    match line.split(" "):
        case [dash, name, encoded] if dash == _DASH and name and "+" not in name:
            blob = _unb64(encoded)
        case _:
            raise VerificationFailed("not a note's signature line")
    if len(blob) <= _ID_BYTES:
        raise VerificationFailed("a note's signature is empty")
    return name, blob[:_ID_BYTES], blob[_ID_BYTES:]


def _holds(key: ec.EllipticCurvePublicKey, signature: bytes, text: str) -> bool:
    try:
        key.verify(signature, text.encode("ascii"), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _to_der(raw: bytes) -> bytes:
    return encode_dss_signature(
        int.from_bytes(raw[:_HALF], "big"), int.from_bytes(raw[_HALF:], "big")
    )


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _unb64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise VerificationFailed("not base64") from error
    if _b64(data) != text:
        raise VerificationFailed("not canonical base64")
    return data
