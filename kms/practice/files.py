"""Files of a practice site: created exclusively, private from the first byte where they must be."""

import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

PRIVATE, PUBLIC = 0o600, 0o644


def write_new(path: Path, data: bytes, mode: int = PRIVATE) -> None:
    """Create a file and its folder (0700); raise FileExistsError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace(path: Path, data: bytes) -> None:
    """Write a private file that takes the place of another in one step."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    write_new(draft, data)
    draft.replace(path)


def write_key(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    """Create a PKCS#8 PEM file without a passphrase."""
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_new(path, pem)


def write_certificate(path: Path, certificate: x509.Certificate) -> None:
    """Create a PEM file."""
    write_new(path, certificate.public_bytes(serialization.Encoding.PEM), PUBLIC)
