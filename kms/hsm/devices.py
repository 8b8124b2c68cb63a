"""Device certificates of ``roster`` spaces: which keys a device anchor of the token vouches for.

A certificate is issued directly by an anchor (RFC 5280 without intermediates), valid now, for an
RSA key of 3072 bits or more that may receive keys. Anything not understood is refused.
"""

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtensionOID

from kms.domain.ids import RecipientId
from kms.errors import InvalidInput, VerificationFailed
from kms.hsm.publickeys import load_rsa
from kms.statements.jws import spki_der, spki_id

_MAX_RSA_BITS = 8192
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_UNDERSTOOD = frozenset({ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE})

_Extension = TypeVar("_Extension", x509.BasicConstraints, x509.KeyUsage)


@dataclass(frozen=True, slots=True)
class Device:
    """A device's key and how long its certificate and anchor hold (seconds since 1970);
    ``anchor`` is the SPKI SHA-256 of the anchor that issued it.
    """

    id: RecipientId
    key: rsa.RSAPublicKey
    not_before: float
    not_after: float
    anchor: RecipientId

    def check_valid(self, now: float) -> None:
        """Raise VerificationFailed unless certificate and anchor are valid at ``now``."""
        if not self.not_before <= now <= self.not_after:
            raise VerificationFailed("a device's certificate is not valid now")


def read_device(certificate: str, anchors: Iterable[x509.Certificate]) -> Device:
    """Return the device of a certificate (base64 DER) that one of the anchors issued.

    Raise VerificationFailed. Validity in time is left to ``check_valid``, since it changes.
    """
    try:
        der = base64.b64decode(certificate, validate=True)
        leaf = x509.load_der_x509_certificate(der)
        anchor = _issuer(leaf, anchors)
        key = _device_key(leaf)
    except (binascii.Error, ValueError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise VerificationFailed("a device's certificate cannot be read") from error
    return Device(
        id=RecipientId(spki_id(key)),
        key=key,
        not_before=max(_start(leaf), _start(anchor)),
        not_after=min(_end(leaf), _end(anchor)),
        anchor=RecipientId(spki_id(anchor.public_key())),
    )


def _issuer(leaf: x509.Certificate, anchors: Iterable[x509.Certificate]) -> x509.Certificate:
    for anchor in anchors:
        if anchor.subject == leaf.issuer and _issued(leaf, anchor):
            _check_anchor(anchor)
            return anchor
    raise VerificationFailed("no device anchor of this space issued a device's certificate")


def _issued(leaf: x509.Certificate, anchor: x509.Certificate) -> bool:
    if not isinstance(leaf.signature_hash_algorithm, _HASHES):
        return False
    try:
        leaf.verify_directly_issued_by(anchor)
    except (InvalidSignature, TypeError):
        return False
    return True


def _check_anchor(anchor: x509.Certificate) -> None:
    constraints = _extension(anchor, x509.BasicConstraints)
    usage = _extension(anchor, x509.KeyUsage)
    if constraints is None or not constraints.ca or (usage and not usage.key_cert_sign):
        raise VerificationFailed("a device anchor is not a certificate authority")
    if not isinstance(anchor.public_key(), rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise VerificationFailed("a device anchor has a key of another kind")


def _device_key(leaf: x509.Certificate) -> rsa.RSAPublicKey:
    try:
        key = load_rsa(spki_der(leaf.public_key()))
    except InvalidInput as error:
        raise VerificationFailed(f"a device's key is refused: {error.message}") from error
    if key.key_size > _MAX_RSA_BITS:
        raise VerificationFailed(f"a device's key has at most {_MAX_RSA_BITS} bits")
    constraints = _extension(leaf, x509.BasicConstraints)
    usage = _extension(leaf, x509.KeyUsage)
    if constraints is not None and constraints.ca:
        raise VerificationFailed("a certificate authority is not a device")
    if usage is not None and not usage.key_encipherment:
        raise VerificationFailed("a device's certificate does not allow keyEncipherment")
    for extension in leaf.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise VerificationFailed("a device's certificate has an unknown critical extension")
    return key


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _start(certificate: x509.Certificate) -> float:
    return certificate.not_valid_before_utc.timestamp()


def _end(certificate: x509.Certificate) -> float:
    return certificate.not_valid_after_utc.timestamp()
