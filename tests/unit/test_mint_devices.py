"""Device certificates: which are taken, and until when they count."""

import base64
import datetime as dt
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from kms.errors import VerificationFailed
from kms.hsm.devices import Device, read_device
from kms.statements.jws import spki_id
from tests.practice.devices import make_authority

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


@cache
def device_key(bits: int = 3072, exponent: int = 65537) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(exponent, bits)


@cache
def anchor_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def certificate(
    subject: str,
    public: object,
    *extensions: x509.ExtensionType,
    days: int = 10,
    digest: hashes.HashAlgorithm | None = None,
) -> x509.Certificate:
    """Return a certificate by the anchor's key, with critical extensions."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name("anchor"))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + days * DAY)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(anchor_key(), digest or hashes.SHA256())


def anchor(*, ca: bool = True, days: int = 100) -> x509.Certificate:
    constraints = x509.BasicConstraints(ca=ca, path_length=None)
    return certificate("anchor", anchor_key().public_key(), constraints, days=days)


def text(leaf: x509.Certificate) -> str:
    return base64.b64encode(leaf.public_bytes(serialization.Encoding.DER)).decode()


def read(leaf: x509.Certificate, by: x509.Certificate | None = None) -> Device:
    return read_device(text(leaf), [make_authority().certificate, by or anchor()])


def test_a_device_is_named_by_its_key():
    device = read(certificate("device", device_key().public_key()))
    assert device.id == spki_id(device_key().public_key())
    assert device.anchor == spki_id(anchor_key().public_key())


@pytest.mark.parametrize(("days", "valid"), [(-2, False), (-0.5, True), (9.9, True), (11, False)])
def test_a_device_counts_while_its_certificate_is_valid(days, valid):
    device = read(certificate("device", device_key().public_key()))
    moment = (NOW + days * DAY).timestamp()
    if valid:
        device.check_valid(moment)
    else:
        with pytest.raises(VerificationFailed):
            device.check_valid(moment)


def test_a_device_does_not_outlast_its_anchor():
    device = read(certificate("device", device_key().public_key(), days=50), anchor(days=5))
    with pytest.raises(VerificationFailed):
        device.check_valid((NOW + 6 * DAY).timestamp())


def test_an_anchor_that_is_no_authority_issues_nothing():
    with pytest.raises(VerificationFailed):
        read(certificate("device", device_key().public_key()), anchor(ca=False))


def test_without_anchors_nothing_is_taken():
    with pytest.raises(VerificationFailed):
        read_device(text(certificate("device", device_key().public_key())), [])


@pytest.mark.parametrize(
    "key",
    [
        lambda: device_key(2048).public_key(),
        lambda: device_key(3072, 3).public_key(),
        lambda: rsa.RSAPublicNumbers(65537, (1 << 3071) + 10).public_key(),
        lambda: ec.generate_private_key(ec.SECP256R1()).public_key(),
        lambda: ed25519.Ed25519PrivateKey.generate().public_key(),
    ],
    ids=["short", "exponent 3", "even modulus", "P-256", "Ed25519"],
)
def test_other_keys_are_refused(key):
    with pytest.raises(VerificationFailed):
        read(certificate("device", key()))


def test_an_unknown_critical_extension_is_refused():
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    with pytest.raises(VerificationFailed):
        read(certificate("device", device_key().public_key(), odd))


@pytest.mark.parametrize("junk", ["", "!", "AAAA", "A" * 5000, "MIIB", "\x00", "é"])
def test_what_is_no_certificate_is_refused(junk):
    with pytest.raises(VerificationFailed):
        read_device(junk, [anchor()])


def test_a_changed_byte_is_refused():
    der = bytearray(base64.b64decode(text(certificate("device", device_key().public_key()))))
    for place in range(0, len(der), 37):
        changed = der.copy()
        changed[place] ^= 1
        with pytest.raises(VerificationFailed):
            read_device(base64.b64encode(changed).decode(), [anchor()])
