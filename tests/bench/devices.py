"""Device certificates for rosters, made quickly: the keys are numbers that nobody can open.

What a token wraps to such a key costs what it costs for a real one.
"""

import datetime as dt
import secrets
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

BITS = 3072


def make_devices(count: int, ca: Path, ca_key: Path) -> list[x509.Certificate]:
    """Return certificates of a device authority (PEM files) for keys without private halves."""
    issuer = x509.load_pem_x509_certificate(ca.read_bytes()).subject
    key = serialization.load_pem_private_key(ca_key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return [_certificate(f"device-{number}", issuer, key) for number in range(count)]


def _certificate(name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(_public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=7))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )


def _public_key() -> rsa.RSAPublicKey:
    modulus = secrets.randbits(BITS) | 1 << (BITS - 1) | 1
    return rsa.RSAPublicNumbers(65537, modulus).public_key()


def choose(devices: Sequence[x509.Certificate], start: int, count: int) -> list[x509.Certificate]:
    """Return some devices, other ones for another start."""
    return [devices[(start + offset) % len(devices)] for offset in range(count)]
