"""Public keys on their way to and from a token: SPKI or X.509 outside, PKCS#11 attributes inside.

Refuses what the service does not work with: RSA below 3072 bits, other curves than P-256,
certificates that may not issue others.
"""

import hashlib

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from pkcs11 import Attribute

from kms.errors import InvalidInput
from kms.hsm.token import Handle, Token
from kms.statements import jws

LEAST_RSA_BITS = 3072
_EXPONENT = 65537
_OCTET_STRING_HEAD = 2
_INTEGER, _OCTET_STRING = 0x02, 0x04
_NO_ANCHOR = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.UnsupportedGeneralNameType,
)


def key_id(spki: bytes) -> bytes:
    """Return CKA_ID of a public key: the SHA-256 of its SPKI."""
    return hashlib.sha256(spki).digest()


def load_rsa(spki: bytes) -> rsa.RSAPublicKey:
    """Return an RSA key that may be wrapped to; raise InvalidInput."""
    key = _load(spki)
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < LEAST_RSA_BITS:
        raise InvalidInput("keys are wrapped to RSA keys of 3072 bits or more")
    numbers = key.public_numbers()
    if numbers.e != _EXPONENT or numbers.n % 2 == 0:
        raise InvalidInput("RSA keys have the exponent 65537 and an odd modulus")
    return key


def load_p256(spki: bytes) -> ec.EllipticCurvePublicKey:
    """Return a key that verifies statements; raise InvalidInput."""
    key = _load(spki)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidInput("statements are signed by P-256 keys")
    return key


def load_anchor(certificate: bytes) -> x509.Certificate:
    """Return a certificate (DER) that may issue devices' certificates; raise InvalidInput."""
    try:
        anchor = x509.load_der_x509_certificate(certificate)
        anchor.public_key()
        constraints = anchor.extensions.get_extension_for_class(x509.BasicConstraints).value
    except _NO_ANCHOR as error:
        raise InvalidInput("an anchor is an X.509 certificate with basic constraints") from error
    if not constraints.ca:
        raise InvalidInput("the certificate is not one of an authority")
    return anchor


def read_rsa(token: Token, handle: Handle) -> bytes:
    """Return the SPKI (DER) of an RSA public key on the token."""
    modulus = int.from_bytes(token.read(handle, Attribute.MODULUS), "big")
    exponent = int.from_bytes(token.read(handle, Attribute.PUBLIC_EXPONENT), "big")
    return jws.spki_der(rsa.RSAPublicNumbers(exponent, modulus).public_key())


def read_p256(token: Token, handle: Handle) -> bytes:
    """Return the SPKI (DER) of a P-256 public key on the token (EC_POINT is an OCTET STRING)."""
    point = token.read(handle, Attribute.EC_POINT)[_OCTET_STRING_HEAD:]
    return jws.spki_der(ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point))


def ec_point(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return CKA_EC_POINT: the uncompressed point in a DER OCTET STRING (section 2.3.3)."""
    point = key.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    return bytes((_OCTET_STRING, len(point))) + point


def rsa_numbers(key: rsa.RSAPublicKey) -> dict[Attribute, bytes]:
    """Return CKA_MODULUS and CKA_PUBLIC_EXPONENT (section 2.1.2)."""
    numbers = key.public_numbers()
    return {
        Attribute.MODULUS: _big_endian(numbers.n),
        Attribute.PUBLIC_EXPONENT: _big_endian(numbers.e),
    }


def der_integer(number: int) -> bytes:
    """Return a DER INTEGER, as CKA_SERIAL_NUMBER has it (section 4.6.3)."""
    body = number.to_bytes(number.bit_length() // 8 + 1, "big")
    return bytes((_INTEGER, len(body))) + body


def _load(spki: bytes) -> PublicKeyTypes:
    try:
        return serialization.load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidInput("not a public key") from error


def _big_endian(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
