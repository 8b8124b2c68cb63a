"""A person's credential in a file: a P-256 key in PEM, for sites whose configuration allows it."""

from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from kms.ceremonies.record.durable import write_new
from kms.domain.people import CredentialKind
from kms.errors import InvalidInput
from kms.statements import jws
from kms.statements.card import HeldCredential, credential_of


def new_software_credential(path: Path, passphrase: bytes) -> HeldCredential:
    """Write a new key to a new file (0600), encrypted unless the passphrase is empty.

    Raise AlreadyExists.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    write_new(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    return _held(key)


def open_software_credential(path: Path, passphrase: Callable[[], bytes]) -> HeldCredential:
    """Return the credential of a file; ``passphrase`` is asked for if it is encrypted.

    Raise InvalidInput, OSError.
    """
    pem = path.read_bytes()
    try:
        key = _load(pem, passphrase)
    except (TypeError, UnsupportedAlgorithm, ValueError):
        raise InvalidInput(f"{path} does not open: no private key, or another passphrase") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidInput(f"{path} is not a P-256 private key")
    return _held(key)


def _load(pem: bytes, passphrase: Callable[[], bytes]) -> object:
    try:
        return load_pem_private_key(pem, None)
    except TypeError:  # it is encrypted
        return load_pem_private_key(pem, passphrase())


def _held(key: ec.EllipticCurvePrivateKey) -> HeldCredential:
    credential = credential_of(CredentialKind.SOFTWARE, key.public_key())
    return HeldCredential(credential, jws.private_signer(key))
