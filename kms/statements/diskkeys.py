"""Keys of a disk on their way to the appliance daemon: sealed by HPKE to its X25519 key; and a
recovery key on its way to escrow: bound to its disk.

RFC 9180, base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, one message. ``info`` is
the canonical form of what the message is for, with the daemon's nonce: it opens in answer to one
question only. HSM workers and ceremonies seal, the appliance daemon opens.
"""

import hashlib
import hmac
from dataclasses import dataclass, field

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from kms.domain.disks import Disk
from kms.errors import EnvelopeRefused, IntegrityFailure, InvalidInput
from kms.statements.canonical import b64u, canonical, unb64u

KEY_BYTES = 64
"""A slot key or recovery key: 512 random bits."""
NONCE_BYTES = 16
_PUBLIC_BYTES = 32
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


@dataclass(frozen=True, slots=True)
class DiskKeys:
    """The keys (KEY_BYTES each) that a disk's row names; None: the row has none, or the recovery
    key is under escrow alone.
    """

    key: bytes | None = field(default=None, repr=False)
    next_key: bytes | None = field(default=None, repr=False)
    recovery: bytes | None = field(default=None, repr=False)
    next_recovery: bytes | None = field(default=None, repr=False)


def load_appliance_key(text: str) -> X25519PublicKey:
    """Return the appliance's public key (base64url of 32 bytes); raise InvalidInput."""
    data = unb64u(text)
    if len(data) != _PUBLIC_BYTES:
        raise InvalidInput("an appliance key is the base64url of 32 bytes (X25519)")
    return X25519PublicKey.from_public_bytes(data)


def seal_keys(keys: DiskKeys, to: X25519PublicKey, site: str, disk: str, nonce: bytes) -> bytes:
    """Return the keys sealed in answer to ``nonce`` (NONCE_BYTES); raise InvalidInput."""
    plain = msgspec.msgpack.encode(keys)
    return _SUITE.encrypt(plain, to, _keys_info(site, disk, nonce))


def open_keys(
    sealed: bytes, private: X25519PrivateKey, site: str, disk: str, nonce: bytes
) -> DiskKeys:
    """Return the keys; raise EnvelopeRefused unless they answer ``nonce`` and are this disk's."""
    plain = _open(sealed, private, _keys_info(site, disk, nonce))
    try:
        return msgspec.msgpack.decode(plain, type=DiskKeys)
    except msgspec.DecodeError as error:
        raise EnvelopeRefused("the sealed keys hold something else") from error


def work_proof(keys: DiskKeys, site: str, disk: str, version: int, header: str = "") -> str:
    """Return the appliance's word that a work came so far, which nobody gives without the keys:
    HMAC-SHA256 (base64url) by all keys of the release whose row had ``version``. ``header`` is that
    which the work ends with; empty for its commit.
    """
    purpose = "conclave-disk-finish-v1" if header else "conclave-disk-commit-v1"
    told = canonical(
        {"disk": disk, "header": header, "purpose": purpose, "site": site, "version": version}
    )
    by = (keys.key, keys.next_key, keys.recovery, keys.next_recovery)
    return b64u(hmac.digest(msgspec.msgpack.encode(by), told, "sha256"))


def seal_recovery(key: bytes, to: X25519PublicKey, site: str, disk: str) -> bytes:
    """Return a recovery key that a ceremony recovered, sealed to the appliance."""
    return _SUITE.encrypt(key, to, _recovery_info(site, disk))


def open_recovery(sealed: bytes, private: X25519PrivateKey, site: str, disk: str) -> bytes:
    """Return the recovery key; raise EnvelopeRefused unless it is this disk's."""
    key = _open(sealed, private, _recovery_info(site, disk))
    if len(key) != KEY_BYTES:
        raise EnvelopeRefused("the sealed recovery key has another size")
    return key


def bind_recovery(key: bytes, site: str, disk: Disk, generation: int) -> bytes:
    """Return what is encrypted to the disk escrow key of ``generation``: a recovery key (KEY_BYTES)
    and the SHA-256 of what it is for (32 bytes), which shows whose it is when it is recovered.
    """
    return key + _recovery_use(site, disk, generation)


def unbind_recovery(plain: bytes, site: str, disk: Disk, generation: int) -> bytes:
    """Return the recovery key; raise IntegrityFailure unless it was bound to this disk."""
    key, use = plain[:KEY_BYTES], plain[KEY_BYTES:]
    if not hmac.compare_digest(use, _recovery_use(site, disk, generation)):
        raise IntegrityFailure("what escrow holds is another disk's recovery key")
    return key


def _recovery_use(site: str, disk: Disk, generation: int) -> bytes:
    use = {
        "disk": disk.disk,
        "generation": generation,
        "purpose": "recovery",
        "serial": disk.serial,
        "site": site,
        "space": disk.space,
    }
    return hashlib.sha256(canonical(use)).digest()


def _open(sealed: bytes, private: X25519PrivateKey, info: bytes) -> bytes:
    try:
        return _SUITE.decrypt(sealed, private, info)
    except (InvalidTag, ValueError) as error:
        raise EnvelopeRefused("the sealed keys are not for this appliance and question") from error


def _keys_info(site: str, disk: str, nonce: bytes) -> bytes:
    if len(nonce) != NONCE_BYTES:
        raise InvalidInput(f"a nonce has {NONCE_BYTES} bytes")
    return canonical(
        {"disk": disk, "nonce": b64u(nonce), "purpose": "conclave-disk-keys-v1", "site": site}
    )


def _recovery_info(site: str, disk: str) -> bytes:
    return canonical({"disk": disk, "purpose": "conclave-disk-recovery-v1", "site": site})
