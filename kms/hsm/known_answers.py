"""Asks a token what its profile says it answers: results that software agrees with, and refusals
that the design rests on. A profile that is wrong about either refuses the token.

Uses session objects only; takes about half a second. Run when a ceremony begins.
"""

import hashlib
import hmac
import os
from collections.abc import Callable
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import cmac, hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.exceptions import MechanismInvalid, PKCS11Error

from kms.domain.models import ReleaseClass
from kms.errors import ProfileError
from kms.hsm import templates
from kms.hsm.attributes import Template
from kms.hsm.faults import TokenFault
from kms.hsm.labels import Kind, disk_kek, numbered
from kms.hsm.profile import OaepHash
from kms.hsm.publickeys import read_p256, read_rsa
from kms.hsm.token import Handle, Token

A = Attribute
_MESSAGE = b"conclave known answer"
_DISK = "00000000-0000-7000-8000-000000000000"
_BITS, _EXPONENT = 2048, 65537
_HASHES = {OaepHash.SHA1: hashes.SHA1, OaepHash.SHA256: hashes.SHA256}


def check_known_answers(token: Token) -> None:
    """Raise ProfileError, naming every answer that differs from the token's profile."""
    expected = msgspec.to_builtins(token.profile.known_answers)
    wrong = sorted(name for name, ask in _QUESTIONS.items() if ask(token) is not expected[name])
    if wrong:
        raise ProfileError(
            f"the token does not answer as profile {token.profile.name} says: {', '.join(wrong)}"
        )


def _cmac_agrees(token: Token) -> bool:
    value = os.urandom(32)
    software = cmac.CMAC(AES256(value))
    software.update(_MESSAGE)
    key = token.create(_known_key(KeyType.AES, value, sign=True))
    return token.cmac(key, _MESSAGE) == software.finalize()


def _hmac_agrees(token: Token) -> bool:
    value = os.urandom(32)
    key = token.create(_known_key(KeyType.GENERIC_SECRET, value, sign=True))
    return token.hmac(key, _MESSAGE) == hmac.digest(value, _MESSAGE, "sha256")


def _ecdsa_agrees(token: Token) -> bool:
    private = templates.signing_private(numbered(Kind.MANIFEST, 1)) | {A.TOKEN: False}
    public, key = token.generate_p256(templates.P256, templates.passing_public(KeyType.EC), private)
    digest = hashlib.sha256(_MESSAGE).digest()
    raw = token.sign_digest(key, digest)
    signature = encode_dss_signature(
        int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    )
    verifier = load_der_public_key(read_p256(token, public))
    if not isinstance(verifier, ec.EllipticCurvePublicKey):
        return False
    try:
        verifier.verify(signature, digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    except InvalidSignature:
        return False
    return True


def _oaep_agrees(token: Token) -> bool:
    value, recipient = os.urandom(32), rsa.generate_private_key(_EXPONENT, _BITS)
    public = token.create(templates.device_public(recipient.public_key()))
    blob = token.wrap(public, token.create(_known_key(KeyType.AES, value)))
    hashed = _HASHES[token.profile.oaep_hash]
    oaep = padding.OAEP(padding.MGF1(hashed()), hashed(), None)
    try:
        return recipient.decrypt(blob, oaep) == value
    except ValueError:
        return False


def _key_wrap_pad_agrees(token: Token) -> bool:
    value, wrapping = os.urandom(32), os.urandom(32)
    key = token.create(_known_key(KeyType.AES, value))
    blob = token.wrap_padded(token.create(templates.share_wrapping_key(wrapping)), key)
    return aes_key_unwrap_with_padding(wrapping, blob) == value


def _gcm_agrees(token: Token) -> bool:
    """Whether a disk's KEK encrypts as software does, and opens nothing under another AAD."""
    value, iv = os.urandom(32), os.urandom(12)
    kek = token.create(_known_kek(value))
    blob = token.encrypt_gcm(kek, iv, _MESSAGE, _MESSAGE)
    same = blob == AESGCM(value).encrypt(iv, _MESSAGE, _MESSAGE)
    opens = token.decrypt_gcm(kek, iv, _MESSAGE, blob) == _MESSAGE
    return same and opens and _refuses(lambda: token.decrypt_gcm(kek, iv, b"other", blob))


def _kek_bound_to_gcm(token: Token) -> bool:
    kek = token.create(_known_kek(os.urandom(32)))
    try:
        kek.decrypt(bytes(16), mechanism=Mechanism.AES_CBC, mechanism_param=bytes(16))
    except PKCS11Error as error:
        token.drop()
        return isinstance(error, MechanismInvalid)
    return False


def _wrap_with_trusted_enforced(token: Token) -> bool:
    stranger = rsa.generate_private_key(_EXPONENT, _BITS).public_key()
    key = token.generate_secret(templates.epoch_key(ReleaseClass.TRUSTED))
    public = token.create(templates.device_public(stranger))
    return _refuses(lambda: token.wrap(public, key))


def _unwrap_template_enforced(token: Token) -> bool:
    private, blob = _vault_and_blob(token)
    readable = templates.UNWRAP_EPOCH | {A.SENSITIVE: False}
    opens = _unwrap_error(token, private, blob, templates.UNWRAP_EPOCH) == ""
    return opens and _unwrap_error(token, private, blob, readable) != ""


def _allowed_mechanisms_enforced(token: Token) -> bool:
    private, blob = _vault_and_blob(token)
    pkcs1 = (Mechanism.RSA_PKCS, None)
    name = _unwrap_error(token, private, blob, templates.UNWRAP_EPOCH, pkcs1)
    return name == MechanismInvalid.__name__


def _user_can_make_trusted(token: Token) -> bool:
    stranger = rsa.generate_private_key(_EXPONENT, _BITS).public_key()
    template = templates.device_public(stranger) | {A.TRUSTED: True}
    return not _refuses(lambda: token.create(template))


def _digest_of_sensitive_key(token: Token) -> bool:
    key = token.generate_secret(templates.epoch_key(ReleaseClass.TRUSTED))
    try:
        token.session.digest((_MESSAGE, key), mechanism=Mechanism.SHA256)
    except PKCS11Error:
        token.drop()
        return False
    return True


_QUESTIONS: dict[str, Callable[[Token], bool]] = {
    "cmac_agrees": _cmac_agrees,
    "hmac_agrees": _hmac_agrees,
    "ecdsa_agrees": _ecdsa_agrees,
    "oaep_agrees": _oaep_agrees,
    "key_wrap_pad_agrees": _key_wrap_pad_agrees,
    "gcm_agrees": _gcm_agrees,
    "kek_bound_to_gcm": _kek_bound_to_gcm,
    "wrap_with_trusted_enforced": _wrap_with_trusted_enforced,
    "unwrap_template_enforced": _unwrap_template_enforced,
    "allowed_mechanisms_enforced": _allowed_mechanisms_enforced,
    "user_can_make_trusted": _user_can_make_trusted,
    "digest_of_sensitive_key": _digest_of_sensitive_key,
}


def _known_key(key_type: KeyType, value: bytes, *, sign: bool = False) -> Template:
    return Template(
        {
            A.CLASS: ObjectClass.SECRET_KEY,
            A.KEY_TYPE: key_type,
            A.VALUE: value,
            A.TOKEN: False,
            A.PRIVATE: True,
            A.SENSITIVE: True,
            A.EXTRACTABLE: True,
            A.ENCRYPT: False,
            A.DECRYPT: False,
            A.SIGN: sign,
            A.VERIFY: False,
            A.WRAP: False,
            A.UNWRAP: False,
            A.DERIVE: False,
        }
    )


def _known_kek(value: bytes) -> Template:
    kek = dict(templates.disk_kek(disk_kek(_DISK, 1)).values)
    del kek[A.VALUE_LEN]
    return Template({**kek, A.VALUE: value, A.TOKEN: False})


def _vault_and_blob(token: Token) -> tuple[Handle, bytes]:
    """Return a passing vault key and an epoch key wrapped for it."""
    passing = templates.passing_public(KeyType.RSA)
    public, private = token.generate_rsa(_BITS, passing, templates.escrow_recovered())
    spki = load_der_public_key(read_rsa(token, public))
    if not isinstance(spki, rsa.RSAPublicKey):
        raise ProfileError("the token makes RSA keys that are none")
    wrapping = token.create(templates.device_public(spki))
    key = token.generate_secret(templates.epoch_key(ReleaseClass.ROSTER))
    return private, token.wrap(wrapping, key)


def _unwrap_error(
    token: Token,
    private: Handle,
    blob: bytes,
    template: Template,
    mechanism: tuple[Mechanism, Any] | None = None,
) -> str:
    """Return the name of the error that an unwrap (OAEP) ends with, empty if it succeeds."""
    name, parameter = mechanism or (Mechanism.RSA_PKCS_OAEP, token.oaep)
    try:
        private.unwrap_key(
            ObjectClass.SECRET_KEY,
            KeyType.AES,
            blob,
            mechanism=name,
            mechanism_param=parameter,
            template=template.packed,
        )
    except PKCS11Error as error:
        token.drop()
        return type(error).__name__
    return ""


def _refuses(action: Callable[[], object]) -> bool:
    try:
        action()
    except TokenFault:
        return True
    return False
