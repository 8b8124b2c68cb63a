"""Practice devices: a certificate authority and RSA-3072 devices under it. Not for real use."""

import datetime as dt
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from kms.client.rosters import device_recipient
from kms.domain.ids import RecipientId

RSA_BITS = 3072
_BACKDATED = dt.timedelta(minutes=5)


@dataclass(frozen=True)
class Authority:
    """A certificate authority of devices: P-256 key and self-signed certificate."""

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    certificate: x509.Certificate


@dataclass(frozen=True)
class Device:
    """A device: RSA-3072 key and the authority's certificate for it."""

    name: str
    key: rsa.RSAPrivateKey = field(repr=False)
    certificate: x509.Certificate

    @property
    def id(self) -> RecipientId:
        return device_recipient(self.certificate)

    def save(self, folder: Path) -> tuple[Path, Path]:
        """Write NAME.key.pem (0600) and NAME.pem; return both paths."""
        key, certificate = folder / f"{self.name}.key.pem", folder / f"{self.name}.pem"
        write_key(key, self.key)
        certificate.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        return key, certificate


def make_authority(
    name: str = "Practice device CA", *, since: dt.datetime | None = None
) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _certificate(name, _name(name), key.public_key(), days=3650, since=since)
    constraints = x509.BasicConstraints(ca=True, path_length=0)
    builder = builder.add_extension(constraints, critical=True)
    return Authority(key, builder.sign(key, hashes.SHA256()))


def load_authority(key: Path, certificate: Path) -> Authority:
    """Read an authority that was written as PEM files without a passphrase."""
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    return Authority(loaded, x509.load_pem_x509_certificate(certificate.read_bytes()))


def make_device(
    name: str,
    authority: Authority,
    *,
    key: rsa.RSAPrivateKey | None = None,
    days: int = 30,
    since: dt.datetime | None = None,
) -> Device:
    """Return a device whose certificate counts for so many days from ``since`` (None: now); give
    ``key`` to save the 0.3 s that making one takes.
    """
    key = key or rsa.generate_private_key(65537, RSA_BITS)
    issuer = authority.certificate.subject
    builder = _certificate(name, issuer, key.public_key(), days=days, since=since)
    constraints = x509.BasicConstraints(ca=False, path_length=None)
    builder = builder.add_extension(constraints, critical=True)
    return Device(name, key, builder.sign(authority.key, hashes.SHA256()))


def make_devices(names: Sequence[str], authority: Authority, *, days: int = 30) -> list[Device]:
    """Return several devices, their keys made side by side."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda name: make_device(name, authority, days=days), names))


def write_key(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    """Write a private key as unencrypted PEM, 0600 from the first byte."""
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _certificate(
    name: str,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    *,
    days: int,
    since: dt.datetime | None,
) -> x509.CertificateBuilder:
    now = since or dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + dt.timedelta(days=days))
    )
